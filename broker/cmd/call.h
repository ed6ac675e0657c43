/* call: one run of one command: its arguments, and where the reply goes: what a handler needs wherever it
 * runs. A handler that needs the client as well is run by the pipeline only, and includes caller.h.
 * Thread: the one that runs it. */
#ifndef FANFARE_CMD_CALL_H
#define FANFARE_CMD_CALL_H

#include <stdint.h>

#include "base/slice.h"
#include "cmd/command.h"
#include "resp/resp_write.h"

struct caller;

struct call {
    const struct command *command; /* the row; for a subcommand its own row */
    uint32_t argc;                 /* 0 in a finish, which has no arguments any more */
    const struct slice *argv;      /* valid for the call only */
    struct reply *reply;
    const struct caller *caller; /* who asked */
    uint64_t began_ns;           /* when it was run */
    bool is_deferred;            /* by the handler: its answer comes later, and is measured then */
};

#endif
