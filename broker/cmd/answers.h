/* answers: what a session's publishes are answered, in their order, although the fate of some is
 * decided later, on another node.
 * Owns: the tickets. A ticket outlives its session: whoever holds it settles it, and then it is freed.
 * Thread: the session's worker; no locks. A zeroed struct is an empty one.
 * Bound: a session with too many of them, or too much input read meanwhile, is not read until all
 * are answered; nor is one that has any, while the cluster has too much without an answer. */
#ifndef FANFARE_CMD_ANSWERS_H
#define FANFARE_CMD_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct session;
struct ticket;

enum { ANSWERS_MAX = 16384, ANSWERS_INPUT_BYTES_MAX = 1 << 20 };

struct answers {
    struct ticket *first; /* the oldest one; if there is one, it is not settled */
    struct ticket *last;
    size_t input_bytes; /* read since there was none */
    uint32_t count;     /* of publishes */
};

/* The seams of the fan-out; a publisher is a session, or NULL: nobody who waits for an answer. */
void session_published(void *publisher, uint64_t receivers, uint32_t count);
void *session_deferred(void *publisher, uint32_t count, bool is_silent);
void session_settled(void *ticket, enum err err, uint64_t receivers);

/* Has the session publishes that are not answered yet, and not only uncommitted ones? */
bool answers_are_outstanding(const struct session *session);

/* It has sent so many bytes of requests that were run. */
void answers_count_input(struct session *session, size_t bytes);

/* It is going away. */
void answers_forget(struct session *session);

#endif
