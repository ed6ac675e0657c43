/* test_pubsub_patterns: the index finds what a walk over all patterns would, no more and no less,
 * while patterns come and go; and what it keeps follows the patterns that are there. */
#include "pubsub/patterns.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/glob.h"
#include "base/mem.h"

struct subject {
    struct pattern_node node;
    bool is_in;
    unsigned visits;
    size_t len;
    char text[40];
};

static void subject_insert(struct patterns *patterns, struct subject *s, const char *text)
{
    s->len = strlen(text);
    cr_assert_lt(s->len, sizeof s->text);
    memcpy(s->text, text, s->len);
    s->node.by_text.key = slice_of(s->text, s->len);
    patterns_insert(patterns, &s->node);
    s->is_in = true;
}

static void subject_remove(struct patterns *patterns, struct subject *s)
{
    patterns_remove(patterns, &s->node);
    s->is_in = false;
    memset(s->text, 'x', sizeof s->text); /* the index may not look at it again */
}

static void count_visit(void *arg, struct pattern_node *node)
{
    struct subject *s = CONTAINER_OF(node, struct subject, node);
    s->visits++;
    *(size_t *)arg += 1;
}

static size_t match_count(const struct patterns *patterns, struct slice channel)
{
    size_t count = 0;
    patterns_match(patterns, channel, count_visit, &count);
    return count;
}

Test(patterns, an_empty_set_matches_nothing)
{
    struct patterns *patterns = patterns_new();
    cr_expect_eq(match_count(patterns, SLICE("news")), 0);
    cr_expect_eq(match_count(patterns, SLICE("")), 0);
    cr_expect_eq(patterns_count(patterns), 0);
    cr_expect_null(patterns_find(patterns, SLICE("news")));
    cr_expect_null(patterns_next(patterns, NULL));
    patterns_free(patterns);
    patterns_free(NULL);
}

Test(patterns, a_pattern_is_found_by_its_text_until_it_is_removed)
{
    struct patterns *patterns = patterns_new();
    struct subject news = {0}, users = {0};
    subject_insert(patterns, &news, "news.*");
    subject_insert(patterns, &users, "*users*");
    cr_expect_eq(patterns_count(patterns), 2);
    cr_expect_eq(patterns_find(patterns, SLICE("news.*")), &news.node);
    cr_expect_eq(patterns_find(patterns, SLICE("*users*")), &users.node);
    cr_expect_null(patterns_find(patterns, SLICE("news.")));
    const struct pattern_node *first = patterns_next(patterns, NULL);
    const struct pattern_node *second = patterns_next(patterns, first);
    cr_expect(first != NULL && second != NULL && first != second);
    cr_expect_null(patterns_next(patterns, second));
    subject_remove(patterns, &news);
    cr_expect_null(patterns_find(patterns, SLICE("news.*")));
    cr_expect_eq(patterns_count(patterns), 1);
    cr_expect_eq(match_count(patterns, SLICE("news.users")), 1);
    subject_remove(patterns, &users);
    cr_expect_eq(match_count(patterns, SLICE("news.users")), 0);
    patterns_free(patterns);
}

/* The shapes that people use, and one channel each that the pattern of number 1017 matches. */
enum { NUMBER_FIRST = 1000 };
static const struct shape {
    const char *before; /* the pattern is before, number, after */
    const char *after;
    const char *channel;
} shapes[] = {
    {"user:", ":*", "user:1017:x"},
    {"*:", "", "room:1017"},
    {"news.*.", "", "news.eu.1017"},
    {"", "?x", "1017yx"},
    {"*<", ">*", "-<1017>-"},
    {"a*<", ">*z", "a<1017>z"},
    {"plain.", "", "plain.1017"},
    {"x[ab]", "*", "xb1017"},
    {"*", "?", "-1017-"},
    {"\\*.", "*", "*.1017"},
    {"p*", "*s?", "p1017sx"},
    {"?", "", "-1017"},
    {"a*", "*z", "az1017a1017z"},
    {"*[", "", "-1"},
    {"\xff", "\xfe*",
     "\xff"
     "1017\xfe"},
};

static void shape_text(char out[40], size_t shape, int number)
{
    snprintf(out, 40, "%s%d%s", shapes[shape].before, number, shapes[shape].after);
}

Test(patterns, every_shape_is_found_once_among_many_of_its_like)
{
    enum { EACH = 300, SHAPES = COUNT_OF(shapes) };
    struct subject *subject = mem_new0(EACH * SHAPES * sizeof *subject);
    struct patterns *patterns = patterns_new();
    for (size_t i = 0; i < EACH * SHAPES; i++) {
        char text[40];
        shape_text(text, i % SHAPES, NUMBER_FIRST + (int)(i / SHAPES));
        subject_insert(patterns, &subject[i], text);
    }
    for (size_t c = 0; c < SHAPES; c++) {
        struct slice channel = slice_of_str(shapes[c].channel);
        cr_expect_geq(match_count(patterns, channel), 1);
        for (size_t i = 0; i < EACH * SHAPES; i++) {
            struct slice text = slice_of(subject[i].text, subject[i].len);
            cr_assert_eq(subject[i].visits, glob_match(text, channel), "pattern %.*s channel %s",
                         SLICE_ARG(text), shapes[c].channel);
            subject[i].visits = 0;
        }
    }
    patterns_free(patterns);
    mem_free(subject);
}

Test(patterns, literal_parts_longer_than_the_index_reads_still_decide)
{
    enum { COUNT = 20, LONG = 700 };
    struct subject *subject = mem_new0(3 * COUNT * sizeof *subject);
    char *text = mem_new(3 * COUNT * (LONG + 8));
    struct patterns *patterns = patterns_new();
    for (int i = 0; i < 3 * COUNT; i++) { /* aaa..b*, *b..aaa, *aaa..b* with the b at i */
        char *at = text + i * (LONG + 8), *run = at + (i % 3 > 0);
        memset(at, '*', LONG + 2);
        memset(run, 'a', LONG);
        run[i % 3 == 1 ? i / 3 : LONG - 1 - i / 3] = 'b';
        subject[i].node.by_text.key = slice_of(at, LONG + 1 + (i % 3 == 2));
        patterns_insert(patterns, &subject[i].node);
    }
    for (int i = 0; i < 3 * COUNT; i++) {
        struct slice channel = slice_of(text + i * (LONG + 8) + (i % 3 > 0), LONG);
        size_t expected = 0;
        for (int k = 0; k < 3 * COUNT; k++) {
            expected += glob_match(subject[k].node.by_text.key, channel);
        }
        cr_expect_geq(expected, 1);
        cr_expect_eq(match_count(patterns, channel), expected);
    }
    for (int i = 0; i < 3 * COUNT; i++) {
        patterns_remove(patterns, &subject[i].node);
    }
    patterns_free(patterns);
    mem_free(text);
    mem_free(subject);
}

/* In the second half of the channel each byte leads to every place, whose literals the first half does
 * not have: looking for the first of each anew takes minutes. */
Test(patterns, what_a_long_channel_leads_to_again_and_again_is_looked_at_once)
{
    enum { COUNT = 250, HALF = 1 << 16 };
    struct subject *subject = mem_new0(COUNT * sizeof *subject);
    char *text = mem_new(COUNT * (COUNT + 2)), *channel = mem_new(2 * HALF);
    struct patterns *patterns = patterns_new();
    memset(text, 'a', COUNT * (COUNT + 2));
    for (size_t i = 0; i < COUNT; i++) { /* *a*, *aa*, ... */
        char *at = text + i * (COUNT + 2);
        at[0] = at[i + 2] = '*';
        subject[i].node.by_text.key = slice_of(at, i + 3);
        patterns_insert(patterns, &subject[i].node);
    }
    memset(channel, 'b', HALF);
    memset(channel + HALF, 'a', HALF);
    cr_expect_eq(match_count(patterns, slice_of(channel, 2 * HALF)), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        cr_expect_eq(subject[i].visits, 1);
        patterns_remove(patterns, &subject[i].node);
    }
    patterns_free(patterns);
    mem_free(channel);
    mem_free(text);
    mem_free(subject);
}

/* ---- against a walk over all patterns ---- */

enum { SUBJECTS = 400, STEPS = 20000, TEXT_MAX = 9 };

static struct slice random_text(unsigned *seed, const char *alphabet, char out[TEXT_MAX + 1])
{
    size_t len = (size_t)rand_r(seed) % (TEXT_MAX + 1);
    for (size_t i = 0; i < len; i++) {
        out[i] = alphabet[(size_t)rand_r(seed) % strlen(alphabet)];
    }
    out[len] = '\0';
    return slice_of(out, len);
}

static void churn_step(struct patterns *patterns, struct subject *subject, const char *alphabet,
                       unsigned *seed)
{
    char text[TEXT_MAX + 1];
    struct subject *s = &subject[rand_r(seed) % SUBJECTS];
    if (s->is_in) {
        subject_remove(patterns, s);
    } else if (patterns_find(patterns, random_text(seed, alphabet, text)) == NULL) {
        subject_insert(patterns, s, text);
    }
}

static size_t expect_same_matches(struct patterns *patterns, struct subject *subject,
                                  struct slice channel)
{
    size_t found = match_count(patterns, channel), expected = 0;
    for (int i = 0; i < SUBJECTS; i++) {
        struct subject *s = &subject[i];
        bool hit = s->is_in && glob_match(s->node.by_text.key, channel);
        cr_assert_eq(s->visits, hit, "pattern %.*s channel %.*s", SLICE_ARG(s->node.by_text.key),
                     SLICE_ARG(channel));
        s->visits = 0;
        expected += hit;
    }
    cr_assert_eq(found, expected);
    return found;
}

static void churn(const char *pattern_alphabet, const char *channel_alphabet)
{
    unsigned seed = (unsigned)clock_wall_us();
    printf("seed %u\n", seed);
    struct subject *subject = mem_new0(SUBJECTS * sizeof *subject);
    struct patterns *patterns = patterns_new();
    size_t found = 0;
    for (int step = 0; step < STEPS; step++) {
        char text[TEXT_MAX + 1];
        churn_step(patterns, subject, pattern_alphabet, &seed);
        if (step % 4 == 0) {
            found +=
                expect_same_matches(patterns, subject, random_text(&seed, channel_alphabet, text));
        }
    }
    cr_expect_gt(found, 100);
    for (int i = 0; i < SUBJECTS; i++) {
        if (subject[i].is_in) { subject_remove(patterns, &subject[i]); }
    }
    cr_expect_eq(patterns_count(patterns), 0);
    patterns_free(patterns);
    mem_free(subject);
}

Test(patterns, matches_are_those_of_a_walk_over_all_while_patterns_come_and_go)
{
    churn("aab*?", "ab");
}

Test(patterns, patterns_that_differ_inside_are_told_apart_while_they_come_and_go)
{
    churn("aaaab**", "aab");
}

Test(patterns, brackets_and_escapes_are_told_apart_while_they_come_and_go)
{
    churn("aab*[]\\^", "ab]");
}

/* ---- memory ---- */

static size_t bytes_in_use(void)
{
    return mallinfo2().uordblks; /* 0 under a sanitizer, whose leak check then stands in */
}

Test(patterns, a_pattern_costs_less_than_200_bytes_and_gives_them_back)
{
    enum { COUNT = 20000, KEPT_BY_MALLOC_MAX = 64 * 1024 };
    struct subject *subject = mem_new0(COUNT * sizeof *subject);
    for (size_t shape = 0; shape < COUNT_OF(shapes); shape++) {
        struct patterns *patterns = patterns_new();
        size_t before = bytes_in_use();
        for (int i = 0; i < COUNT; i++) {
            char text[40];
            shape_text(text, shape, NUMBER_FIRST + i);
            subject_insert(patterns, &subject[i], text);
        }
        size_t each = (bytes_in_use() - before) / COUNT + sizeof(struct pattern_node);
        cr_expect_leq(each, 200, "%s<n>%s: %zu", shapes[shape].before, shapes[shape].after, each);
        for (int i = 0; i < COUNT; i++) {
            subject_remove(patterns, &subject[i]);
        }
        cr_expect_leq(bytes_in_use(), before + KEPT_BY_MALLOC_MAX);
        patterns_free(patterns);
    }
    mem_free(subject);
}
