/* partition: what this node may do for the channels of each partition of a cluster, and the moments in which that, or
 * anything else of the directory, changes as a whole. */
#ifndef FANFARE_PUBSUB_PARTITION_H
#define FANFARE_PUBSUB_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

#include "pubsub/directory.h"

enum { REMOTE_NODES_MAX = 64, REMOTE_NOBODY = UINT32_MAX };

/* What this node may do for a partition's channels. */
enum partition_phase {
    PARTITION_STALE, /* nothing: its owner is not known, or knows nothing of our clients' interest */
    PARTITION_SYNCED, /* its owner has been sent our interest; changes from now on wait for READY */
    PARTITION_READY,  /* its owner counts our interest: changes and publishes go to it */
    PARTITION_OWNED,  /* ordered here */
};

struct remote_partition {
    enum partition_phase phase;
    uint32_t owner; /* node index, or REMOTE_NOBODY */
    uint64_t epoch;
    uint64_t seq; /* OWNED: the last number given */
    /* The number of the newest snapshot of our clients' interest: one is taken when it is told to an owner, and
     * when this node begins to order. A change belongs to the one it was sent after. */
    uint64_t snapshot;
    uint64_t number; /* the last one given, to a snapshot or to a fence */
    uint64_t
        followers; /* OWNED: nodes that follow its stream, a bit each; patterns of others do not
                             count: what is sent to them they could not place */
};

/* Before the workers start: this node is part of a cluster. A lane that has more than lane_bytes_max of runs on it
 * takes no further one. */
void directory_set_partitions(struct directory *directory, uint32_t partition_count,
                              size_t lane_bytes_max);
uint32_t directory_partition_of(const struct directory *directory, struct slice channel);

/* Call `body` while no worker publishes, subscribes or reads a partition's state. It may use the functions
 * below that say "exclusive". Thread: any. */
void directory_exclusive(struct directory *directory, void (*body)(void *arg), void *arg);

/* Exclusive to write. To read on the way: directory_partition_peek, a copy, any thread. */
struct remote_partition *directory_partition(struct directory *directory, uint32_t partition);
struct remote_partition directory_partition_peek(struct directory *directory, uint32_t partition);

#endif
