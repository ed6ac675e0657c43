#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/lib/lua_calls.h"

/* The text runs, and its result, or the text of its error, is as expected. */
static void expect(const char *text, const char *expected)
{
    struct scripts *scripts = scripts_new();
    struct buf out = {0};
    struct slice got = lua_calls_run(scripts, slice_of_str(text), SLICE(""), &out);
    cr_assert(slice_equal(got, slice_of_str(expected)), "%s\n got %.*s\nwant %s", text,
              SLICE_ARG(got), expected);
    buf_fini(&out);
    scripts_free(scripts);
}

/* pack with these arguments, in hexadecimal. */
static void packs(const char *arguments, const char *expected)
{
    char text[512];
    snprintf(
        text, sizeof text,
        "return (struct.pack(%s):gsub('.', function(c) return ('%%02x'):format(c:byte()) end))",
        arguments);
    expect(text, expected);
}

/* unpack with these arguments: the results with spaces between them. */
static void unpacks(const char *arguments, const char *expected)
{
    char text[512];
    snprintf(text, sizeof text, "return table.concat({struct.unpack(%s)}, ' ')", arguments);
    expect(text, expected);
}

Test(structs, pack_integers_of_every_size)
{
    packs("'bBhHiIlLT', -1, 255, -2, 65535, -3, 4294967295, -4, 5, 6", "ffff"
                                                                       "feff"
                                                                       "ffff"
                                                                       "fdffffff"
                                                                       "ffffffff"
                                                                       "fcffffffffffffff"
                                                                       "0500000000000000"
                                                                       "0600000000000000");
    packs("'i3I3', -2, 70000", "feffff"
                               "701101");
    packs("'>i3h', -2, 1", "fffffe"
                           "0001");
    packs("'i10', -2", "feffffffffffffff"
                       "0000");
    packs("'>i10', -2", "0000"
                        "fffffffffffffffe");
    packs("'i0', 1", "");
}

Test(structs, pack_what_is_no_integer_as_the_machines_of_redis_do)
{
    packs("'ii', 1.9, -1.9", "01000000"
                             "ffffffff");
    packs("'LLL', 2^63, 2^64, 1e300", "0000000000000080"
                                      "0000000000000000"
                                      "0000000000000000");
    packs("'ll', -1e300, 0/0", "0000000000000080"
                               "0000000000000080");
}

Test(structs, pack_floats_strings_and_padding)
{
    packs("'f>f<d', 1.1, 1.1, 1.1", "cdcc8c3f"
                                    "3f8ccccd"
                                    "9a9999999999f13f");
    packs("'sxcc2c0', 'ab', 'cd', 'efg', 'hij'", "61620000"
                                                 "63"
                                                 "6566"
                                                 "68696a");
}

Test(structs, align_values)
{
    packs("'!bi', 1, 2", "01000000"
                         "02000000");
    packs("'!4bd', 1, 2", "01000000"
                          "0000000000000040");
    packs("'!2bi3', 1, 2", "0100"
                           "020000");
    packs("'!8bi3', 1, 2", "010000"
                           "020000");
    expect("return tostring(struct.size('!8bi3bi5bi7bi9bi10bi11bi12'))", "84");
}

Test(structs, refuse_to_pack_what_is_not_there)
{
    packs("'b'", "user_script:1: bad argument #2 to 'pack' (number expected, got nil)");
    packs("'bb', 1", "user_script:1: bad argument #3 to 'pack' (number expected, got nil)");
    packs("'c4', 'abc'", "user_script:1: bad argument #3 to 'pack' (string too short)");
    packs("'s', {}", "user_script:1: bad argument #2 to 'pack' (string expected, got table)");
}

Test(structs, refuse_a_wrong_format)
{
    packs("'z', 1", "user_script:1: bad argument #1 to 'pack' (invalid format option 'z')");
    packs("'i33', 1", "user_script:1: integral size 33 is larger than limit of 32");
    packs("'i2147483648', 1", "user_script:1: integral size overflow");
    packs("'!3', 1", "user_script:1: alignment 3 is not a power of 2");
    packs("'!0', 1", "user_script:1: alignment 0 is not a power of 2");
    unpacks("'c0', '5'", "user_script:1: format 'c0' needs a previous size");
    unpacks("'bc0c0', '\\1abc'", "user_script:1: format 'c0' needs a previous size");
    expect("return struct.size('bs')",
           "user_script:1: bad argument #1 to 'size' (option 's' has no fixed size)");
    expect("return struct.size('c0')",
           "user_script:1: bad argument #1 to 'size' (option 'c0' has no fixed size)");
    expect("return struct.size('=')",
           "user_script:1: bad argument #1 to 'size' (invalid format option '=')");
}

Test(structs, unpack_what_they_packed_and_say_where_they_ended)
{
    unpacks("'bBhHiIlL', struct.pack('bBhHiIlL', -1, 255, -2, 65535, -3, 4294967295, -4, 5)",
            "-1 255 -2 65535 -3 4294967295 -4 5 31");
    unpacks("'>!8bdsfc2', struct.pack('>!8bdsfc2', 1, 2.5, 'xyz', 0.5, 'uv')",
            "1 2.5 xyz 0.5 uv 27");
    unpacks("'bc0b', '\\3abcd'", "abc 100 6");
    unpacks("'b', 'abc', 3", "99 4");
    unpacks("'', 'abc', 10", "10");
    unpacks("'i16', '\\254' .. ('\\255'):rep(15)", "-2 17");
    unpacks("'i9', '\\200' .. ('\\0'):rep(8)", "-56 10");
}

Test(structs, unpack_nothing_past_the_end)
{
    const char *beyond[] = {"'b', ''",
                            "'b', 'abc', 4",
                            "'b', 'abc', 5",
                            "'b', 'abc', -1",
                            "'i', 'abcdef', 4",
                            "'c9', 'abc'",
                            "'bc0', '\\5abc'",
                            "'bc0', '\\255abc'",
                            "'!i', 'abcdefg', -1",
                            "'c2147483647', 'abc'",
                            "'s', 'abc', 5",
                            "'!bi', 'abcde'",
                            "'dc0', struct.pack('d', 0/0) .. 'abc'"};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        unpacks(beyond[i], "user_script:1: bad argument #2 to 'unpack' (data string too short)");
    }
    unpacks("'s', 'abc'", "user_script:1: unfinished string in data");
    unpacks("'b', 'abc', 0",
            "user_script:1: bad argument #3 to 'unpack' (offset must be 1 or greater)");
    unpacks("('b'):rep(9000), ('a'):rep(9000)", "user_script:1: stack overflow (too many results)");
}
