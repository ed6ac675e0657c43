/* agreed: the users that the cluster has agreed on, on this node: put in force on every worker, and told to be.
 * Owns: the newest roster. Not: the table in force (acl), changes (user_change).
 * Thread: agreed_new, agreed_free: main, before the workers and after the cluster. The rest as stated. */
#ifndef FANFARE_CMD_AGREED_H
#define FANFARE_CMD_AGREED_H

#include "cmd/broker.h"

struct agreed;

/* For a node in a cluster. */
MUST_USE struct agreed *agreed_new(struct broker *broker);
void agreed_free(struct agreed *agreed); /* NULL is allowed */

/* What the cluster calls: membership_users, with the struct agreed as its arg. Any one thread at a time. */
void agreed_on_roster(void *agreed, const struct roster *roster);
struct roster_change *agreed_own(void *agreed, uint64_t id);

/* Gives: the newest roster; NULL: none yet. Thread: any. */
MUST_USE struct roster *agreed_roster(struct agreed *agreed);

#endif
