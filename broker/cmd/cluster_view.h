/* cluster_view: the cluster as commands show it. A node that is alone is shown as a cluster of one that owns
 * every slot; one that has not found its cluster yet, as one that owns none.
 * Owns: a reference to the map. Thread: the session's worker. */
#ifndef FANFARE_CMD_CLUSTER_VIEW_H
#define FANFARE_CMD_CLUSTER_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/cluster.h"
#include "cmd/call.h"
#include "cmd/node_name.h"

struct cluster_view {
    const struct pmap *map; /* never NULL */
    uint32_t self;          /* index; PMAP_NOBODY: not a member */
};

void cluster_view_open(struct cluster_view *view, const struct call *call);
void cluster_view_close(struct cluster_view *view);

/* The next member at or after index `from`, or PMAP_NOBODY. */
uint32_t cluster_view_next(const struct cluster_view *view, uint32_t from);

/* The member with that name, that id as it is shown, or PMAP_NOBODY. */
uint32_t cluster_view_find(const struct cluster_view *view, struct slice name_or_id);

/* Slots in a row that one node owns. */
struct slot_range {
    uint32_t owner;
    uint32_t first;
    uint32_t last;
    uint32_t next_partition; /* where to look for the next range */
};

/* The first range that begins with partition `from` or later, of `owner` or, for PMAP_NOBODY, of any node.
 * False: there is none. */
bool cluster_view_range(const struct cluster_view *view, uint32_t owner, uint32_t from,
                        struct slot_range *out);

/* What CLUSTER INFO and INFO count. The epoch of a node is the highest of its partitions'. */
struct cluster_counts {
    uint32_t members;
    uint32_t up;
    uint32_t voters;
    uint32_t owners;
    uint32_t unowned; /* partitions */
    uint32_t slots;   /* with an owner */
    uint64_t epoch;
};
struct cluster_counts cluster_view_count(const struct cluster_view *view);
uint64_t cluster_view_epoch(const struct cluster_view *view, uint32_t node);

#endif
