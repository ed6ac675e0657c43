/* replicas: this node's replicas of partitions' data follow the map, and the groups that it leads do: the leader makes the
 * group's Raft configuration what the map wants, one change at a time, tells when it is, and hands its leadership to whom the
 * map would have lead.
 *
 * Owns: nothing but what it remembers of each. Thread: the raft thread, but where it says so; not from inside the engine,
 * but for replicas_on_map.
 * Always: a group is created by a founder once, before the map says that it exists; a replica that the map does not have any
 * more is deleted only when the group's leader has told that it is out of the group, so that its vote counts as long as it is needed. */
#ifndef FANFARE_PARTITION_REPLICAS_H
#define FANFARE_PARTITION_REPLICAS_H

#include "base/err.h"
#include "consensus/engine.h"
#include "consensus/map/pmap.h"

struct partitions;
struct replicas;

struct replicas_opts {
    struct partitions *partitions; /* outlives it */
    struct engine *engine;
    uint32_t partition_count;
    uint64_t
        forget_ms; /* so long after a node's life has ended nobody asks for what it has asked */
    uint64_t (*now_ms)(void *arg); /* NULL: CLOCK_BOOTTIME */
    void *arg;
};

MUST_USE struct replicas *replicas_new(const struct replicas_opts *opts);
void replicas_free(struct replicas *replicas); /* NULL is allowed */

/* A node alone: open its replica of each partition, or found it. In place of all that follows. Errors: as partitions_create. */
MUST_USE enum err replicas_open_alone(struct partitions *partitions, uint32_t partition_count);

/* A new map, as membership_data.on_map gives it. Takes a reference. */
void replicas_on_map(struct replicas *replicas, const struct pmap *map, uint32_t self);
/* Do what is due; gives what membership_data.on_tick asks for. */
uint32_t replicas_tick(struct replicas *replicas, struct pmap_settled *out, uint32_t out_max);

/* Does this node, which drains, lead nothing that somebody else could lead? Also true of one that is no member or has nobody
 * to give anything to. Thread: any. */
bool replicas_are_handed_over(const struct replicas *replicas);

#endif
