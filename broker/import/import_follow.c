/* import_follow: what the source executes, executed by the target, too. */
#include "import/import_follow.h"

#include <stdio.h>
#include <stdlib.h>

#include "import/import_wire.h"

enum { READ_BYTES = 1 << 20, NAME_BYTES_MAX = 64, QUOTE_BYTES = 100 };

/* ---- beginning and end ---- */

bool import_follow_begin(struct import_follow *follow, struct import_source *source,
                         struct import_target *target, int only_db)
{
    *follow = (struct import_follow){.source = source, .target = target, .only_db = only_db};
    follow->parser = resp_parser_new();
    follow->here.at = follow->applied.at = source->began_at;
    snprintf(follow->marker, sizeof follow->marker, "fanfare:import:%s", source->id);
    struct buf ask = {0};
    const struct slice list[] = {SLICE("COMMAND"), SLICE("LIST")};
    import_command_words(&ask, list, COUNT_OF(list));
    bool is_told = target_ask(target, buf_slice(&ask), 1, &follow->known) == TARGET_GOOD;
    buf_fini(&ask);
    return is_told;
}

void import_follow_fini(struct import_follow *follow)
{
    resp_parser_free(follow->parser);
    buf_fini(&follow->known);
    buf_fini(&follow->in);
    buf_fini(&follow->batch);
    buf_fini(&follow->why);
}

static void ask_select(struct buf *out, uint32_t db)
{
    struct import_command command = {.count = 0};
    import_command_begin(&command, "SELECT");
    import_command_number(&command, db);
    import_command_append(&command, out);
    buf_fini(&command.words);
}

/* Ask each database that has been written to about its key. `verb` is GET or DEL. Gives: false: the target is lost. */
static bool ask_markers(struct import_follow *follow, const char *verb, struct buf *replies)
{
    struct buf ask = {0};
    uint32_t count = 0;
    const struct slice word[] = {slice_of_str(verb), slice_of_str(follow->marker)};
    for (uint32_t db = 0; db < FOLLOW_DATABASES; db++) {
        if (!follow->is_marked[db]) { continue; }
        ask_select(&ask, db);
        import_command_words(&ask, word, COUNT_OF(word));
        count += 2;
        follow->target->db = db;
    }
    bool is_told =
        count == 0 || target_ask(follow->target, buf_slice(&ask), count, replies) == TARGET_GOOD;
    buf_fini(&ask);
    return is_told;
}

void import_follow_end(struct import_follow *follow)
{
    struct buf replies = {0};
    (void)ask_markers(follow, "DEL", &replies);
    buf_fini(&replies);
}

/* ---- a lost connection ---- */

static void rewind_to_applied(struct import_follow *follow)
{
    follow->rewinds++;
    follow->here = follow->applied;
    follow->in.len = 0;
    follow->batch.len = 0;
    follow->batch_count = 0;
    resp_parser_free(follow->parser);
    follow->parser = resp_parser_new();
}

/* What does each database have? */
static bool read_markers(struct import_follow *follow)
{
    struct buf replies = {0};
    struct slice error;
    bool is_told = ask_markers(follow, "GET", &replies);
    struct slice rest = buf_slice(&replies);
    for (uint32_t db = 0; is_told && db < FOLLOW_DATABASES; db++) {
        if (!follow->is_marked[db]) { continue; }
        for (unsigned i = 0; is_told && i < 2; i++) { /* SELECT's, GET's */
            struct slice reply = slice_of(rest.data, import_reply_bytes(rest));
            int64_t at = 0;
            is_told = !import_reply_error(reply, &error);
            if (i == 1 && slice_to_int64(import_reply_read(reply).text, &at)) {
                follow->executed[db] = (uint64_t)at;
            }
            rest = slice_of(rest.data + reply.len, rest.len - reply.len);
        }
    }
    buf_fini(&replies);
    return is_told;
}

/* Go on from what is certain. False: the target stays away. */
static bool recover(struct import_follow *follow)
{
    do {
        if (!target_connect(follow->target)) { return false; }
    } while (!read_markers(follow));
    rewind_to_applied(follow);
    return true;
}

/* ---- a batch ---- */

static enum follow_state stop(struct import_follow *follow, const char *what, struct slice text)
{
    follow->why.len = 0;
    buf_appendf(&follow->why, "%s%.*s", what,
                (int)(text.len < QUOTE_BYTES ? text.len : QUOTE_BYTES), text.data);
    buf_append(&follow->why, slice_of("", 1));
    return FOLLOW_STOPPED;
}

/* Did all of it do? A transient error is a lost connection. */
static enum follow_state check_replies(struct import_follow *follow, struct slice replies)
{
    struct slice error;
    struct slice first = SLICE("");
    bool passes = false;
    while (replies.len > 0) {
        struct slice reply = slice_of(replies.data, import_reply_bytes(replies));
        if (import_reply_error(reply, &error)) {
            if (first.len == 0) { first = error; }
            passes = passes || import_error_passes(error);
        }
        replies = slice_of(replies.data + reply.len, replies.len - reply.len);
    }
    if (first.len == 0) { return FOLLOW_BUSY; }
    if (!passes) { return stop(follow, "the target answers to what the source executed: ", first); }
    return recover(follow) ? FOLLOW_BUSY : FOLLOW_LOST;
}

static enum follow_state ask_all(struct import_follow *follow, struct buf *ask, uint32_t count,
                                 bool *is_done)
{
    struct buf replies = {0};
    enum target_state state = target_ask(follow->target, buf_slice(ask), count, &replies);
    enum follow_state out = FOLLOW_LOST;
    uint32_t rewinds = follow->rewinds;
    if (state == TARGET_GOOD) {
        out = check_replies(follow, buf_slice(&replies));
    } else if (state == TARGET_LOST && recover(follow)) {
        out = FOLLOW_BUSY;
    }
    *is_done = out == FOLLOW_BUSY && rewinds == follow->rewinds;
    buf_fini(&replies);
    return out;
}

static void transaction_begin(struct import_follow *follow)
{
    follow->transaction.place = follow->here;
    follow->transaction.bytes = follow->batch.len;
    follow->transaction.count = follow->batch_count;
}

/* Execute what has been gathered; then all before `here` is. */
static enum follow_state flush(struct import_follow *follow)
{
    struct buf ask = {0};
    bool is_done = true;
    enum follow_state state = FOLLOW_BUSY;
    if (follow->batch_count > 0) {
        char at[24];
        snprintf(at, sizeof at, "%lu", follow->here.at);
        const struct slice multi[] = {SLICE("MULTI")};
        const struct slice exec[] = {SLICE("EXEC")};
        const struct slice set[] = {SLICE("SET"), slice_of_str(follow->marker), slice_of_str(at)};
        ask_select(&ask, follow->batch_db);
        import_command_words(&ask, multi, 1);
        buf_append(&ask, buf_slice(&follow->batch));
        import_command_words(&ask, set, 3);
        import_command_words(&ask, exec, 1);
        follow->is_marked[follow->batch_db] = true;
        state = ask_all(follow, &ask, follow->batch_count + 4, &is_done);
        if (is_done) { follow->commands += follow->batch_count; }
    }
    buf_fini(&ask);
    if (!is_done) { return state; }
    follow->batch.len = 0;
    follow->batch_count = 0;
    follow->applied = follow->here;
    transaction_begin(follow); /* of one that goes on, in another database, a part is executed */
    if (import_source_forget(follow->source, follow->applied.at)) { return FOLLOW_BUSY; }
    return stop(follow, follow->source->why, SLICE(""));
}

/* ---- a command ---- */

static bool is_known(const struct import_follow *follow, struct slice name)
{
    char text[NAME_BYTES_MAX + 4] = "\r\n";
    if (name.len > NAME_BYTES_MAX) { return false; }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        text[2 + i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    memcpy(text + 2 + name.len, "\r\n", 2);
    return memmem(follow->known.data, follow->known.len, text, name.len + 4) != NULL;
}

static bool is_one_of(struct slice name, const char *const *word)
{
    for (; *word != NULL; word++) {
        if (slice_equal_nocase(name, slice_of_str(*word))) { return true; }
    }
    return false;
}

/* The command at hand cannot be executed: what was before it, and before the transaction that it is in, is. */
static enum follow_state stop_at(struct import_follow *follow, const char *what, struct slice text)
{
    if (follow->here.is_in_transaction) {
        follow->here = follow->transaction.place;
        follow->batch.len = follow->transaction.bytes;
        follow->batch_count = follow->transaction.count;
    }
    enum follow_state state = stop(follow, what, text); /* `text` may go */
    enum follow_state flushed = flush(follow);
    return flushed == FOLLOW_BUSY && follow->batch_count == 0 &&
                   follow->applied.at == follow->here.at
               ? state
               : flushed;
}

/* All databases at once: alone, and as often as need be. */
static enum follow_state flush_all(struct import_follow *follow, struct follow_place next)
{
    static const char *const name[] = {"FLUSHALL", "FLUSHDB"};
    struct buf ask = {0};
    bool is_done = false;
    uint32_t rewinds = follow->rewinds;
    enum follow_state state = flush(follow);
    if (state != FOLLOW_BUSY || rewinds != follow->rewinds) { return state; }
    const struct slice word[] = {slice_of_str(name[follow->only_db >= 0])};
    uint32_t count = 1;
    if (follow->only_db >= 0) {
        ask_select(&ask, (uint32_t)follow->only_db);
        count++;
    }
    import_command_words(&ask, word, 1);
    state = ask_all(follow, &ask, count, &is_done);
    buf_fini(&ask);
    if (!is_done) { return state; }
    memset(follow->executed, 0, sizeof follow->executed);
    follow->here = next;
    return flush(follow);
}

static enum follow_state gather(struct import_follow *follow, const struct slice *argv,
                                uint32_t argc, struct follow_place next)
{
    uint32_t db = follow->here.db;
    if (db >= FOLLOW_DATABASES && !follow->skips) {
        return stop_at(follow, "the source writes to a database above 15: ", argv[0]);
    }
    bool is_other = (follow->only_db >= 0 && db != (uint32_t)follow->only_db) ||
                    db >= FOLLOW_DATABASES || next.at <= follow->executed[db];
    if (is_other) {
        follow->here = next;
        return FOLLOW_BUSY;
    }
    if (!is_known(follow, argv[0])) {
        return stop(follow,
                    "the source has executed a command that the target does not know: ", argv[0]);
    }
    if (follow->batch_count > 0 && follow->batch_db != db) {
        uint32_t rewinds = follow->rewinds; /* then the words are gone */
        enum follow_state state = flush(follow);
        if (state != FOLLOW_BUSY || rewinds != follow->rewinds) { return state; }
    }
    follow->batch_db = db;
    import_command_words(&follow->batch, argv, argc);
    follow->batch_count++;
    follow->here = next;
    return FOLLOW_BUSY;
}

/* One command of the source's; `next` is behind it. Moves `here`, unless the target was lost or it stops. */
static enum follow_state execute(struct import_follow *follow, const struct slice *argv,
                                 uint32_t argc, struct follow_place next)
{
    /* What is no data: subscribers have their own ways to move. */
    static const char *const ignored[] = {"PING", "REPLCONF", "PUBLISH", "SPUBLISH", NULL};
    static const char *const refused[] = {"SWAPDB", NULL};
    struct slice name = argc > 0 ? argv[0] : SLICE("PING");
    int64_t db = 0;
    if (slice_equal_nocase(name, SLICE("SELECT")) && argc == 2 && slice_to_int64(argv[1], &db)) {
        next.db = (uint32_t)db;
    } else if (slice_equal_nocase(name, SLICE("MULTI"))) {
        transaction_begin(follow);
        next.is_in_transaction = true;
    } else if (slice_equal_nocase(name, SLICE("EXEC"))) {
        next.is_in_transaction = false;
    } else if (slice_equal_nocase(name, SLICE("FLUSHALL"))) {
        return flush_all(follow, next);
    } else if (is_one_of(name, refused)) {
        return stop_at(follow, "the source has executed what cannot be followed: ", name);
    } else if (!is_one_of(name, ignored)) {
        return gather(follow, argv, argc, next);
    }
    follow->here = next;
    return FOLLOW_BUSY;
}

/* More of the source's bytes behind those at hand. False: there are none. */
static bool read_more(struct import_follow *follow)
{
    struct import_source *source = follow->source;
    uint64_t from = follow->here.at + follow->in.len;
    if (from >= source->received_at) { return false; }
    size_t before = follow->in.len;
    bool is_read =
        import_spool_read(&source->commands, from - source->spooled_at, READ_BYTES, &follow->in);
    return is_read && follow->in.len > before;
}

static bool is_full(const struct import_follow *follow)
{
    return !follow->here.is_in_transaction &&
           (follow->batch_count >= FOLLOW_COMMANDS_MAX || follow->batch.len >= FOLLOW_BYTES_MAX);
}

enum follow_state import_follow_turn(struct import_follow *follow)
{
    const struct resp_limits limits = {65536, 1ULL << 30, INT32_MAX, false};
    enum follow_state state = FOLLOW_BUSY;
    size_t at = 0; /* in follow->in: `here` */
    uint32_t rewinds = follow->rewinds;
    while (state == FOLLOW_BUSY && !is_full(follow)) {
        struct slice in = slice_of(follow->in.data + at, follow->in.len - at);
        enum resp_status status = resp_parse(follow->parser, in, &limits);
        if (status == RESP_ERROR) {
            return stop(follow, "the source sends what is no command", SLICE(""));
        }
        if (status == RESP_INCOMPLETE) {
            buf_consume(&follow->in, at);
            at = 0;
            if (!read_more(follow)) { break; }
            continue;
        }
        size_t bytes = resp_bytes(follow->parser);
        struct follow_place next = follow->here;
        next.at += bytes;
        state = execute(follow, resp_argv(follow->parser), resp_argc(follow->parser), next);
        if (state != FOLLOW_BUSY || rewinds != follow->rewinds) { return state; }
        at += bytes;
    }
    if (at > 0) { buf_consume(&follow->in, at); }
    bool is_waiting = follow->here.is_in_transaction; /* for the rest of it */
    bool is_idle = state == FOLLOW_BUSY && !is_full(follow);
    if (state == FOLLOW_BUSY && !is_waiting && follow->applied.at != follow->here.at) {
        state = flush(follow);
    }
    return state == FOLLOW_BUSY && is_idle ? FOLLOW_IDLE : state;
}
