/* block: reference-counted bytes that several connections and threads send from; and span, a view
 * into one. Frozen: bytes below `len` never change once the block is shared. One owner may go on
 * appending behind them. Thread: references may be taken and dropped on any thread; appending is
 * the owner's. */
#ifndef FANFARE_BASE_BLOCK_H
#define FANFARE_BASE_BLOCK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

struct block {
    atomic_uint refs;
    size_t cap;
    size_t len; /* the owner's append position */
    char data[];
};

struct span {
    struct block *block;
    const char *data;
    size_t len;
};

/* Gives: an empty block with room for `cap` bytes and one reference, the caller's. */
MUST_USE struct block *block_new(size_t cap);

static inline struct block *block_ref(struct block *block)
{
    atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
    return block;
}

/* Takes: the caller's reference; the last one frees the block. NULL is allowed. */
void block_unref(struct block *block);

/* The block at *at has room for `bytes` more, or is replaced (its reference dropped) by a new one
 * of `cap` bytes or, if that is too little, just `bytes`. *at may be NULL. Thread: the owner. */
struct block *block_room(struct block **at, size_t bytes, size_t cap);

#endif
