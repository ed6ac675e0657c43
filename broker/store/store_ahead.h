/* store_ahead: what a reader of all that is there finds is read from the disk with what lies about it in the file. Others read a page
 * at a time, as LMDB is opened, since what lies beside a page is of no use to who looks for one key; a walk over a store that is not in
 * memory would be a wait for the disk at each page.
 * Owns: which parts of the file were asked for. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_AHEAD_H
#define FANFARE_STORE_STORE_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

enum {
    AHEAD_BYTES_LOG2 = 18, /* of a part */
    AHEAD_PARTS_LOG2 = 16, /* that are told from each other: 16 GiB; others are asked for again */
};

struct store_ahead {
    uintptr_t last;
    uintptr_t asked[1 << AHEAD_PARTS_LOG2]; /* the number of a part, by its last digits */
};

/* A row was found there, in the map. */
void ahead_take(struct store_ahead *ahead, const void *at);

/* The same, if somebody reads ahead. */
static inline void ahead_look(struct store_ahead *ahead, const void *at)
{
    if (UNLIKELY(ahead != NULL)) { ahead_take(ahead, at); }
}

#endif
