/* msg_check accepts what msg writes, and nothing else. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "pubsub/msg.h"

static void add(struct buf *out, enum topic_kind kind, struct slice channel, struct slice payload)
{
    char *at = buf_reserve(out, msg_bytes_max(kind, channel, payload));
    char *end = msg_write_payload(msg_write_prefix(at, kind, channel), payload);
    out->len += (size_t)(end - at);
}

/* From memory of exactly that length, so that a sanitizer sees a read past its end. */
static bool check(enum topic_kind kind, struct slice data, uint32_t count)
{
    char *copy = data.len > 0 ? mem_copy(data.data, data.len) : NULL;
    size_t prefix_bytes;
    bool is_good = msg_check(kind, slice_of(copy, data.len), count, &prefix_bytes);
    mem_free(copy);
    return is_good;
}

static bool check_text(const char *text, uint32_t count)
{
    return check(TOPIC_CHANNEL, slice_of_str(text), count);
}

#define NEWS "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n"

Test(msg_check, accepts_what_is_written_with_its_count_and_tells_the_prefix)
{
    static const enum topic_kind kinds[] = {TOPIC_CHANNEL, TOPIC_SHARD};
    char *large = mem_new0(70000);
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        struct buf data = {0};
        for (uint32_t count = 1; count <= 12; count++) {
            add(&data, kinds[k], SLICE("a channel\r\n"), slice_of(large, count * count * 400));
            size_t prefix_bytes = 0;
            cr_assert(msg_check(kinds[k], buf_slice(&data), count, &prefix_bytes));
            cr_assert_eq(prefix_bytes, msg_prefix_bytes(kinds[k], SLICE("a channel\r\n")));
            cr_assert_not(check(kinds[k], buf_slice(&data), count - 1));
            cr_assert_not(check(kinds[k], buf_slice(&data), count + 1));
            cr_assert_not(check(kinds[1 - k], buf_slice(&data), count));
        }
        buf_fini(&data);
    }
    mem_free(large);
}

Test(msg_check, accepts_empty_channels_and_payloads)
{
    struct buf data = {0};
    add(&data, TOPIC_CHANNEL, SLICE(""), SLICE(""));
    add(&data, TOPIC_CHANNEL, SLICE(""), SLICE("x"));
    add(&data, TOPIC_CHANNEL, SLICE(""), SLICE(""));
    cr_assert(check(TOPIC_CHANNEL, buf_slice(&data), 3));
    buf_fini(&data);
}

Test(msg_check, refuses_every_cut)
{
    struct buf data = {0};
    add(&data, TOPIC_CHANNEL, SLICE("news"), SLICE("first"));
    size_t first_len = data.len;
    add(&data, TOPIC_CHANNEL, SLICE("news"), SLICE("second"));
    for (size_t len = 0; len < data.len; len++) {
        cr_assert_eq(check(TOPIC_CHANNEL, slice_of(data.data, len), 1), len == first_len);
        cr_assert_not(check(TOPIC_CHANNEL, slice_of(data.data, len), 2));
    }
    buf_fini(&data);
}

Test(msg_check, refuses_a_change_of_any_byte_but_a_names_or_a_payloads)
{
    struct buf data = {0};
    add(&data, TOPIC_CHANNEL, SLICE("news"), SLICE("first"));
    for (size_t i = 0; i < data.len; i++) {
        bool is_content = (i >= 21 && i < 25) || (i >= 31 && i < 36);
        data.data[i] ^= 1;
        cr_assert_eq(check(TOPIC_CHANNEL, buf_slice(&data), 1), is_content, "byte %zu", i);
        data.data[i] ^= 1;
    }
    buf_fini(&data);
}

Test(msg_check, refuses_what_would_not_be_written)
{
    cr_assert(check_text(NEWS "$1\r\nx\r\n", 1));
    cr_assert_not(check_text(NEWS "$01\r\nx\r\n", 1), "a leading zero");
    cr_assert_not(check_text(NEWS "$00\r\n\r\n", 1));
    cr_assert_not(check_text(NEWS "$\r\n\r\n", 1), "no length");
    cr_assert_not(check_text(NEWS "$-1\r\n\r\n", 1));
    cr_assert_not(check_text(NEWS "$2\r\nx\r\n", 1));
    cr_assert_not(check_text(NEWS "$18446744073709551615\r\nx\r\n", 1));
    cr_assert_not(check_text(NEWS "$999999999999999\r\nx\r\n", 1));
    cr_assert_not(check_text(NEWS "$1\r\nx\r\nmore", 1));
    cr_assert_not(check_text(">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n", 1));
    cr_assert_not(check_text("*3\r\n$7\r\nmessage\r\n$04\r\nnews\r\n$1\r\nx\r\n", 1));
    cr_assert_not(check_text(NEWS "$1\r\nx\r\n*3\r\n$7\r\nmessage\r\n$4\r\nnewt\r\n$1\r\nx\r\n", 2),
                  "another channel");
    cr_assert_not(check_text(NEWS "$1\r\nx\r\n" NEWS "$1\r\ny\r\n", 0));
}
