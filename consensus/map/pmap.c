/* pmap: memory of the partition map, and the arithmetic of slots.
 * Owns: the map's block of memory. Not: what the map says (control). Thread: any.
 * Always: a map with a second reference is not written any more. */
#include "consensus/map/pmap.h"

#include <string.h>

#include "base/mem.h"
#include "base/unconst.h"

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

struct pmap *pmap_copy(const struct pmap *map, uint32_t node_count)
{
    struct pmap *copy = pmap_new(node_count, map->partition_count);
    uint32_t kept_count = node_count < map->node_count ? node_count : map->node_count;
    copy->cluster_id = map->cluster_id;
    copy->incarnation_last = map->incarnation_last;
    copy->level = map->level;
    copy->key_layout = map->key_layout;
    copy->roster = map->roster != NULL ? roster_ref(map->roster) : NULL;
    if (kept_count > 0) { memcpy(copy->node, map->node, kept_count * sizeof *map->node); }
    memcpy(copy->partition, map->partition, map->partition_count * sizeof *map->partition);
    return copy;
}

/* The count is the one thing that changes in a frozen map. */
static struct pmap *counted(const struct pmap *map)
{
    return unconst(map);
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
    roster_unref(map->roster);
    mem_free(counted(map));
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

const struct pmap_replica *pmap_replica_on(const struct pmap_partition *partition, uint32_t node)
{
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        if (partition->replica[i].node == node) { return &partition->replica[i]; }
    }
    return NULL;
}

const struct pmap_replica *pmap_replica_with(const struct pmap_partition *partition, uint64_t id)
{
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        if (partition->replica[i].id == id) { return &partition->replica[i]; }
    }
    return NULL;
}

void pmap_put_replica(struct pmap_partition *partition, uint32_t node)
{
    CHECK(partition->replica_count < PMAP_REPLICAS_MAX);
    partition->replica[partition->replica_count++] =
        (struct pmap_replica){.id = ++partition->replica_last, .node = node};
    partition->change++;
    partition->is_settled = false;
}

void pmap_drop_replica(struct pmap_partition *partition, uint64_t id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        if (partition->replica[i].id != id) { partition->replica[kept++] = partition->replica[i]; }
    }
    CHECK(kept + 1 == partition->replica_count);
    partition->replica[kept] = (struct pmap_replica){0};
    partition->replica_count = kept;
    partition->change++;
    partition->is_settled = false;
}

uint32_t pmap_zone(const struct pmap *map, uint32_t index)
{
    const char *zone = map->node[index].zone;
    if (zone[0] == '\0') { return index; }
    for (uint32_t i = 0; i < index; i++) {
        if (map->node[i].id != 0 && strcmp(map->node[i].zone, zone) == 0) { return i; }
    }
    return index;
}
