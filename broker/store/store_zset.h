/* store_zset: sorted sets over one transaction. Two rows a member: `z content mix4 member` -> score, and `y content score8
 * member`, whose order is that of the scores, and of members of one score (of longer ones than STORE_NAME_MAX: of
 * their first bytes). No score is NaN. Write calls change the object; the caller saves it, or removes it when its count is 0.
 * Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_ZSET_H
#define FANFARE_STORE_STORE_ZSET_H

#include "store/store_walk.h"

bool store_zset_score(struct store_txn *txn, const struct store_object *zset, struct slice member,
                      double *score);
/* Add the member, or give it another score. True: it is new. */
bool store_zset_put(struct store_txn *txn, struct store_object *zset, struct slice member,
                    double score);
/* False: there was none. */
bool store_zset_delete(struct store_txn *txn, struct store_object *zset, struct slice member);

/* How many members come before this one. False: it is not there. */
bool store_zset_rank(struct store_txn *txn, const struct store_object *zset, struct slice member,
                     uint64_t *rank);

/* A place in the order: before or behind all members of a score, or within a score before or behind a member, which need
 * not be there. */
struct store_zset_bound {
    double score;
    bool is_behind;
    bool has_member;
    struct slice member;
};
/* How many members are before the place. */
uint64_t store_zset_count_below(struct store_txn *txn, const struct store_object *zset,
                                const struct store_zset_bound *bound);

/* Begin at the member of this rank. False: there is none. */
bool store_zset_walk(struct store_walk *walk, struct store_txn *txn,
                     const struct store_object *zset, uint64_t rank, enum store_walk_way way);

/* All members in no order, for ZSCAN; their scores by store_walk_score, too. */
uint64_t store_zset_scan(struct store_txn *txn, const struct store_object *zset, uint64_t cursor,
                         uint64_t count, void (*visit)(void *arg, struct store_walk *walk),
                         void *arg);

#endif
