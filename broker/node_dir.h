/* node_dir: the node's own directory: made if missing, locked against a second process, home of the
 * node's id.
 * Thread: main. */
#ifndef FANFARE_NODE_DIR_H
#define FANFARE_NODE_DIR_H

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

/* Open `path`, creating it (mode 0700) if it is missing, and lock it for this process; *lock_fd
 * holds the lock until it is closed. *node_id gets the id kept there, never 0; a new random one in a
 * new directory.
 * Errors: ERR_SYSTEM, logged. */
MUST_USE enum err node_dir_open(const char *path, int *lock_fd, uint64_t *node_id);

#endif
