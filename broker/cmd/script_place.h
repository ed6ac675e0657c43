/* script_place: where a command that a script calls goes: data_route's answer for those who run scripts. Thread: any. */
#ifndef FANFARE_CMD_SCRIPT_PLACE_H
#define FANFARE_CMD_SCRIPT_PLACE_H

#include "data/data_script.h"

struct broker;
struct command;

/* The command, or subcommand, that these words call; NULL: there is none. */
const struct command *script_command(const struct broker *broker, const struct slice *argv,
                                     uint32_t argc);

/* A data_script_find; `broker` is the struct broker. */
bool script_place(void *broker, uint16_t db, const struct slice *argv, uint32_t argc,
                  struct data_script_place *place, struct buf *why);

#endif
