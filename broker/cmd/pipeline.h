/* pipeline: the one way that every request goes: find, check, hold back, queue, run.
 * Owns: nothing. Thread: the session's worker. */
#ifndef FANFARE_CMD_PIPELINE_H
#define FANFARE_CMD_PIPELINE_H

struct call;
struct session_ops;

/* The seam of sessions. */
extern const struct session_ops pipeline_ops;

/* Run one call that has passed the checks, of a session that is settled or publishes again: measure and
 * count it. Its answer is in call->reply, unless it waits. */
void pipeline_run(struct call *call);

#endif
