/* map: intrusive hash map keyed by byte strings.
 * Owns: its bucket array. Not: the nodes or the key bytes, which the caller keeps alive while they
 * are in the map. Thread: whoever owns the struct. A zeroed struct is an empty map. Always: count
 * is the number of nodes; buckets are a power of two or none; a walk's order means nothing. */
#ifndef FANFARE_BASE_MAP_H
#define FANFARE_BASE_MAP_H

#include "base/check.h"
#include "base/slice.h"

struct map_node {
    struct map_node *next;
    uint64_t hash;
    struct slice key;
};

struct map {
    struct map_node **bucket;
    size_t bucket_count;
    size_t count;
};

/* The node with this key, or NULL. `hash` must be slice_hash(key) or, consistently for one map, a
 * value derived from it. */
struct map_node *map_find(const struct map *map, struct slice key, uint64_t hash);

/* Hints for a map_find of this hash that comes soon, worth it for many keys in turn in a map larger than the
 * cache: each find would wait for memory, one after the other. First the bucket is fetched; once that has
 * come, the first node in there. */

/* False: the map has less than `bucket_count` buckets, there is nothing to wait for. Thread: any, also while
 * the map's owner changes it. */
bool map_prefetch_bucket(const struct map *map, uint64_t hash, size_t bucket_count);
void map_prefetch_node(const struct map *map, uint64_t hash);

/* Insert a node whose `key` is set and not in the map. Borrows node and key until map_remove. */
void map_insert(struct map *map, struct map_node *node, uint64_t hash);

/* Remove a node that is in the map. */
void map_remove(struct map *map, struct map_node *node);

/* Walk: the node after `node`, or the first one for NULL; NULL at the end. The map must not change
 * between calls. */
struct map_node *map_next(const struct map *map, const struct map_node *node);

/* Free the buckets; nodes are left as they are. */
void map_fini(struct map *map);

#endif
