/* cmd_command: COMMAND, COMMAND COUNT, INFO, LIST, GETKEYS, GETKEYSANDFLAGS, from the command
 * table. */
#include "base/glob.h"
#include "cmd/call.h"
#include "cmd/cmd_command_int.h"

/* Channels are given where keys would be, so that clients can find their slot, but they are no
 * keys. */
static bool keys_are_channels(const struct command *command)
{
    return (command->flags & CMD_PUBSUB) != 0;
}

uint32_t command_subcommand_count(const struct command *command)
{
    uint32_t first = command_id(command) + 1;
    uint32_t count = 0;
    while (first + count < COMMAND_COUNT &&
           command_table[first + count].container == command_id(command)) {
        count++;
    }
    return count;
}

static void write_flags(struct reply *reply, const struct command *command)
{
    size_t count = 0;
    for (unsigned at = 0; at < COMMAND_FLAG_COUNT; at++) {
        count += (command->flags >> at & 1) != 0 && command_flag_word[at][0] != '\0';
    }
    reply_set(reply, count);
    for (unsigned at = 0; at < COMMAND_FLAG_COUNT; at++) {
        if ((command->flags >> at & 1) != 0 && command_flag_word[at][0] != '\0') {
            reply_status(reply, command_flag_word[at]);
        }
    }
}

static void write_categories(struct reply *reply, const struct command *command)
{
    uint32_t categories = command_acl(command);
    reply_set(reply, (size_t)__builtin_popcount(categories));
    for (unsigned at = 0; at < COMMAND_CATEGORY_COUNT; at++) {
        if ((categories >> at & 1) != 0) { reply_status(reply, command_category_word[at]); }
    }
}

static void write_key_specs(struct reply *reply, const struct command *command)
{
    const struct command_keys *keys = &command->keys;
    reply_set(reply, keys->first != 0);
    if (keys->first == 0) { return; }
    reply_map(reply, 3);
    reply_bulk_str(reply, "flags");
    reply_set(reply, 1);
    reply_status(reply, keys_are_channels(command) ? "not_key" : "RO");
    reply_bulk_str(reply, "begin_search");
    reply_map(reply, 2);
    reply_bulk_str(reply, "type");
    reply_bulk_str(reply, "index");
    reply_bulk_str(reply, "spec");
    reply_map(reply, 1);
    reply_bulk_str(reply, "index");
    reply_int(reply, keys->first);
    reply_bulk_str(reply, "find_keys");
    reply_map(reply, 2);
    reply_bulk_str(reply, "type");
    reply_bulk_str(reply, "range");
    reply_bulk_str(reply, "spec");
    reply_map(reply, 3);
    reply_bulk_str(reply, "lastkey"); /* counted from the first key, or from the end */
    reply_int(reply, keys->last > 0 ? keys->last - keys->first : keys->last);
    reply_bulk_str(reply, "keystep");
    reply_int(reply, keys->step);
    reply_bulk_str(reply, "limit");
    reply_int(reply, 0);
}

/* One row; its subcommands, whose rows are alike but have none of their own, are the caller's. */
static void write_row(struct reply *reply, const struct command *command, uint32_t subcommands)
{
    reply_array(reply, 10);
    reply_bulk_str(reply, command->full_name);
    reply_int(reply, command->arity);
    write_flags(reply, command);
    reply_int(reply, command->keys.first);
    reply_int(reply, command->keys.last);
    reply_int(reply, command->keys.step);
    write_categories(reply, command);
    reply_set(reply, 0); /* tips */
    write_key_specs(reply, command);
    reply_set(reply, subcommands);
}

static void write_command(struct reply *reply, const struct command *command)
{
    uint32_t count = command_subcommand_count(command);
    write_row(reply, command, count);
    for (uint32_t i = 1; i <= count; i++) {
        write_row(reply, command + i, 0);
    }
}

static uint32_t top_level_count(void)
{
    uint32_t count = 0;
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        count += !command_is_subcommand(&command_table[id]);
    }
    return count;
}

void cmd_command(struct call *call)
{
    if (call->argc != 1) { /* a word behind it that is no subcommand never gets here */
        reply_error(call->reply, "ERR syntax error");
        return;
    }
    reply_array(call->reply, top_level_count());
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        if (!command_is_subcommand(&command_table[id])) {
            write_command(call->reply, &command_table[id]);
        }
    }
}

void cmd_command_count(struct call *call)
{
    reply_int(call->reply, top_level_count());
}

const struct command *command_find_full(const struct command_index *index, struct slice name)
{
    const char *bar = name.len > 0 ? memchr(name.data, '|', name.len) : NULL;
    if (bar == NULL) { return command_find(index, name); }
    size_t len = (size_t)(bar - name.data);
    const struct command *container = command_find(index, slice_of(name.data, len));
    return container == NULL
               ? NULL
               : command_find_sub(index, container, slice_of(bar + 1, name.len - len - 1));
}

void cmd_command_info(struct call *call)
{
    if (call->argc == 2) {
        call->argc = 1;
        cmd_command(call);
        return;
    }
    reply_array(call->reply, call->argc - 2);
    for (uint32_t i = 2; i < call->argc; i++) {
        const struct command *command = command_find_full(call->broker->commands, call->argv[i]);
        if (command == NULL) {
            reply_null(call->reply);
        } else {
            write_command(call->reply, command);
        }
    }
}

/* ---- LIST ---- */

enum list_filter { LIST_ALL, LIST_MODULE, LIST_CATEGORY, LIST_PATTERN };

static bool is_listed(const struct command *command, enum list_filter filter, struct slice arg)
{
    switch (filter) {
    case LIST_ALL: return true;
    case LIST_MODULE: return false; /* there are none */
    case LIST_PATTERN: return glob_match(arg, slice_of_str(command->full_name));
    case LIST_CATEGORY:
        for (unsigned at = 0; at < COMMAND_CATEGORY_COUNT; at++) {
            if (slice_equal_nocase(arg, slice_of_str(command_category_word[at] + 1))) {
                return (command_acl(command) >> at & 1) != 0;
            }
        }
        return false;
    }
    UNREACHABLE();
}

void cmd_command_list(struct call *call)
{
    enum list_filter filter = LIST_ALL;
    struct slice arg = {0};
    if (call->argc == 5 && slice_equal_nocase(call->argv[2], SLICE("filterby"))) {
        struct slice kind = call->argv[3];
        filter = slice_equal_nocase(kind, SLICE("module"))    ? LIST_MODULE
                 : slice_equal_nocase(kind, SLICE("aclcat"))  ? LIST_CATEGORY
                 : slice_equal_nocase(kind, SLICE("pattern")) ? LIST_PATTERN
                                                              : LIST_ALL;
        arg = call->argv[4];
    }
    if (call->argc != 2 && filter == LIST_ALL) {
        reply_error(call->reply, "ERR syntax error");
        return;
    }
    size_t count = 0;
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        count += is_listed(&command_table[id], filter, arg);
    }
    reply_array(call->reply, count);
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        if (is_listed(&command_table[id], filter, arg)) {
            reply_bulk_str(call->reply, command_table[id].full_name);
        }
    }
}

/* ---- GETKEYS ---- */

/* The command that the arguments from argv[2] on are for, if it has keys there. NULL: the error is
 * written. */
static const struct command *keyed_command(struct call *call)
{
    const struct command_index *index = call->broker->commands;
    const struct command *command = command_find(index, call->argv[2]);
    if (command != NULL && command_has_subcommands(command) && call->argc > 3) {
        const struct command *sub = command_find_sub(index, command, call->argv[3]);
        command = sub != NULL || command->handler == NULL ? sub : command;
    }
    if (command == NULL) {
        reply_error(call->reply, "ERR Invalid command specified");
    } else if (command->keys.first == 0 || keys_are_channels(command)) {
        reply_error(call->reply, "ERR The command has no key arguments");
    } else if (!command_arity_fits(command, call->argc - 2)) {
        reply_error(call->reply, "ERR Invalid number of arguments specified for command");
    } else {
        return command;
    }
    return NULL;
}

static void get_keys(struct call *call, bool with_flags)
{
    const struct command *command = keyed_command(call);
    if (command == NULL) { return; }
    uint32_t argc = call->argc - 2;
    uint32_t first = (uint32_t)command->keys.first;
    uint32_t step = (uint32_t)command->keys.step;
    uint32_t last = command->keys.last >= 0 ? (uint32_t)command->keys.last
                                            : argc - (uint32_t)-command->keys.last;
    uint32_t count = (last - first) / step + 1;
    reply_array(call->reply, count);
    for (uint32_t i = 0; i < count; i++) {
        if (with_flags) { reply_array(call->reply, 2); }
        reply_bulk(call->reply, call->argv[2 + first + i * step]);
        if (with_flags) {
            reply_set(call->reply, 1);
            reply_status(call->reply, "RO");
        }
    }
}

void cmd_command_getkeys(struct call *call)
{
    get_keys(call, false);
}

void cmd_command_getkeysandflags(struct call *call)
{
    get_keys(call, true);
}
