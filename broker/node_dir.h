/* node_dir: the node's own directory: made if missing, locked against a second process, home of the
 * node's id.
 * Thread: main. */
#ifndef FANFARE_NODE_DIR_H
#define FANFARE_NODE_DIR_H

#include <stddef.h>

#include "base/check.h"
#include "base/err.h"

enum { NODE_ID_HEX = 40 };

/* Open `path`, creating it (mode 0700) if it is missing, and lock it for this process; *lock_fd
 * holds the lock until it is closed. `node_id` gets the id kept there, a new random one in a new
 * directory.
 * Errors: ERR_SYSTEM, logged. */
MUST_USE enum err node_dir_open(const char *path, int *lock_fd, char node_id[NODE_ID_HEX + 1]);

/* Fill with NODE_ID_HEX random hexadecimal digits and a NUL. */
void node_id_random(char node_id[NODE_ID_HEX + 1]);

#endif
