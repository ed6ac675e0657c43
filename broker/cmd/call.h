/* call: one run of one command: its arguments, who asked, and where the reply goes. Handlers see
 * nothing else.
 * Thread: the worker of the session. */
#ifndef FANFARE_CMD_CALL_H
#define FANFARE_CMD_CALL_H

#include <stdint.h>

#include "base/slice.h"
#include "cmd/broker.h"
#include "cmd/command.h"
#include "cmd/service.h"
#include "resp/resp_write.h"
#include "session/wait.h"

struct call {
    const struct command *command; /* the row; for a subcommand its own row */
    uint32_t argc;                 /* 0 in a finish, which has no arguments any more */
    const struct slice *argv;      /* valid for the call only */
    struct session *session;
    struct service *service; /* the session's worker's */
    struct broker *broker;
    struct reply *reply;
};

/* The call has no answer yet. Takes: question, until one of the ops is called. The handler writes nothing
 * more. */
static inline void call_wait(const struct call *call, const struct wait_ops *ops, void *question)
{
    wait_begin(call->session, ops, question, (uint16_t)command_id(call->command));
}

#endif
