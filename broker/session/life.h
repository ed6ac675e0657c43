/* life: how a session begins and ends. Thread: its worker. */
#ifndef FANFARE_SESSION_LIFE_H
#define FANFARE_SESSION_LIFE_H

#include "session/session.h"

/* Takes: fd, a connected socket that may be served; tls, or NULL, as conn_open. Gives it a session. */
void session_open(struct sessions *sessions, int fd, struct tls *tls);

/* Go back to the state of a fresh connection (RESET). False: it has many subscriptions; again in a later turn. */
MUST_USE bool session_reset(struct session *session);

/* Its subscriptions may have changed: keep the number of clients that have any. */
void session_count_subscriptions(struct session *session);

/* conn_ops.on_close: it is closed, and goes when its subscriptions have: fanout_ops.dropped. */
void session_on_close(struct conn *conn);
void session_dropped(struct subscriber *subscriber);

/* fanout_ops.interrupted: it may have missed a message. */
void session_interrupted(struct subscriber *subscriber);

#endif
