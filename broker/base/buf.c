/* buf: growth and appending. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

enum { BUF_CAP_MIN = 64 };

char *buf_reserve(struct buf *buf, size_t more)
{
    if (buf->cap - buf->len < more) {
        size_t need = buf->len + more;
        CHECK(need >= more);
        size_t cap = buf->cap > 0 ? buf->cap : BUF_CAP_MIN;
        while (cap < need) {
            cap *= 2;
        }
        buf->data = mem_resize(buf->data, cap);
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void buf_append(struct buf *buf, struct slice bytes)
{
    if (bytes.len > 0) {
        memcpy(buf_reserve(buf, bytes.len), bytes.data, bytes.len);
        buf->len += bytes.len;
    }
}

void buf_append_str(struct buf *buf, const char *str)
{
    buf_append(buf, slice_of_str(str));
}

void buf_append_uint(struct buf *buf, uint64_t v)
{
    buf->len += uint64_to_text(v, buf_reserve(buf, 20));
}

void buf_appendf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(len >= 0);
    char *at = buf_reserve(buf, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(at, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
}

void buf_consume(struct buf *buf, size_t count)
{
    CHECK(count <= buf->len);
    buf->len -= count;
    if (buf->len > 0 && count > 0) { memmove(buf->data, buf->data + count, buf->len); }
}

void buf_fini(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){0};
}
