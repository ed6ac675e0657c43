/* roster: the users that the cluster has agreed on: their names and rules, which nobody down here understands.
 * A frozen, counted value; a change makes the next one. Pure: every replica of the control group computes the same.
 * Thread: any. */
#ifndef FANFARE_CONSENSUS_ROSTER_H
#define FANFARE_CONSENSUS_ROSTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

enum {
    ROSTER_USERS_MAX = 10000,
    /* Of all names and rules, and ROSTER_USER_BYTES for each user: what a snapshot of the control group, or a command of
     * its log that sets all of them, may take. */
    ROSTER_BYTES_MAX = 1 << 20,
    ROSTER_USER_BYTES = 16,
    ROSTER_NAME_BYTES_MAX = 512,
    ROSTER_RULES_BYTES_MAX = 128 << 10,
    ROSTER_DONE_MAX = 256, /* changes that are remembered, so that none is made twice */
};

struct roster_user {
    struct slice name;
    struct slice rules;
    uint64_t version; /* of the roster that changed this user last */
};

struct roster {
    atomic_uint refs;
    uint64_t version;         /* the control log's index that made it */
    size_t bytes;             /* as ROSTER_BYTES_MAX counts them */
    uint32_t count;           /* of users, */
    struct roster_user *user; /* by name, in byte order */
    uint32_t done_count;
    uint64_t done[ROSTER_DONE_MAX]; /* the last changes' ids, the newest last */
};

struct roster *roster_ref(const struct roster *roster);
void roster_unref(const struct roster *roster); /* NULL is allowed */

/* NULL: there is none of this name. */
const struct roster_user *roster_find(const struct roster *roster, struct slice name);

/* Is that change among the last ones? NULL is an empty roster. */
bool roster_has_done(const struct roster *roster, uint64_t id);

/* ---- changes ---- */

/* What is to become of one user. */
struct roster_edit {
    struct slice name;  /* owned by the change, */
    struct slice rules; /* and so are these */
    uint64_t base;      /* the version of the user that this was made of; 0: there was none */
    bool is_removal;
};

struct roster_change {
    uint64_t id;   /* random, never 0 */
    bool is_first; /* there is no roster yet: this one, of all users, begins it */
    bool
        is_all; /* whoever is not named is removed, and what the others were before does not matter */
    uint32_t count;
    struct roster_edit *edit; /* by name, in byte order, none twice */
    uint32_t cap;
};

MUST_USE struct roster_change *roster_change_new(uint64_t id);
void roster_change_free(struct roster_change *change); /* NULL is allowed */
/* Takes copies. Of a name that was added before the last one counts. */
void roster_change_add(struct roster_change *change, const struct roster_edit *edit);

enum roster_fate {
    ROSTER_DONE,
    ROSTER_STALE, /* some user is not any more what the change was made of; or it was made already */
    ROSTER_FULL,  /* there would be too many, or too much of them */
};

/* Gives: the next roster in *out, of that version, where it is ROSTER_DONE. `before` may be NULL. */
MUST_USE enum roster_fate roster_next(const struct roster *before,
                                      const struct roster_change *change, uint64_t version,
                                      struct roster **out);

/* ---- for a state that is read: add the users in the order of their names ---- */

/* Gives: an empty one with room for so many users; `bytes` of names and rules. */
MUST_USE struct roster *roster_new(uint32_t count, size_t bytes);
/* False: it is out of order, or over a limit. */
MUST_USE bool roster_add(struct roster *roster, const struct roster_user *user);

#endif
