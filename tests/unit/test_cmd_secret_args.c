/* secret_args: passwords are known wherever a command may carry them; client_text: what may be
 * shown. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "cmd/client_text.h"
#include "cmd/secret_args.h"

/* One letter per word: 's' where the argument must not be shown. */
static void assert_secrets(enum command_id id, const char *const *words, const char *expected)
{
    struct slice argv[16];
    uint32_t argc = 0;
    for (; words[argc] != NULL; argc++) {
        argv[argc] = slice_of_str(words[argc]);
    }
    for (uint32_t i = 0; i < argc; i++) {
        cr_assert_eq(secret_arg(&command_table[id], argv, argc, i), expected[i] == 's',
                     "%s: word %u", command_table[id].full_name, i);
    }
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

Test(cmd_secret_args, passwords_are_secret_and_nothing_else_is)
{
    assert_secrets(COMMAND_auth, WORDS("AUTH", "pw"), ".s");
    assert_secrets(COMMAND_auth, WORDS("AUTH", "user", "pw"), ".ss");
    assert_secrets(COMMAND_hello, WORDS("HELLO", "3", "AUTH", "user", "pw", "SETNAME", "x"),
                   "...ss..");
    assert_secrets(COMMAND_hello, WORDS("HELLO", "3", "SETNAME", "x", "auth", "user", "pw"),
                   ".....ss");
    assert_secrets(COMMAND_hello, WORDS("HELLO", "3", "AUTH", "user"), "....");
    assert_secrets(COMMAND_config_set, WORDS("CONFIG", "SET", "timeout", "1", "RequirePass", "pw"),
                   ".....s");
    assert_secrets(COMMAND_config_set, WORDS("CONFIG", "SET", "requirepass"), "...");
    assert_secrets(COMMAND_config_set, WORDS("CONFIG", "SET", "tls-key-file-pass", "pw"), "...s");
    assert_secrets(COMMAND_acl_setuser, WORDS("ACL", "SETUSER", ">al", "on", ">pw", "~>x", "<old"),
                   "....s.s");
    assert_secrets(COMMAND_acl_setuser, WORDS("ACL", "SETUSER", "al", "(>pw)", "(~x"), "...s.");
    assert_secrets(COMMAND_config_set, WORDS("CONFIG", "SET", "masterauth", "pw"), "...s");
    assert_secrets(COMMAND_acl_dryrun, WORDS("ACL", "DRYRUN", "al", "AUTH", "user", "pw"),
                   "....ss");
    assert_secrets(COMMAND_acl_dryrun, WORDS("ACL", "DRYRUN", "al", "GET", "auth"), ".....");
    assert_secrets(COMMAND_command_getkeys,
                   WORDS("COMMAND", "GETKEYS", "config", "set", "requirepass", "pw"), ".....s");
    assert_secrets(COMMAND_echo, WORDS("ECHO", "requirepass"), "..");
}

Test(cmd_client_text, only_printable_ascii_without_blanks_is_plain)
{
    for (int c = 0; c < 256; c++) {
        char text[3] = {'a', (char)c, 'b'};
        cr_assert_eq(client_text_is_plain(slice_of(text, 3)), c > ' ' && c < 127, "byte %d", c);
    }
    cr_assert(client_text_is_plain(SLICE("")));
}

Test(cmd_client_text, setting_replaces_and_an_empty_text_removes)
{
    char *text = NULL;
    client_text_set(&text, SLICE("one"));
    cr_assert_str_eq(text, "one");
    client_text_set(&text, SLICE("another"));
    cr_assert_str_eq(text, "another");
    client_text_set(&text, SLICE(""));
    cr_assert_null(text);
}
