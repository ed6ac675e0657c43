/* buf: owned growable bytes.
 * Owns: its memory. Thread: whoever owns the struct; no locks.
 * Always: len <= cap; data is NULL exactly when cap is 0. A zeroed struct is an empty buf. */
#ifndef FANFARE_BASE_BUF_H
#define FANFARE_BASE_BUF_H

#include "base/check.h"
#include "base/slice.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
};

/* Room for `more` bytes past len; grows by doubling. Returns where they go; the caller adds to len
 * what it wrote. */
char *buf_reserve(struct buf *buf, size_t more);

void buf_append(struct buf *buf, struct slice bytes);
void buf_append_str(struct buf *buf, const char *str);
void buf_append_uint(struct buf *buf, uint64_t v);
void buf_appendf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* Drop the first `count` (<= len) bytes by moving the rest down. */
void buf_consume(struct buf *buf, size_t count);

/* Free the memory; the buf is empty and usable again. */
void buf_fini(struct buf *buf);

static inline struct slice buf_slice(const struct buf *buf)
{
    return (struct slice){buf->data, buf->len};
}

#endif
