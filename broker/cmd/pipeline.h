/* dispatch: the one pipeline that every request goes through: find, check, hold back, queue, run.
 * Owns: nothing. Thread: the session's worker. */
#ifndef FANFARE_CMD_DISPATCH_H
#define FANFARE_CMD_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct call;
struct command;
struct service;
struct session;

/* Run one request. Borrows argv. False: CLIENT PAUSE holds it back, or publishes before it have not been
 * answered; the session presents it again later. */
bool dispatch(struct session *session, const struct slice *argv, uint32_t argc);

/* Run one call that has passed the checks, of a session that is settled or publishes again: measure and
 * count it. Its answer is in call->reply, unless it waits. */
void dispatch_run(struct call *call);

/* What a waiting command waited for is there: `finish` writes its answer, and the session goes on.
 * NULL: EXEC waited for the answers of its publishes, which are written. */
void dispatch_finish(struct session *session, const struct command *command,
                     void (*finish)(void *question, struct call *call), void *question);

/* The input at hand has no more requests: end the measurement of a run of publishes. */
void dispatch_end_publishes(struct service *service);

#endif
