/* cmd_subscribe: the seam of the fan-out that SUBSCRIBE and its kin wait for in a cluster. */
#ifndef FANFARE_CMD_CMD_SUBSCRIBE_H
#define FANFARE_CMD_CMD_SUBSCRIBE_H

#include "base/err.h"

/* fanout_ops.changed. Thread: the session's worker. */
void session_changed(void *waiter, enum err err);

#endif
