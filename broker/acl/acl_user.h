/* acl_user: what one user may do, as `ACL SETUSER` says it in Redis 7.2's rules.
 * A user is made or copied, given rules, and frozen when it is put among others: from then on it is only referenced.
 * It knows commands by numbers, and names and categories from a catalogue; what an argument is (a key, a channel) it is told.
 * Owns: its texts. Thread: until frozen its maker's, then any. */
#ifndef FANFARE_ACL_ACL_USER_H
#define FANFARE_ACL_ACL_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/slice.h"

/* Bounds of one user; rules past them are refused. */
enum { ACL_COMMANDS_MAX = 1024, ACL_USER_BYTES_MAX = 1 << 16, ACL_NAME_BYTES_MAX = 512 };
enum { ACL_HASH_HEX = 64, ACL_NO_CONTAINER = UINT16_MAX };

/* A command or subcommand; its number is its place in the catalogue. */
struct acl_command {
    const char *name;    /* "client", "client|list" */
    uint32_t categories; /* bits, in the order of the catalogue's words */
    uint16_t container;  /* the number of a subcommand's command, or ACL_NO_CONTAINER */
    bool has_subcommands;
};

struct acl_catalogue {
    const struct acl_command *command;
    uint32_t command_count;      /* at most ACL_COMMANDS_MAX */
    const char *const *category; /* "@keyspace" */
    uint32_t category_count;
};

struct acl_user;

/* Gives: a user who is off and may do nothing, with one reference. Borrows: catalogue, for good. */
MUST_USE struct acl_user *acl_user_new(const struct acl_catalogue *catalogue, struct slice name);
/* Gives: one with the same rules, not frozen. */
MUST_USE struct acl_user *acl_user_copy(const struct acl_user *user);
/* Does `reset` give him all channels (acl-pubsub-default)? Not of one that is made. */
void acl_user_hear_all_anew(struct acl_user *user, bool hears_all);
struct acl_user *acl_user_ref(struct acl_user *user);
void acl_user_unref(struct acl_user *user); /* NULL is allowed */

/* Take one rule after the other. False: *why says which one is wrong, as Redis does behind "ERR "; the
 * user is spoilt then. */
MUST_USE bool acl_user_apply(struct acl_user *user, const struct slice *rule, uint32_t count,
                             struct buf *why);

/* The same of a line as acl_user_print writes it: rules, blanks between them. */
MUST_USE bool acl_user_parse(struct acl_user *user, struct slice line, struct buf *why);
/* Append the rules that make this user of a new one. */
void acl_user_print(const struct acl_user *user, struct buf *out);

/* The user's name, and then those rules that say what it may do: no passwords. */
void acl_user_print_rights(const struct acl_user *user, struct buf *out);
/* Gives: a user of this name and these rights; NULL: they make no sense here. Borrows: catalogue, for good. */
MUST_USE struct acl_user *acl_user_of_rights(const struct acl_catalogue *catalogue,
                                             struct slice rights);

struct slice acl_user_name(const struct acl_user *user);
bool acl_user_is_on(const struct acl_user *user);
bool acl_user_has_nopass(const struct acl_user *user);
/* Everything is allowed: no need to ask. */
bool acl_user_is_free(const struct acl_user *user);

/* May it read whatever key there is? */
bool acl_user_reads_all(const struct acl_user *user);

/* Is it one of the user's passwords? Time: the password's length, and how many the user has. */
MUST_USE bool acl_user_knows(const struct acl_user *user, struct slice password);

/* ---- may it? ---- */

enum acl_access { ACL_READS = 1, ACL_WRITES = 2 };

/* Arguments that are keys or channels: first, first + step, ... */
struct acl_range {
    uint32_t first;
    uint32_t step;
    uint32_t count;
    uint8_t access;  /* of keys: enum acl_access, or-ed; 0: only named */
    bool is_channel; /* of PUBLISH and the like */
    bool is_pattern; /* channels: of PSUBSCRIBE, to be allowed word by word */
};

enum { ACL_RANGES = 4 };
struct acl_question {
    uint32_t command;
    uint32_t argc;
    const struct slice *argv;
    struct acl_range range[ACL_RANGES];
    uint32_t range_count;
};

enum acl_verdict {
    ACL_ALLOWED,
    ACL_NO_COMMAND,
    ACL_NO_KEY,
    ACL_NO_CHANNEL,
    ACL_NO_AUTH,
    ACL_NO_CERTIFICATE, /* the user whom a certificate names is not there, or off */
};

/* Some one of the user's selectors has to allow all of it. If none does: why not, of the one that came furthest, and *at, the
 * argument that was refused. */
MUST_USE enum acl_verdict acl_user_may(const struct acl_user *user,
                                       const struct acl_question *question, uint32_t *at);

/* May it (go on to) listen to this channel, or pattern? */
MUST_USE bool acl_user_may_hear(const struct acl_user *user, struct slice channel, bool is_pattern);

/* ---- to be shown ---- */

uint32_t acl_user_password_count(const struct acl_user *user);
const char *acl_user_password(const struct acl_user *user, uint32_t at); /* ACL_HASH_HEX digits */
const char *acl_user_flag(const struct acl_user *user, uint32_t at); /* NULL: that was the last */
/* Selector 0 is the user's own; append what ACL GETUSER tells of one. */
uint32_t acl_user_selector_count(const struct acl_user *user);
void acl_user_print_commands(const struct acl_user *user, uint32_t selector, struct buf *out);
void acl_user_print_keys(const struct acl_user *user, uint32_t selector, struct buf *out);
void acl_user_print_channels(const struct acl_user *user, uint32_t selector, struct buf *out);

#endif
