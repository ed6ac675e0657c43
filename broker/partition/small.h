/* small: which reads a worker may run by itself: those that look at little. */
#ifndef FANFARE_PARTITION_SMALL_H
#define FANFARE_PARTITION_SMALL_H

#include "partition/partition_int.h"

/* By the sizes of the request's keys, on a reader that was begun. */
bool small_is(const struct partition *p, struct store_txn *txn,
              const struct partition_request *request);

#endif
