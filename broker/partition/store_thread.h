/* store_thread: the loop of a store thread, and how it reaches the others. */
#ifndef FANFARE_PARTITION_STORE_THREAD_H
#define FANFARE_PARTITION_STORE_THREAD_H

#include "partition/partition_int.h"

/* Start it. `turn` does what is to be done for a partition that is busy; it says when it wants to be called without
 * anything happening, by clock_mono_ns in ms: UINT64_MAX: never, 0: at once. */
MUST_USE enum err store_thread_start(struct store_thread *thread, struct partitions *all,
                                     uint32_t index, uint64_t (*turn)(struct partition *p));
/* What is in its mailbox is done first. */
void store_thread_stop(struct store_thread *thread);

uint64_t store_thread_now_ms(void); /* clock_mono_ns, in ms */
/* Something happened to the partition: it has a turn. */
void store_thread_touch(struct partition *p);
uint64_t store_thread_random(struct store_thread *thread);

/* Answer a request, on its own thread. */
void store_thread_answer(struct partition *p, struct partition_request *request, enum err err);
/* A task for the raft thread. */
void store_thread_to_raft(struct partition *p, struct task *task);

#endif
