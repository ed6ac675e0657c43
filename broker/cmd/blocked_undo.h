/* blocked_undo: what puts back what was popped for a client that has gone. Thread: any. */
#ifndef FANFARE_CMD_BLOCKED_UNDO_H
#define FANFARE_CMD_BLOCKED_UNDO_H

#include "base/slice.h"
#include "partition/partition.h"

/* The write that undoes a call that was answered `reply`: for the same end, with the same score. NULL: nothing was taken, or
 * nothing is lost by it (BLMOVE, XREADGROUP). Gives: a call; mem_free. */
struct partition_call *blocked_undo(const struct partition_call *call, struct slice reply);

#endif
