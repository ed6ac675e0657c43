/* sim_membership_users: the cluster's users in the simulated cluster: operators who change them at any node, and what is checked: a
 * change that was answered is in force on every node that may order, at that moment, and is never lost. The rules of each user are a number;
 * what is applied to one user has rising numbers. */
#ifndef FANFARE_TESTS_SIM_MEMBERSHIP_USERS_H
#define FANFARE_TESTS_SIM_MEMBERSHIP_USERS_H

#include "sim/sim_membership.h"

/* core_world's */
void musers_on_roster(void *node, const struct roster *roster);
struct roster_change *musers_own(void *node, uint64_t id);

void musers_stop(struct mnode *node); /* its core is gone */
void musers_tick(struct mnode *node); /* after each tick of its core */
/* Some operator changes a user somewhere. */
void musers_change(struct msim *sim);
/* Why the users are not at rest; NULL: they are, and what was answered is in them. */
const char *musers_unrest(struct msim *sim);

#endif
