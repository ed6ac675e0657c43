/* acl_selector: one set of permissions of a user: commands, keys, channels. Thread: as acl_user.
 * Always: a command's bit says whether it may be run with any first argument; `rule` says the same in words, on top of all or no
 * commands. */
#ifndef FANFARE_ACL_ACL_SELECTOR_H
#define FANFARE_ACL_ACL_SELECTOR_H

#include "acl/acl_user.h"
#include "base/glob.h"

struct acl_pattern {
    struct slice text; /* owned */
    struct glob glob;
    size_t prefix_len; /* bytes that a match begins with */
    uint8_t access;    /* of keys */
};

struct acl_patterns {
    struct acl_pattern *at;
    uint32_t count;
    bool is_all;
};

/* "+select|0": a command that is allowed with this first argument only. */
struct acl_first_arg {
    uint16_t command;
    struct slice arg; /* owned */
};

struct acl_selector {
    uint64_t allowed[ACL_COMMANDS_MAX / 64];
    bool has_all;       /* commands, also those to come: +@all, and nothing taken from it */
    bool began_full;    /* the words of `rule` stand on +@all, else on -@all */
    struct slice *rule; /* owned: "+get", "-@dangerous" */
    uint32_t rule_count;
    struct acl_first_arg *first_arg;
    uint32_t first_arg_count;
    struct acl_patterns keys;
    struct acl_patterns channels;
};

enum acl_fault {
    ACL_FAULT_NONE,
    ACL_FAULT_UNKNOWN,
    ACL_FAULT_SYNTAX,
    ACL_FAULT_ALL_KEYS,
    ACL_FAULT_ALL_CHANNELS,
    ACL_FAULT_NO_PASSWORD,
    ACL_FAULT_HASH,
    ACL_FAULT_FIRST_ARG,
    ACL_FAULTS
};

void acl_selector_copy(struct acl_selector *to, const struct acl_selector *from);
void acl_selector_fini(struct acl_selector *selector); /* a zeroed one is allowed */

/* One rule about commands, keys or channels. */
MUST_USE enum acl_fault acl_selector_apply(struct acl_selector *selector,
                                           const struct acl_catalogue *catalogue,
                                           struct slice rule);

MUST_USE enum acl_verdict acl_selector_may(const struct acl_selector *selector,
                                           const struct acl_question *question, uint32_t *at);
bool acl_selector_reads_all(const struct acl_selector *selector);
MUST_USE bool acl_selector_may_hear(const struct acl_selector *selector, struct slice channel,
                                    bool is_pattern);

/* Append, with a blank between two words. */
void acl_selector_print_commands(const struct acl_selector *selector, struct buf *out);
void acl_selector_print_keys(const struct acl_selector *selector, struct buf *out);
void acl_selector_print_channels(const struct acl_selector *selector, struct buf *out);

#endif
