/* wait: a command that has no answer yet, whatever it is for: an owner's answer, the other workers, the
 * answers of a transaction's publishes. The session's later commands run after it. What has come true goes
 * on at the end of the turn, so that a finish may call whatever it likes.
 * Bound: one of a session at a time. Thread: the session's worker. */
#ifndef FANFARE_SESSION_WAIT_H
#define FANFARE_SESSION_WAIT_H

#include "session/session.h"

/* The command at hand, by the pipeline's number, has no answer yet. Takes: question, until one of the ops is
 * called. */
void wait_begin(struct session *session, const struct wait_ops *ops, void *question,
                uint16_t command);

/* What it waited for is there. */
void wait_over(struct session *session);

/* The end of a turn: those for whom it is go on. */
void wait_turn_end(struct sessions *sessions);

/* The session is going away. */
void wait_forget(struct session *session);

#endif
