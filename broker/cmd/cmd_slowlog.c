/* cmd_slowlog: SLOWLOG GET, LEN, RESET over the rings of all workers. */
#include <stdlib.h>

#include "base/mem.h"
#include "cmd/caller.h"
#include "cmd/ask_workers.h"

enum { ENTRIES_DEFAULT = 10 };

/* An entry as it will be answered: bytes of `text`. */
struct found_entry {
    uint64_t id;
    size_t from;
    size_t len;
};

/* What travels from worker to worker. */
struct question {
    uint64_t wanted; /* at most this many, the newest */
    struct buf text; /* encoded entries: the same bytes in RESP2 and RESP3 */
    struct found_entry *found;
    size_t count;
    size_t cap;
};

static struct question *question_new(uint64_t wanted)
{
    struct question *question = mem_new0(sizeof *question);
    question->wanted = wanted;
    return question;
}

static void free_question(void *arg)
{
    struct question *question = arg;
    buf_fini(&question->text);
    mem_free(question->found);
    mem_free(question);
}

static void encode_entry(const struct slowlog_entry *entry, struct buf *out)
{
    struct reply reply = {.out = out, .version = 2};
    reply_array(&reply, 6);
    reply_int(&reply, (int64_t)entry->id);
    reply_int(&reply, (int64_t)entry->at_s);
    reply_int(&reply, (int64_t)entry->duration_us);
    reply_array(&reply, entry->argc);
    for (uint32_t i = 0; i < entry->argc; i++) {
        reply_bulk(&reply, entry->argv[i]);
    }
    reply_bulk(&reply, entry->address);
    reply_bulk(&reply, entry->name);
}

static void visit_get(void *arg, struct service *service)
{
    struct question *question = arg;
    for (uint32_t i = 0; i < service->slowlog.count && i < question->wanted; i++) {
        const struct slowlog_entry *entry = slowlog_newest(&service->slowlog, i);
        if (question->count == question->cap) {
            question->cap = question->cap > 0 ? 2 * question->cap : 64;
            question->found = mem_resize(question->found, question->cap * sizeof *question->found);
        }
        size_t from = question->text.len;
        encode_entry(entry, &question->text);
        question->found[question->count++] =
            (struct found_entry){entry->id, from, question->text.len - from};
    }
}

static int newer_first(const void *a, const void *b)
{
    uint64_t ida = ((const struct found_entry *)a)->id;
    uint64_t idb = ((const struct found_entry *)b)->id;
    return ida < idb ? 1 : (ida > idb ? -1 : 0);
}

static void finish_get(void *arg, struct call *call)
{
    struct question *question = arg;
    if (question->count > 0) {
        qsort(question->found, question->count, sizeof *question->found, newer_first);
    }
    size_t count = question->count < question->wanted ? question->count : question->wanted;
    reply_array(call->reply, count);
    for (size_t i = 0; i < count; i++) {
        const struct found_entry *found = &question->found[i];
        buf_append(call->reply->out, slice_of(question->text.data + found->from, found->len));
    }
}

/* Each worker keeps up to slowlog-max-len entries; the newest so many of all of them are the log.
 * */
static uint64_t entries_max(const struct call *call)
{
    return (uint64_t)config_number(call->caller->broker->config, CONFIG_slowlog_max_len);
}

void cmd_slowlog_get(struct call *call)
{
    static const struct ask_ops ops = {visit_get, finish_get, free_question};
    int64_t wanted = ENTRIES_DEFAULT;
    if (call->argc > 3) {
        reply_error(call->reply, "ERR syntax error");
        return;
    }
    if (call->argc == 3 && (!slice_to_int64(call->argv[2], &wanted) || wanted < -1)) {
        reply_error(call->reply, "ERR count should be greater than or equal to -1");
        return;
    }
    uint64_t max = entries_max(call);
    bool is_all = wanted == -1 || (uint64_t)wanted > max;
    ask_workers(call, &ops, question_new(is_all ? max : (uint64_t)wanted));
}

static void visit_len(void *arg, struct service *service)
{
    struct question *question = arg;
    question->count += service->slowlog.count;
}

static void finish_len(void *arg, struct call *call)
{
    const struct question *question = arg;
    uint64_t count = question->count < question->wanted ? question->count : question->wanted;
    reply_int(call->reply, (int64_t)count);
}

void cmd_slowlog_len(struct call *call)
{
    static const struct ask_ops ops = {visit_len, finish_len, free_question};
    ask_workers(call, &ops, question_new(entries_max(call)));
}

static void visit_reset(void *arg, struct service *service)
{
    (void)arg;
    slowlog_clear(&service->slowlog);
}

static void finish_reset(void *arg, struct call *call)
{
    (void)arg;
    reply_ok(call->reply);
}

void cmd_slowlog_reset(struct call *call)
{
    static const struct ask_ops ops = {visit_reset, finish_reset, free_question};
    ask_workers(call, &ops, question_new(0));
}
