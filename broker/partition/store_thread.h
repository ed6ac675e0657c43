/* store_thread: the loop of a store thread, and how it reaches the others. */
#ifndef FANFARE_PARTITION_STORE_THREAD_H
#define FANFARE_PARTITION_STORE_THREAD_H

#include "partition/partition_int.h"

/* What is done for a partition that is busy. */
struct store_thread_ops {
    /* First of all for all of them: what came is proposed, so that it is on its way into the log while batches are applied. */
    void (*propose)(struct partition *p);
    /* Then each has its turn. Gives: when it wants another one without anything happening, by store_thread_now_ms;
     * UINT64_MAX: never, 0: at once. */
    uint64_t (*turn)(struct partition *p);
    /* Last: what was put off for all of them. Gives: as `turn`. */
    uint64_t (*settle)(struct store_thread *thread);
};

/* Start it; its name is `kind`-index. Errors: ERR_SYSTEM (logged). */
MUST_USE enum err store_thread_start(struct store_thread *thread, struct partitions *all,
                                     uint32_t index, const char *kind,
                                     const struct store_thread_ops *ops);
/* What is in its mailbox is done first. */
void store_thread_stop(struct store_thread *thread);

uint64_t store_thread_now_ms(void); /* clock_mono_ns, in ms */
/* Something happened to the partition: it has a turn. */
void store_thread_touch(struct partition *p);
uint64_t store_thread_random(struct store_thread *thread);

/* From inside a partition's turn, in a transaction that takes long: the thread's other partitions have turns. What comes for
 * this one meanwhile is kept until store_thread_back. */
void store_thread_breathe(struct partition *p);
/* The transaction is over: what was kept is done. Gives: whether others had turns. */
bool store_thread_back(struct partition *p);
/* Each task of a partition on its store thread begins with this. True: it is run again when the partition is back. */
MUST_USE bool store_thread_keeps(struct partition *p, struct task *task);

/* Answer a request, on its own thread. */
void store_thread_answer(struct partition *p, struct partition_request *request, enum err err);
/* Answer a request from another thread. */
void request_answer(struct partition_request *request, enum err err);
/* Does its asker not take its answers? Then it is to be refused. Thread: any. */
MUST_USE bool request_is_owed_too_much(const struct partition_request *request);
/* A task for the raft thread; and one that has time until something else wakes it. */
void store_thread_to_raft(struct partition *p, struct task *task);
void store_thread_to_raft_later(struct partition *p, struct task *task);

#endif
