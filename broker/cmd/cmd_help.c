/* cmd_help: the HELP of every container, from the table. */
#include <ctype.h>

#include "cmd/call.h"

static void append_upper(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        *buf_reserve(out, 1) = (char)toupper((unsigned char)*text);
        out->len++;
    }
}

static void write_line(struct call *call, struct buf *line)
{
    reply_status(call->reply, line->data);
    line->len = 0;
}

static void write_subcommand(struct call *call, const struct command *command, struct buf *line)
{
    append_upper(line, command->name);
    if (command->syntax[0] != '\0') { buf_appendf(line, " %s", command->syntax); }
    buf_append(line, slice_of("", 1));
    write_line(call, line);
    buf_appendf(line, "    %s", command->summary);
    buf_append(line, slice_of("", 1));
    write_line(call, line);
}

void cmd_help(struct call *call)
{
    uint32_t container = call->command->container;
    uint32_t count = 0;
    while (container + 1 + count < COMMAND_COUNT &&
           command_table[container + 1 + count].container == container) {
        count++;
    }
    reply_array(call->reply, 1 + 2 * (size_t)count);
    struct buf line = {0};
    append_upper(&line, command_table[container].name);
    buf_append_str(&line, " <subcommand> [<arg> ...]. Subcommands are:");
    buf_append(&line, slice_of("", 1));
    write_line(call, &line);
    for (uint32_t i = 1; i <= count; i++) {
        write_subcommand(call, &command_table[container + i], &line);
    }
    buf_fini(&line);
}
