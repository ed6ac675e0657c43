/* lent: what a pop that waited took out of a key, and the write that puts it back: to the same end, with the same score.
 * It is lent to a client until the client's node confirms that it has been handed over. Thread: any. */
#ifndef FANFARE_PARTITION_LENT_H
#define FANFARE_PARTITION_LENT_H

#include "partition/partition_types.h"

/* How it is put back; kept on disk (answer.h). */
enum lent { LENT_NOTHING, LENT_LEFT, LENT_RIGHT, LENT_SCORED };

/* What a call takes that was executed, or is to be. LENT_NOTHING: nothing, or nothing is lost by it (BLMOVE, XREADGROUP). */
enum lent lent_by(const struct partition_call *call);

/* The write's words. */
struct lent_words {
    struct slice *word;
    uint32_t count;
    uint32_t cap;
};

/* Behind what is in `out`: the write that puts back what a call was answered with; it refers to the reply. False: nothing
 * was taken. */
MUST_USE bool lent_undo(enum lent lent, struct slice reply, struct lent_words *out);
void lent_words_fini(struct lent_words *words);

#endif
