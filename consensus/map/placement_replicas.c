/* placement_replicas: chooses one change of one partition's replicas.
 * Owns: nothing. Thread: any.
 * Always: a move is an addition that is settled before its removal is looked at, and the removal then finds the replica that
 * the move was about, or one as good: the sum of the squares of what nodes have has become less, or fewer share a zone. */
#include "consensus/map/placement_replicas.h"

/* What the map amounts to. Zones are numbered by their lowest node; a node without one is alone. */
struct tally {
    const struct pmap *map;
    uint32_t members;
    uint32_t adding; /* partitions that get a replica, and can */
    uint32_t founding;
    uint32_t held[PMAP_NODES_MAX]; /* replicas of a node */
    uint32_t zone[PMAP_NODES_MAX]; /* of a node */
};

/* Has it a replica that does not vote yet, and are its voters up for the most part, so that it can? */
static bool is_adding(const struct pmap *map, const struct pmap_partition *partition)
{
    uint32_t voters = 0;
    uint32_t up = 0;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        const struct pmap_replica *replica = &partition->replica[i];
        voters += replica->is_voter;
        up += replica->is_voter && map->node[replica->node].is_up;
    }
    return partition->is_founded && voters < partition->replica_count && up * 2 > voters;
}

static void count(struct tally *tally, const struct pmap *map)
{
    *tally = (struct tally){.map = map};
    for (uint32_t i = 0; i < map->node_count; i++) {
        tally->members += map->node[i].id != 0;
        tally->zone[i] = pmap_zone(map, i);
    }
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        tally->adding += is_adding(map, partition);
        tally->founding += !partition->is_founded && partition->replica_count > 0;
        for (uint32_t i = 0; i < partition->replica_count; i++) {
            tally->held[partition->replica[i].node]++;
        }
    }
}

/* May it get something? */
static bool is_fit(const struct pmap *map, uint32_t index)
{
    return map->node[index].id != 0 && map->node[index].is_up && !map->node[index].is_draining;
}

/* How many replicas of the partition are in the zone of node `index`, its own left out. */
static uint32_t neighbours(const struct tally *tally, const struct pmap_partition *partition,
                           uint32_t index)
{
    uint32_t shared = 0;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        uint32_t node = partition->replica[i].node;
        shared += node != index && tally->zone[node] == tally->zone[index];
    }
    return shared;
}

/* ---- additions ---- */

static bool is_better(const struct tally *tally, const struct pmap_partition *partition, uint32_t a,
                      uint32_t b)
{
    uint32_t shared_a = neighbours(tally, partition, a);
    uint32_t shared_b = neighbours(tally, partition, b);
    if (shared_a != shared_b) { return shared_a < shared_b; }
    if (tally->held[a] != tally->held[b]) { return tally->held[a] < tally->held[b]; }
    return partition->owner == a && partition->owner != b;
}

/* The node that should get a replica of it, or PMAP_NOBODY. */
static uint32_t best_target(const struct tally *tally, const struct pmap_partition *partition)
{
    uint32_t best = PMAP_NOBODY;
    for (uint32_t i = 0; i < tally->map->node_count; i++) {
        if (!is_fit(tally->map, i) || pmap_replica_on(partition, i) != NULL) { continue; }
        if (best == PMAP_NOBODY || is_better(tally, partition, i, best)) { best = i; }
    }
    return best;
}

static bool found(const struct tally *tally, struct placement_change *out)
{
    const struct pmap *map = tally->map;
    if (tally->founding >= PLACEMENT_FOUNDING_MAX) { return false; }
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        bool is_due = !partition->is_founded && partition->replica_count == 0;
        if (!is_due || partition->owner == PMAP_NOBODY || !is_fit(map, partition->owner)) {
            continue;
        }
        *out = (struct placement_change){
            .partition = p, .node = partition->owner, .reason = "it is founded"};
        return true;
    }
    return false;
}

static bool may_change(const struct pmap_partition *partition)
{
    return partition->is_settled && partition->replica_count > 0;
}

static bool add_missing(const struct tally *tally, uint32_t wanted, struct placement_change *out)
{
    const struct pmap *map = tally->map;
    uint32_t fewest = wanted;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        if (!may_change(partition) || partition->replica_count >= fewest) { continue; }
        uint32_t to = best_target(tally, partition);
        if (to == PMAP_NOBODY) { continue; }
        fewest = partition->replica_count;
        *out = (struct placement_change){.partition = p, .node = to, .reason = "it has too few"};
    }
    return fewest < wanted;
}

/* ---- removals ---- */

static void remove_at(const struct pmap *map, uint32_t partition, uint32_t at, const char *reason,
                      struct placement_change *out)
{
    const struct pmap_replica *replica = &map->partition[partition].replica[at];
    *out = (struct placement_change){.partition = partition,
                                     .is_removal = true,
                                     .node = replica->node,
                                     .replica = replica->id,
                                     .reason = reason};
}

/* One that was to be added, on a node that went down before it was. */
static bool abandon(const struct pmap *map, struct placement_change *out)
{
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        for (uint32_t i = 0; partition->is_founded && i < partition->replica_count; i++) {
            const struct pmap_replica *replica = &partition->replica[i];
            if (replica->is_voter || map->node[replica->node].is_up) { continue; }
            remove_at(map, p, i, "its node is down before it votes", out);
            return true;
        }
    }
    return false;
}

/* A partition's voters, and what becomes of their nodes. */
struct stand {
    uint32_t voters;
    uint32_t fit;     /* stay */
    uint32_t leaving; /* are up and drain */
    uint32_t down;
};

static struct stand stand_of(const struct pmap *map, const struct pmap_partition *partition)
{
    struct stand stand = {0};
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        const struct pmap_replica *replica = &partition->replica[i];
        const struct pmap_node *node = &map->node[replica->node];
        if (!replica->is_voter) { continue; }
        stand.voters++;
        stand.fit += is_fit(map, replica->node);
        stand.leaving += node->is_up && node->is_draining;
        stand.down += !node->is_up;
    }
    return stand;
}

/* Will those that stay be no majority, and can they and those that drain agree to mend it, while these are here? */
static bool is_short(const struct stand *stand)
{
    bool can_agree = (stand->fit + stand->leaving) * 2 > stand->voters;
    return stand->leaving > 0 && stand->fit * 2 <= stand->voters && can_agree;
}

static bool has_target(const struct pmap *map, const struct pmap_partition *partition)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (is_fit(map, i) && pmap_replica_on(partition, i) == NULL) { return true; }
    }
    return false;
}

/* One that is short: by one more on a node that stays, as long as those that stay are only one or no more than those that
 * are down; then by taking votes away from who drains. */
static bool wants_more(const struct pmap *map, const struct pmap_partition *partition,
                       const struct stand *stand)
{
    return is_short(stand) && (stand->fit < 2 || stand->fit <= stand->down) &&
           partition->replica_count < PMAP_REPLICAS_MAX && has_target(map, partition);
}

static bool wants_less(const struct pmap *map, const struct pmap_partition *partition,
                       const struct stand *stand)
{
    return is_short(stand) && stand->fit > stand->down && !wants_more(map, partition, stand);
}

bool placement_is_left_short(const struct pmap *map, uint32_t partition)
{
    struct stand stand = stand_of(map, &map->partition[partition]);
    return stand.voters > 0 && stand.fit * 2 <= stand.voters;
}

bool placement_must_wait(const struct pmap *map, uint32_t partition)
{
    const struct pmap_partition *row = &map->partition[partition];
    struct stand stand = stand_of(map, row);
    if (wants_more(map, row, &stand) || wants_less(map, row, &stand)) { return true; }
    /* One that is not in the map any more, or does not vote there yet, may have a vote in the group. */
    return !row->is_settled && stand.fit > 0 && stand.fit > stand.down &&
           stand.fit * 2 <= stand.voters + 1;
}

static bool shed(const struct pmap *map, struct placement_change *out)
{
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        struct stand stand = stand_of(map, partition);
        if (!partition->is_settled || !wants_less(map, partition, &stand)) { continue; }
        for (uint32_t i = 0; i < partition->replica_count; i++) {
            const struct pmap_node *node = &map->node[partition->replica[i].node];
            if (!node->is_up || !node->is_draining) { continue; }
            remove_at(map, p, i, "its node drains, and its vote would be missed", out);
            return true;
        }
    }
    return false;
}

/* Before those that drain go, there have to be others. */
static bool add_in_time(const struct tally *tally, struct placement_change *out)
{
    const struct pmap *map = tally->map;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        struct stand stand = stand_of(map, partition);
        if (!may_change(partition) || !wants_more(map, partition, &stand)) { continue; }
        *out = (struct placement_change){.partition = p,
                                         .node = best_target(tally, partition),
                                         .reason = "too many of its nodes drain"};
        return true;
    }
    return false;
}

/* Should `a` go rather than `b`? */
static bool is_worse(const struct tally *tally, const struct pmap_partition *partition, uint32_t a,
                     uint32_t b)
{
    const struct pmap_node *node = tally->map->node;
    if (node[a].is_up != node[b].is_up) { return !node[a].is_up; }
    if (node[a].is_draining != node[b].is_draining) { return node[a].is_draining; }
    uint32_t shared_a = neighbours(tally, partition, a);
    uint32_t shared_b = neighbours(tally, partition, b);
    if (shared_a != shared_b) { return shared_a > shared_b; }
    if (tally->held[a] != tally->held[b]) { return tally->held[a] > tally->held[b]; }
    return partition->owner != a && partition->owner == b;
}

/* Would those that stay be up for the most part? */
static bool can_lose(const struct pmap *map, const struct pmap_partition *partition, uint32_t at)
{
    uint32_t up = 0;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        up += i != at && map->node[partition->replica[i].node].is_up;
    }
    return up * 2 > partition->replica_count - 1;
}

static bool remove_surplus(const struct tally *tally, uint32_t wanted, struct placement_change *out)
{
    const struct pmap *map = tally->map;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        if (!may_change(partition) || partition->replica_count <= wanted) { continue; }
        uint32_t worst = 0;
        for (uint32_t i = 1; i < partition->replica_count; i++) {
            uint32_t node = partition->replica[i].node;
            if (is_worse(tally, partition, node, partition->replica[worst].node)) { worst = i; }
        }
        if (!can_lose(map, partition, worst)) { continue; }
        remove_at(map, p, worst, "it has one too many", out);
        return true;
    }
    return false;
}

/* ---- moves ---- */

static bool all_are_up(const struct pmap *map, const struct pmap_partition *partition)
{
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        if (!map->node[partition->replica[i].node].is_up) { return false; }
    }
    return true;
}

/* A move needs one place more for a while. */
static bool may_move(const struct pmap *map, const struct pmap_partition *partition)
{
    return may_change(partition) && partition->replica_count < PMAP_REPLICAS_MAX &&
           all_are_up(map, partition);
}

/* Two of a partition are in one zone, and another has none. */
static bool part_zones(const struct tally *tally, struct placement_change *out)
{
    const struct pmap *map = tally->map;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        uint32_t shared = 0;
        for (uint32_t i = 0; i < partition->replica_count; i++) {
            shared += neighbours(tally, partition, partition->replica[i].node);
        }
        if (shared == 0 || !may_move(map, partition)) { continue; }
        uint32_t to = best_target(tally, partition);
        if (to == PMAP_NOBODY || neighbours(tally, partition, to) > 0) { continue; }
        *out = (struct placement_change){.partition = p, .node = to, .reason = "zones apart"};
        return true;
    }
    return false;
}

/* Would the partition, with `to` and without whichever goes then, have given up one of `most`'s? */
static bool fits(const struct tally *tally, const struct pmap_partition *partition, uint32_t most,
                 uint32_t to)
{
    if (pmap_replica_on(partition, most) == NULL || pmap_replica_on(partition, to) != NULL ||
        !may_move(tally->map, partition)) {
        return false;
    }
    struct pmap_partition next = *partition;
    next.replica[next.replica_count++] = (struct pmap_replica){.id = UINT64_MAX, .node = to};
    struct tally after = *tally;
    after.held[to]++;
    uint32_t worst = 0;
    for (uint32_t i = 1; i < next.replica_count; i++) {
        uint32_t node = next.replica[i].node;
        if (is_worse(&after, &next, node, next.replica[worst].node)) { worst = i; }
    }
    /* Whoever goes has at least two more than `to` had, so it is better than before. */
    return tally->held[next.replica[worst].node] > tally->held[to] + 1;
}

static bool balance(const struct tally *tally, struct placement_change *out)
{
    const struct pmap *map = tally->map;
    uint32_t most = PMAP_NOBODY;
    uint32_t least = PMAP_NOBODY;
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (!is_fit(map, i)) { continue; }
        if (most == PMAP_NOBODY || tally->held[i] > tally->held[most]) { most = i; }
        if (least == PMAP_NOBODY || tally->held[i] < tally->held[least]) { least = i; }
    }
    if (most == PMAP_NOBODY || tally->held[most] <= tally->held[least] + 1) { return false; }
    uint32_t best = PMAP_NOBODY;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (!fits(tally, &map->partition[p], most, least)) { continue; }
        if (best == PMAP_NOBODY) { best = p; }
        if (map->partition[p].owner == least) {
            best = p;
            break;
        }
    }
    if (best == PMAP_NOBODY) { return false; }
    *out = (struct placement_change){.partition = best, .node = least, .reason = "balance"};
    return true;
}

bool placement_replicas_next(const struct pmap *map, uint32_t wanted, struct placement_change *out)
{
    struct tally tally;
    CHECK(wanted >= 1 && wanted <= PLACEMENT_WANTED_MAX);
    if (map->level < PMAP_LEVEL_REPLICAS) { return false; }
    count(&tally, map);
    if (found(&tally, out) || abandon(map, out) || shed(map, out)) { return true; }
    uint32_t possible = wanted < tally.members ? wanted : tally.members;
    if (remove_surplus(&tally, possible, out)) { return true; }
    if (tally.adding >= PLACEMENT_ADDING_MAX) { return false; }
    if (add_in_time(&tally, out) || add_missing(&tally, possible, out)) { return true; }
    if (tally.adding > 0 || tally.founding > 0) { return false; }
    return part_zones(&tally, out) || balance(&tally, out);
}

/* ---- who leads ---- */

/* Each pair of a partition and a node has its weight; a node that comes or goes changes nothing between the others. */
static uint64_t weight(uint32_t partition, uint64_t node_id)
{
    uint64_t mixed = (node_id ^ (partition + 1) * UINT64_C(0x9e3779b97f4a7c15));
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

uint32_t placement_leader(const struct pmap *map, uint32_t partition)
{
    const struct pmap_partition *row = &map->partition[partition];
    uint32_t best = PMAP_NOBODY;
    for (uint32_t i = 0; i < row->replica_count; i++) {
        uint32_t node = row->replica[i].node;
        if (!row->replica[i].is_voter || !is_fit(map, node)) { continue; }
        if (node == row->owner) { return node; }
        if (best == PMAP_NOBODY ||
            weight(partition, map->node[node].id) > weight(partition, map->node[best].id)) {
            best = node;
        }
    }
    return best;
}
