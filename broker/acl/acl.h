/* acl: who may do what on this node, now. The users are those that the cluster has agreed on; as long as it has not, those of
 * the node (its file, its options, what was set here).
 * Owns: the table in force, what was refused (acl_log), where it failed (acl_failures). Thread: any; changes take a lock, readers keep a table until the version moves. */
#ifndef FANFARE_ACL_ACL_H
#define FANFARE_ACL_ACL_H

#include "acl/acl_failures.h"
#include "acl/acl_log.h"
#include "acl/acl_users.h"
#include "base/err.h"

struct acl;

/* As acl_users_new. */
MUST_USE struct acl *acl_new(const struct acl_catalogue *catalogue, bool hear_all);
void acl_free(struct acl *acl); /* NULL is allowed */

const struct acl_catalogue *acl_catalogue(const struct acl *acl);
struct acl_log *acl_log(struct acl *acl);
struct acl_failures *acl_failures(struct acl *acl);

/* Gives: a reference to the table in force. */
MUST_USE struct acl_users *acl_users_now(struct acl *acl);
/* Moves with each change of it. */
uint64_t acl_version(const struct acl *acl);

/* ---- the node's own users ---- */

/* Change or make a user. False: *why, as acl_users_set. */
MUST_USE bool acl_set_user(struct acl *acl, struct slice name, const struct slice *rule,
                           uint32_t count, struct buf *why);
/* False: there is none of this name. Not for `default`. */
bool acl_delete_user(struct acl *acl, struct slice name);

/* The password of `default` where no file says otherwise (requirepass); empty: none. If it is another one than before it takes effect
 * at once. */
void acl_set_standard_password(struct acl *acl, struct slice password);

/* New users, and those who are reset, hear all channels, or none (acl-pubsub-default). */
void acl_set_hear_all(struct acl *acl, bool hear_all);

/* Append the users in force in the form of an ACL file; `default` only where he is not what the standard password alone makes of him. */
void acl_print_lines(struct acl *acl, struct buf *out);

/* Take the text of an ACL file instead of the node's users. False: *why, and nothing has changed. */
MUST_USE bool acl_replace(struct acl *acl, struct slice text, struct buf *why);

/* Visit them, by name; the rules as ACL LIST shows them. */
void acl_each_own(struct acl *acl, void (*visit)(void *arg, struct slice name, struct slice rules),
                  void *arg);

/* ---- the cluster's ---- */

struct acl_agreed {
    struct slice name;
    struct slice rules;
    bool is_same; /* as when all were told last: who is connected as this user is left alone */
};

/* What it has agreed on, all of it, by name in byte order: in force when this returns, instead of the node's own. Rules that
 * this program does not know make a user who is off (logged), and so does a `default` that is not among them. */
void acl_agree(struct acl *acl, const struct acl_agreed *agreed, uint32_t count);
/* Is there such a thing? */
bool acl_is_agreed(struct acl *acl);

/* Append the rules that a user would have after a change: what the cluster is to agree on. `present`: the rules now; NULL: a new
 * user. False: *why, as acl_users_set. */
MUST_USE bool acl_plan_user(struct acl *acl, struct slice name, const struct slice *present,
                            const struct slice *rule, uint32_t count, struct buf *rules,
                            struct buf *why);
/* Gives: the users of the text of an ACL file, as it would be taken; NULL: *why. */
MUST_USE struct acl_users *acl_plan_replace(struct acl *acl, struct slice text, struct buf *why);
/* The rule for `default` that goes with a password, or with none, as requirepass says it: at most two words. */
uint32_t acl_standard_rule(struct slice password, char hash[ACL_HASH_HEX + 2],
                           struct slice rule[2]);

#endif
