/* apply: committed entries to the store, one transaction for many, with the index of the last; and the answers.
 * Thread: the partition's store thread.
 * Always: what is written depends on the entries alone; what was answered gets into the store's file within a while, and before
 * anybody reads who may know of it. */
#ifndef FANFARE_PARTITION_APPLY_H
#define FANFARE_PARTITION_APPLY_H

#include "partition/partition_int.h"

enum { APPLY_RETRY_MS = 1000 }; /* after the disk was full */

/* Of the batch in flight, as much as one transaction takes. */
enum apply_end {
    APPLY_MORE,  /* not all of it */
    APPLY_DONE,  /* it goes back to the raft thread */
    APPLY_LATER, /* the disk is full: to be tried again */
    APPLY_DAMAGED, /* the store cannot be read or written, or differs from the leader's: it is to be made anew */
    APPLY_ALONE, /* inside: the last entry needs more room for a script: all is done anew */
    APPLY_UNKNOWN, /* an entry is of a kind that this version does not know: nothing more is applied */
};
enum apply_end apply_some(struct partition *p);

/* What was executed is committed, and readers see it. Errors: ERR_FULL (it is tried again by itself), ERR_CLOSED, else the
 * store is broken (p->is_broken). */
enum err apply_commit(struct partition *p);
/* The same up to an index, for who reads. False: it is not executed so far, or cannot be committed now. */
bool apply_show(struct partition *p, uint64_t index);
/* Commit what has waited long enough. Gives: when the next is due, by store_thread_now_ms; UINT64_MAX: nothing is. */
uint64_t apply_settle(struct store_thread *thread);

#endif
