/* strangers: clients that have to give a password and have not yet, in the order of their coming; each has auth-timeout.
 * Thread: the sessions' worker. */
#ifndef FANFARE_SESSION_STRANGERS_H
#define FANFARE_SESSION_STRANGERS_H

#include "session/session.h"

/* It is one from now on; it is none any more. Both idempotent. */
void strangers_add(struct session *session);
void strangers_remove(struct session *session);

/* Close those whose time is over. About every 100 ms. */
void strangers_tick(struct sessions *sessions);

#endif
