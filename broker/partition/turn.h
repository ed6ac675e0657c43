/* turn: what a store thread does for a partition: batches that were handed to it, leadership, and the end.
 * Thread: the partition's store thread. */
#ifndef FANFARE_PARTITION_TURN_H
#define FANFARE_PARTITION_TURN_H

#include "partition/partition_int.h"

/* As store_thread_ops has them. */
void turn_propose(struct partition *p);
uint64_t turn_take(struct partition *p);

/* Tasks for the store thread: a batch in p->batch_handed; the group is closed. */
void turn_on_batch(struct task *task);
void turn_on_close(struct task *task);

/* This replica leads from now on, all that was acknowledged before being applied; or, 0, no more. */
void turn_lead(struct partition *p, uint64_t term);

#endif
