/* look: reads of a partition on one thread or another, from a reader of its own.
 * A read point is the commit index at a moment at which the lease holds: what was acknowledged anywhere before is below it.
 * Time. A reader hides keys by the wall clock or the last entry's, whichever is later. Where the wall clock alone hid
 * one, the others have not seen that time: under a slower next leader the key would rise again. Such a read waits for an
 * entry that takes the time there. */
#ifndef FANFARE_PARTITION_LOOK_H
#define FANFARE_PARTITION_LOOK_H

#include "partition/partition_int.h"

/* Does the lease hold? *commit is the read point. Thread: any. */
MUST_USE bool look_point(const struct partition *p, uint64_t *commit);

/* Begin, at the later of both clocks (or the last entry's alone). Errors: as store_reader_begin. */
MUST_USE enum err look_begin(struct reader_slot *slot, bool by_entry);

enum look_end {
    LOOK_DONE,
    LOOK_NOT_NOW, /* no reader could be had */
    LOOK_HID,     /* it has to wait for a tick; nothing was answered */
    LOOK_FAILED,  /* the store is damaged: damage_found */
};
/* Run the request's calls, or look up its checks' versions, on a reader that was begun. */
enum look_end look_run(struct partition *p, struct reader_slot *slot,
                       struct partition_request *request);

#endif
