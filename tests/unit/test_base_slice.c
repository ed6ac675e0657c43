/* Comparison, hashing and number conversion of byte strings. */
#include "base/slice.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

Test(base_slice, equality_is_of_bytes_and_length)
{
    cr_assert(slice_equal(SLICE("a\0b"), SLICE("a\0b")));
    cr_assert_not(slice_equal(SLICE("a\0b"), SLICE("a\0c")));
    cr_assert_not(slice_equal(SLICE("ab"), SLICE("abc")));
    cr_assert(slice_equal(slice_of(NULL, 0), SLICE("")));
    cr_assert(slice_equal(slice_of_str("news"), SLICE("news")));
}

Test(base_slice, equality_without_case_is_for_ascii_letters)
{
    cr_assert(slice_equal_nocase(SLICE("SubScribe"), SLICE("SUBSCRIBE")));
    cr_assert_not(slice_equal_nocase(SLICE("[]"), SLICE("{}")));
    cr_assert_not(slice_equal_nocase(SLICE("get"), SLICE("gets")));
    cr_assert(slice_equal_nocase(slice_of(NULL, 0), SLICE("")));
}

Test(base_slice, a_prefix_is_recognised)
{
    cr_assert(slice_starts_with(SLICE("abc"), SLICE("ab")));
    cr_assert(slice_starts_with(SLICE("abc"), slice_of(NULL, 0)));
    cr_assert_not(slice_starts_with(SLICE("ab"), SLICE("abc")));
    cr_assert_not(slice_starts_with(SLICE("xbc"), SLICE("ab")));
}

Test(base_slice, the_order_is_that_of_unsigned_bytes_and_a_prefix_comes_first)
{
    const struct slice ascending[] = {slice_of(NULL, 0), SLICE("\0"),   SLICE("\0\0"),
                                      SLICE("a"),        SLICE("a\0"),  SLICE("ab"),
                                      SLICE("b"),        SLICE("\x80"), SLICE("\xff")};
    for (size_t i = 0; i < COUNT_OF(ascending); i++) {
        for (size_t j = 0; j < COUNT_OF(ascending); j++) {
            int order = slice_compare(ascending[i], ascending[j]);
            cr_assert_eq((order > 0) - (order < 0), (i > j) - (i < j), "%zu and %zu", i, j);
        }
    }
}

Test(base_slice, the_hash_depends_on_every_byte_and_on_the_length_only)
{
    char bytes[70] = {0};
    char copy[80];
    for (size_t len = 0; len < sizeof bytes; len++) {
        uint64_t hash = slice_hash(slice_of(bytes, len));
        memcpy(copy + len % 8, bytes, len);
        cr_assert_eq(hash, slice_hash(slice_of(copy + len % 8, len)));
        cr_assert_neq(hash, slice_hash(slice_of(bytes, len + 1)), "length %zu", len);
        for (size_t i = 0; i < len; i++) {
            bytes[i] ^= 0x40;
            cr_assert_neq(hash, slice_hash(slice_of(bytes, len)), "byte %zu of %zu", i, len);
            bytes[i] ^= 0x40;
        }
    }
    cr_assert_eq(slice_hash(slice_of(NULL, 0)), slice_hash(SLICE("")));
}

Test(base_slice, similar_names_spread_over_the_buckets)
{
    enum { BUCKETS = 1024, NAMES = 64 * BUCKETS };
    static unsigned low[BUCKETS];
    static unsigned high[BUCKETS];
    char name[32];
    for (unsigned i = 0; i < NAMES; i++) {
        int len = snprintf(name, sizeof name, "channel:%u", i);
        uint64_t hash = slice_hash(slice_of(name, (size_t)len));
        low[hash % BUCKETS]++;
        high[hash >> 54]++;
    }
    for (unsigned i = 0; i < BUCKETS; i++) {
        /* 64 expected, deviation 8: ten deviations do not happen by chance */
        cr_assert(low[i] < 144 && high[i] < 144, "bucket %u: %u and %u", i, low[i], high[i]);
    }
}

Test(base_slice, integers_in_their_strict_form_are_read)
{
    const int64_t values[] = {0,         1,        -1, 9, 10, -10, 1234567890123, INT64_MAX - 1,
                              INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "%" PRId64, values[i]);
        int64_t out = 42;
        cr_assert(slice_to_int64(slice_of(text, (size_t)len), &out), "%s", text);
        cr_assert_eq(out, values[i]);
    }
}

Test(base_slice, anything_else_is_not_an_integer)
{
    const struct slice wrong[] = {slice_of(NULL, 0),
                                  SLICE("-"),
                                  SLICE("+1"),
                                  SLICE(" 1"),
                                  SLICE("1 "),
                                  SLICE("01"),
                                  SLICE("-0"),
                                  SLICE("00"),
                                  SLICE("-01"),
                                  SLICE("1a"),
                                  SLICE("0x1"),
                                  SLICE("1\0"),
                                  SLICE("--1"),
                                  SLICE("1.0"),
                                  SLICE("/"),
                                  SLICE("1:"),
                                  SLICE("9223372036854775808"),
                                  SLICE("-9223372036854775809"),
                                  SLICE("9999999999999999999"),
                                  SLICE("18446744073709551616"),
                                  SLICE("18446744073709551617"),
                                  SLICE("100000000000000000000000")};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        int64_t out = 42;
        cr_assert_not(slice_to_int64(wrong[i], &out), "%zu", i);
        cr_assert_eq(out, 42);
    }
}

Test(base_slice, unsigned_numbers_are_written_without_more_than_their_digits)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 128; i++) {
        char text[24];
        char expected[24];
        memset(text, '#', sizeof text);
        int len = snprintf(expected, sizeof expected, "%" PRIu64, v);
        cr_assert_eq(uint64_to_text(v, text), (size_t)len);
        cr_assert_eq(memcmp(text, expected, (size_t)len), 0, "%s", expected);
        cr_assert_eq(text[len], '#');
        v = i % 2 == 0 ? (1ULL << (i / 2)) - 1 : 1ULL << (i / 2);
    }
    char text[20];
    cr_assert_eq(uint64_to_text(UINT64_MAX, text), 20);
    cr_assert_eq(memcmp(text, "18446744073709551615", 20), 0);
}
