/* script_publishes: what a client's script has published, which came with its reply, is published from here, by the client's
 * node, as what EXEC publishes is. Thread: the session's worker. */
#ifndef FANFARE_CMD_SCRIPT_PUBLISHES_H
#define FANFARE_CMD_SCRIPT_PUBLISHES_H

#include "cmd/service.h"

/* Publish what is behind the reply, and take it off. */
void script_publishes(const struct service *service, struct slice *reply);

#endif
