/* monitor: MONITOR: every command that a client of this node gives is shown, before it runs, to the clients that asked for it;
 * those of EXEC when it comes. Secrets are not shown, nor commands of administration, as in Redis. An argument is shown up to
 * MONITOR_ARG_BYTES_MAX.
 * Bound: MONITOR_BYTES_MAX of lines on their way to another worker; past it that worker's monitors are closed. */
#ifndef FANFARE_CMD_MONITOR_H
#define FANFARE_CMD_MONITOR_H

#include "cmd/broker.h"
#include "cmd/caller.h"

enum { MONITOR_ARG_BYTES_MAX = 64 << 10, MONITOR_BYTES_MAX = 16 << 20 };

/* Show it. Only when somebody looks. Thread: the call's worker. */
void monitor_show(const struct call *call);

static inline void monitor_call(const struct call *call)
{
    uint64_t total =
        atomic_load_explicit(&call->caller->broker->monitor_count, memory_order_relaxed);
    if (UNLIKELY(total > 0)) { monitor_show(call); }
}

#endif
