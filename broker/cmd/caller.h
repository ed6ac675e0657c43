/* caller: the client that asked for a call, and what it leads to. Thread: the session's worker. */
#ifndef FANFARE_CMD_CALLER_H
#define FANFARE_CMD_CALLER_H

#include "cmd/broker.h"
#include "cmd/call.h"
#include "cmd/service.h"
#include "session/wait.h"

struct caller {
    struct session *session;
    struct service *service; /* the session's worker's */
    struct broker *broker;
};

/* The call has no answer yet. Takes: question, until one of the ops is called. The handler writes nothing
 * more. */
static inline void call_wait(const struct call *call, const struct wait_ops *ops, void *question)
{
    wait_begin(call->caller->session, ops, question, (uint16_t)command_id(call->command));
}

#endif
