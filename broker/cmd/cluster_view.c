/* cluster_view: the map, or one made for a node without. */
#include "cmd/cluster_view.h"

#include <stdio.h>

#include "base/slot.h"
#include "cmd/caller.h"
#include "session/address.h"

enum { BUS_PORT_OFFSET = 10000 }; /* where Redis's cluster clients look for the peer port */

/* The host that this client can reach the node at: the advertised one, or the one it has used. `text` has
 * room for SESSION_ADDRESS_BYTES. */
static struct slice own_host(const struct call *call, char *text)
{
    if (call->caller->broker->host[0] != '\0') { return slice_of_str(call->caller->broker->host); }
    if ((call->caller->session->flags & SESSION_UNIX) != 0) { return SLICE("127.0.0.1"); }
    struct slice address = session_local_address(call->caller->session, text);
    const char *colon = memrchr(address.data, ':', address.len);
    size_t len = colon != NULL ? (size_t)(colon - address.data) : address.len;
    if (len > 2 && address.data[0] == '[') { return slice_of(address.data + 1, len - 2); }
    return slice_of(address.data, len);
}

static const struct pmap *map_of_one(const struct call *call, bool owns_all)
{
    const struct broker *broker = call->caller->broker;
    char text[SESSION_ADDRESS_BYTES];
    struct pmap *map = pmap_new(1, 1);
    struct pmap_node *node = &map->node[0];
    node->id = broker->id;
    snprintf(node->name, sizeof node->name, "%s", broker->name);
    struct slice host = own_host(call, text);
    snprintf(node->client.host, sizeof node->client.host, "%.*s", SLICE_ARG(host));
    node->client.port = broker->port;
    node->peer = node->client;
    node->peer.port = (uint16_t)(broker->port + BUS_PORT_OFFSET);
    node->is_up = true;
    map->partition[0].owner = owns_all ? 0 : PMAP_NOBODY;
    map->partition[0].epoch = owns_all;
    return map;
}

void cluster_view_open(struct cluster_view *view, const struct call *call)
{
    struct cluster *cluster = call->caller->broker->cluster;
    view->map = cluster != NULL ? cluster_map(cluster, &view->self) : NULL;
    if (view->map == NULL) {
        view->map = map_of_one(call, cluster == NULL);
        view->self = 0;
    }
}

void cluster_view_close(struct cluster_view *view)
{
    pmap_unref(view->map);
}

uint32_t cluster_view_next(const struct cluster_view *view, uint32_t from)
{
    for (uint32_t i = from; i < view->map->node_count; i++) {
        if (view->map->node[i].id != 0) { return i; }
    }
    return PMAP_NOBODY;
}

uint32_t cluster_view_find(const struct cluster_view *view, struct slice name_or_id)
{
    uint32_t by_name = pmap_find_name(view->map, name_or_id);
    if (by_name != PMAP_NOBODY) { return by_name; }
    uint32_t node = cluster_view_next(view, 0);
    while (node != PMAP_NOBODY) {
        char id[NODE_NAME_BYTES];
        node_name_print(view->map->node[node].id, id);
        if (slice_equal_nocase(name_or_id, slice_of_str(id))) { return node; }
        node = cluster_view_next(view, node + 1);
    }
    return PMAP_NOBODY;
}

bool cluster_view_range(const struct cluster_view *view, uint32_t owner, uint32_t from,
                        struct slot_range *out)
{
    const struct pmap *map = view->map;
    uint32_t first = from;
    while (first < map->partition_count &&
           (map->partition[first].owner == PMAP_NOBODY ||
            (owner != PMAP_NOBODY && map->partition[first].owner != owner))) {
        first++;
    }
    if (first == map->partition_count) { return false; }
    uint32_t end = first + 1;
    while (end < map->partition_count && map->partition[end].owner == map->partition[first].owner) {
        end++;
    }
    *out = (struct slot_range){
        .owner = map->partition[first].owner,
        .first = slot_partition_begin(map->partition_count, first),
        .last = slot_partition_begin(map->partition_count, end) - 1,
        .next_partition = end,
    };
    return true;
}

uint64_t cluster_view_epoch(const struct cluster_view *view, uint32_t node)
{
    uint64_t epoch = 0;
    for (uint32_t i = 0; i < view->map->partition_count; i++) {
        const struct pmap_partition *partition = &view->map->partition[i];
        if (partition->owner == node && partition->epoch > epoch) { epoch = partition->epoch; }
    }
    return epoch;
}

struct cluster_counts cluster_view_count(const struct cluster_view *view)
{
    const struct pmap *map = view->map;
    struct cluster_counts counts = {0};
    for (uint32_t i = cluster_view_next(view, 0); i != PMAP_NOBODY;
         i = cluster_view_next(view, i + 1)) {
        struct slot_range range;
        counts.members++;
        counts.up += map->node[i].is_up;
        counts.voters += map->node[i].is_voter;
        counts.owners += cluster_view_range(view, i, 0, &range);
    }
    for (uint32_t i = 0; i < map->partition_count; i++) {
        const struct pmap_partition *partition = &map->partition[i];
        if (partition->epoch > counts.epoch) { counts.epoch = partition->epoch; }
        if (partition->owner == PMAP_NOBODY) {
            counts.unowned++;
        } else {
            counts.slots += slot_partition_begin(map->partition_count, i + 1) -
                            slot_partition_begin(map->partition_count, i);
        }
    }
    return counts;
}
