/* cmd_wait: WAIT and WAITAOF. A write is on the disks of a majority of its partition's replicas when it is answered, and
 * is counted by nobody later: so there is an answer at once, which no waiting would change. */
#include "cluster/cluster.h"
#include "cmd/caller.h"
#include "cmd/data_route.h"

/* Other nodes that certainly hold what this session has had acknowledged in its database, of any of its keys. */
static uint32_t others_holding(const struct call *call)
{
    const struct broker *broker = call->caller->broker;
    uint16_t database = call->caller->session->database;
    uint32_t self;
    const struct pmap *map = broker->cluster != NULL ? cluster_map(broker->cluster, &self) : NULL;
    if (map == NULL) { return 0; } /* a node alone has nobody else */
    uint32_t fewest = UINT32_MAX;
    uint32_t home = data_place_of(broker, database, SLICE("")).partition;
    for (uint32_t i = 0; i < map->partition_count; i++) {
        bool has_keys = data_is_sharded(broker, database) || i == home;
        if (has_keys && map->partition[i].replica_count < fewest) {
            fewest = map->partition[i].replica_count;
        }
    }
    pmap_unref(map);
    return fewest == UINT32_MAX ? 0 : fewest / 2; /* a majority, less one */
}

static bool arg_timeout_ms(struct call *call, uint32_t at)
{
    int64_t timeout_ms;
    if (!slice_to_int64(call->argv[at], &timeout_ms)) {
        reply_error(call->reply, "ERR timeout is not an integer or out of range");
    } else if (timeout_ms < 0) {
        reply_error(call->reply, "ERR timeout is negative");
    } else {
        return true;
    }
    return false;
}

static bool arg_count(struct call *call, uint32_t at)
{
    int64_t count;
    if (slice_to_int64(call->argv[at], &count)) { return true; }
    reply_error(call->reply, "ERR value is not an integer or out of range");
    return false;
}

void cmd_wait(struct call *call)
{
    if (arg_count(call, 1) && arg_timeout_ms(call, 2)) {
        reply_int(call->reply, others_holding(call));
    }
}

void cmd_waitaof(struct call *call)
{
    int64_t local;
    if (!arg_count(call, 1) || !arg_count(call, 2) || !arg_timeout_ms(call, 3)) { return; }
    if (slice_to_int64(call->argv[1], &local) && (local < 0 || local > 1)) {
        reply_error(call->reply, "ERR value is out of range, must be between 0 and 1");
        return;
    }
    reply_array(call->reply, 2);
    reply_int(call->reply, 1);
    reply_int(call->reply, others_holding(call));
}
