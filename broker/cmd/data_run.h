/* data_run: a data command of a session on its way to one partition. Thread: the session's worker. */
#ifndef FANFARE_CMD_DATA_RUN_H
#define FANFARE_CMD_DATA_RUN_H

#include "cmd/call.h"

/* Run the call there: its answer is in call->reply, or comes later in the order of the session's answers
 * (call->is_deferred). The session is settled, or has only commands of that partition in flight. */
void data_run(struct call *call, uint32_t partition);

/* May the call be in flight with what the session has in flight? */
bool data_joins(const struct call *call);

/* Does this node serve keys? False: the reply says that it does not. */
bool data_is_served(struct call *call);

#endif
