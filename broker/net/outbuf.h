/* outbuf: bytes waiting to leave one connection: its own replies and references into shared blocks,
 * in order. Owns: the reply bytes, its references, the byte count. Not: the socket. Thread: the
 * connection's worker; no locks. Always: bytes is the sum of what is queued; no segments means that
 * all of it is reply bytes. A zeroed struct is empty. */
#ifndef FANFARE_NET_OUTBUF_H
#define FANFARE_NET_OUTBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/block.h"
#include "base/buf.h"

struct outbuf {
    struct buf own; /* reply bytes; the first own_sent of them have left */
    struct span
        *seg; /* ring-free queue [seg_first, seg_end); block NULL: the next len bytes of `own` */
    size_t own_sent;
    size_t own_queued; /* own.len at the last outbuf_reply_end */
    size_t bytes;      /* queued, all kinds */
    uint32_t seg_first;
    uint32_t seg_end;
    uint32_t seg_cap;
};

/* The buffer to append reply bytes to, between begin and end. */
struct buf *outbuf_reply_begin(struct outbuf *out);
void outbuf_reply_end(struct outbuf *out);

/* Queue span[0..count) without the first `skip` bytes, taking a reference on each block still
 * needed. */
void outbuf_add_spans(struct outbuf *out, const struct span *span, unsigned count, size_t skip);

/* Fill iov (room for iov_max) with the head of the queue. Returns the number filled; 0 when nothing
 * waits. */
unsigned outbuf_peek(const struct outbuf *out, struct iovec *iov, unsigned iov_max);

/* `count` (<= bytes) bytes have left. Frees what is no longer needed; an empty outbuf holds no
 * memory but, up to OUTBUF_KEEP_BYTES, its reply buffer. */
enum { OUTBUF_KEEP_BYTES = 16384 };
void outbuf_consume(struct outbuf *out, size_t count);

/* Free everything; empty and usable again. */
void outbuf_fini(struct outbuf *out);

/* A connection has an outbuf only while something waits in it; the worker keeps some for the next.
 */
enum { OUTBUF_POOL_MAX = 64 };
struct outbuf_pool {
    struct outbuf *spare[OUTBUF_POOL_MAX];
    unsigned count;
};

/* Gives: an empty outbuf, with a reply buffer if one is to be had. */
MUST_USE struct outbuf *outbuf_take(struct outbuf_pool *pool);

/* Takes: out, whatever is in it. */
void outbuf_give(struct outbuf_pool *pool, struct outbuf *out);

void outbuf_pool_fini(struct outbuf_pool *pool);

#endif
