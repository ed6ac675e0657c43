/* control: applies the commands of the control group's log.
 * Owns: the members and the partitions' owners. Not: replicas (control_replicas), bytes (control_wire),
 * what to do next (placement, membership). Thread: the raft thread.
 * Always: what control.h states; and a map that was given out is never written: a command that
 * changes something makes the next map from a copy. */
#include "consensus/map/control.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "consensus/map/control_int.h"

struct control *control_new(void)
{
    return mem_new0(sizeof(struct control));
}

void control_free(struct control *control)
{
    if (control == NULL) { return; }
    pmap_unref(control->map);
    mem_free(control);
}

uint64_t control_applied(const struct control *control)
{
    return control->applied;
}

void control_set_applied(struct control *control, uint64_t index)
{
    CHECK(index >= control->applied);
    control->applied = index;
}

const struct pmap *control_map(const struct control *control)
{
    return control->map;
}

/* ---- what is always true ---- */

/* Counters of a sound state never come near their end; a damaged snapshot's may claim to. */
enum { COUNTER_BITS = 62 };

static bool is_up_member(const struct pmap *map, uint32_t index)
{
    return index < map->node_count && map->node[index].id != 0 && map->node[index].is_up;
}

static bool node_is_sound(const struct control *control, uint32_t index)
{
    const struct pmap *map = control->map;
    const struct pmap_node *node = &map->node[index];
    if (node->id == 0) { return !node->is_up && index + 1 < map->node_count; }
    return node->incarnation >= 1 && node->incarnation <= control->incarnation_last &&
           node->name[0] != '\0' && pmap_find_id(map, node->id) == index &&
           pmap_find_name(map, slice_of_str(node->name)) == index;
}

static bool partition_is_sound(const struct pmap *map, const struct pmap_partition *partition)
{
    if (partition->epoch >> COUNTER_BITS != 0) { return false; }
    if (partition->owner == PMAP_NOBODY) { return partition->previous == PMAP_NOBODY; }
    if (!is_up_member(map, partition->owner) || partition->epoch == 0) { return false; }
    return partition->previous == PMAP_NOBODY ||
           (partition->previous != partition->owner && is_up_member(map, partition->previous));
}

bool control_is_sound(const struct control *control)
{
    const struct pmap *map = control->map;
    if (map == NULL) { return control->incarnation_last == 0; }
    if (map->cluster_id == 0 || map->version > control->applied ||
        control->incarnation_last >> COUNTER_BITS != 0) {
        return false;
    }
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (!node_is_sound(control, i)) { return false; }
    }
    if (map->roster != NULL &&
        (map->level < PMAP_LEVEL_USERS || map->roster->version > map->version)) {
        return false;
    }
    bool has_keys = control->data_of != 0 || map->key_layout != 0;
    if (has_keys && map->level < PMAP_LEVEL_REPLICAS) { return false; }
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        if (!partition_is_sound(map, partition) || !control_replicas_are_sound(map, partition)) {
            return false;
        }
    }
    return true;
}

/* One command's step: the owner and the epoch of a partition change together. */
static void check_step(const struct pmap *before, const struct pmap *after)
{
    CHECK(after->cluster_id == before->cluster_id);
    CHECK(after->partition_count == before->partition_count);
    CHECK(after->level >= before->level);
    CHECK(before->roster == NULL ||
          (after->roster != NULL && after->roster->version >= before->roster->version));
    for (uint32_t p = 0; p < after->partition_count; p++) {
        bool is_moved = after->partition[p].owner != before->partition[p].owner;
        CHECK(after->partition[p].epoch == before->partition[p].epoch + (is_moved ? 1 : 0));
        control_check_replicas(&before->partition[p], &after->partition[p]);
    }
}

/* ---- the next map ---- */

static void set_owner(struct pmap_partition *partition, uint32_t owner, uint32_t previous)
{
    CHECK(partition->owner != owner);
    partition->owner = owner;
    partition->previous = previous;
    partition->epoch++;
}

/* The member at `index` is not what it was: it owns nothing, and hands nothing over. */
static void disown(struct pmap *map, uint32_t index)
{
    for (uint32_t p = 0; p < map->partition_count; p++) {
        struct pmap_partition *partition = &map->partition[p];
        if (partition->owner == index) {
            set_owner(partition, PMAP_NOBODY, PMAP_NOBODY);
        } else if (partition->previous == index) {
            partition->previous = PMAP_NOBODY;
        }
    }
}

static bool owns_any(const struct pmap *map, uint32_t index)
{
    for (uint32_t p = 0; p < map->partition_count; p++) {
        if (map->partition[p].owner == index) { return true; }
    }
    return false;
}

/* Index of the member that is up in the life which the command means; or PMAP_NOBODY. */
static uint32_t find_life(const struct pmap *map, const struct control_command *c)
{
    uint32_t index = pmap_find_id(map, c->node_id);
    if (index == PMAP_NOBODY || !map->node[index].is_up) { return PMAP_NOBODY; }
    return map->node[index].incarnation == c->incarnation ? index : PMAP_NOBODY;
}

static uint32_t first_free_place(const struct pmap *map)
{
    uint32_t index = 0;
    while (index < map->node_count && map->node[index].id != 0) {
        index++;
    }
    return index;
}

/* ---- the commands: each gives the next map, or NULL if it does not fit the present one ---- */

static struct pmap *create(struct control *control, const struct control_command *c)
{
    if (control->map != NULL || c->cluster_id == 0 || c->partition_count == 0 ||
        c->partition_count > PMAP_PARTITIONS_MAX) {
        return NULL;
    }
    struct pmap *next = pmap_new(0, c->partition_count);
    next->cluster_id = c->cluster_id;
    next->level = c->level;
    next->key_layout = c->level >= PMAP_LEVEL_REPLICAS ? c->key_layout : 0;
    control->data_of = c->level >= PMAP_LEVEL_REPLICAS ? c->data_of : 0;
    return next;
}

static struct pmap *join(struct control *control, const struct control_command *c)
{
    const struct pmap *map = control->map;
    if (c->node_id == 0) { return NULL; }
    uint32_t by_id = pmap_find_id(map, c->node_id);
    uint32_t by_name = pmap_find_name(map, slice_of_str(c->node.name));
    bool is_other = by_id != PMAP_NOBODY && by_name != PMAP_NOBODY && by_id != by_name;
    if (is_other) { return NULL; } /* two members would have one name */
    uint32_t index = by_id;
    if (index == PMAP_NOBODY) { index = by_name; }
    if (index == PMAP_NOBODY) { index = first_free_place(map); }
    if (index == PMAP_NODES_MAX) { return NULL; }

    struct pmap *next = pmap_copy(map, index < map->node_count ? map->node_count : index + 1);
    struct pmap_node *node = &next->node[index];
    bool is_voter = by_id != PMAP_NOBODY && node->is_voter;
    disown(next, index);
    if (by_id == PMAP_NOBODY) { control_lose_replicas(next, index); }
    *node = c->node;
    node->id = c->node_id;
    node->incarnation = ++control->incarnation_last;
    node->is_up = true;
    node->is_draining = false;
    node->is_voter = is_voter;
    control_bring_replicas(control, next, index);
    return next;
}

static struct pmap *down(struct control *control, const struct control_command *c)
{
    uint32_t index = find_life(control->map, c);
    if (index == PMAP_NOBODY) { return NULL; }
    struct pmap *next = pmap_copy(control->map, control->map->node_count);
    next->node[index].is_up = false;
    disown(next, index);
    return next;
}

static struct pmap *drain(struct control *control, const struct control_command *c)
{
    uint32_t index = find_life(control->map, c);
    if (index == PMAP_NOBODY || control->map->node[index].is_draining) { return NULL; }
    struct pmap *next = pmap_copy(control->map, control->map->node_count);
    next->node[index].is_draining = true;
    return next;
}

static struct pmap *forget(struct control *control, const struct control_command *c)
{
    const struct pmap *map = control->map;
    uint32_t index = pmap_find_id(map, c->node_id);
    if (index == PMAP_NOBODY || owns_any(map, index)) { return NULL; }
    if (map->node[index].is_up && !map->node[index].is_draining) { return NULL; }
    uint32_t count = map->node_count;
    while (count > 0 && (map->node[count - 1].id == 0 || count - 1 == index)) {
        count--; /* the last place is never a hole */
    }
    struct pmap *next = pmap_copy(map, count);
    if (index < count) { next->node[index] = (struct pmap_node){0}; }
    disown(next, index);
    control_lose_replicas(next, index);
    return next;
}

static struct pmap *assign(struct control *control, const struct control_command *c)
{
    const struct pmap *map = control->map;
    if (c->partition >= map->partition_count) { return NULL; }
    const struct pmap_partition *partition = &map->partition[c->partition];
    uint32_t to = find_life(map, c);
    if (to == PMAP_NOBODY || map->node[to].is_draining || partition->owner == to ||
        partition->epoch != c->epoch) {
        return NULL;
    }
    struct pmap *next = pmap_copy(map, map->node_count);
    set_owner(&next->partition[c->partition], to, partition->owner);
    return next;
}

static struct pmap *set_voter(struct control *control, const struct control_command *c)
{
    uint32_t index = pmap_find_id(control->map, c->node_id);
    if (index == PMAP_NOBODY || control->map->node[index].is_voter == c->is_voter) { return NULL; }
    struct pmap *next = pmap_copy(control->map, control->map->node_count);
    next->node[index].is_voter = c->is_voter;
    return next;
}

static struct pmap *(*const command_of[])(struct control *, const struct control_command *) = {
    [CONTROL_CREATE] = create,
    [CONTROL_JOIN] = join,
    [CONTROL_DOWN] = down,
    [CONTROL_DRAIN] = drain,
    [CONTROL_FORGET] = forget,
    [CONTROL_ASSIGN] = assign,
    [CONTROL_SET_VOTER] = set_voter,
    [CONTROL_LEVEL] = control_level,
    [CONTROL_ADD_REPLICA] = control_add_replica,
    [CONTROL_REMOVE_REPLICA] = control_remove_replica,
    [CONTROL_SETTLE] = control_settle,
    [CONTROL_CHANGE_USERS] = control_change_users,
};

/* Gives: the next map, or NULL: nothing changes. */
static struct pmap *next_map(struct control *control, const struct control_command *command)
{
    if (control->map == NULL && command->op != CONTROL_CREATE) { return NULL; }
    return command_of[command->op](control, command);
}

bool control_apply(struct control *control, uint64_t index, struct slice bytes)
{
    control_set_applied(control, index);
    struct control_command command;
    if (!control_decode(bytes, &command)) {
        LOG_ERROR("control command not understood", LOG_UINT("index", index));
        return false;
    }
    struct pmap *next = next_map(control, &command);
    control_command_fini(&command);
    if (next == NULL) { return false; }
    next->version = index;
    next->incarnation_last = control->incarnation_last;
    if (control->map != NULL) { check_step(control->map, next); }
    pmap_unref(control->map);
    control->map = next;
    CHECK(control_is_sound(control));
    return true;
}
