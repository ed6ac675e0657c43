/* secret_args: AUTH, HELLO ... AUTH, CONFIG SET of a secret, ACL SETUSER ... >password. */
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

bool secret_arg(const struct command *command, const struct slice *argv, uint32_t argc, uint32_t i)
{
    switch (command_id(command)) {
    case COMMAND_auth: return i >= 1;
    case COMMAND_acl_setuser:
        return i >= 3 && argv[i].len > 0 && memchr("><#!", argv[i].data[0], 4) != NULL;
    case COMMAND_hello: return is_hello_secret(argv, argc, i);
    case COMMAND_config_set: /* CONFIG SET name value [name value ...] */
        return i >= 3 && i % 2 == 1 && config_is_secret(argv[i - 1]);
    default: return false;
    }
}
