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
#include "cmd/session.h"
#include "resp/resp_write.h"

struct call {
    const struct command *command; /* the row; for a subcommand its own row */
    uint32_t argc;            /* 0 in the finish of a gather, which has no arguments any more */
    const struct slice *argv; /* valid for the call only */
    struct session *session;
    struct service *service; /* the session's worker's */
    struct broker *broker;
    struct reply *reply;
};

#endif
