/* data_zset: ranges of sorted sets as ranks. Inside this module. */
#ifndef FANFARE_DATA_DATA_ZSET_H
#define FANFARE_DATA_DATA_ZSET_H

#include "data/data_key.h"
#include "store/store_zset.h"

/* Members from rank `first` up to, not including, rank `end`. */
struct rank_range {
    uint64_t first;
    uint64_t end;
};

enum range_by { RANGE_BY_RANK, RANGE_BY_SCORE, RANGE_BY_LEX };

/* A range as arguments give it: read before the key is looked at. */
struct zset_range {
    enum range_by by;
    bool is_reverse;
    int64_t start; /* ranks, in the order that is asked for */
    int64_t stop;
    struct store_zset_bound min;
    struct store_zset_bound max;
    int lex_min; /* -1: before all, 1: behind all, 0: min.member */
    int lex_max;
    bool has_limit;
    int64_t offset;
    int64_t count; /* below 0: all */
};

/* Read the two ends at arguments `at` and `at` + 1 (with is_reverse, and not by rank, the higher one first). False: they are
 * no good, and the reply says so. */
MUST_USE bool range_ends_read(struct data_call *call, uint32_t at, struct zset_range *range);

/* The range in a sorted set that is there, its limit applied. */
struct rank_range range_resolve(const struct data_key *key, const struct zset_range *range);

/* Visit the members of a range, from the lowest rank up or the highest down. */
void range_visit(const struct data_key *key, struct rank_range ranks, bool is_reverse,
                 void (*visit)(void *arg, struct store_walk *walk), void *arg);

void zset_put(struct data_key *key, struct slice member, double score);

/* A member, and a score with it: in RESP3 a pair. */
struct zset_out {
    struct reply *reply;
    bool has_scores;
    bool is_nested;
};
void zset_out_head(struct zset_out *out, struct reply *reply, bool has_scores, uint64_t count);
void zset_out_member(struct zset_out *out, struct slice member, double score);
void zset_out_visit(void *arg, struct store_walk *walk); /* of range_visit */

#endif
