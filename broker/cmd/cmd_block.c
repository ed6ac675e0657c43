/* cmd_block: the commands that may wait for a key. The timeout is read here; one that makes no sense, or a command that is
 * not to wait, is run like any other. XREAD's "$" becomes the stream's last id before it waits, so that it means the moment
 * in which the command came. */
#include "base/mem.h"
#include "cmd/blocked.h"
#include "cmd/caller.h"
#include "cmd/data_route.h"
#include "cmd/data_run.h"
#include "cmd/data_wait.h"
#include "data/data_args.h"

/* ---- the timeout ---- */

static bool is_xread(const struct call *call)
{
    uint32_t id = command_id(call->command);
    return id == COMMAND_xread || id == COMMAND_xreadgroup;
}

/* BLOCK's milliseconds, in front of STREAMS. False: it does not block. */
static bool xread_timeout(const struct call *call, uint64_t *timeout_ms)
{
    int64_t ms;
    for (uint32_t i = 1; i + 1 < call->argc; i++) {
        if (slice_equal_nocase(call->argv[i], SLICE("streams"))) { return false; }
        if (slice_equal_nocase(call->argv[i], SLICE("group"))) {
            i += 2;
        } else if (slice_equal_nocase(call->argv[i], SLICE("count")) ||
                   slice_equal_nocase(call->argv[i], SLICE("maxcount")) ||
                   slice_equal_nocase(call->argv[i], SLICE("maxsize"))) {
            i++;
        } else if (slice_equal_nocase(call->argv[i], SLICE("block"))) {
            bool is_good = slice_to_int64(call->argv[i + 1], &ms) && ms >= 0;
            *timeout_ms = is_good ? (uint64_t)ms : 0;
            return is_good;
        }
    }
    return false;
}

static uint32_t timeout_at(const struct call *call)
{
    switch (command_id(call->command)) {
    case COMMAND_blmpop:
    case COMMAND_bzmpop: return 1;
    default: return call->argc - 1;
    }
}

/* Does it block, and for how long? */
static bool has_timeout(const struct call *call, uint64_t *timeout_ms)
{
    if (is_xread(call)) { return xread_timeout(call, timeout_ms); }
    struct buf discarded = {0};
    struct reply reply = {.out = &discarded, .version = 2};
    const struct data_call inner = {.argc = call->argc, .argv = call->argv, .reply = &reply};
    bool is_good = arg_timeout(&inner, timeout_at(call), timeout_ms);
    buf_fini(&discarded);
    return is_good;
}

bool blocked_may_wait(const struct call *call)
{
    uint64_t timeout_ms;
    return call->command->flags & CMD_BLOCKING &&
           (!is_xread(call) || xread_timeout(call, &timeout_ms));
}

/* ---- "$" ---- */

/* XREAD with ids that are not known yet. */
struct last_ids {
    uint64_t timeout_ms;
    struct partition_call *call;
    struct partition_call *question; /* XINFO STREAM of each stream whose id is "$" */
    struct slice *word;
    uint32_t ids_at;
    uint32_t count;
};

static void free_last_ids(struct data_wait *wait)
{
    struct last_ids *ids = wait->own;
    mem_free(ids->call);
    mem_free(ids->question);
    mem_free(ids->word);
    mem_free(ids);
}

/* The text behind "last-generated-id" in XINFO's reply; of a stream that is not there: 0-0. False: another error. */
static bool last_id_of(struct slice reply, struct slice *id)
{
    static const char name[] = "last-generated-id\r\n$";
    *id = SLICE("0-0");
    if (reply.data[0] == '-') { return memmem(reply.data, reply.len, "no such key", 11) != NULL; }
    const char *at = memmem(reply.data, reply.len, name, sizeof name - 1);
    CHECK(at != NULL);
    const char *text = (const char *)memchr(at + sizeof name - 1, '\n', 8) + 1;
    *id = slice_of(text, strcspn(text, "\r"));
    return true;
}

static void finish_last_ids(struct data_wait *wait, struct call *call)
{
    struct last_ids *ids = wait->own;
    const struct partition_request *request = &wait->part[0].request;
    if (data_wait_failed(wait, call->reply)) { return; }
    struct slice *argv = mem_new(ids->call->argc * sizeof *argv);
    memcpy(argv, ids->call->argv, ids->call->argc * sizeof *argv);
    size_t begin = 0;
    uint32_t asked = 0;
    bool is_good = true;
    for (uint32_t i = ids->ids_at; i < ids->call->argc && is_good; i++) {
        if (!slice_equal(argv[i], SLICE("$"))) { continue; }
        size_t end = ids->count > 1 ? request->reply_end[asked] : request->reply.len;
        struct slice reply = slice_of(request->reply.data + begin, end - begin);
        is_good = last_id_of(reply, &argv[i]);
        if (!is_good) { reply_error_slice(call->reply, slice_of(reply.data + 1, reply.len - 3)); }
        begin = end;
        asked++;
    }
    if (is_good) {
        struct call again = *call;
        again.argc = ids->call->argc;
        blocked_begin(&again, argv, request->partition, ids->timeout_ms);
    }
    mem_free(argv);
}

/* Where the ids of XREAD begin, if one of them is "$"; 0: none is, or the streams make no sense. */
static uint32_t find_last_ids(const struct call *call, uint32_t *count)
{
    struct key_range range;
    *count = 0;
    if (command_id(call->command) != COMMAND_xread ||
        !key_rule_find(&call->command->keys[0], call->argv, call->argc, &range) ||
        range.first + 2 * range.count != call->argc) {
        return 0;
    }
    for (uint32_t i = range.first + range.count; i < call->argc; i++) {
        *count += slice_equal(call->argv[i], SLICE("$"));
    }
    return *count > 0 ? range.first + range.count : 0;
}

static void ask_last_ids(struct call *call, uint32_t partition, uint32_t ids_at, uint32_t count,
                         uint64_t timeout_ms)
{
    static const struct data_wait_ops ops = {.finish = finish_last_ids, .free = free_last_ids};
    uint16_t database = call->caller->session->database;
    struct last_ids *ids = mem_new0(sizeof *ids);
    ids->timeout_ms = timeout_ms;
    ids->call = data_call_copy(call->argv, call->argc, database);
    ids->question = mem_new(count * sizeof *ids->question);
    ids->word = mem_new(3 * count * sizeof *ids->word);
    ids->ids_at = ids_at;
    uint32_t streams = call->argc - ids_at;
    for (uint32_t i = ids_at; i < call->argc; i++) {
        if (!slice_equal(ids->call->argv[i], SLICE("$"))) { continue; }
        struct slice *word = &ids->word[3 * ids->count];
        word[0] = SLICE("XINFO");
        word[1] = SLICE("STREAM");
        word[2] = ids->call->argv[i - streams];
        ids->question[ids->count++] = (struct partition_call){database, 3, word};
    }
    struct data_wait *wait = data_wait_new(call, &ops, 1);
    wait->own = ids;
    struct partition_request *request = &wait->part[0].request;
    request->ask = PARTITION_READ;
    request->partition = partition;
    request->call = ids->question;
    request->call_count = ids->count;
    data_wait_begin(call, wait);
}

/* ---- run ---- */

void cmd_block(struct call *call)
{
    uint64_t timeout_ms;
    if (!data_is_served(call)) { return; }
    struct data_place place;
    struct buf why = {0};
    enum data_route route = data_route(call->caller->broker, call->command, call->argv, call->argc,
                                       call->caller->session->database, &place, &why);
    uint32_t count;
    uint32_t ids_at = find_last_ids(call, &count);
    if (route != DATA_ONE) {
        reply_error_slice(call->reply, buf_slice(&why));
    } else if (!has_timeout(call, &timeout_ms)) {
        data_run(call, place.partition);
    } else if (ids_at > 0) {
        ask_last_ids(call, place.partition, ids_at, count, timeout_ms);
    } else {
        blocked_begin(call, NULL, place.partition, timeout_ms);
    }
    buf_fini(&why);
}
