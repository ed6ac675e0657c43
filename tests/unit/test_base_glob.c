/* test_base_glob: the corners of Redis's pattern language, as redis-server 7.0.15 answered them,
 * and a comparison with a slow matcher that tries everything. */
#include "base/glob.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

struct verdict {
    struct slice pattern;
    struct slice text;
    bool matches;
};

#define BYTES(literal)                  \
    {                                   \
        "" literal, sizeof(literal) - 1 \
    }
#define YES(pattern, text)                \
    {                                     \
        BYTES(pattern), BYTES(text), true \
    }
#define NO(pattern, text)                  \
    {                                      \
        BYTES(pattern), BYTES(text), false \
    }

static void expect(const struct verdict *verdicts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct verdict *v = &verdicts[i];
        cr_expect_eq(glob_match(v->pattern, v->text), v->matches, "pattern \"%.*s\" text \"%.*s\"",
                     SLICE_ARG(v->pattern), SLICE_ARG(v->text));
    }
}

Test(glob, literals_and_question_marks_take_one_byte_each)
{
    static const struct verdict verdicts[] = {
        YES("", ""),         NO("", "a"),         NO("a", ""),
        YES("news", "news"), NO("news", "new"),   NO("new", "news"),
        NO("News", "news"),  YES("n?ws", "news"), NO("n?ws", "nws"),
        NO("?", ""),         YES("??", "ab"),     NO("??", "abc"),
        YES("a\0b", "a\0b"), NO("a\0b", "a\0c"),  NO("a", "a\0"),
        YES("?", "\0"),      YES("\xff", "\xff"), YES("\xc3?", "\xc3\xa4"),
    };
    expect(verdicts, COUNT_OF(verdicts));
}

Test(glob, stars_take_any_bytes_but_none_matches_the_empty_name)
{
    static const struct verdict verdicts[] = {
        YES("*", "a"),          YES("**", "a"),       NO("*", ""),
        NO("**", ""),           YES("a*", "a"),       YES("a**", "a"),
        YES("*a", "a"),         YES("a*c", "abc"),    YES("a*c", "ac"),
        NO("a*c", "abcd"),      YES("*a*", "bab"),    YES("*ab", "aab"),
        YES("*abab", "ababab"), NO("*abab", "ababa"), YES("a*b*c", "aXbbYc"),
        NO("a*b*c", "acb"),     YES("*?", "a"),       YES("?*", "a"),
        NO("*?*?", "a"),        YES("*?*?", "ab"),    YES("*aab*b", "aaabb"),
        YES("*\0*", "a\0b"),
    };
    expect(verdicts, COUNT_OF(verdicts));
}

Test(glob, brackets_take_one_byte_of_a_set)
{
    static const struct verdict verdicts[] = {
        YES("[abc]", "b"),     NO("[abc]", "d"),   NO("[abc]", ""),   NO("[^abc]", "b"),
        YES("[^abc]", "d"),    YES("[a-c]", "b"),  YES("[c-a]", "b"), NO("[a-c]", "d"),
        YES("x[a-c]y", "xby"), YES("[a-cx]", "x"), YES("[a^]", "^"),  YES("[^^]", "a"),
        NO("[^^]", "^"),       YES("[*?]", "*"),   NO("[*?]", "a"),   YES("*[0-9]", "ab7"),
        NO("*[0-9]", "ab"),    YES("[[]", "["),
    };
    expect(verdicts, COUNT_OF(verdicts));
}

Test(glob, brackets_have_the_corners_that_redis_has)
{
    static const struct verdict verdicts[] = {
        NO("[]", "]"),
        NO("[]a]", "a"),
        NO("[]a]", "a]"),
        YES("[^]", "x"),
        YES("[^]a]", "xa]"),
        NO("[", "["),
        YES("[^", "x"),
        YES("[a", "a"),
        NO("[a", "b"),
        YES("[^a", "b"),
        YES("[a-", "-"),
        YES("[a-", "a"),
        YES("[-a]", "-"),
        YES("[a-]", "a"),
        YES("[a-]", "^"),
        NO("[a-]", "-"),
        YES("[a-]b", "]"),
        YES("[a-]b", "b"),
        NO("[a-]b", "ab"),
        YES("[\\]]", "]"),
        YES("[\\a-c]", "-"),
        NO("[\\a-c]", "b"),
        YES("[a-\\]", "]"),
        YES("[a-\\]x", "_x"),
        YES("[\\", "\\"),
        YES("[a\\", "\\"),
        YES("[\\^]", "^"),
        YES("[^\\^]", "a"),
        NO("*[", "ab"),
        YES("*[^", "ab"),
        YES("[\x80-\xff]", "\x90"),
        NO("[\x01-\xff]", "\x7f"),
        YES("[\x01-\xff]", "\0"),
        YES("[\x7f-\x80]", "a"),
    };
    expect(verdicts, COUNT_OF(verdicts));
}

Test(glob, a_backslash_quotes_the_next_byte_and_a_trailing_one_itself)
{
    static const struct verdict verdicts[] = {
        YES("\\*", "*"),   NO("\\*", "a"),      YES("\\?", "?"),  YES("\\a", "a"),
        YES("\\\\", "\\"), YES("\\", "\\"),     NO("\\", "a"),    YES("a\\", "a\\"),
        YES("*\\", "a\\"), YES("\\[a]", "[a]"), NO("\\[a]", "a"), YES("*\\*", "ab*"),
        NO("*\\*", "ab"),
    };
    expect(verdicts, COUNT_OF(verdicts));
}

Test(glob, a_pattern_of_many_stars_takes_no_exponential_time)
{
    enum { STARS = 2000, TEXT = 20000 };
    char *pattern = malloc(2 * STARS + 1), *text = malloc(TEXT);
    for (int i = 0; i < STARS; i++) {
        memcpy(pattern + 2 * i, "*a", 2);
    }
    pattern[2 * STARS] = 'b';
    memset(text, 'a', TEXT);
    cr_expect_not(glob_match(slice_of(pattern, 2 * STARS + 1), slice_of(text, TEXT)));
    text[TEXT - 1] = 'b';
    cr_expect(glob_match(slice_of(pattern, 2 * STARS + 1), slice_of(text, TEXT)));
    free(pattern);
    free(text);
}

Test(glob, the_literal_ends_and_the_longest_inner_run_are_told)
{
    static const struct {
        struct slice pattern;
        size_t prefix;
        size_t suffix;
        struct slice inner;
    } rows[] = {
        {BYTES(""), 0, 0, BYTES("")},
        {BYTES("news"), 4, 0, BYTES("")},
        {BYTES("news.*"), 5, 0, BYTES("")},
        {BYTES("*.news"), 0, 5, BYTES("")},
        {BYTES("a*bc?d"), 1, 1, BYTES("bc")},
        {BYTES("*foo*barbaz?ab*x"), 0, 1, BYTES("barbaz")},
        {BYTES("a\\*b"), 1, 1, BYTES("")},
        {BYTES("a\\"), 1, 0, BYTES("")},
        {BYTES("[a-c]de"), 0, 2, BYTES("")},
        {BYTES("x[*?de"), 1, 0, BYTES("")},
        {BYTES("x[\\]]de*"), 1, 0, BYTES("de")},
        {BYTES("[]]y"), 0, 2, BYTES("")},
        {BYTES("**a**"), 0, 0, BYTES("a")},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct slice pattern = rows[i].pattern;
        cr_expect_eq(glob_literal_prefix(pattern), rows[i].prefix, "%.*s", SLICE_ARG(pattern));
        cr_expect_eq(glob_literal_suffix(pattern), rows[i].suffix, "%.*s", SLICE_ARG(pattern));
        cr_expect(slice_equal(glob_literal_inner(pattern), rows[i].inner), "%.*s",
                  SLICE_ARG(pattern));
    }
}

static void fill(char *at, size_t count, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < count; i++) {
        memcpy(at + i * len, text, len);
    }
}

/* Read anew for each byte of the text, this bracket alone takes hours. */
Test(glob, a_long_bracket_is_read_once)
{
    enum { ITEMS = 1 << 20, TEXT = 1 << 20 };
    size_t len = 3 * (size_t)ITEMS + 4;
    char *pattern = malloc(len), *text = malloc(TEXT);
    memcpy(pattern, "*[", 2);
    fill(pattern + 2, ITEMS, "b-c");
    memcpy(pattern + len - 2, "]x", 2);
    memset(text, 'a', TEXT);
    cr_expect_not(glob_match(slice_of(pattern, len), slice_of(text, TEXT)));
    pattern[0] = '?';
    text[0] = 'c';
    text[1] = 'c';
    text[2] = 'x';
    cr_expect(glob_match(slice_of(pattern, len), slice_of(text, 3)));
    struct glob glob;
    glob_init(&glob, slice_of(pattern, len));
    size_t matches = 0;
    for (int i = 0; i < 300000; i++) {
        text[1] = (char)('a' + i % 3);
        matches += glob_matches(&glob, slice_of(text, 3));
    }
    cr_expect_eq(matches, 200000);
    glob_fini(&glob);
    free(pattern);
    free(text);
}

/* The bytes that differ come as late as they can. One token at a time, this takes minutes. */
Test(glob, tokens_are_tried_many_at_a_time_where_one_by_one_takes_too_long)
{
    enum { TOKENS = 1 << 13, TEXT = 1 << 17 };
    static const char *const token[] = {"a", "?", "[ab]", "\\a"};
    char *pattern = malloc(2 + 4 * (size_t)TOKENS + 2), *text = malloc(TEXT);
    memset(text, 'a', TEXT);
    for (size_t i = 0; i < COUNT_OF(token); i++) {
        size_t len = strlen(token[i]) * TOKENS;
        memcpy(pattern, "*", 1);
        fill(pattern + 1, TOKENS, token[i]);
        memcpy(pattern + 1 + len, "b*", 2);
        cr_expect_not(glob_match(slice_of(pattern, len + 3), slice_of(text, TEXT)));
        text[TEXT - 1] = 'b';
        cr_expect(glob_match(slice_of(pattern, len + 3), slice_of(text, TEXT)));
        text[TEXT - 1] = 'a';
    }
    free(pattern);
    free(text);
}

/* Does `*`, so many `?` and a `b`, and another star match a text of so many `a` with a `b` at its end? */
static bool late_match(size_t token_count, size_t text_len)
{
    char *pattern = malloc(token_count + 3), *text = malloc(text_len);
    memset(pattern, '?', token_count + 3);
    pattern[0] = pattern[token_count + 2] = '*';
    pattern[token_count + 1] = 'b';
    memset(text, 'a', text_len);
    text[text_len - 1] = 'b';
    bool matches = glob_match(slice_of(pattern, token_count + 3), slice_of(text, text_len));
    free(pattern);
    free(text);
    return matches;
}

/* The second one would take ten seconds. */
Test(glob, what_would_take_too_long_does_not_match)
{
    cr_expect(late_match((32 << 10) - 64, (64 << 10) - 1));
    cr_expect_not(late_match(1 << 19, 1 << 20));
}

enum { LEN_MAX = 600, LEN_SHORT = 12 };

/* One token read on its own: which bytes it takes, and how long it is. */
struct token {
    bool is_star;
    bool takes[256];
    size_t len;
};

static void token_read_set(struct token *token, const char *p, size_t len)
{
    size_t at = 1;
    bool negated = at < len && p[at] == '^';
    at += negated;
    for (; at < len && p[at] != ']'; at++) {
        if (p[at] == '\\' && at + 1 < len) {
            token->takes[(uint8_t)p[++at]] = true;
        } else if (at + 2 < len && p[at + 1] == '-') {
            int a = (signed char)p[at], b = (signed char)p[at + 2];
            for (int c = a < b ? a : b; c <= (a < b ? b : a); c++) {
                token->takes[(uint8_t)c] = true;
            }
            at += 2;
        } else {
            token->takes[(uint8_t)p[at]] = true;
        }
    }
    for (int c = 0; c < 256; c++) {
        token->takes[c] ^= negated;
    }
    token->len = at < len ? at + 1 : len;
}

static void token_read(struct token *token, const char *p, size_t len)
{
    *token = (struct token){.is_star = p[0] == '*', .len = 1};
    if (p[0] == '?') {
        memset(token->takes, 1, sizeof token->takes);
    } else if (p[0] == '[') {
        token_read_set(token, p, len);
    } else if (p[0] == '\\' && len >= 2) {
        token->takes[(uint8_t)p[1]] = true;
        token->len = 2;
    } else {
        token->takes[(uint8_t)p[0]] = true;
    }
}

/* Every state that the text read so far can lead to, kept as a set. */
static bool slow_match(struct slice pattern, struct slice text)
{
    struct token token[LEN_MAX];
    size_t count = 0;
    for (size_t at = 0; at < pattern.len; at += token[count++].len) {
        token_read(&token[count], pattern.data + at, pattern.len - at);
    }
    if (text.len == 0) { return count == 0; }
    bool here[LEN_MAX + 1] = {true};
    for (size_t i = 0; i <= text.len; i++) {
        bool next[LEN_MAX + 1] = {false};
        for (size_t t = 0; t < count; t++) {
            here[t + 1] |= here[t] && token[t].is_star;
            if (here[t] && i < text.len) {
                next[t] |= token[t].is_star;
                next[t + 1] |= !token[t].is_star && token[t].takes[(uint8_t)text.data[i]];
            }
        }
        if (i == text.len) { return here[count]; }
        memcpy(here, next, sizeof here);
    }
    return false;
}

static struct slice random_text(unsigned *seed, char *out, const char *alphabet,
                                size_t alphabet_len)
{
    size_t len = (size_t)rand_r(seed) % (LEN_SHORT + 1);
    for (size_t i = 0; i < len; i++) {
        out[i] = alphabet[(size_t)rand_r(seed) % alphabet_len];
    }
    return slice_of(out, len);
}

/* What the literal parts promise to an index. */
static void check_literals(struct slice pattern, struct slice text)
{
    size_t prefix = glob_literal_prefix(pattern), suffix = glob_literal_suffix(pattern);
    struct slice inner = glob_literal_inner(pattern);
    cr_assert_geq(text.len, prefix + suffix + inner.len);
    cr_assert_eq(memcmp(pattern.data, text.data, prefix), 0);
    cr_assert_eq(memcmp(pattern.data + pattern.len - suffix, text.data + text.len - suffix, suffix),
                 0);
    cr_assert_not_null(
        memmem(text.data + prefix, text.len - prefix - suffix, inner.data, inner.len));
}

Test(glob, agrees_with_a_matcher_that_tries_everything)
{
    unsigned seed = (unsigned)clock_wall_us();
    printf("seed %u\n", seed);
    size_t match_count = 0;
    for (int i = 0; i < 300000; i++) {
        char pattern_bytes[LEN_SHORT + 1], text_bytes[LEN_SHORT + 1];
        bool plain = i % 2 == 0;
        struct slice pattern = plain ? random_text(&seed, pattern_bytes, "aab*?", 5)
                                     : random_text(&seed, pattern_bytes, "ab*?[]^-\\\x80", 10);
        struct slice text = plain ? random_text(&seed, text_bytes, "ab", 2)
                                  : random_text(&seed, text_bytes, "ab]^-\\\xff", 7);
        bool matches = glob_match(pattern, text);
        cr_assert_eq(matches, slow_match(pattern, text), "pattern \"%.*s\" text \"%.*s\"",
                     SLICE_ARG(pattern), SLICE_ARG(text));
        if (matches) {
            match_count++;
            check_literals(pattern, text);
        }
    }
    cr_assert_gt(match_count, 1000);
}

/* A pattern of many tokens that take `a`, nearly all of them, between few stars. */
static struct slice random_long_pattern(unsigned *seed, char *out)
{
    static const char *const token[] = {
        "a",
        "a",
        "a",
        "?",
        "?",
        "[ab]",
        "[^b]",
        "\\a",
        "[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]",
        "[^]",
        "[bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-a]",
    };
    size_t kinds = 1 + (size_t)rand_r(seed) % COUNT_OF(token);
    size_t len = 0, len_max = 40 + (size_t)rand_r(seed) % (LEN_MAX - 100);
    while (len < len_max) {
        const char *next = token[(size_t)rand_r(seed) % kinds];
        if (rand_r(seed) % 100 == 0) { next = "*"; }
        if (rand_r(seed) % 150 == 0) { next = "b"; }
        memcpy(out + len, next, strlen(next));
        len += strlen(next);
    }
    return slice_of(out, len);
}

static struct slice random_long_text(unsigned *seed, char *out)
{
    size_t len = (size_t)rand_r(seed) % LEN_MAX;
    for (size_t i = 0; i < len; i++) {
        out[i] = rand_r(seed) % 100 == 0 ? 'b' : 'a';
    }
    return slice_of(out, len);
}

Test(glob, agrees_with_it_about_long_segments)
{
    unsigned seed = (unsigned)clock_wall_us();
    printf("seed %u\n", seed);
    size_t match_count = 0;
    for (int i = 0; i < 4000; i++) {
        char pattern_bytes[LEN_MAX], text_bytes[LEN_MAX];
        struct slice pattern = random_long_pattern(&seed, pattern_bytes);
        struct glob glob;
        glob_init(&glob, pattern);
        for (int t = 0; t < 4; t++) {
            struct slice text = random_long_text(&seed, text_bytes);
            bool matches = glob_matches(&glob, text);
            cr_assert_eq(matches, slow_match(pattern, text), "pattern \"%.*s\" text \"%.*s\"",
                         SLICE_ARG(pattern), SLICE_ARG(text));
            match_count += matches;
        }
        glob_fini(&glob);
    }
    cr_assert_gt(match_count, 100);
}
