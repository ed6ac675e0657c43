/* answer: what the state machine keeps of an answer, until its origin has it. On disk: flags1 (1: a check did not hold;
 * 2: too long to be kept), count4 of the replies, where each ends (4 bytes each, if there is not just one), the replies. Thread: any. */
#ifndef FANFARE_PARTITION_ANSWER_H
#define FANFARE_PARTITION_ANSWER_H

#include "partition/partition_types.h"

struct answer {
    bool is_aborted;
    const uint32_t *end; /* of each reply; not needed for one */
    uint32_t count;
    struct slice replies;
};

/* In place of what is in `out`. */
void answer_encode(struct buf *out, const struct answer *answer);
/* Give a request what was kept. ERR_LIMIT: it was too long. ERR_CORRUPT. */
MUST_USE enum err answer_give(struct slice kept, struct partition_request *request);

#endif
