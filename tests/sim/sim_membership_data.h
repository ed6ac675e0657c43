/* sim_membership_data: partitions' data in the simulated cluster: the broker's replicas.c on each node, over partitions whose store
 * is a set of numbers; clients who write them; and what is checked: a number that was acknowledged is in every replica when
 * the cluster is at rest. */
#ifndef FANFARE_TESTS_SIM_MEMBERSHIP_DATA_H
#define FANFARE_TESTS_SIM_MEMBERSHIP_DATA_H

#include "sim/sim_membership.h"

enum { MDATA_NUMBERS = 4096, MDATA_REPLICAS = 3 };

/* What clients know of a partition. */
struct mdata_truth {
    uint32_t next; /* number */
    uint8_t is_acked[MDATA_NUMBERS];
};

/* The node's engine was opened, its core was not. */
void mdata_start(struct mnode *node);
void mdata_stop(struct mnode *node); /* its engine is gone */
void mdata_tick(struct mnode *node); /* after each tick of its core */
/* Make data of its own on a node that has nothing: it runs alone for a while. Nobody else runs yet. */
void mdata_alone(struct mnode *node);
/* The id of its replica, in its log; 0: it has none. */
uint64_t mdata_replica(const struct mnode *node, uint32_t partition);
/* Some client writes somewhere. */
void mdata_write(struct msim *sim);
/* Why the data are not at rest; NULL: they are. */
const char *mdata_unrest(struct msim *sim);
/* Groups that the map's choice leads, of all. */
void mdata_count_leaders(struct msim *sim);

#endif
