/* Searches by patterns: they find what Lua 5.1's own library finds, and end where the script ends. */
#include <criterion/criterion.h>

#include "tests/lib/lua_patterns.h"

/* ---- as in Lua ---- */

static const char *const pieces[] = {
    "a",    "b",     "0",    ".",       "-",    "%a",    "%d",    "%s",  "%W",  "%z",  "%p",
    "%%",   "[ab]",  "[^a]", "[a-c0]",  "[%w]", "[]a]",  "[^]]",  "[a",  "[a-", "[%",  "[a-]",
    "[%]]", "[^%s]", "%",    "(",       ")",    "()",    "(a)",   "(.)", "%1",  "%2",  "%0",
    "%b()", "%bab",  "%b",   "%f[%w]",  "%f",   "%f[^a", "$",     "^",   "a*",  ".*",  ".-",
    "b+",   "[ab]*", "a?",   "[^b]-",   "%a+",  "(a*",   "(.-)",  "%w-", "ab",  "(a?", "b)",
    "a-",   "%d?",   "%u*",  "%f[%z]%", "(()",  "%9",    "(%w+)", "%x",  "%l+", "%C",  "\n",
};
static const char alphabet[] = "aaabbb01 ().-%[]\nABz\0";

/* Below `limit`. */
static uint32_t random_below(uint64_t *random, uint32_t limit)
{
    *random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(*random >> 33) % limit;
}

static struct slice random_text(uint64_t *random, char *out, uint32_t max)
{
    uint32_t len = random_below(random, max + 1);
    for (uint32_t i = 0; i < len; i++) {
        out[i] = alphabet[random_below(random, sizeof alphabet - 1)];
    }
    return slice_of(out, len);
}

static struct slice random_pattern(uint64_t *random, struct buf *out)
{
    uint32_t count = random_below(random, 6);
    out->len = 0;
    if (random_below(random, 5) == 0) { buf_append(out, SLICE("^")); }
    for (uint32_t i = 0; i < count; i++) {
        buf_append_str(out, pieces[random_below(random, COUNT_OF(pieces))]);
    }
    if (random_below(random, 30) == 0) { buf_append(out, slice_of("\0a", 2)); }
    return buf_slice(out);
}

Test(script_match, it_finds_what_lua_finds)
{
    static const struct slice replacements[] = {SLICE("<%0>"), SLICE("%1"),  SLICE("x%2%%"),
                                                SLICE("%"),    SLICE("a%z"), SLICE("")};
    enum { ROUNDS = 10000, TEXT_BYTES_MAX = 12 };
    static const struct slice begins[] = {SLICE("1"), SLICE("2"), SLICE("-3"), SLICE("0"),
                                          SLICE("99")};
    struct scripts *scripts = scripts_new();
    lua_State *lua = lua_patterns_open();
    uint64_t random = 20260829;
    struct buf pattern = {0};
    struct buf out = {0};

    for (uint32_t round = 0; round < ROUNDS; round++) {
        char text[TEXT_BYTES_MAX];
        const struct slice words[LUA_PATTERNS_WORDS] = {
            random_text(&random, text, sizeof text),
            random_pattern(&random, &pattern),
            replacements[random_below(&random, COUNT_OF(replacements))],
            begins[random_below(&random, COUNT_OF(begins))],
        };
        struct slice plain = lua_patterns_plain(lua, words);
        struct slice ours =
            lua_calls_run_all(scripts, slice_of(lua_patterns_text, sizeof lua_patterns_text - 1),
                              words, LUA_PATTERNS_WORDS, &out);
        cr_assert(slice_equal(plain, ours), "round %u: '%.*s' in '%.*s'\n%.*s\n%.*s", round,
                  SLICE_ARG(words[1]), SLICE_ARG(words[0]), SLICE_ARG(plain), SLICE_ARG(ours));
    }
    buf_fini(&pattern);
    buf_fini(&out);
    lua_close(lua);
    scripts_free(scripts);
}

/* ---- and no further ---- */

struct ends {
    struct scripts *scripts;
    struct buf out;
};

/* Does it end at its instructions? */
static void expect_end(struct ends *ends, const char *text)
{
    struct slice result = lua_calls_run(ends->scripts, slice_of_str(text), SLICE(""), &ends->out);
    cr_expect(memmem(result.data, result.len, "limit of 10000000 instructions", 30) != NULL,
              "%s\ngives %.*s", text, SLICE_ARG(result));
}

static void expect(struct ends *ends, const char *text, struct slice answer)
{
    struct slice result = lua_calls_run(ends->scripts, slice_of_str(text), SLICE(""), &ends->out);
    cr_expect(slice_equal(result, answer), "%s\ngives %.*s", text, SLICE_ARG(result));
}

Test(script_match, no_search_goes_on_for_ever)
{
    struct ends ends = {.scripts = scripts_new()};
    static const char *const poisons[] = {
        "return ('a'):rep(64):find(('a?'):rep(64) .. ('a'):rep(64))",
        "return ('a'):rep(3000):find(('a-'):rep(30) .. 'b')",
        "return ('a'):rep(3000):match(('.*'):rep(30) .. 'b')",
        "return ('a'):rep(3000):gsub(('a*'):rep(30) .. 'b', '')",
        "for _ in ('a'):rep(3000):gmatch(('a+'):rep(30) .. 'b') do end",
        "pcall(string.find, ('a'):rep(3000), ('a-'):rep(30) .. 'b') return 1",
        "return coroutine.wrap(function() return ('a'):rep(3000):find(('a-'):rep(30) .. 'b') "
        "end)()",
        "return ('('):rep(1e6):find('%b()')",
        "local set = '[' .. ('b'):rep(1e6) .. ']' return ('a'):rep(1e6):find(set .. '*b')",
        "local s = ('a'):rep(1e6) return (s .. s):find('(a*)%1%1b')",
        "return ('a'):rep(1e6):find('a*b')",
    };
    for (size_t i = 0; i < COUNT_OF(poisons); i++) {
        expect_end(&ends, poisons[i]);
    }
    expect(&ends, "return (('a'):rep(2e6):find(('a'):rep(1e6) .. 'b', 1, true))", SLICE(""));
    expect(&ends, "return (pcall(string.find, ('a'):rep(9e4), ('a?'):rep(9e4))) and 1 or 0",
           SLICE("0"));
    expect(&ends, "return select(2, ('a'):rep(6e4):find(('a?'):rep(6e4)))", SLICE("60000"));
    buf_fini(&ends.out);
    scripts_free(ends.scripts);
}

Test(script_match, no_instruction_on_long_texts_is_free)
{
    struct ends ends = {.scripts = scripts_new()};
    static const char *const long_texts[] = {
        "local a = ('x'):rep(5e6) while true do local b = a .. 'y' end",
        "local s = '' while true do s = s .. 'a few bytes more ' end",
        "local a, b = ('x'):rep(5e6), ('x'):rep(5e6) .. 'y' while true do local c = a < b end",
        "local a = ('x'):rep(5e6) while true do pcall(function() local b = a .. 'y' end) end",
        "local a = ('x'):rep(5e6) while true do local b = string.format('%s', a) end",
        "local t = {('x'):rep(1e6), ('y'):rep(1e6)} while true do local b = table.concat(t) end",
        "local a = ('x'):rep(5e6) coroutine.wrap(function() while true do local b = a .. 'y' end "
        "end)()",
    };
    for (size_t i = 0; i < COUNT_OF(long_texts); i++) {
        expect_end(&ends, long_texts[i]);
    }
    buf_fini(&ends.out);
    scripts_free(ends.scripts);
}

Test(script_match, what_is_written_has_bounds)
{
    struct ends ends = {.scripts = scripts_new()};
    expect(&ends, "return #(('a'):rep(1000):gsub('a', ('b'):rep(10000)))", SLICE("10000000"));
    expect(
        &ends,
        "local ok, e = pcall(string.gsub, ('a'):rep(1e6), 'a', ('b'):rep(1e6)) return tostring(e)",
        SLICE("user_script:1: not enough memory"));
    expect(&ends, "return cjson.encode({[10] = 1})",
           SLICE("[null,null,null,null,null,null,null,null,null,1]"));
    expect(&ends, "cjson.encode_sparse_array(true) return cjson.encode({[1000000] = 1})",
           SLICE("{\"1000000\":1}"));
    expect(&ends, "local ok = pcall(cjson.encode_sparse_array, false, 0) return tostring(ok)",
           SLICE("false"));
    expect(&ends,
           "local c = cjson.new() c.encode_sparse_array(false, 64, 100000) local t = {} "
           "for i = 1, 100 do t[i] = {[1e5] = 1} end "
           "local ok, e = pcall(c.encode, t) return tostring(e)",
           SLICE("too much to be encoded at once"));
    buf_fini(&ends.out);
    scripts_free(ends.scripts);
}

Test(script_match, a_sort_is_charged_by_what_it_compares)
{
    struct ends ends = {.scripts = scripts_new()};
    expect(&ends, "local t = {3, 1, 2} table.sort(t) return table.concat(t, ',')", SLICE("1,2,3"));
    expect(&ends, "local t = {'b', 'a'} table.sort(t, rawequal) return table.concat(t, ',')",
           SLICE("b,a"));
    expect(&ends, "local t = {1, {}} local ok, e = pcall(table.sort, t) return e",
           SLICE("attempt to compare table with number"));
    expect_end(&ends, "local s = ('a'):rep(2e6) local t = {} for i = 1, 2000 do t[i] = s end "
                      "table.sort(t)");
    buf_fini(&ends.out);
    scripts_free(ends.scripts);
}
