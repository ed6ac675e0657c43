/* control_replicas: the commands about partitions' replicas.
 * Owns: nothing; it works on the map that control.c makes. Thread: the raft thread.
 * Always: replicas of a partition are by rising id, on different members; a change of them has a number, and leaves the
 * partition unsettled; a voter of a partition that is not settled goes only with its node. */
#include "consensus/map/control_int.h"

/* ---- what is always true ---- */

bool control_replicas_are_sound(const struct pmap *map, const struct pmap_partition *partition)
{
    if (partition->replica_count > PMAP_REPLICAS_MAX || partition->replica_last >> 62 != 0 ||
        partition->change >> 62 != 0 || (partition->is_settled && !partition->is_founded)) {
        return false;
    }
    if (map->level < PMAP_LEVEL_REPLICAS && partition->change != 0) { return false; }
    if (partition->change == 0 && (partition->replica_count > 0 || partition->is_founded)) {
        return false;
    }
    uint32_t voters = 0;
    uint64_t last = 0;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        const struct pmap_replica *replica = &partition->replica[i];
        bool is_member = replica->node < map->node_count && map->node[replica->node].id != 0;
        bool is_alone = pmap_replica_on(partition, replica->node) == replica;
        if (!is_member || !is_alone || replica->id <= last) { return false; }
        last = replica->id;
        voters += replica->is_voter;
    }
    if (last > partition->replica_last || (voters > 0 && !partition->is_founded)) { return false; }
    return !partition->is_settled || (voters > 0 && voters == partition->replica_count);
}

void control_check_replicas(const struct pmap_partition *before, const struct pmap_partition *after)
{
    CHECK(after->replica_last >= before->replica_last);
    CHECK(after->is_founded || !before->is_founded);
    bool is_same = after->replica_count == before->replica_count;
    for (uint32_t i = 0; is_same && i < after->replica_count; i++) {
        is_same = after->replica[i].id == before->replica[i].id &&
                  after->replica[i].node == before->replica[i].node;
    }
    CHECK(after->change == before->change + (is_same ? 0 : 1));
    CHECK(is_same || !after->is_settled);
}

/* ---- steps ---- */

void control_lose_replicas(struct pmap *next, uint32_t index)
{
    for (uint32_t p = 0; p < next->partition_count; p++) {
        struct pmap_partition *partition = &next->partition[p];
        const struct pmap_replica *replica = pmap_replica_on(partition, index);
        if (replica != NULL) { pmap_drop_replica(partition, replica->id); }
    }
}

void control_bring_replicas(struct control *control, struct pmap *next, uint32_t index)
{
    if (control->data_of == 0 || next->node[index].id != control->data_of) { return; }
    control->data_of = 0;
    for (uint32_t p = 0; p < next->partition_count; p++) {
        pmap_put_replica(&next->partition[p], index);
    }
}

/* The partition which the command means, if its replicas are still as it says; or NULL. */
static const struct pmap_partition *find_partition(const struct control *control,
                                                   const struct control_command *c)
{
    const struct pmap *map = control->map;
    if (map->level < PMAP_LEVEL_REPLICAS || control->data_of != 0 ||
        c->partition >= map->partition_count) {
        return NULL;
    }
    const struct pmap_partition *partition = &map->partition[c->partition];
    return partition->change == c->change ? partition : NULL;
}

/* ---- the commands ---- */

struct pmap *control_level(struct control *control, const struct control_command *c)
{
    if (c->level <= control->map->level) { return NULL; }
    struct pmap *next = pmap_copy(control->map, control->map->node_count);
    next->level = c->level;
    if (next->key_layout == 0) { next->key_layout = c->key_layout; }
    return next;
}

struct pmap *control_add_replica(struct control *control, const struct control_command *c)
{
    const struct pmap *map = control->map;
    const struct pmap_partition *partition = find_partition(control, c);
    uint32_t index = pmap_find_id(map, c->node_id);
    if (partition == NULL || index == PMAP_NOBODY || !map->node[index].is_up) { return NULL; }
    bool may_grow = partition->is_founded ? partition->is_settled : partition->replica_count == 0;
    if (!may_grow || partition->replica_count == PMAP_REPLICAS_MAX ||
        pmap_replica_on(partition, index) != NULL) {
        return NULL;
    }
    struct pmap *next = pmap_copy(map, map->node_count);
    pmap_put_replica(&next->partition[c->partition], index);
    return next;
}

struct pmap *control_remove_replica(struct control *control, const struct control_command *c)
{
    const struct pmap_partition *partition = find_partition(control, c);
    const struct pmap_replica *replica =
        partition != NULL ? pmap_replica_with(partition, c->replica) : NULL;
    if (replica == NULL || !partition->is_founded) { return NULL; }
    bool may_go = replica->is_voter ? partition->is_settled && partition->replica_count > 1 : true;
    if (!may_go) { return NULL; }
    struct pmap *next = pmap_copy(control->map, control->map->node_count);
    pmap_drop_replica(&next->partition[c->partition], c->replica);
    return next;
}

struct pmap *control_settle(struct control *control, const struct control_command *c)
{
    const struct pmap_partition *partition = find_partition(control, c);
    if (partition == NULL || partition->is_settled || partition->replica_count == 0) {
        return NULL;
    }
    struct pmap *next = pmap_copy(control->map, control->map->node_count);
    struct pmap_partition *settled = &next->partition[c->partition];
    settled->is_founded = true;
    settled->is_settled = true;
    for (uint32_t i = 0; i < settled->replica_count; i++) {
        settled->replica[i].is_voter = true;
    }
    return next;
}
