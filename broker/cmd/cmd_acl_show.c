/* cmd_acl_show: ACL GETUSER, LIST, USERS, WHOAMI, CAT, GENPASS, DRYRUN: what tells about users. */
#include "acl/acl.h"
#include "acl/acl_password.h"
#include "cmd/caller.h"
#include "cmd/permission.h"
#include "session/users.h"

static const struct acl_users *users_of(const struct call *call)
{
    return sessions_of(call->caller->session)->users;
}

void cmd_acl_whoami(struct call *call)
{
    reply_bulk(call->reply, acl_user_name(session_user(call->caller->session)));
}

void cmd_acl_users(struct call *call)
{
    const struct acl_users *users = users_of(call);
    reply_array(call->reply, acl_users_count(users));
    for (uint32_t i = 0; i < acl_users_count(users); i++) {
        reply_bulk(call->reply, acl_user_name(acl_users_at(users, i)));
    }
}

void cmd_acl_list(struct call *call)
{
    const struct acl_users *users = users_of(call);
    struct buf line = {0};
    reply_array(call->reply, acl_users_count(users));
    for (uint32_t i = 0; i < acl_users_count(users); i++) {
        line.len = 0;
        acl_users_print_one(acl_users_at(users, i), &line);
        reply_bulk(call->reply, buf_slice(&line));
    }
    buf_fini(&line);
}

/* ---- GETUSER ---- */

typedef void print_part(const struct acl_user *user, uint32_t selector, struct buf *out);

static void write_part(struct reply *reply, const char *name, print_part *print,
                       const struct acl_user *user, uint32_t selector)
{
    struct buf text = {0};
    print(user, selector, &text);
    reply_bulk_str(reply, name);
    reply_bulk(reply, buf_slice(&text));
    buf_fini(&text);
}

static void write_selector(struct reply *reply, const struct acl_user *user, uint32_t selector)
{
    write_part(reply, "commands", acl_user_print_commands, user, selector);
    write_part(reply, "keys", acl_user_print_keys, user, selector);
    write_part(reply, "channels", acl_user_print_channels, user, selector);
}

static void write_flags(struct reply *reply, const struct acl_user *user)
{
    uint32_t count = 0;
    while (acl_user_flag(user, count) != NULL) {
        count++;
    }
    reply_bulk_str(reply, "flags");
    reply_set(reply, count);
    for (uint32_t i = 0; i < count; i++) {
        reply_bulk_str(reply, acl_user_flag(user, i));
    }
}

void cmd_acl_getuser(struct call *call)
{
    const struct acl_user *user = acl_users_find(users_of(call), call->argv[2]);
    if (user == NULL) {
        reply_null(call->reply);
        return;
    }
    reply_map(call->reply, 6);
    write_flags(call->reply, user);
    reply_bulk_str(call->reply, "passwords");
    reply_array(call->reply, acl_user_password_count(user));
    for (uint32_t i = 0; i < acl_user_password_count(user); i++) {
        reply_bulk_str(call->reply, acl_user_password(user, i));
    }
    write_selector(call->reply, user, 0);
    reply_bulk_str(call->reply, "selectors");
    reply_array(call->reply, acl_user_selector_count(user) - 1);
    for (uint32_t i = 1; i < acl_user_selector_count(user); i++) {
        reply_map(call->reply, 3);
        write_selector(call->reply, user, i);
    }
}

/* ---- CAT, GENPASS ---- */

static void write_categories(struct reply *reply)
{
    reply_array(reply, COMMAND_CATEGORY_COUNT);
    for (uint32_t i = 0; i < COMMAND_CATEGORY_COUNT; i++) {
        reply_bulk_str(reply, command_category_word[i] + 1);
    }
}

static void write_category(struct reply *reply, uint32_t category)
{
    size_t count = 0;
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        count += command_acl(&command_table[i]) >> category & 1;
    }
    reply_array(reply, count);
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        if (command_acl(&command_table[i]) >> category & 1) {
            reply_bulk_str(reply, command_table[i].full_name);
        }
    }
}

void cmd_acl_cat(struct call *call)
{
    if (call->argc > 3) {
        reply_errorf(
            call->reply,
            "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try ACL HELP.",
            SLICE_ARG(call->argv[1]));
        return;
    }
    if (call->argc == 2) {
        write_categories(call->reply);
        return;
    }
    for (uint32_t i = 0; i < COMMAND_CATEGORY_COUNT; i++) {
        if (slice_equal_nocase(call->argv[2], slice_of_str(command_category_word[i] + 1))) {
            write_category(call->reply, i);
            return;
        }
    }
    struct slice word = call->argv[2];
    reply_errorf(call->reply, "ERR Unknown category '%.*s'", (int)(word.len < 128 ? word.len : 128),
                 word.data);
}

void cmd_acl_genpass(struct call *call)
{
    enum { BITS_DEFAULT = 256, BITS_MAX = 4096 };
    int64_t bits = BITS_DEFAULT;
    bool is_good = call->argc <= 3 && (call->argc == 2 || slice_to_int64(call->argv[2], &bits));
    if (!is_good || bits <= 0 || bits > BITS_MAX) {
        reply_errorf(call->reply,
                     "ERR ACL GENPASS argument must be the number of bits for the output password, "
                     "a positive number up to %d",
                     BITS_MAX);
        return;
    }
    char hex[BITS_MAX / 4 + 1];
    acl_password_generate(hex, (size_t)(bits + 3) / 4);
    reply_bulk_str(call->reply, hex);
}

/* ---- DRYRUN ---- */

/* Of a command or, with a second word that names one, a subcommand; NULL: there is none. */
static const struct command *find_named(const struct call *call, uint32_t at)
{
    const struct command_index *index = call->caller->broker->commands;
    const struct command *command = command_find(index, call->argv[at]);
    if (command == NULL || !command_has_subcommands(command) || at + 1 == call->argc) {
        return command;
    }
    return command_find_sub(index, command, call->argv[at + 1]);
}

void cmd_acl_dryrun(struct call *call)
{
    enum { COMMAND_AT = 3 };
    const struct acl_user *user = acl_users_find(users_of(call), call->argv[2]);
    if (user == NULL) {
        reply_errorf(call->reply, "ERR User '%.*s' not found",
                     (int)(call->argv[2].len < 128 ? call->argv[2].len : 128), call->argv[2].data);
        return;
    }
    const struct command *command = find_named(call, COMMAND_AT);
    struct slice name = call->argv[COMMAND_AT];
    if (command == NULL) {
        reply_errorf(call->reply, "ERR Command '%.*s' not found",
                     (int)(name.len < 128 ? name.len : 128), name.data);
        return;
    }
    struct acl_question question;
    const struct slice *argv = call->argv + COMMAND_AT;
    if (!command_arity_fits(command, call->argc - COMMAND_AT) ||
        !permission_question(command, argv, call->argc - COMMAND_AT, &question)) {
        reply_errorf(call->reply, "ERR wrong number of arguments for '%s' command",
                     command->full_name);
        return;
    }
    uint32_t at;
    enum acl_verdict verdict = acl_user_may(user, &question, &at);
    if (verdict == ACL_ALLOWED) {
        reply_ok(call->reply);
        return;
    }
    struct buf text = {0};
    permission_say(&text, user, verdict, command->full_name, &argv[at]);
    reply_bulk(call->reply, buf_slice(&text));
    buf_fini(&text);
}
