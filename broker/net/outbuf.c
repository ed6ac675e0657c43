/* outbuf: a queue of segments, of which the common case, only reply bytes, needs none. */
#include "net/outbuf.h"

#include <string.h>

#include "base/mem.h"

enum { OUTBUF_SEGS_MIN = 8, OUTBUF_COMPACT_BYTES = 65536 };

static struct span *last_seg(const struct outbuf *out)
{
    return out->seg_end > out->seg_first ? &out->seg[out->seg_end - 1] : NULL;
}

static void push_seg(struct outbuf *out, struct span span)
{
    if (out->seg_end == out->seg_cap && out->seg_first > out->seg_cap / 2) {
        uint32_t count = out->seg_end - out->seg_first;
        memmove(out->seg, out->seg + out->seg_first, count * sizeof *out->seg);
        out->seg_first = 0;
        out->seg_end = count;
    } else if (out->seg_end == out->seg_cap) {
        out->seg_cap = out->seg_cap > 0 ? out->seg_cap * 2 : OUTBUF_SEGS_MIN;
        out->seg = mem_resize(out->seg, out->seg_cap * sizeof *out->seg);
    }
    out->seg[out->seg_end++] = span;
}

struct buf *outbuf_reply_begin(struct outbuf *out)
{
    return &out->own;
}

/* Reply bytes need a segment of their own only behind a shared one. */
void outbuf_reply_end(struct outbuf *out)
{
    size_t added = out->own.len - out->own_queued;
    out->own_queued = out->own.len;
    out->bytes += added;
    struct span *last = last_seg(out);
    if (last == NULL || added == 0) { return; }
    if (last->block == NULL) {
        last->len += added;
    } else {
        push_seg(out, (struct span){.len = added});
    }
}

void outbuf_add_spans(struct outbuf *out, const struct span *span, unsigned count, size_t skip)
{
    if (last_seg(out) == NULL && out->bytes > 0) {
        push_seg(out, (struct span){.len = out->bytes});
    }
    for (unsigned i = 0; i < count; i++) {
        if (skip >= span[i].len) {
            skip -= span[i].len;
            continue;
        }
        struct span rest = {span[i].block, span[i].data + skip, span[i].len - skip};
        skip = 0;
        out->bytes += rest.len;
        struct span *last = last_seg(out);
        if (last != NULL && last->block == rest.block && last->data + last->len == rest.data) {
            last->len += rest.len;
        } else {
            block_ref(rest.block);
            push_seg(out, rest);
        }
    }
}

unsigned outbuf_peek(const struct outbuf *out, struct iovec *iov, unsigned iov_max)
{
    if (out->bytes == 0) { return 0; }
    if (out->seg_first == out->seg_end) {
        iov[0] = (struct iovec){out->own.data + out->own_sent, out->bytes};
        return 1;
    }
    unsigned count = 0;
    size_t own_at = out->own_sent;
    for (uint32_t i = out->seg_first; i < out->seg_end && count < iov_max; i++, count++) {
        const struct span *seg = &out->seg[i];
        if (seg->block == NULL) {
            iov[count] = (struct iovec){out->own.data + own_at, seg->len};
            own_at += seg->len;
        } else {
            iov[count] = (struct iovec){(char *)(uintptr_t)seg->data, seg->len};
        }
    }
    return count;
}

static void consume_segs(struct outbuf *out, size_t count)
{
    while (count > 0) {
        CHECK(out->seg_first < out->seg_end);
        struct span *seg = &out->seg[out->seg_first];
        size_t taken = count < seg->len ? count : seg->len;
        count -= taken;
        seg->len -= taken;
        if (seg->block == NULL) {
            out->own_sent += taken;
        } else {
            seg->data += taken;
        }
        if (seg->len == 0) {
            block_unref(seg->block);
            out->seg_first++;
        }
    }
}

void outbuf_consume(struct outbuf *out, size_t count)
{
    CHECK(count <= out->bytes);
    out->bytes -= count;
    if (out->seg_first == out->seg_end) {
        out->own_sent += count;
    } else {
        consume_segs(out, count);
    }
    if (out->bytes == 0) {
        mem_free(out->seg);
        out->seg = NULL;
        out->seg_first = out->seg_end = out->seg_cap = 0;
        out->own.len = out->own_sent = out->own_queued = 0;
        if (out->own.cap > OUTBUF_KEEP_BYTES) { buf_fini(&out->own); }
    } else if (out->own_sent > OUTBUF_COMPACT_BYTES && out->own_sent > out->own.len / 2) {
        buf_consume(&out->own, out->own_sent);
        out->own_queued -= out->own_sent;
        out->own_sent = 0;
    }
}

void outbuf_fini(struct outbuf *out)
{
    for (uint32_t i = out->seg_first; i < out->seg_end; i++) {
        block_unref(out->seg[i].block);
    }
    mem_free(out->seg);
    buf_fini(&out->own);
    *out = (struct outbuf){0};
}

struct outbuf *outbuf_take(struct outbuf_pool *pool)
{
    return pool->count > 0 ? pool->spare[--pool->count] : mem_new0(sizeof(struct outbuf));
}

void outbuf_give(struct outbuf_pool *pool, struct outbuf *out)
{
    if (out->bytes > 0 || pool->count == OUTBUF_POOL_MAX) {
        outbuf_fini(out);
        mem_free(out);
        return;
    }
    pool->spare[pool->count++] = out;
}

void outbuf_pool_fini(struct outbuf_pool *pool)
{
    while (pool->count > 0) {
        struct outbuf *out = pool->spare[--pool->count];
        outbuf_fini(out);
        mem_free(out);
    }
}
