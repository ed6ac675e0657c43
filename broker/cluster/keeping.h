/* keeping: the partitions' data on this node, while it is one of a cluster: made with the consensus of the membership, driven by
 * its map and its ticks, ended before it.
 * Owns: the partitions and what drives them. Thread: as stated. */
#ifndef FANFARE_CLUSTER_KEEPING_H
#define FANFARE_CLUSTER_KEEPING_H

#include "consensus/membership/membership.h"

struct cluster;

/* For membership_opts.data; all NULL if this node keeps no data. */
struct membership_data keeping_hooks(struct cluster *cluster);

/* All commands have been ended, the workers still run: what this node's partitions have been asked ends, and the workers have
 * the answers. Thread: main. */
void keeping_stop(struct cluster *cluster);
/* The membership, and with it the consensus, has ended. Thread: main. */
void keeping_free(struct cluster *cluster);

/* Does this node lead nothing that another could lead? For a node that drains. Thread: any. */
bool keeping_is_handed_over(const struct cluster *cluster);

#endif
