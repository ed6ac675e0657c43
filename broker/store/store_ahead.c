/* store_ahead: see the header. */
#include "store/store_ahead.h"

#include <sys/mman.h>

static void ask_for(struct store_ahead *ahead, uintptr_t part)
{
    uintptr_t *asked = &ahead->asked[part & ((1 << AHEAD_PARTS_LOG2) - 1)];
    if (*asked == part) { return; }
    *asked = part;
    /* Of a part that reaches beyond the map the rest is asked for; that it does is no fault. */
    (void)madvise((void *)(part << AHEAD_BYTES_LOG2), (size_t)1 << AHEAD_BYTES_LOG2, MADV_WILLNEED);
}

void ahead_take(struct store_ahead *ahead, const void *at)
{
    uintptr_t part = (uintptr_t)at >> AHEAD_BYTES_LOG2;
    if (part == ahead->last) { return; }
    ahead->last = part;
    ask_for(ahead, part);
    ask_for(ahead, part + 1);
}
