#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/lib/lua_calls.h"

/* The text runs, and its result in hexadecimal, or the text of its error, is as expected. */
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

#define HEX                                                                                   \
    "local function hex(s) return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) " \
    "end)) end\n"

/* What pack makes of the values. */
static void packs(const char *values, const char *expected)
{
    char text[512];
    snprintf(text, sizeof text, "%sreturn hex(cmsgpack.pack(%s))", HEX, values);
    expect(text, expected);
}

Test(cmsgpack, packs_each_integer_in_the_fewest_bytes)
{
    packs("0, 127, 128, 255, 256, 65535, 65536", "007fcc80ccffcd0100cdffffce00010000");
    packs("4294967295, 4294967296, 2^62", "ceffffffffcf0000000100000000cf4000000000000000");
    packs("-1, -32, -33, -128, -129, -32768, -32769", "ffe0d0dfd080d1ff7fd18000d2ffff7fff");
    packs("-2147483648, -2147483649, -2^63", "d280000000d3ffffffff7fffffffd38000000000000000");
}

Test(cmsgpack, packs_other_numbers_as_the_shortest_float_that_holds_them)
{
    packs("1.5, 1.1", "ca3fc00000cb3ff199999999999a");
    packs("1/0, -1/0, 2^63, 2^64", "ca7f800000caff800000ca5f000000ca5f800000");
    packs("1e300", "cb7e37e43c8800759c");
}

Test(cmsgpack, packs_strings_by_their_length)
{
    packs("'', 'abc', true, false, nil, pcall", "a0a3616263c3c2c0c0");
    packs("('x'):rep(31)):sub(1, 2", "bf78");
    expect("return (cmsgpack.pack(('x'):rep(32)):gsub('x', ''))", "\xd9 ");
    expect(HEX "return hex(cmsgpack.pack(('x'):rep(256)):sub(1, 3))", "da0100");
    expect(HEX "return hex(cmsgpack.pack(('x'):rep(65536)):sub(1, 5))", "db00010000");
}

Test(cmsgpack, packs_a_table_as_an_array_if_its_keys_are_1_to_n)
{
    packs("{}, {1, 2}, {{}}", "90920102"
                              "9190");
    packs("{a = 1}, {[2] = 1}, {[1.5] = 1}, {[-1] = 1}", "81a16101810201"
                                                         "81ca3fc0000001"
                                                         "81ff01");
    packs("{1, nil, 3}", "8201010303");
    expect(HEX "local t = {} for i = 1, 16 do t[i] = 1 end return hex(cmsgpack.pack(t)):sub(1, 8)",
           "dc001001");
    expect(HEX "local t = {} for i = 2, 17 do t[i] = 1 end return hex(cmsgpack.pack(t)):sub(1, 6)",
           "de0010");
}

Test(cmsgpack, packs_nil_for_what_is_nested_too_deeply)
{
    expect(HEX "local t = {} t[1] = t return hex(cmsgpack.pack(t))",
           "91919191919191919191919191919191"
           "c0");
}

Test(cmsgpack, ends_at_bounds_however_little_stands_for_much)
{
    expect("local t = {} for i = 1, 100 do t[i] = t end return cmsgpack.pack(t)",
           "user_script:1: Script reached the limit of 10000000 instructions");
    expect("local t = {} local s = ('x'):rep(2^20) for i = 1, 32 do t[i] = s end return "
           "cmsgpack.pack(t)",
           "user_script:1: MessagePack result is larger than 33554432 bytes");
}

Test(cmsgpack, refuses_a_table_whose_order_depends_on_addresses)
{
    expect("return cmsgpack.pack({[{}] = 1})",
           "user_script:1: a table with keys that are a table has no order");
}

Test(cmsgpack, packs_nothing_and_too_much_with_an_error)
{
    expect("return cmsgpack.pack()",
           "user_script:1: bad argument #0 to 'pack' (MessagePack pack needs input.)");
    expect("return cmsgpack.pack(unpack({}, 1, 4001))",
           "user_script:1: bad argument #0 to 'pack' (Too many arguments for MessagePack pack.)");
}

Test(cmsgpack, unpacks_all_kinds)
{
    expect(
        "local t = cmsgpack.unpack(cmsgpack.pack({1, -1, 1.5, 'x', true, false, {a = {b = 2}}}))\n"
        "return table.concat({t[1], t[2], t[3], t[4], tostring(t[5]), tostring(t[6]), t[7].a.b}, ' "
        "')",
        "1 -1 1.5 x true false 2");
    expect("return tostring(cmsgpack.unpack('\\207' .. ('\\255'):rep(8)))", "-1");
    expect("return table.concat({cmsgpack.unpack('abc')}, ' ')", "97 98 99");
    expect("return tostring((cmsgpack.unpack('')))", "nil");
}

Test(cmsgpack, refuses_what_is_cut_short_or_of_no_known_format)
{
    const char *cut[] = {"\\145",
                         "\\130\\1",
                         "\\163ab",
                         "\\202\\0\\0\\0",
                         "\\207\\0",
                         "\\217",
                         "\\217\\3ab",
                         "\\218\\0",
                         "\\220\\0",
                         "\\219\\255\\255\\255\\255a",
                         "\\222\\0\\1",
                         "\\221\\255\\255\\255\\255",
                         "\\223\\255\\255\\255\\255"};
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        char text[128];
        snprintf(text, sizeof text, "return cmsgpack.unpack('%s')", cut[i]);
        expect(text, "user_script:1: Missing bytes in input.");
    }
    const char *unknown[] = {"193", "196", "197", "198", "199", "200",
                             "201", "212", "213", "214", "215", "216"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        char text[128];
        snprintf(text, sizeof text, "return cmsgpack.unpack('\\%s')", unknown[i]);
        expect(text, "user_script:1: Bad data format in input.");
    }
    expect("return cmsgpack.unpack('\\129\\192\\1')", "table index is nil");
}

Test(cmsgpack, ends_at_the_depth_that_the_stack_allows)
{
    expect("return type(cmsgpack.unpack(('\\145'):rep(3999) .. 'a'))", "table");
    expect("return cmsgpack.unpack(('\\145'):rep(100000) .. 'a')",
           "user_script:1: stack overflow (in function mp_decode_to_lua_array)");
    expect("return cmsgpack.unpack(('\\129\\1'):rep(100000) .. 'a')",
           "user_script:1: stack overflow "
           "(too many return values at once; use unpack_one or unpack_limit instead.)");
}

Test(cmsgpack, says_where_the_rest_begins)
{
    expect("return table.concat({cmsgpack.unpack_one('abc')}, ' ')", "1 97");
    expect("return table.concat({cmsgpack.unpack_one('abc', 2)}, ' ')", "-1 99");
    expect("return table.concat({cmsgpack.unpack_one('abc', 3)}, ' ')", "-1");
    expect("return table.concat({cmsgpack.unpack_limit('abc', 2)}, ' ')", "2 97 98");
    expect("return table.concat({cmsgpack.unpack_limit('abc', 0)}, ' ')", "97 98 99");
    expect("return table.concat({cmsgpack.unpack_limit('abc', 0, 2)}, ' ')", "2");
    expect("return cmsgpack.unpack_one('abc', 4)",
           "user_script:1: Start offset 4 greater than input length 3.");
    expect("return cmsgpack.unpack_limit('abc', -1)",
           "user_script:1: Invalid request to unpack with offset of 0 and limit of 3.");
    expect("return cmsgpack.unpack_limit('abc')",
           "user_script:1: bad argument #2 to 'unpack_limit' (number expected, got no value)");
}
