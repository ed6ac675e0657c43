/* placement: chooses the next owner of one partition.
 * Owns: nothing. Thread: any.
 * Always: a move goes to a node that is up and not draining, and none that owns fewer could take it;
 * a move that only balances leaves two counts nearer to each other, so there is a last one. */
#include "consensus/map/placement.h"

/* What the map amounts to. Zones are numbered by their lowest node; a node without one is alone. */
struct counts {
    const struct pmap *map;
    uint32_t owned[PMAP_NODES_MAX];      /* partitions of a node */
    uint32_t zone[PMAP_NODES_MAX];       /* of a node */
    uint32_t zone_owned[PMAP_NODES_MAX]; /* partitions of a zone */
};

static void count(struct counts *counts, const struct pmap *map)
{
    *counts = (struct counts){.map = map};
    for (uint32_t i = 0; i < map->node_count; i++) {
        counts->zone[i] = pmap_zone(map, i);
    }
    for (uint32_t p = 0; p < map->partition_count; p++) {
        uint32_t owner = map->partition[p].owner;
        if (owner == PMAP_NOBODY) { continue; }
        counts->owned[owner]++;
        counts->zone_owned[counts->zone[owner]]++;
    }
}

static bool may_own(const struct pmap *map, uint32_t index)
{
    return map->node[index].id != 0 && map->node[index].is_up && !map->node[index].is_draining;
}

/* How many of a partition's two neighbours are owned in the zone of node `to`. */
static uint32_t crowd(const struct counts *counts, uint32_t partition, uint32_t to)
{
    const struct pmap *map = counts->map;
    uint32_t crowded = 0;
    if (partition > 0) {
        uint32_t owner = map->partition[partition - 1].owner;
        crowded += owner != PMAP_NOBODY && counts->zone[owner] == counts->zone[to];
    }
    if (partition + 1 < map->partition_count) {
        uint32_t owner = map->partition[partition + 1].owner;
        crowded += owner != PMAP_NOBODY && counts->zone[owner] == counts->zone[to];
    }
    return crowded;
}

static bool is_better(const struct counts *counts, uint32_t partition, uint32_t a, uint32_t b)
{
    if (counts->owned[a] != counts->owned[b]) { return counts->owned[a] < counts->owned[b]; }
    uint32_t crowd_a = crowd(counts, partition, a);
    uint32_t crowd_b = crowd(counts, partition, b);
    if (crowd_a != crowd_b) { return crowd_a < crowd_b; }
    return counts->zone_owned[counts->zone[a]] < counts->zone_owned[counts->zone[b]];
}

/* The node that should take the partition, or PMAP_NOBODY if no node may own any. */
static uint32_t best_target(const struct counts *counts, uint32_t partition)
{
    uint32_t best = PMAP_NOBODY;
    for (uint32_t i = 0; i < counts->map->node_count; i++) {
        if (!may_own(counts->map, i)) { continue; }
        if (best == PMAP_NOBODY || is_better(counts, partition, i, best)) { best = i; }
    }
    return best;
}

static bool move_to_best(const struct counts *counts, uint32_t partition,
                         struct placement_move *out)
{
    uint32_t to = best_target(counts, partition);
    if (to == PMAP_NOBODY) { return false; }
    *out = (struct placement_move){.partition = partition, .to = to};
    return true;
}

/* The highest count among the nodes that may own. */
static uint32_t most_owned(const struct counts *counts)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < counts->map->node_count; i++) {
        if (may_own(counts->map, i) && counts->owned[i] > most) { most = counts->owned[i]; }
    }
    return most;
}

/* Of the partitions of the nodes that own most, the one that fits best where fewest are owned. */
static bool balance(const struct counts *counts, struct placement_move *out)
{
    const struct pmap *map = counts->map;
    uint32_t most = most_owned(counts);
    uint32_t least_crowd = UINT32_MAX;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (counts->owned[map->partition[p].owner] != most) { continue; }
        uint32_t to = best_target(counts, p);
        if (most - counts->owned[to] <= 1) { return false; }
        if (crowd(counts, p, to) < least_crowd) {
            least_crowd = crowd(counts, p, to);
            *out = (struct placement_move){.partition = p, .to = to};
        }
    }
    return least_crowd != UINT32_MAX;
}

bool placement_next(const struct pmap *map, bool move_is_unfinished, struct placement_move *out)
{
    struct counts counts;
    count(&counts, map);
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (map->partition[p].owner == PMAP_NOBODY) { return move_to_best(&counts, p, out); }
    }
    if (move_is_unfinished) { return false; }
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (!may_own(map, map->partition[p].owner)) { return move_to_best(&counts, p, out); }
    }
    return balance(&counts, out);
}
