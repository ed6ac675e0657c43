/* apply: how committed entries reach the group's state machine (fsm.h).
 * Owns: the batch in flight; the position is group->applied, what the machine is known to hold.
 * Thread: the raft thread.
 * Always: entries are applied once, in order, and only when they are committed and durable on this
 * node; the entries of a batch in flight are pinned in memory. */
#ifndef FANFARE_CONSENSUS_APPLY_H
#define FANFARE_CONSENSUS_APPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

struct group;

/* Apply what may be applied: committed, durable here, in memory (else it is fetched and applied
 * later). */
void apply_committed(struct group *group);
/* More was committed: where the machine lags, what is on the disk need not wait in memory. */
void apply_forget(struct group *group);
/* Show whether it is waited for that the batch in flight is applied (engine_view). */
void apply_show_awaited(struct group *group);
/* The batch in flight was applied. */
void apply_done(struct group *group, uint64_t index);
/* Is a batch in flight? */
bool apply_is_busy(const struct group *group);
/* For who needs the machine as of group->applied, for itself: true if no batch is in flight; else
 * none is handed over for a while, and the caller asks again at the next tick. */
MUST_USE bool apply_drain(struct group *group);
/* Is so much committed and not applied that nothing more may be proposed for now? */
bool apply_lags(const struct group *group);

#endif
