/* aside: reads that look at much, on threads of their own: the store thread takes their read transaction, so that they are
 * executed in their place among the writes, and goes on; they hold up neither writes nor each other's partitions.
 * Owns: a read while it is under way. Bound: ASIDE_MAX at a time, of all partitions; what is beyond is run on the store thread. */
#ifndef FANFARE_PARTITION_ASIDE_H
#define FANFARE_PARTITION_ASIDE_H

#include "partition/partition_int.h"

MUST_USE enum err aside_start(struct partitions *all);
/* What is under way is answered. Nothing is taken any more. */
void aside_drain(struct partitions *all);
void aside_stop(struct partitions *all);

/* Take the request, on a state as it is now. False: it is not for here, or there is too much. Thread: the partition's store
 * thread. `on_hid` gets it back there, unanswered, if it has to wait for a tick. */
MUST_USE bool aside_take(struct partition *p, struct partition_request *request, bool by_entry,
                         void (*on_hid)(struct task *task));

#endif
