/* acl_users: all users at one time: a frozen, counted table; a change makes another one. There is always a user `default`.
 * Thread: any. */
#ifndef FANFARE_ACL_ACL_USERS_H
#define FANFARE_ACL_ACL_USERS_H

#include "acl/acl_user.h"

enum { ACL_USERS_MAX = 10000 };

struct acl_users;

/* Gives: a table with `default` alone, who may do everything without a password. Borrows: catalogue, for good.
 * New users hear all channels, or (Redis's acl-pubsub-default) none. */
MUST_USE struct acl_users *acl_users_new(const struct acl_catalogue *catalogue, bool hear_all);
/* Gives: a table of these users, by name in byte order, none twice, at most ACL_USERS_MAX. Takes: a reference to each. A `default` that is
 * not among them is off. */
MUST_USE struct acl_users *acl_users_of(const struct acl_catalogue *catalogue, bool hear_all,
                                        struct acl_user *const *user, uint32_t count);
struct acl_users *acl_users_ref(struct acl_users *users);
void acl_users_unref(struct acl_users *users); /* NULL is allowed */

/* The user, who lives as long as the table, or longer with a reference; NULL: there is none. */
struct acl_user *acl_users_find(const struct acl_users *users, struct slice name);
struct acl_user *acl_users_default(const struct acl_users *users);

uint32_t acl_users_count(const struct acl_users *users);
/* By name, in byte order. */
struct acl_user *acl_users_at(const struct acl_users *users, uint32_t at);

/* ---- changes: each gives a new table; the old one stays as it is ---- */

/* With one user changed, or a new one made. NULL: *why says what is wrong, as Redis does behind "ERR ". */
MUST_USE struct acl_users *acl_users_set(const struct acl_users *users, struct slice name,
                                         const struct slice *rule, uint32_t count, struct buf *why);
/* With the same users; later ones hear all channels, or none. */
MUST_USE struct acl_users *acl_users_hearing(const struct acl_users *users, bool hear_all);
/* Without the user, who is not `default`; the same table again if there is none. */
MUST_USE struct acl_users *acl_users_without(struct acl_users *users, struct slice name);

/* Of a text in the form of an ACL file: "user NAME rule ..." lines, empty ones, and those that begin with '#'. `default` is as in a new
 * table if it has no line (*has_default). NULL: *why names the line and what is wrong with it. */
MUST_USE struct acl_users *acl_users_parse(const struct acl_catalogue *catalogue, bool hear_all,
                                           struct slice text, bool *has_default, struct buf *why);
/* Append the text; "user NAME rule ..." of one user. */
void acl_users_print(const struct acl_users *users, struct buf *out);
void acl_users_print_one(const struct acl_user *user, struct buf *out);

#endif
