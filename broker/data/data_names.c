/* data_names: a set of names in memory. */
#include "data/data_names.h"

#include "base/mem.h"

void names_init(struct data_names *names)
{
    *names = (struct data_names){0};
    list_init(&names->list);
}

void names_fini(struct data_names *names)
{
    LIST_EACH (at, &names->list) {
        mem_free(NAME_OF(at));
    }
    map_fini(&names->map);
}

struct data_name *names_find(const struct data_names *names, struct slice name)
{
    struct map_node *node = map_find(&names->map, name, slice_hash(name));
    return node != NULL ? CONTAINER_OF(node, struct data_name, node) : NULL;
}

struct data_name *names_add(struct data_names *names, struct slice name, bool *is_new)
{
    uint64_t hash = slice_hash(name);
    struct map_node *node = map_find(&names->map, name, hash);
    *is_new = node == NULL;
    if (node != NULL) { return CONTAINER_OF(node, struct data_name, node); }
    struct data_name *added = mem_new0(sizeof *added + name.len + 1);
    if (name.len > 0) { memcpy(added->bytes, name.data, name.len); }
    added->len = name.len;
    added->node.key = name_bytes(added);
    map_insert(&names->map, &added->node, hash);
    list_push_back(&names->list, &added->link);
    return added;
}

void names_remove(struct data_names *names, struct data_name *name)
{
    map_remove(&names->map, &name->node);
    list_remove(&name->link);
    mem_free(name);
}
