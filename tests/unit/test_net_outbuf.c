/* outbuf against a flat byte string: any mix of replies, shared spans and partial sends leaves the same bytes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/outbuf.h"

static void add_reply(struct outbuf *out, struct buf *expected, struct slice text)
{
    buf_append(outbuf_reply_begin(out), text);
    outbuf_reply_end(out);
    buf_append(expected, text);
}

/* Move up to `bytes` from the outbuf to `sent`, as a socket that takes so many would. */
static void drain(struct outbuf *out, struct buf *sent, size_t bytes, unsigned iov_max)
{
    struct iovec iov[8];
    unsigned count = outbuf_peek(out, iov, iov_max);
    size_t taken = 0;
    for (unsigned i = 0; i < count && taken < bytes; i++) {
        size_t len = iov[i].iov_len < bytes - taken ? iov[i].iov_len : bytes - taken;
        buf_append(sent, slice_of(iov[i].iov_base, len));
        taken += len;
    }
    outbuf_consume(out, taken);
}

Test(outbuf, any_mix_leaves_in_order)
{
    for (unsigned seed = 1; seed <= 300; seed++) {
        unsigned state = seed;
        struct outbuf out = {0};
        struct buf expected = {0}, sent = {0};
        struct block *block = block_new(4096);
        for (unsigned i = 0; i < 4096; i++) {
            block->data[i] = (char)('a' + i % 26);
        }
        for (unsigned step = 0; step < 200; step++) {
            unsigned kind = (unsigned)rand_r(&state) % 3;
            unsigned size = (unsigned)rand_r(&state) % 300;
            if (kind == 0) {
                char text[32];
                int len = snprintf(text, sizeof text, ":%u\r\n", step);
                add_reply(&out, &expected, slice_of(text, (size_t)len));
            } else if (kind == 1) {
                struct span span[2] = {{block, block->data + size, 100 + size},
                                       {block, block->data, size}};
                size_t skip = (unsigned)rand_r(&state) % (100 + 2 * size);
                outbuf_add_spans(&out, span, 2, skip);
                struct buf all = {0};
                buf_append(&all, slice_of(span[0].data, span[0].len));
                buf_append(&all, slice_of(span[1].data, span[1].len));
                buf_append(&expected, slice_of(all.data + skip, all.len - skip));
                buf_fini(&all);
            } else {
                drain(&out, &sent, size, 1 + size % 8);
            }
            cr_assert_eq(out.bytes, expected.len - sent.len, "seed %u step %u", seed, step);
        }
        while (out.bytes > 0) {
            drain(&out, &sent, 1000, 8);
        }
        cr_assert(slice_equal(buf_slice(&sent), buf_slice(&expected)), "seed %u", seed);
        cr_assert_eq(atomic_load(&block->refs), 1, "every reference is given back");
        outbuf_fini(&out);
        block_unref(block);
        buf_fini(&expected);
        buf_fini(&sent);
    }
}

Test(outbuf, adjacent_spans_of_a_block_become_one_segment)
{
    struct outbuf out = {0};
    struct block *block = block_new(1000);
    for (unsigned i = 0; i < 10; i++) {
        struct span span = {block, block->data + i * 100, 100};
        outbuf_add_spans(&out, &span, 1, 0);
    }
    struct iovec iov[8];
    cr_assert_eq(outbuf_peek(&out, iov, 8), 1);
    cr_assert_eq(iov[0].iov_len, 1000);
    cr_assert_eq(atomic_load(&block->refs), 2);
    outbuf_fini(&out);
    cr_assert_eq(atomic_load(&block->refs), 1);
    block_unref(block);
}

Test(outbuf, an_empty_one_holds_no_large_buffer)
{
    struct outbuf out = {0};
    char *large = mem_new0(100000);
    buf_append(outbuf_reply_begin(&out), slice_of(large, 100000));
    outbuf_reply_end(&out);
    outbuf_consume(&out, 100000);
    cr_assert_leq(out.own.cap, OUTBUF_KEEP_BYTES);
    cr_assert_null(out.seg);
    mem_free(large);
    outbuf_fini(&out);
}

Test(outbuf, a_slow_reader_of_replies_does_not_make_the_buffer_grow_with_all_that_has_left)
{
    struct outbuf out = {0};
    struct buf expected = {0}, sent = {0};
    char text[1000];
    memset(text, 'r', sizeof text);
    for (unsigned i = 0; i < 5000; i++) { /* 5 MB pass through, at most about 10 KB wait */
        add_reply(&out, &expected, slice_of(text, sizeof text));
        if (out.bytes > 10000) { drain(&out, &sent, sizeof text, 8); }
    }
    cr_assert_leq(out.own.cap, 512 * 1024);
    outbuf_fini(&out);
    buf_fini(&expected);
    buf_fini(&sent);
}
