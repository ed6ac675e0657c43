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

/* A read has found that the store of this file is damaged: if the partition still has it, it is made anew. Not for the third
 * time: then what it is made of is wrong, and its other keys can be read. */
void turn_found_damage(struct partition *p, const struct store_file *file);

/* This replica leads from now on, all that was acknowledged before being applied; or, 0, no more. */
void turn_lead(struct partition *p, uint64_t term);

#endif
