/* shared: what groups and snapshots ask of the state that all groups of a node share (engine_int.h).
 * Owns: nothing. Thread: the raft thread. */
#include "consensus/group/group_int.h"

struct group *engine_group(const struct engine *e, uint64_t id)
{
    struct slice key = slice_of(&id, sizeof id);
    struct map_node *node = map_find(&e->groups_by_id, key, slice_hash(key));
    return node != NULL ? CONTAINER_OF(node, struct group, node) : NULL;
}

void engine_fail(struct engine *e, const char *what)
{
    if (e->is_broken) { return; }
    e->is_broken = true;
    e->world.on_fatal(e->world.arg, what);
}
