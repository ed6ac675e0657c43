/* blocked: a command that waits for a key: parked in the key's partition, its timeout kept here.
 * A client that goes takes nothing: what was popped for it meanwhile is put back where it was, by an ordinary write.
 * Thread: the session's worker. Bound: one of a session. */
#ifndef FANFARE_CMD_BLOCKED_H
#define FANFARE_CMD_BLOCKED_H

#include "cmd/call.h"

/* Park the call, whose arguments have been found good: its session waits. `argv` replaces the call's if it is not NULL.
 * timeout_ms 0: for ever. */
void blocked_begin(struct call *call, const struct slice *argv, uint32_t partition,
                   uint64_t timeout_ms);

/* May the call wait for a key? XREAD and XREADGROUP only do with BLOCK. In cmd_block.c. */
bool blocked_may_wait(const struct call *call);

#endif
