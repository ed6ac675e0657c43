/* data_all: ask all, add up. SCAN goes through the partitions one after the other: its cursor has a slot in its upper bits
 * (store_key_scan), which is in one of them. */
#include "cmd/data_all.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/slot.h"
#include "cmd/data_wait.h"
#include "store/store_key.h"

/* ---- replies of partitions ---- */

/* The number in the line at the start of a reply: ":12", "*3", "$5". *rest: what comes behind it. */
static uint64_t head_number(struct slice reply, struct slice *rest)
{
    uint64_t number = 0;
    size_t at = 1;
    for (; at < reply.len && reply.data[at] >= '0' && reply.data[at] <= '9'; at++) {
        number = number * 10 + (uint64_t)(reply.data[at] - '0');
    }
    size_t end = at + 2 < reply.len ? at + 2 : reply.len;
    *rest = slice_of(reply.data + end, reply.len - end);
    return number;
}

static struct slice reply_of(const struct data_wait *wait, uint32_t part)
{
    return buf_slice(&wait->part[part].request.reply);
}

/* One that was refused: that is the answer. */
static bool has_error(const struct data_wait *wait, struct call *call)
{
    if (data_wait_failed(wait, call->reply)) { return true; }
    for (uint32_t i = 0; i < wait->part_count; i++) {
        struct slice reply = reply_of(wait, i);
        if (reply.len > 0 && reply.data[0] == '-') {
            reply_error_slice(call->reply, slice_of(reply.data + 1, reply.len - 3));
            return true;
        }
    }
    return false;
}

static void finish_count(struct data_wait *wait, struct call *call)
{
    if (has_error(wait, call)) { return; }
    uint64_t sum = 0;
    struct slice rest;
    for (uint32_t i = 0; i < wait->part_count; i++) {
        sum += head_number(reply_of(wait, i), &rest);
    }
    reply_int(call->reply, (int64_t)sum);
}

static void finish_list(struct data_wait *wait, struct call *call)
{
    if (has_error(wait, call)) { return; }
    uint64_t count = 0;
    struct slice rest;
    for (uint32_t i = 0; i < wait->part_count; i++) {
        count += head_number(reply_of(wait, i), &rest);
    }
    reply_array(call->reply, count);
    for (uint32_t i = 0; i < wait->part_count; i++) {
        (void)head_number(reply_of(wait, i), &rest);
        buf_append(call->reply->out, rest);
    }
}

/* Any one that has a key. */
static void finish_one(struct data_wait *wait, struct call *call)
{
    if (has_error(wait, call)) { return; }
    uint32_t first = (uint32_t)random() % wait->part_count;
    for (uint32_t i = 0; i < wait->part_count; i++) {
        struct slice reply = reply_of(wait, (first + i) % wait->part_count);
        bool is_null = reply.data[0] == '_' || (reply.len > 1 && reply.data[1] == '-');
        if (!is_null) {
            buf_append(call->reply->out, reply);
            return;
        }
    }
    reply_null(call->reply);
}

/* All have said the same. */
static void finish_any(struct data_wait *wait, struct call *call)
{
    if (!has_error(wait, call)) { buf_append(call->reply->out, reply_of(wait, 0)); }
}

/* Of each script: do all partitions keep it? */
static void finish_all_have(struct data_wait *wait, struct call *call)
{
    enum { ITEM_BYTES = 4 }; /* ":1\r\n" */
    if (has_error(wait, call)) { return; }
    struct slice rest;
    uint64_t count = head_number(reply_of(wait, 0), &rest);
    reply_array(call->reply, count);
    for (uint64_t i = 0; i < count; i++) {
        bool have_all = true;
        for (uint32_t part = 0; part < wait->part_count && have_all; part++) {
            (void)head_number(reply_of(wait, part), &rest);
            have_all = rest.data[i * ITEM_BYTES + 1] == '1';
        }
        reply_int(call->reply, have_all);
    }
}

static void finish_ok(struct data_wait *wait, struct call *call)
{
    if (!has_error(wait, call)) { reply_ok(call->reply); }
}

static void free_call(struct data_wait *wait)
{
    mem_free(wait->own);
}

/* ---- all at once ---- */

static const struct data_wait_ops *ops_of(const struct command *command)
{
    static const struct data_wait_ops count = {.finish = finish_count, .free = free_call};
    static const struct data_wait_ops list = {.finish = finish_list, .free = free_call};
    static const struct data_wait_ops one = {.finish = finish_one, .free = free_call};
    static const struct data_wait_ops ok = {.finish = finish_ok, .free = free_call};
    static const struct data_wait_ops any = {.finish = finish_any, .free = free_call};
    static const struct data_wait_ops all_have = {.finish = finish_all_have, .free = free_call};
    switch (command_id(command)) {
    case COMMAND_dbsize: return &count;
    case COMMAND_keys: return &list;
    case COMMAND_randomkey: return &one;
    case COMMAND_flushall:
    case COMMAND_flushdb:
    case COMMAND_script_flush: return &ok;
    case COMMAND_script_load: return &any;
    case COMMAND_script_exists: return &all_have;
    default: UNREACHABLE(); /* no other row without keys goes to all */
    }
}

static struct partition_request *request_of(struct data_wait *wait, uint32_t part,
                                            const struct call *call, uint32_t partition)
{
    bool reads = !command_is_logged(call->command);
    struct partition_request *request = &wait->part[part].request;
    request->ask = reads ? PARTITION_READ : PARTITION_WRITE;
    request->partition = partition;
    request->call = wait->own;
    request->call_count = 1;
    return request;
}

/* ---- SCAN ---- */

/* The partition has no more: the cursor of the next one's beginning; 0: it was the last. */
static uint64_t next_partition(const struct call *call, uint32_t partition)
{
    uint32_t count = call->caller->broker->partition_count;
    return partition + 1 == count
               ? 0
               : (uint64_t)slot_partition_begin(count, partition + 1) << STORE_SCAN_OID_BITS;
}

static void finish_scan(struct data_wait *wait, struct call *call)
{
    if (has_error(wait, call)) { return; }
    struct slice rest;
    (void)head_number(reply_of(wait, 0), &rest); /* of two: */
    uint64_t digits = head_number(rest, &rest);  /* a cursor, and the keys */
    int64_t cursor;
    CHECK(slice_to_int64(slice_of(rest.data, digits), &cursor));
    rest = slice_of(rest.data + digits + 2, rest.len - digits - 2);
    if (cursor == 0) { cursor = (int64_t)next_partition(call, wait->part[0].request.partition); }
    char text[20];
    reply_array(call->reply, 2);
    reply_bulk(call->reply, slice_of(text, uint64_to_text((uint64_t)cursor, text)));
    buf_append(call->reply->out, rest);
}

static void scan(struct call *call)
{
    static const struct data_wait_ops ops = {.finish = finish_scan, .free = free_call};
    int64_t cursor;
    bool is_good = slice_to_int64(call->argv[1], &cursor) && cursor >= 0 &&
                   cursor >> STORE_SCAN_OID_BITS < SLOT_COUNT;
    if (!is_good) {
        reply_error(call->reply, "ERR invalid cursor");
        return;
    }
    uint32_t slot = (uint32_t)(cursor >> STORE_SCAN_OID_BITS);
    struct data_wait *wait = data_wait_new(call, &ops, 1);
    wait->own = data_call_copy(call->argv, call->argc, call->caller->session->database);
    (void)request_of(wait, 0, call, slot_partition(call->caller->broker->partition_count, slot));
    data_wait_begin(call, wait);
}

void data_all(struct call *call)
{
    if (command_id(call->command) == COMMAND_scan) {
        scan(call);
        return;
    }
    uint32_t count = call->caller->broker->partition_count;
    struct data_wait *wait = data_wait_new(call, ops_of(call->command), count);
    wait->own = data_call_copy(call->argv, call->argc, call->caller->session->database);
    for (uint32_t i = 0; i < count; i++) {
        (void)request_of(wait, i, call, i);
    }
    data_wait_begin(call, wait);
}
