/* cmd_command: COMMAND, COMMAND COUNT, INFO, LIST, GETKEYS, GETKEYSANDFLAGS, from the command
 * table. */
#include "base/glob.h"
#include "cmd/caller.h"
#include "cmd/cmd_command_int.h"

/* Channels are given where keys would be, so that clients can find their slot, but they are no
 * keys. */
static bool keys_are_channels(const struct command *command)
{
    return (command->flags & CMD_PUBSUB) != 0;
}

static uint32_t key_rule_count(const struct command *command)
{
    uint32_t count = 0;
    while (count < KEY_RULES && command->keys[count].from > 0) {
        count++;
    }
    return count;
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

/* Only what is about answers. Redis's tips about policies would have a cluster's client ask every node and add
 * up; here each node answers for all. */
static void write_tips(struct reply *reply, const struct command *command)
{
    static const struct {
        uint32_t flag;
        const char *tip;
    } tips[] = {
        {CMD_VARIES, "nondeterministic_output"},
        {CMD_VARIES_ORDER, "nondeterministic_output_order"},
    };
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(tips); i++) {
        count += (command->flags & tips[i].flag) != 0;
    }
    reply_set(reply, count);
    for (size_t i = 0; i < COUNT_OF(tips); i++) {
        if (command->flags & tips[i].flag) { reply_bulk_str(reply, tips[i].tip); }
    }
}

/* A part of a key's specification: {name: {type: t, spec: {count numbers, which follow}}}. */
static void write_part(struct reply *reply, const char *name, const char *type, size_t count)
{
    reply_bulk_str(reply, name);
    reply_map(reply, 2);
    reply_bulk_str(reply, "type");
    reply_bulk_str(reply, type);
    reply_bulk_str(reply, "spec");
    reply_map(reply, count);
}

static void write_number(struct reply *reply, const char *name, int64_t number)
{
    reply_bulk_str(reply, name);
    reply_int(reply, number);
}

static void write_key_flags(struct reply *reply, const struct key_rule *rule)
{
    reply_set(reply, (size_t)__builtin_popcount(rule->flags));
    for (unsigned at = 0; at < KEY_FLAG_COUNT; at++) {
        if ((rule->flags >> at & 1) != 0) { reply_status(reply, key_flag_word[at]); }
    }
}

static void write_key_rule(struct reply *reply, const struct key_rule *rule)
{
    reply_map(reply, 3);
    reply_bulk_str(reply, "flags");
    write_key_flags(reply, rule);
    if (rule->word == NULL) {
        write_part(reply, "begin_search", "index", 1);
        write_number(reply, "index", rule->from);
    } else {
        write_part(reply, "begin_search", "keyword", 2);
        reply_bulk_str(reply, "keyword");
        reply_bulk_str(reply, rule->word);
        write_number(reply, "startfrom", rule->from);
    }
    if (rule->is_counted) {
        write_part(reply, "find_keys", "keynum", 3);
        write_number(reply, "keynumidx", 0);
        write_number(reply, "firstkey", 1);
        write_number(reply, "keystep", rule->step);
    } else {
        write_part(reply, "find_keys", "range", 3);
        write_number(reply, "lastkey", rule->last);
        write_number(reply, "keystep", rule->step);
        write_number(reply, "limit", rule->limit);
    }
}

static void write_key_specs(struct reply *reply, const struct command *command)
{
    reply_set(reply, key_rule_count(command));
    for (uint32_t i = 0; i < key_rule_count(command); i++) {
        write_key_rule(reply, &command->keys[i]);
    }
}

static bool is_plain(const struct key_rule *rule)
{
    return rule->from > 0 && rule->word == NULL && !rule->is_counted;
}

/* First, last and step as before there were specifications: of a plain range, also one of two rules; else zeros. */
static void write_key_places(struct reply *reply, const struct command *command)
{
    const struct key_rule *rule = &command->keys[0];
    const struct key_rule *next = &command->keys[1];
    int last = rule->last < 0 ? rule->last : rule->from + rule->last;
    if (is_plain(next) && next->from == last + 1) {
        last = next->last < 0 ? next->last : next->from + next->last;
    }
    reply_int(reply, is_plain(rule) ? rule->from : 0);
    reply_int(reply, is_plain(rule) ? last : 0);
    reply_int(reply, is_plain(rule) ? rule->step : 0);
}

/* One row; its subcommands, whose rows are alike but have none of their own, are the caller's. */
static void write_row(struct reply *reply, const struct command *command, uint32_t subcommands)
{
    reply_array(reply, 10);
    reply_bulk_str(reply, command->full_name);
    reply_int(reply, command->arity);
    write_flags(reply, command);
    write_key_places(reply, command);
    write_categories(reply, command);
    write_tips(reply, command);
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
        const struct command *command =
            command_find_full(call->caller->broker->commands, call->argv[i]);
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
    const struct command_index *index = call->caller->broker->commands;
    const struct command *command = command_find(index, call->argv[2]);
    if (command != NULL && command_has_subcommands(command) && call->argc > 3) {
        const struct command *sub = command_find_sub(index, command, call->argv[3]);
        command = sub != NULL || command->handler == NULL ? sub : command;
    }
    if (command == NULL) {
        reply_error(call->reply, "ERR Invalid command specified");
    } else if (key_rule_count(command) == 0 || keys_are_channels(command)) {
        reply_error(call->reply, "ERR The command has no key arguments");
    } else if (!command_arity_fits(command, call->argc - 2)) {
        reply_error(call->reply, "ERR Invalid number of arguments specified for command");
    } else {
        return command;
    }
    return NULL;
}

static void write_keys(struct call *call, const struct key_rule *rule,
                       const struct key_range *range, bool with_flags)
{
    for (uint32_t i = 0; i < range->count; i++) {
        if (with_flags) { reply_array(call->reply, 2); }
        reply_bulk(call->reply, call->argv[2 + range->first + i * range->step]);
        if (with_flags) { write_key_flags(call->reply, rule); }
    }
}

static void get_keys(struct call *call, bool with_flags)
{
    const struct command *command = keyed_command(call);
    if (command == NULL) { return; }
    struct key_range range[KEY_RULES];
    uint32_t count = 0;
    for (uint32_t i = 0; i < KEY_RULES; i++) {
        if (!key_rule_find(&command->keys[i], call->argv + 2, call->argc - 2, &range[i])) {
            reply_error(call->reply, "ERR Invalid arguments specified for command");
            return;
        }
        count += range[i].count;
    }
    reply_array(call->reply, count);
    for (uint32_t i = 0; i < KEY_RULES; i++) {
        write_keys(call, &command->keys[i], &range[i], with_flags);
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
