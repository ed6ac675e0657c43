/* cmd_cluster_keys: CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT: keys of the session's database, wherever they are. */
#include <stdio.h>

#include "base/mem.h"
#include "base/slot.h"
#include "cmd/caller.h"
#include "cmd/data_route.h"
#include "cmd/data_run.h"
#include "cmd/data_wait.h"

static void finish(struct data_wait *wait, struct call *call)
{
    const struct partition_request *request = &wait->part[0].request;
    if (data_wait_failed(wait, call->reply)) { return; }
    call->reply->error_count += request->reply.len > 0 && request->reply.data[0] == '-';
    buf_append(call->reply->out, buf_slice(&request->reply));
}

static void free_call(struct data_wait *wait)
{
    mem_free(wait->own);
}

/* `count` below 0: their number. */
static void ask(struct call *call, uint32_t slot, int64_t count)
{
    static const struct data_wait_ops ops = {.finish = finish, .free = free_call};
    const struct broker *broker = call->caller->broker;
    uint16_t database = call->caller->session->database;
    char text[2][24];
    const struct slice argv[] = {
        SLICE("slotkeys"), slice_of(text[0], (size_t)snprintf(text[0], sizeof text[0], "%u", slot)),
        slice_of(text[1], (size_t)snprintf(text[1], sizeof text[1], "%ld", (long)count))};
    struct data_wait *wait = data_wait_new(call, &ops, 1);
    struct partition_call *copy = data_call_copy(argv, COUNT_OF(argv), database);
    wait->own = copy;
    struct partition_request *request = &wait->part[0].request;
    request->ask = PARTITION_READ;
    request->partition = data_slot_partition(broker, database, slot);
    request->resp_version = call->reply->version;
    request->call = copy;
    request->call_count = 1;
    data_wait_begin(call, wait);
}

static bool slot_read(struct slice text, uint32_t *slot)
{
    int64_t v;
    bool is_good = slice_to_int64(text, &v) && v >= 0 && v < SLOT_COUNT;
    if (is_good) { *slot = (uint32_t)v; }
    return is_good;
}

void cmd_cluster_countkeysinslot(struct call *call)
{
    uint32_t slot;
    if (!slot_read(call->argv[2], &slot)) {
        reply_error(call->reply, "ERR Invalid slot");
    } else if (data_is_served(call)) {
        ask(call, slot, -1);
    }
}

void cmd_cluster_getkeysinslot(struct call *call)
{
    uint32_t slot;
    int64_t count;
    if (!slot_read(call->argv[2], &slot) || !slice_to_int64(call->argv[3], &count) || count < 0) {
        reply_error(call->reply, "ERR Invalid slot or number of keys");
    } else if (data_is_served(call)) {
        ask(call, slot, count);
    }
}
