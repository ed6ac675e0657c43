/* apply: committed entries to the store, one transaction for many, with the index of the last; then the answers.
 * Thread: the partition's store thread.
 * Always: what is written depends on the entries alone. */
#ifndef FANFARE_PARTITION_APPLY_H
#define FANFARE_PARTITION_APPLY_H

#include "partition/partition_int.h"

/* Of the batch in flight, as much as one transaction takes. */
enum apply_end {
    APPLY_MORE,  /* not all of it */
    APPLY_DONE,  /* it goes back to the raft thread */
    APPLY_LATER, /* the disk is full: batch_retry_ms */
    APPLY_DAMAGED, /* the store cannot be read or written, or differs from the leader's: it is to be made anew */
    APPLY_ALONE, /* inside: the last entry needs more room for a script: all is done anew */
    APPLY_UNKNOWN, /* an entry is of a kind that this version does not know: nothing more is applied */
};
enum apply_end apply_some(struct partition *p);

#endif
