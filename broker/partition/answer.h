/* answer: what the state machine keeps of an answer, until its origin has it. On disk: flags1 (1: a check did not hold;
 * 2: too long to be kept; 4, 8: a number of enum lent), count4 of the replies, db2 if something is lent, where each ends (4 bytes
 * each, if there is not just one), the replies. Thread: any. */
#ifndef FANFARE_PARTITION_ANSWER_H
#define FANFARE_PARTITION_ANSWER_H

#include "partition/lent.h"

struct answer {
    bool is_aborted;
    const uint32_t *end; /* of each reply; not needed for one */
    uint32_t count;
    struct slice replies;
    enum lent lent; /* what the call took, if that is to be put back; its database */
    uint16_t db;
};

/* In place of what is in `out`. */
void answer_encode(struct buf *out, const struct answer *answer);
/* Give a request what was kept. ERR_LIMIT: it was too long. ERR_CORRUPT. */
MUST_USE enum err answer_give(struct slice kept, struct partition_request *request);
/* What was kept with it that is lent: *replies is the one of its call. LENT_NOTHING: nothing. */
MUST_USE enum lent answer_lent(struct slice kept, uint16_t *db, struct slice *replies);

#endif
