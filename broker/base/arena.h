/* arena: memory for many small things that go together, as those of one decoded message. It begins with memory of the
 * caller's, on the stack as well, which is all that most need.
 * Thread: one at a time. */
#ifndef FANFARE_BASE_ARENA_H
#define FANFARE_BASE_ARENA_H

#include <stddef.h>

#include "base/list.h"

enum { ARENA_ALIGN = 16 };

struct arena {
    struct list blocks; /* what the first memory has no room for */
    char *data;
    size_t used;
    size_t cap;
    char *first;
    size_t first_bytes;
};

/* Borrows: first, aligned to ARENA_ALIGN, until arena_reset is called for the last time. */
void arena_init(struct arena *arena, char *first, size_t first_bytes);
/* All that was allocated is free again; nothing is left to free. */
void arena_reset(struct arena *arena);

/* As an allocator takes them: `arena` is a struct arena. */
void *arena_alloc(void *arena, size_t bytes);
void arena_ignore(void *arena, void *pointer); /* it goes with the others */

#endif
