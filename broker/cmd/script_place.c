/* script_place: see the header. */
#include "cmd/script_place.h"

#include "cmd/data_route.h"

const struct command *script_command(const struct broker *broker, const struct slice *argv,
                                     uint32_t argc)
{
    const struct command *command = command_find(broker->commands, argv[0]);
    if (command == NULL || !command_has_subcommands(command) || argc < 2) { return command; }
    return command_find_sub(broker->commands, command, argv[1]);
}

bool script_place(void *broker_arg, uint16_t db, const struct slice *argv, uint32_t argc,
                  struct data_script_place *place, struct buf *why)
{
    const struct broker *broker = broker_arg;
    const struct command *command = script_command(broker, argv, argc);
    struct data_place at;
    *place = (struct data_script_place){.is_any = true};
    if (command == NULL || !command_arity_fits(command, argc)) { return true; } /* it is refused */
    switch (data_route(broker, command, argv, argc, db, &at, why)) {
    case DATA_ONE:
        *place = (struct data_script_place){.partition = at.partition, .slot = at.slot};
        return true;
    case DATA_ALL:
        buf_appendf(why, "ERR %s concerns every partition, and a script only one",
                    command->full_name);
        return false;
    case DATA_REFUSED: return false;
    }
    UNREACHABLE();
}
