/* machine: a partition as the state machine of its Raft group, and the life of that group on this node. What comes is handed
 * to the store thread. Thread: the raft thread. */
#ifndef FANFARE_PARTITION_MACHINE_H
#define FANFARE_PARTITION_MACHINE_H

#include "partition/partition_int.h"

/* As partition.h says. */
MUST_USE enum err machine_create(struct partition *p, uint64_t replica, bool is_founder);
MUST_USE enum err machine_open(struct partition *p);
void machine_delete(struct partition *p);

#endif
