/* waiters: the parked calls of a partition that this node leads, in the order of their tickets, by the keys that they wait
 * for.
 * Owns: their records. Not: their requests. Thread: the partition's store thread.
 * Always: of what waits nothing is in the log. A waiter whose key is written to is served by an entry, the one of the
 * write if that can be foreseen, and goes on waiting in its place if the entry finds nothing for it. */
#ifndef FANFARE_PARTITION_WAITERS_H
#define FANFARE_PARTITION_WAITERS_H

#include "partition/partition_int.h"

struct waiter {
    struct partition_request *request;
    bool is_proposed; /* an entry is on its way that may serve it */
    bool is_executed; /* it did, in the transaction that is open */
    bool is_unwanted; /* taken back meanwhile */
};

#endif
