/* block: creation, last reference, rolling over to a new one. */
#include "base/block.h"

#include "base/mem.h"

struct block *block_new(size_t cap)
{
    struct block *block = mem_new(sizeof *block + cap);
    atomic_init(&block->refs, 1);
    block->cap = cap;
    block->len = 0;
    return block;
}

void block_unref(struct block *block)
{
    if (block != NULL && atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(block);
    }
}

struct block *block_room(struct block **at, size_t bytes, size_t cap)
{
    if (*at == NULL || (*at)->cap - (*at)->len < bytes) {
        block_unref(*at);
        *at = block_new(bytes > cap ? bytes : cap);
    }
    return *at;
}
