/* data_claim: what has been pending for too long, for XREADGROUP with CLAIM. Inside this module. */
#ifndef FANFARE_DATA_DATA_CLAIM_H
#define FANFARE_DATA_DATA_CLAIM_H

#include "data/data_group.h"

/* What is claimed, from the longest idle on, at most `count` (0: all); entries that the stream has no more are pending no
 * more. Each is appended to `out` as [id, fields, ms since it was delivered, how often]. Changes group and consumer. Gives: how
 * many. */
struct claim_idle {
    struct data_group *group;
    struct store_consumer *consumer;
    uint64_t min_idle_ms;
    uint64_t count;
    size_t bytes_max; /* of what is appended; 0: any */
    bool takes_one;   /* the first one may be longer */
    bool is_full;     /* out: there was one that does not fit */
    struct reply *out;
};
size_t claim_idle(struct claim_idle *claim);

#endif
