/* Owned growable bytes. */
#include "base/buf.h"

#include <criterion/criterion.h>
#include <signal.h>

Test(base_buf, a_zeroed_struct_is_empty_and_may_be_freed)
{
    struct buf buf = {0};
    cr_assert_eq(buf_slice(&buf).len, 0);
    buf_append(&buf, slice_of(NULL, 0));
    cr_assert_null(buf.data);
    buf_consume(&buf, 0);
    buf_fini(&buf);
    buf_fini(&buf);
    cr_assert_null(buf.data);
}

Test(base_buf, appended_bytes_stay_in_order_while_it_grows)
{
    struct buf buf = {0};
    for (unsigned i = 0; i < 100000; i++) {
        const char bytes[3] = {(char)i, (char)(i >> 8), (char)(i >> 16)};
        buf_append(&buf, slice_of(bytes, 1 + i % 3));
        cr_assert(buf.len <= buf.cap);
    }
    const char *at = buf.data;
    for (unsigned i = 0; i < 100000; i++) {
        const char bytes[3] = {(char)i, (char)(i >> 8), (char)(i >> 16)};
        cr_assert_eq(memcmp(at, bytes, 1 + i % 3), 0, "append %u", i);
        at += 1 + i % 3;
    }
    cr_assert_eq(at, buf.data + buf.len);
    buf_fini(&buf);
}

Test(base_buf, growing_doubles_so_that_appending_is_cheap)
{
    struct buf buf = {0};
    size_t cap = 0;
    unsigned growth_count = 0;
    for (unsigned i = 0; i < 1 << 20; i++) {
        buf_append_str(&buf, "x");
        growth_count += buf.cap != cap;
        cap = buf.cap;
    }
    cr_assert_leq(growth_count, 21);
    buf_fini(&buf);
}

Test(base_buf, reserved_room_can_be_written_to_its_last_byte)
{
    for (size_t more = 1; more < 5000; more += 13) {
        struct buf buf = {0};
        buf_append_str(&buf, "head");
        char *at = buf_reserve(&buf, more);
        cr_assert_eq(at, buf.data + 4);
        memset(at, 'x', more);
        cr_assert_eq(buf.len, 4);
        cr_assert_eq(memcmp(buf.data, "head", 4), 0);
        buf_fini(&buf);
    }
}

Test(base_buf, text_and_numbers_are_appended)
{
    struct buf buf = {0};
    buf_append_str(&buf, "a");
    buf_append_uint(&buf, UINT64_MAX);
    buf_append_str(&buf, "");
    buf_appendf(&buf, "[%s %d]", "b", -7);
    buf_appendf(&buf, "%s", "");
    cr_assert(slice_equal(buf_slice(&buf), SLICE("a18446744073709551615[b -7]")));
    buf_fini(&buf);
}

Test(base_buf, a_formatted_text_may_be_of_any_length)
{
    struct buf buf = {0};
    size_t len = 0;
    for (int width = 1; width < 300; width++) {
        buf_appendf(&buf, "%*d", width, 5);
        len += (size_t)width;
        cr_assert_eq(buf.len, len);
        cr_assert_eq(buf.data[len - 1], '5');
    }
    buf_fini(&buf);
}

Test(base_buf, consuming_drops_the_first_bytes)
{
    struct buf buf = {0};
    buf_append_str(&buf, "abcdef");
    buf_consume(&buf, 2);
    cr_assert(slice_equal(buf_slice(&buf), SLICE("cdef")));
    buf_append_str(&buf, "g");
    buf_consume(&buf, 5);
    cr_assert_eq(buf.len, 0);
    buf_append_str(&buf, "h");
    cr_assert(slice_equal(buf_slice(&buf), SLICE("h")));
    buf_fini(&buf);
}

Test(base_buf, consuming_more_than_there_is_stops_the_process, .signal = SIGABRT)
{
    struct buf buf = {0};
    buf_append_str(&buf, "abc");
    buf_consume(&buf, 4);
}
