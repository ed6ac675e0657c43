/* sessions: the clients of one worker together: what they share, and what is done for all of them at the end
 * of a turn and at each tick. Thread: sessions_init and sessions_fini: main, while the worker does not run.
 * Everything else: the worker. */
#ifndef FANFARE_SESSION_SESSIONS_H
#define FANFARE_SESSION_SESSIONS_H

#include "session/session.h"

/* The seams of the fan-out, for fanout_new. */
extern const struct fanout_ops session_fanout_ops;

/* Who waits for the fate of a change of subscriptions (fanout_ops.changed): embedded in what waits. */
struct session_change {
    void (*on_changed)(struct session_change *change, enum err err);
};

/* Set before: ops, worker, config, cluster, next_id, worker_count, monitor_total. The fanout comes before the first client. */
void sessions_init(struct sessions *sessions);
void sessions_fini(struct sessions *sessions);

/* The parts of a turn's end: what waited and need not goes on; who was held back is read again. */
void sessions_before_flush(struct sessions *sessions);
void sessions_after_flush(struct sessions *sessions);

/* Is there nothing that the end of a turn would change? */
bool sessions_are_idle(struct sessions *sessions);

/* About every 100 ms: limits, options, clients that have been silent for too long. `count`: of them. */
void sessions_tick(struct sessions *sessions, uint32_t count);

/* All of them leave, or are closed at once. */
void sessions_leave(struct sessions *sessions);
void sessions_close(struct sessions *sessions);

#endif
