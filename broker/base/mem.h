/* mem: allocation that never returns NULL.
 * Exhaustion stops the process with a log line; whatever a client can size is refused by a limit
 * before it gets here. Thread: any. */
#ifndef FANFARE_BASE_MEM_H
#define FANFARE_BASE_MEM_H

#include <stddef.h>

#include "base/check.h"

/* Gives: memory of `bytes` (> 0) bytes, uninitialised; release with mem_free. */
MUST_USE void *mem_new(size_t bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));

/* As mem_new, but zeroed. */
MUST_USE void *mem_new0(size_t bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));

/* Takes `ptr` (NULL is allowed), gives a block of `bytes` (> 0) with the old content up to the
 * smaller size. */
MUST_USE void *mem_resize(void *ptr, size_t bytes) __attribute__((alloc_size(2), returns_nonnull));

/* Gives: a copy of `bytes` bytes at `from`; of at least one byte, so that an empty copy is still an
 * object. */
MUST_USE void *mem_copy(const void *from, size_t bytes) __attribute__((malloc, returns_nonnull));

/* Takes: ptr, which may be NULL. */
void mem_free(void *ptr);

#endif
