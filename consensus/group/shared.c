/* shared: which groups are open, and the end of all. */
#include "consensus/group/shared.h"

#include "consensus/group/group_int.h"

void groups_fail(struct groups *all, const char *what)
{
    if (all->is_broken) { return; }
    all->is_broken = true;
    all->world.on_fatal(all->world.arg, what);
}

struct group *groups_find(const struct groups *all, uint64_t id)
{
    struct slice key = slice_of(&id, sizeof id);
    struct map_node *node = map_find(&all->by_id, key, slice_hash(key));
    return node != NULL ? CONTAINER_OF(node, struct group, node) : NULL;
}
