/* cmd_command_int: what the two files of COMMAND share. Thread: any. */
#ifndef FANFARE_CMD_CMD_COMMAND_INT_H
#define FANFARE_CMD_CMD_COMMAND_INT_H

#include "cmd/command.h"

/* The row named "client" or "client|list", ASCII case ignored, or NULL. */
const struct command *command_find_full(const struct command_index *index, struct slice name);

/* How many rows behind a command are its subcommands. */
uint32_t command_subcommand_count(const struct command *command);

#endif
