/* secret_args: AUTH, HELLO ... AUTH, CONFIG SET of a secret, ACL SETUSER ... >password; also inside of what speaks about commands. */
#include "cmd/secret_args.h"

#include <string.h>

#include "config/config.h"

/* HELLO version [AUTH user password] ... */
static bool is_hello_secret(const struct slice *argv, uint32_t argc, uint32_t i)
{
    for (uint32_t at = 2; at + 2 < argc; at++) {
        if (slice_equal_nocase(argv[at], SLICE("auth"))) { return i == at + 1 || i == at + 2; }
    }
    return false;
}

/* A password or a hash, also where it does not belong: in a selector. */
static bool is_password_rule(struct slice rule)
{
    size_t at = rule.len > 0 && rule.data[0] == '(' ? 1 : 0;
    return rule.len > at && memchr("><#!", rule.data[at], 4) != NULL;
}

/* The commands below, by their words; NULL: it is another one. */
static const struct command *named(const struct slice *argv, uint32_t argc)
{
    if (argc == 0) { return NULL; }
    if (slice_equal_nocase(argv[0], SLICE("auth"))) { return &command_table[COMMAND_auth]; }
    if (slice_equal_nocase(argv[0], SLICE("hello"))) { return &command_table[COMMAND_hello]; }
    if (argc == 1) { return NULL; }
    if (slice_equal_nocase(argv[0], SLICE("acl")) &&
        slice_equal_nocase(argv[1], SLICE("setuser"))) {
        return &command_table[COMMAND_acl_setuser];
    }
    bool is_set =
        slice_equal_nocase(argv[0], SLICE("config")) && slice_equal_nocase(argv[1], SLICE("set"));
    return is_set ? &command_table[COMMAND_config_set] : NULL;
}

/* Of a command that is spoken about: it begins with argument `first`. */
static bool is_inner_secret(const struct slice *argv, uint32_t argc, uint32_t i, uint32_t first)
{
    const struct command *inner = i > first ? named(argv + first, argc - first) : NULL;
    return inner != NULL && secret_arg(inner, argv + first, argc - first, i - first);
}

bool secret_arg(const struct command *command, const struct slice *argv, uint32_t argc, uint32_t i)
{
    switch (command_id(command)) {
    case COMMAND_auth: return i >= 1;
    case COMMAND_acl_setuser: return i >= 3 && is_password_rule(argv[i]);
    case COMMAND_hello: return is_hello_secret(argv, argc, i);
    case COMMAND_config_set: /* CONFIG SET name value [name value ...] */
        return i >= 3 && i % 2 == 1 && config_is_secret(argv[i - 1]);
    case COMMAND_acl_dryrun: return is_inner_secret(argv, argc, i, 3);
    case COMMAND_command_getkeys:
    case COMMAND_command_getkeysandflags: return is_inner_secret(argv, argc, i, 2);
    default: return false;
    }
}
