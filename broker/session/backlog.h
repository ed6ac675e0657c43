/* backlog: the sessions of one worker whose clients read more slowly than they are written to.
 * A session enters when its backlog passes session_limits.lag_bytes. Past the hard limit of its
 * class, or over the soft one for too long, it is closed (P7), also while it leaves. It is read meanwhile, as
 * in Redis: a client may send a pipeline of any depth before it reads the first answer.
 * Thread: their worker. */
#ifndef FANFARE_SESSION_BACKLOG_H
#define FANFARE_SESSION_BACKLOG_H

#include "session/session.h"

enum { BACKLOG_LAG_BYTES = 64 << 10 };

/* Bytes were queued, and the backlog is above lag_bytes: it lags, or is closed. */
void backlog_grew(struct session *session);

/* Every 100 ms: soft limits; forget those that have caught up. */
void backlog_tick(struct sessions *sessions);

/* The session is going away. */
void backlog_forget(struct session *session);

#endif
