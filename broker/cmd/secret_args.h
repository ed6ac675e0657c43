/* secret_args: which arguments of a command are passwords, and must not be shown to anybody.
 * Thread: any. */
#ifndef FANFARE_CMD_SECRET_ARGS_H
#define FANFARE_CMD_SECRET_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cmd/command.h"

/* Is argv[i] of this call one? */
bool secret_arg(const struct command *command, const struct slice *argv, uint32_t argc, uint32_t i);

#endif
