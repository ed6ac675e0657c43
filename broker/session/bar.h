/* bar: why a session is not read: the only places that stop and restart its input; and its end, for which
 * it waits as well. Thread: its worker. */
#ifndef FANFARE_SESSION_BAR_H
#define FANFARE_SESSION_BAR_H

#include "session/session.h"

/* Read it no further, and run no command of it, because of `bar`. There is no other reason. */
void session_bar(struct session *session, enum session_bar bar);

/* That reason, which is in force, is gone. */
void session_unbar(struct session *session, enum session_bar bar);

/* The same for all that are barred because of it. */
void sessions_unbar(struct sessions *sessions, enum session_bar bar);

/* End the bar of a command that is about to write its answer, without reading on; then session_go_on. */
void session_lift(struct session *session);

/* No reason is left that was: read on, unless its answers are too many, or it has only been waiting for its
 * end. */
void session_go_on(struct session *session);

/* It is going away: it is in no list any more. */
void session_bar_forget(struct session *session);

/* Close when what has been begun is answered and everything queued has left; nothing more is begun.
 * session_try_to_leave: now, if it leaves and that is so. */
void session_leave(struct session *session);
void session_try_to_leave(struct session *session);

#endif
