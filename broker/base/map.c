/* map: chained buckets, doubled when full and halved when an eighth full. */
#include "base/map.h"

#include "base/mem.h"

enum { MAP_BUCKETS_MIN = 8 };

/* Others may be in map_prefetch_bucket: what they read is only an address, but it is read whole. */
static void set_buckets(struct map *map, struct map_node **bucket, size_t bucket_count)
{
    __atomic_store_n(&map->bucket, bucket, __ATOMIC_RELAXED);
    __atomic_store_n(&map->bucket_count, bucket_count, __ATOMIC_RELAXED);
}

bool map_prefetch_bucket(const struct map *map, uint64_t hash, size_t bucket_count)
{
    uintptr_t bucket = (uintptr_t)__atomic_load_n(&map->bucket, __ATOMIC_RELAXED);
    size_t count = __atomic_load_n(&map->bucket_count, __ATOMIC_RELAXED);
    if (count < bucket_count) { return false; }
    __builtin_prefetch((const void *)(bucket + (hash & (count - 1)) * sizeof(struct map_node *)));
    return true;
}

void map_prefetch_node(const struct map *map, uint64_t hash)
{
    if (map->bucket_count > 0) { __builtin_prefetch(map->bucket[hash & (map->bucket_count - 1)]); }
}

static void map_rehash(struct map *map, size_t bucket_count)
{
    struct map_node **bucket = mem_new0(bucket_count * sizeof(struct map_node *));
    for (size_t i = 0; i < map->bucket_count; i++) {
        struct map_node *node = map->bucket[i];
        while (node != NULL) {
            struct map_node *next = node->next;
            struct map_node **home = &bucket[node->hash & (bucket_count - 1)];
            node->next = *home;
            *home = node;
            node = next;
        }
    }
    mem_free(map->bucket);
    set_buckets(map, bucket, bucket_count);
}

struct map_node *map_find(const struct map *map, struct slice key, uint64_t hash)
{
    if (map->count == 0) { return NULL; }
    struct map_node *node = map->bucket[hash & (map->bucket_count - 1)];
    while (node != NULL && !(node->hash == hash && slice_equal(node->key, key))) {
        node = node->next;
    }
    return node;
}

void map_insert(struct map *map, struct map_node *node, uint64_t hash)
{
    if (map->count >= map->bucket_count) {
        map_rehash(map, map->bucket_count > 0 ? map->bucket_count * 2 : MAP_BUCKETS_MIN);
    }
    struct map_node **home = &map->bucket[hash & (map->bucket_count - 1)];
    node->hash = hash;
    node->next = *home;
    *home = node;
    map->count++;
}

void map_remove(struct map *map, struct map_node *node)
{
    CHECK(map->count > 0);
    struct map_node **at = &map->bucket[node->hash & (map->bucket_count - 1)];
    while (*at != node) {
        CHECK(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    map->count--;
    if (map->count == 0) {
        map_fini(map);
    } else if (map->bucket_count > MAP_BUCKETS_MIN && map->count < map->bucket_count / 8) {
        map_rehash(map, map->bucket_count / 2);
    }
}

struct map_node *map_next(const struct map *map, const struct map_node *node)
{
    size_t at = 0;
    if (node != NULL) {
        if (node->next != NULL) { return node->next; }
        at = (node->hash & (map->bucket_count - 1)) + 1;
    }
    for (; at < map->bucket_count; at++) {
        if (map->bucket[at] != NULL) { return map->bucket[at]; }
    }
    return NULL;
}

void map_fini(struct map *map)
{
    mem_free(map->bucket);
    set_buckets(map, NULL, 0);
    map->count = 0;
}
