/* data_rig: data commands on a store of their own, one log entry each, and their replies as one line of text: `1`, `"bulk"`,
 * `(nil)`, `[1 2]`, `OK`, `ERR ...`. What a command changes is told in `events`. */
#ifndef FANFARE_TESTS_UNIT_DATA_RIG_H
#define FANFARE_TESTS_UNIT_DATA_RIG_H

#include <ctype.h>

#include "base/buf.h"
#include "data/data_call.h"
#include "store_scratch.h"

struct rig {
    struct scratch s;
    struct store_txn *reader;
    uint8_t version; /* of RESP */
    struct buf out;
    struct buf text;
    struct buf events; /* "hset h;", since rig_events */
};

static inline void rig_changed(void *arg, const struct data_change *change)
{
    struct rig *rig = arg;
    if (change->class == EVENT_NEW) { return; }
    buf_appendf(&rig->events, "%s %.*s;", change->event, SLICE_ARG(change->name));
}

static inline void rig_expired(void *arg, uint16_t db, struct slice name, enum store_expired what)
{
    static const char *const words[] = {"expired", "hexpired", "hexpired+del"};
    struct rig *rig = arg;
    cr_assert_eq(db, 0);
    buf_appendf(&rig->events, "%s %.*s;", words[what], SLICE_ARG(name));
}

static inline void rig_init(struct rig *rig)
{
    *rig = (struct rig){.version = 2};
    scratch_init(&rig->s, 1);
    cr_assert_eq(store_reader_new(rig->s.store, &rig->reader), ERR_OK);
}

static inline void rig_fini(struct rig *rig)
{
    buf_fini(&rig->out);
    buf_fini(&rig->text);
    buf_fini(&rig->events);
    store_reader_free(rig->reader);
    scratch_fini(&rig->s);
}

/* The reply at `at` as text. Gives: where it ends. */
static inline size_t rig_text(struct rig *rig, size_t at)
{
    const char *line = rig->out.data + at;
    size_t len = (size_t)((const char *)memchr(line, '\r', rig->out.len - at) - line);
    long number = strtol(line + 1, NULL, 10);
    at += len + 2;
    switch (line[0]) {
    case '$':
        if (number < 0) { break; }
        buf_appendf(&rig->text, "\"%.*s\"", (int)number, rig->out.data + at);
        return at + (size_t)number + 2;
    case '*':
    case '%':
        if (number < 0) { break; }
        buf_append_str(&rig->text, line[0] == '*' ? "[" : "{");
        for (long i = 0; i < number * (line[0] == '*' ? 1 : 2); i++) {
            if (i > 0) { buf_append_str(&rig->text, " "); }
            at = rig_text(rig, at);
        }
        buf_append_str(&rig->text, line[0] == '*' ? "]" : "}");
        return at;
    case '_': break;
    case ',': buf_appendf(&rig->text, "%.*s", (int)len, line); return at;
    default: buf_appendf(&rig->text, "%.*s", (int)len - 1, line + 1); return at;
    }
    buf_append_str(&rig->text, "(nil)");
    return at;
}

/* Run a command whose words are apart by one space each; `''` is an empty word. Gives: its reply, until the next call. */
static inline const char *rig_run(struct rig *rig, const char *line)
{
    struct slice argv[64];
    uint32_t argc = 0;
    for (const char *at = line; *at != 0;) {
        size_t len = strcspn(at, " ");
        cr_assert_lt(argc, COUNT_OF(argv));
        argv[argc++] = strncmp(at, "''", len) == 0 ? slice_of(at, 0) : slice_of(at, len);
        at += len + (at[len] == ' ');
    }
    const struct data_command *command = data_command_find(argv[0]);
    cr_assert_not_null(command, "%s", line);
    struct reply reply = {.out = &rig->out, .version = rig->version};
    const struct data_listener listener = {rig_changed, rig};
    struct data_call call = {.argc = argc, .argv = argv, .reply = &reply, .listener = &listener};
    rig->out.len = 0;
    bool fits =
        command->arity >= 0 ? argc == (uint32_t)command->arity : argc >= (uint32_t)-command->arity;
    if (!fits) {
        reply_errorf(&reply, "ERR wrong number of arguments for '%s' command", command->name);
    } else if (command->access == DATA_WRITE) {
        scratch_next(&rig->s);
        call.txn = rig->s.txn;
        command->handler(&call);
    } else {
        scratch_next(&rig->s);
        cr_assert_eq(store_reader_begin(rig->reader, rig->s.now_ms, 1), ERR_OK);
        call.txn = rig->reader;
        command->handler(&call);
        cr_assert_eq(store_txn_err(rig->reader), ERR_OK);
        store_reader_end(rig->reader);
    }
    rig->text.len = 0;
    cr_assert_eq(rig_text(rig, 0), rig->out.len);
    buf_append(&rig->text, slice_of("", 1));
    return rig->text.data;
}

#define EXPECT(rig, line, reply) \
    cr_expect_str_eq(rig_run(rig, line), reply, "%s: %s", line, (rig)->text.data)

/* What happened since the last time. */
#define EXPECT_EVENTS(rig, expected)                                              \
    do {                                                                          \
        buf_append(&(rig)->events, slice_of("", 1));                              \
        cr_expect_str_eq((rig)->events.data, expected, "%s", (rig)->events.data); \
        (rig)->events.len = 0;                                                    \
    } while (0)

/* Time goes on; what is due is removed, as an entry of the log does it. */
static inline void rig_pass(struct rig *rig, uint64_t ms)
{
    rig->s.now_ms += ms;
    scratch_next(&rig->s);
}

static inline void rig_expire(struct rig *rig)
{
    scratch_next(&rig->s);
    (void)store_key_expire(rig->s.txn, 1000, rig_expired, rig);
}

#endif
