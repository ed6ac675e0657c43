/* answers: what a session's publishes and data commands are answered, in their order, although it is decided later:
 * on another node, or when a write is on disk. Publishes are in flight together, or commands of one partition; never both.
 * Owns: the tickets. A ticket outlives its session: whoever holds it settles it, and then it is freed.
 * Thread: the session's worker; no locks.
 * Bound: a session with too many of them (ANSWERS_MAX), or too much input read meanwhile
 * (ANSWERS_INPUT_BYTES_MAX), is not read until all are answered; nor is one that has any, while the cluster, or a partition,
 * has too much without an answer. */
#ifndef FANFARE_SESSION_ANSWERS_H
#define FANFARE_SESSION_ANSWERS_H

#include "base/err.h"
#include "session/session.h"

/* Order the publishes in flight, so that their answers are written: before anything else of this
 * session happens. False: some, or data commands, are answered later. */
MUST_USE bool session_settle(struct session *session);

/* Read no more of it until all of them are answered. */
void answers_await(struct session *session);

/* It has sent so many bytes of requests that were run. */
void answers_count_input(struct session *session, size_t bytes);

/* A command of that partition is in flight from now on; those in flight are of the same. is_read: it is answered from a state
 * that holds the writes before it, and maybe later ones. Gives: its ticket. */
struct ticket *answers_ask(struct session *session, uint32_t partition, bool is_read);
/* Its answer. Takes: ticket. Empties answer, but for its memory. */
void answers_tell(struct ticket *ticket, struct buf *answer);
/* Who gets it; NULL: he has gone away. */
struct session *answers_asker(const struct ticket *ticket);

/* It is going away. */
void answers_forget(struct session *session);

/* The seams of the fan-out; a publisher is a session, or NULL: nobody who waits for an answer. */
void session_published(void *publisher, uint64_t receivers, uint32_t count);
void *session_deferred(void *publisher, uint32_t count, bool is_silent);
void session_settled(void *ticket, enum err err, uint64_t receivers);

#endif
