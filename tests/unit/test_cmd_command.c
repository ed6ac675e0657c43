/* The command table says nothing contradictory, and the index finds exactly its names. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>

#include "cmd/command.h"

static struct command_index *commands;

static void make_index(void)
{
    commands = command_index_new();
}

static void free_index(void)
{
    command_index_free(commands);
}

TestSuite(cmd_command, .init = make_index, .fini = free_index);

static const struct command *find(const char *name)
{
    return command_find(commands, slice_of_str(name));
}

static const struct command *container_of(const struct command *command)
{
    return command_is_subcommand(command) ? &command_table[command->container] : NULL;
}

/* By its container, if it has one. */
static const struct command *find_row(const struct command *row, struct slice name)
{
    const struct command *container = container_of(row);
    return container != NULL ? command_find_sub(commands, container, name)
                             : command_find(commands, name);
}

Test(cmd_command, every_row_is_found_by_its_name_in_any_case)
{
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        const struct command *row = &command_table[id];
        char name[64];
        snprintf(name, sizeof name, "%s", row->name);
        cr_assert_eq(find_row(row, slice_of_str(name)), row, "%s", row->full_name);
        for (size_t i = 0; name[i] != '\0'; i += 2) {
            name[i] = (char)toupper((unsigned char)name[i]);
        }
        cr_assert_eq(find_row(row, slice_of_str(name)), row, "%s", name);
    }
}

Test(cmd_command, a_changed_name_is_not_found)
{
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        const struct command *row = &command_table[id];
        char name[64];
        size_t len = strlen(row->name);
        memcpy(name, row->name, len);
        name[len] = '\0'; /* a zero byte behind the name is a byte like any other */
        cr_assert_null(find_row(row, slice_of(name, len + 1)), "%s", row->full_name);
        for (size_t i = 0; i < len; i++) {
            char right = name[i];
            for (int wrong = 0; wrong < 256; wrong++) {
                name[i] = (char)wrong;
                const struct command *found = find_row(row, slice_of(name, len));
                bool is_right = tolower(wrong) == right;
                cr_assert(is_right ? found == row : found != row, "%s with byte %d", name, wrong);
            }
            name[i] = right;
        }
    }
}

Test(cmd_command, what_is_no_command_is_not_found)
{
    cr_assert_null(find(""));
    cr_assert_null(find("p"));
    cr_assert_null(find("list"));
    cr_assert_null(find("client|list"));
    cr_assert_null(find("a name that is longer than any command is"));
    cr_assert_null(command_find_sub(commands, find("client"), SLICE("numsub")));
    cr_assert_null(command_find_sub(commands, find("client"), SLICE("")));
    cr_assert_null(command_find_sub(commands, find("pubsub"), SLICE("list")));
}

Test(cmd_command, a_container_is_followed_by_its_subcommands_and_has_help)
{
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        const struct command *row = &command_table[id];
        const struct command *container = container_of(row);
        if (container != NULL) {
            cr_assert(container < row &&
                          (row[-1].container == row->container || &row[-1] == container),
                      "%s does not follow its container", row->full_name);
        }
        if (command_has_subcommands(row)) {
            cr_assert_not_null(command_find_sub(commands, row, SLICE("help")), "%s", row->name);
        } else {
            cr_assert_not_null(row->handler, "%s can never run", row->full_name);
        }
    }
}

Test(cmd_command, arities_and_key_positions_fit_each_other)
{
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        const struct command *row = &command_table[id];
        int words = row->arity < 0 ? -row->arity : row->arity;
        cr_assert_geq(words, command_is_subcommand(row) ? 2 : 1, "%s", row->full_name);
        const struct key_rule *rule = &row->keys[0];
        if (rule->from > 0) {
            cr_assert_gt(rule->step, 0, "%s", row->full_name);
            cr_assert(rule->last >= 0 || row->arity < 0, "%s", row->full_name);
        }
    }
}

Test(cmd_command, arity_counts_all_words_and_a_negative_one_is_a_minimum)
{
    cr_assert(command_arity_fits(find("publish"), 3));
    cr_assert_not(command_arity_fits(find("publish"), 2));
    cr_assert_not(command_arity_fits(find("publish"), 4));
    cr_assert_not(command_arity_fits(find("subscribe"), 1));
    cr_assert(command_arity_fits(find("subscribe"), 2));
    cr_assert(command_arity_fits(find("subscribe"), 1000));
}

Test(cmd_command, categories_follow_from_flags)
{
    cr_assert_eq(command_acl(find("publish")), ACL_PUBSUB | ACL_FAST);
    cr_assert_eq(command_acl(find("subscribe")), ACL_PUBSUB | ACL_SLOW);
    cr_assert_eq(command_acl(&command_table[COMMAND_client_kill]),
                 ACL_ADMIN | ACL_DANGEROUS | ACL_CONNECTION | ACL_SLOW);
    cr_assert_eq(command_acl(find("ping")), ACL_CONNECTION | ACL_FAST);
}

Test(cmd_command, only_what_must_come_before_the_password_may)
{
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        bool may =
            id == COMMAND_auth || id == COMMAND_hello || id == COMMAND_quit || id == COMMAND_reset;
        cr_assert_eq((command_table[id].flags & CMD_NO_AUTH) != 0, may, "%s",
                     command_table[id].full_name);
    }
}
