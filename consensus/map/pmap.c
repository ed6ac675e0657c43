/* pmap: memory of the partition map, and the arithmetic of slots.
 * Owns: the map's block of memory. Not: what the map says (control). Thread: any.
 * Always: a map with a second reference is not written any more. */
#include "consensus/map/pmap.h"

#include "base/mem.h"
#include "base/slot.h"

struct pmap *pmap_new(uint32_t node_count, uint32_t partition_count)
{
    CHECK(node_count <= PMAP_NODES_MAX);
    CHECK(partition_count >= 1 && partition_count <= PMAP_PARTITIONS_MAX);
    struct pmap *map = mem_new0(sizeof *map);
    atomic_init(&map->refs, 1);
    map->node_count = node_count;
    map->partition_count = partition_count;
    map->node = node_count > 0 ? mem_new0(node_count * sizeof *map->node) : NULL;
    map->partition = mem_new0(partition_count * sizeof *map->partition);
    for (uint32_t p = 0; p < partition_count; p++) {
        map->partition[p].owner = PMAP_NOBODY;
        map->partition[p].previous = PMAP_NOBODY;
    }
    return map;
}

/* The count is the one thing that changes in a frozen map. */
static struct pmap *counted(const struct pmap *map)
{
    union {
        const struct pmap *frozen;
        struct pmap *counted;
    } pointer = {map};
    return pointer.counted;
}

struct pmap *pmap_ref(const struct pmap *map)
{
    unsigned before = atomic_fetch_add_explicit(&counted(map)->refs, 1, memory_order_relaxed);
    CHECK(before > 0);
    return counted(map);
}

void pmap_unref(const struct pmap *map)
{
    if (map == NULL) { return; }
    unsigned before = atomic_fetch_sub_explicit(&counted(map)->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1) { return; }
    mem_free(map->node);
    mem_free(map->partition);
    mem_free(counted(map));
}

/* The last partition whose first slot is not behind `slot`. */
uint32_t pmap_partition_of_slot(uint32_t partition_count, uint32_t slot)
{
    CHECK(partition_count >= 1 && partition_count <= PMAP_PARTITIONS_MAX);
    CHECK(slot < SLOT_COUNT);
    return ((slot + 1) * partition_count - 1) / SLOT_COUNT;
}

uint32_t pmap_first_slot(uint32_t partition_count, uint32_t partition)
{
    CHECK(partition_count >= 1 && partition_count <= PMAP_PARTITIONS_MAX);
    CHECK(partition <= partition_count);
    return partition * SLOT_COUNT / partition_count;
}

uint32_t pmap_find_name(const struct pmap *map, struct slice name)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct pmap_node *node = &map->node[i];
        if (node->id != 0 && slice_equal(slice_of_str(node->name), name)) { return i; }
    }
    return PMAP_NOBODY;
}

uint32_t pmap_find_id(const struct pmap *map, uint64_t id)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (id != 0 && map->node[i].id == id) { return i; }
    }
    return PMAP_NOBODY;
}
