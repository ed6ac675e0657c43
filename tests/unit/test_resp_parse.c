/* Requests whole, cut anywhere, oversized and malformed. The expected words are those of a
 * redis-server 7.0.15 that was sent the same bytes. */
#include "resp/resp_parse.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/resp_feed.h"

static const struct resp_limits limits = {
    .inline_bytes_max = 64 * 1024,
    .bulk_bytes_max = 512 * 1024 * 1024,
    .args_count_max = INT32_MAX,
};

/* The story of `stream` cut into pieces of `piece_bytes` must be `story`. */
static void expect_story_cut(struct slice stream, struct slice story, const struct resp_limits *lim,
                             size_t piece_bytes)
{
    struct resp_feed feed;
    resp_feed_init(&feed, lim);
    for (size_t at = 0; at < stream.len; at += piece_bytes) {
        size_t left = stream.len - at;
        resp_feed_piece(&feed, slice_of(stream.data + at, left < piece_bytes ? left : piece_bytes));
    }
    struct slice got = resp_feed_end(&feed);
    cr_assert(slice_equal(got, story), "'%.60s' in pieces of %zu: got '%.*s', expected '%.*s'",
              stream.data, piece_bytes, SLICE_ARG(got), SLICE_ARG(story));
    resp_feed_fini(&feed);
}

/* ... whole, cut at every single place, and byte by byte. */
static void expect_story(struct slice stream, struct slice story, const struct resp_limits *lim)
{
    for (size_t piece_bytes = stream.len; piece_bytes > 0; piece_bytes--) {
        expect_story_cut(stream, story, lim, piece_bytes);
    }
}

#define EXPECT_STORY(stream, story) expect_story(SLICE(stream), SLICE(story), &limits)

Test(resp_parse, the_arguments_of_a_request_point_into_the_input)
{
    struct resp_parser *parser = resp_parser_new();
    struct slice input = SLICE("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$5\r\na\r\n\0b\r\nPING\r\n");
    cr_assert_eq(resp_parse(parser, input, &limits), RESP_REQUEST);
    cr_assert_eq(resp_argc(parser), 3);
    const struct slice *argv = resp_argv(parser);
    cr_assert(slice_equal(argv[0], SLICE("PUBLISH")));
    cr_assert(slice_equal(argv[1], SLICE("news")));
    cr_assert(slice_equal(argv[2], SLICE("a\r\n\0b")));
    cr_assert_eq(argv[0].data, input.data + 8);
    cr_assert_eq(resp_bytes(parser), input.len - 6);
    resp_parser_free(parser);
}

Test(resp_parse, a_pipeline_is_parsed_request_by_request_wherever_it_is_cut)
{
    EXPECT_STORY("*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\nPING a\r\n*2\r\n$4\r\nECHO\r\n"
                 "$12\r\n123456789012\r\n*2\r\n$3\r\nGET",
                 "1 4:PING\n2 4:ECHO 0:\n2 4:PING 1:a\n2 4:ECHO 12:123456789012\nleft 11\n");
}

Test(resp_parse, requests_without_arguments_are_told_as_such)
{
    EXPECT_STORY("*0\r\n*-1\r\n*-10\r\n\r\n\n  \t\r\n*1\r\n$1\r\nx\r\n",
                 "0\n0\n0\n0\n0\n0\n1 1:x\nleft 0\n");
    EXPECT_STORY("*-9223372036854775808\r\n", "0\nleft 0\n");
}

Test(resp_parse, what_stands_where_lf_or_cr_lf_should_be_is_not_looked_at)
{
    EXPECT_STORY("*1\rx$4\rxPINGab*1\r\n$4\r\nPINGxx\n", "1 4:PING\n1 4:PING\n0\nleft 0\n");
}

Test(resp_parse, a_line_with_a_nul_never_ends)
{
    EXPECT_STORY("*1\0\r\nPING\r\n", "left 11\n");
    EXPECT_STORY("*1\r\n\0\r\n", "left 7\n");
    EXPECT_STORY("*1\r\n$\0001\r\nx\r\n", "left 12\n");
    EXPECT_STORY("PI\0NG\r\n", "left 7\n");
    EXPECT_STORY("*1\r\nfoo", "left 7\n");
}

Test(resp_parse, malformed_lengths_are_refused_in_the_words_of_redis)
{
#define COUNT_ERROR "Protocol error: invalid multibulk length\n"
    EXPECT_STORY("*\r\n", COUNT_ERROR);
    EXPECT_STORY("*-\r\n", COUNT_ERROR);
    EXPECT_STORY("*-0\r\n", COUNT_ERROR);
    EXPECT_STORY("*+1\r\n", COUNT_ERROR);
    EXPECT_STORY("*01\r\n", COUNT_ERROR);
    EXPECT_STORY("*00\r\n", COUNT_ERROR);
    EXPECT_STORY("*1 \r\n", COUNT_ERROR);
    EXPECT_STORY("*1a\r\n", COUNT_ERROR);
    EXPECT_STORY("*1\nPING\n\r\n", COUNT_ERROR);
    EXPECT_STORY("*2147483648\r\n", COUNT_ERROR);
    EXPECT_STORY("*9223372036854775808\r\n", COUNT_ERROR);
    EXPECT_STORY("*99999999999999999999999\r\n", COUNT_ERROR);
#define BULK_ERROR "Protocol error: invalid bulk length\n"
    EXPECT_STORY("*1\r\n$\r\n", BULK_ERROR);
    EXPECT_STORY("*1\r\n$-1\r\n", BULK_ERROR);
    EXPECT_STORY("*1\r\n$04\r\nPING\r\n", BULK_ERROR);
    EXPECT_STORY("*1\r\n$4x\r\nPING\r\n", BULK_ERROR);
    EXPECT_STORY("*1\r\n$536870913\r\n", BULK_ERROR);
    EXPECT_STORY("*1\r\n$9999999999\r\n", BULK_ERROR);
    EXPECT_STORY("*1\r\n$18446744073709551617\r\n", BULK_ERROR);
    EXPECT_STORY("*2\r\n$4\r\nPING\r\n$x\r\n", BULK_ERROR);
}

Test(resp_parse, another_marker_than_a_dollar_is_refused_and_named)
{
    EXPECT_STORY("*1\r\nfoo\r\n", "Protocol error: expected '$', got 'f'\n");
    EXPECT_STORY("*1\r\n\r\n", "Protocol error: expected '$', got '\r'\n");
    EXPECT_STORY("*1\r\n\n\r\n", "Protocol error: expected '$', got '\n'\n");
    EXPECT_STORY("*1\r\n\xff\r\n", "Protocol error: expected '$', got '\xff'\n");
    EXPECT_STORY("*2\r\n$1\r\nxfooz\r\n", "Protocol error: expected '$', got 'o'\n");
}

Test(resp_parse, inline_requests_are_split_at_blanks)
{
    EXPECT_STORY("PING\r\nPING\nPING\r\r\n", "1 4:PING\n1 4:PING\n1 4:PING\nleft 0\n");
    EXPECT_STORY(" \t\v\f\rPUBLISH  news\thi \n", "3 7:PUBLISH 4:news 2:hi\nleft 0\n");
    EXPECT_STORY("ECHO a\rb\n", "3 4:ECHO 1:a 1:b\nleft 0\n");
    EXPECT_STORY("ECHO a\vb\f\n", "2 4:ECHO 4:a\vb\f\nleft 0\n");
    EXPECT_STORY("ECHO \xa0x\\n\n", "2 4:ECHO 4:\xa0x\\n\nleft 0\n");
    EXPECT_STORY("$4\r\n", "1 2:$4\nleft 0\n");
}

Test(resp_parse, inline_arguments_may_be_quoted_and_escaped)
{
    EXPECT_STORY("\"\\x41\\n\\r\\t\\b\\a\\q\\\\\\\"\" ' \\'\\n\"'\n",
                 "2 9:A\n\r\t\b\aq\\\" 5: '\\n\"\nleft 0\n");
    EXPECT_STORY("\"\" '' ab\"c d\" e'f g'\n", "4 0: 0: 5:abc d 4:ef g\nleft 0\n");
    EXPECT_STORY("\"\\x4g\\x4\" \"\\xfF\\x00\\xaA\"\n", "2 5:x4gx4 3:\xff\0\xaa\nleft 0\n");
    EXPECT_STORY("\"a\"\v'b'\r\n", "2 1:a 1:b\nleft 0\n");
}

Test(resp_parse, unbalanced_quotes_are_refused)
{
#define QUOTES_ERROR "Protocol error: unbalanced quotes in request\n"
    EXPECT_STORY("ECHO \"a\r\n", QUOTES_ERROR);
    EXPECT_STORY("ECHO 'a\n", QUOTES_ERROR);
    EXPECT_STORY("ECHO \"\n", QUOTES_ERROR);
    EXPECT_STORY("ECHO x'\n", QUOTES_ERROR);
    EXPECT_STORY("ECHO \"a\"b\n", QUOTES_ERROR);
    EXPECT_STORY("ECHO 'a''b'\n", QUOTES_ERROR);
    EXPECT_STORY("ECHO \"\\\r\n", QUOTES_ERROR);
    EXPECT_STORY("ECHO \"\\\"\n", QUOTES_ERROR);
    EXPECT_STORY("ECHO '\\'\n", QUOTES_ERROR);
}

Test(resp_parse, many_quoted_inline_arguments_stay_valid_together)
{
    struct buf stream = {0};
    struct buf story = {0};
    enum { ARGS = 3000 };
    buf_appendf(&story, "%d", ARGS);
    for (unsigned i = 0; i < ARGS; i++) {
        buf_appendf(&stream, i % 3 == 0 ? "x%u " : "\"x%u\" ", i);
        buf_appendf(&story, " %d:x%u", snprintf(NULL, 0, "x%u", i), i);
    }
    buf_append_str(&stream, "\n");
    buf_append_str(&story, "\nleft 0\n");
    expect_story_cut(buf_slice(&stream), buf_slice(&story), &limits, stream.len);
    expect_story_cut(buf_slice(&stream), buf_slice(&story), &limits, 1000);
    buf_fini(&stream);
    buf_fini(&story);
}

/* `prefix`, then `count` times `fill`, then `suffix`, whole and in pieces. */
static void expect_filled(const char *prefix, char fill, size_t count, const char *suffix,
                          const char *story)
{
    struct buf stream = {0};
    buf_append_str(&stream, prefix);
    memset(buf_reserve(&stream, count), fill, count);
    stream.len += count;
    buf_append_str(&stream, suffix);
    expect_story_cut(buf_slice(&stream), slice_of_str(story), &limits, stream.len);
    expect_story_cut(buf_slice(&stream), slice_of_str(story), &limits, 1021);
    expect_story_cut(buf_slice(&stream), slice_of_str(story), &limits, 65536);
    buf_fini(&stream);
}

Test(resp_parse, a_line_may_take_64_kib_and_no_byte_more)
{
    expect_filled("", 'A', 65536, "", "left 65536\n");
    expect_filled("", 'A', 65537, "", "Protocol error: too big inline request\n");
    expect_filled("", 'A', 65537, "\n", "Protocol error: too big inline request\n");
    expect_filled("", ' ', 65536, "\n", "0\nleft 0\n");
    expect_filled("*", '1', 65535, "", "left 65536\n");
    expect_filled("*", '1', 65536, "", "Protocol error: too big mbulk count string\n");
    expect_filled("*", '1', 65535, "\r\n", "Protocol error: invalid multibulk length\n");
    expect_filled("*1\r\n$", '1', 65535, "", "left 65540\n");
    expect_filled("*1\r\n$", '1', 65536, "", "Protocol error: too big bulk count string\n");
    expect_filled("*1\r\n", 'x', 65537, "", "Protocol error: too big bulk count string\n");
}

Test(resp_parse, a_nul_does_not_keep_a_line_from_growing_too_big)
{
    struct buf stream = {0};
    while (stream.len <= 65536) {
        buf_append(&stream, SLICE("\0payload\r\n"));
    }
    struct slice story = SLICE("Protocol error: too big inline request\n");
    expect_story_cut(buf_slice(&stream), story, &limits, stream.len);
    expect_story_cut(buf_slice(&stream), story, &limits, 100);
    buf_fini(&stream);
}

Test(resp_parse, limits_hold_exactly)
{
    const struct resp_limits tight = {
        .inline_bytes_max = 64, .bulk_bytes_max = 3, .args_count_max = 2};
    expect_story(SLICE("*2\r\n$3\r\nabc\r\n$0\r\n\r\n"), SLICE("2 3:abc 0:\nleft 0\n"), &tight);
    expect_story(SLICE("*3\r\n"), SLICE(COUNT_ERROR), &tight);
    expect_story(SLICE("*1\r\n$4\r\n"), SLICE(BULK_ERROR), &tight);
}

Test(resp_parse, a_client_that_has_not_authenticated_has_limits_of_its_own)
{
    const struct resp_limits *lim = &resp_limits_unauthenticated;
    const struct slice count_error = SLICE("Protocol error: unauthenticated multibulk length\n");
    const struct slice bulk_error = SLICE("Protocol error: unauthenticated bulk length\n");
    expect_story(SLICE("*10\r\n"), SLICE("left 5\n"), lim);
    expect_story(SLICE("*11\r\n"), count_error, lim);
    expect_story(SLICE("*2000000\r\n"), count_error, lim);
    expect_story(SLICE("*2147483648\r\n"), SLICE(COUNT_ERROR), lim);
    expect_story(SLICE("*1\r\n$16384\r\n"), SLICE("left 12\n"), lim);
    expect_story(SLICE("*1\r\n$16385\r\n"), bulk_error, lim);
    expect_story(SLICE("*1\r\n$536870913\r\n"), SLICE(BULK_ERROR), lim);
    expect_story(SLICE("*1\r\n$-1\r\n"), SLICE(BULK_ERROR), lim);
    expect_story(SLICE("*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"), SLICE("2 4:AUTH 1:x\nleft 0\n"), lim);
    expect_story(SLICE("a b c d e f g h i j k\n"),
                 SLICE("11 1:a 1:b 1:c 1:d 1:e 1:f 1:g 1:h 1:i 1:j 1:k\nleft 0\n"), lim);
}

Test(resp_parse, after_an_error_or_between_requests_another_stream_may_begin)
{
    struct resp_parser *parser = resp_parser_new();
    cr_assert_eq(resp_parse(parser, SLICE("*2\r\n$1\r\nx\r\nfoo\r\n"), &limits), RESP_ERROR);
    cr_assert_str_eq(resp_error_text(parser), "Protocol error: expected '$', got 'f'");
    cr_assert_eq(resp_parse(parser, SLICE("PING\n"), &limits), RESP_REQUEST);
    cr_assert_eq(resp_parse(parser, slice_of(NULL, 0), &limits), RESP_INCOMPLETE);
    cr_assert_eq(resp_parse(parser, SLICE("*1\r\n$1\r\ny\r\n"), &limits), RESP_REQUEST);
    cr_assert(slice_equal(resp_argv(parser)[0], SLICE("y")));
    resp_parser_free(parser);
    resp_parser_free(NULL);
}

Test(resp_parse, the_size_of_an_arriving_argument_is_expected_and_no_more)
{
    struct resp_parser *parser = resp_parser_new();
    struct slice input = SLICE("*1000000\r\n$1\r\nx\r\n$1000\r\nab");
    cr_assert_eq(resp_parse(parser, slice_of(input.data, 4), &limits), RESP_INCOMPLETE);
    cr_assert_eq(resp_bytes_expected(parser), 5);
    cr_assert_eq(resp_parse(parser, slice_of(input.data, 10), &limits), RESP_INCOMPLETE);
    cr_assert_eq(resp_bytes_expected(parser), 11);
    cr_assert_eq(resp_parse(parser, slice_of(input.data, 22), &limits), RESP_INCOMPLETE);
    cr_assert_eq(resp_bytes_expected(parser), 23);
    for (size_t len = 24; len <= input.len; len++) {
        cr_assert_eq(resp_parse(parser, slice_of(input.data, len), &limits), RESP_INCOMPLETE);
        cr_assert_eq(resp_bytes_expected(parser), 24 + 1000 + 2);
    }
    resp_parser_free(parser);
}

/* Pages of which all but the first cannot be read: a parser that looks at them dies. */
struct guarded {
    char *data;
    size_t page_bytes;
    size_t bytes;
};

static struct guarded guarded_new(size_t page_count)
{
    struct guarded g = {.page_bytes = (size_t)sysconf(_SC_PAGESIZE)};
    g.bytes = page_count * g.page_bytes;
    g.data = mmap(NULL, g.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(g.data, MAP_FAILED);
    return g;
}

static void guarded_protect(struct guarded *g, size_t page, size_t page_count, int protection)
{
    cr_assert_eq(mprotect(g->data + page * g->page_bytes, page_count * g->page_bytes, protection),
                 0);
}

Test(resp_parse, the_bytes_of_an_argument_are_never_read)
{
    struct guarded g = guarded_new(1025);
    const size_t payload_bytes = g.bytes - g.page_bytes;
    char head[64];
    int head_bytes = snprintf(head, sizeof head, "*1\r\n$%zu\r\n", payload_bytes);
    char *start = g.data + g.page_bytes - head_bytes;
    memcpy(start, head, (size_t)head_bytes);
    guarded_protect(&g, 1, 1024, PROT_NONE);
    struct resp_parser *parser = resp_parser_new();
    for (size_t arrived = 0; arrived <= payload_bytes; arrived += 1000) {
        struct slice input = slice_of(start, (size_t)head_bytes + arrived);
        cr_assert_eq(resp_parse(parser, input, &limits), RESP_INCOMPLETE);
        cr_assert_eq(resp_bytes_expected(parser), (size_t)head_bytes + payload_bytes + 2);
    }
    struct slice input = slice_of(start, (size_t)head_bytes + payload_bytes + 2);
    cr_assert_eq(resp_parse(parser, input, &limits), RESP_REQUEST);
    cr_assert_eq(resp_argv(parser)[0].data, g.data + g.page_bytes);
    resp_parser_free(parser);
    munmap(g.data, g.bytes);
}

Test(resp_parse, arguments_that_were_parsed_are_not_read_again)
{
    enum { ARGS = 1 << 20, ARG_BYTES = 8 };
    struct guarded g = guarded_new(2100);
    int head_bytes = sprintf(g.data, "*%d\r\n", ARGS);
    char *at = g.data + head_bytes;
    for (unsigned i = 0; i < ARGS; i++, at += ARG_BYTES) {
        memcpy(at, "$2\r\nxy\r\n", ARG_BYTES);
    }
    size_t bytes = (size_t)(at - g.data);
    cr_assert(bytes <= g.bytes);
    struct resp_parser *parser = resp_parser_new();
    size_t page = 1;
    for (size_t arrived = 1; arrived < bytes; arrived += 1001) {
        cr_assert_eq(resp_parse(parser, slice_of(g.data, arrived), &limits), RESP_INCOMPLETE);
        for (; (page + 1) * g.page_bytes + ARG_BYTES < arrived; page++) {
            guarded_protect(&g, page, 1, PROT_NONE);
        }
    }
    cr_assert_gt(page, 2000);
    guarded_protect(&g, 1, page, PROT_READ);
    char *moved = mem_copy(g.data, bytes);
    munmap(g.data, g.bytes);
    cr_assert_eq(resp_parse(parser, slice_of(moved, bytes), &limits), RESP_REQUEST);
    cr_assert_eq(resp_argc(parser), ARGS);
    for (unsigned i = 0; i < ARGS; i++) {
        cr_assert_eq(resp_argv(parser)[i].data, moved + head_bytes + i * ARG_BYTES + 4);
        cr_assert_eq(resp_argv(parser)[i].len, 2);
    }
    mem_free(moved);
    resp_parser_free(parser);
}

/* Bytes allocated now. A sanitizer's allocator says 0, and then the tests below only run. */
static size_t allocated_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

Test(resp_parse, announcing_a_million_arguments_or_a_large_one_costs_nothing)
{
    struct resp_parser *parser = resp_parser_new();
    size_t before = allocated_bytes();
    cr_assert_eq(resp_parse(parser, SLICE("*1048576\r\n"), &limits), RESP_INCOMPLETE);
    cr_assert_eq(resp_parse(parser, SLICE("*1048576\r\n$536870912\r\n"), &limits), RESP_INCOMPLETE);
    cr_assert_leq(allocated_bytes() - before, 1024);
    resp_parser_free(parser);
}

Test(resp_parse, what_a_giant_request_needed_is_given_back)
{
    struct buf args = {0};
    buf_append_str(&args, "*100000\r\n");
    for (unsigned i = 0; i < 100000; i++) {
        buf_append_str(&args, "$0\r\n\r\n");
    }
    struct buf quoted = {0};
    buf_append_str(&quoted, "\"");
    memset(buf_reserve(&quoted, 60000), 'x', 60000);
    quoted.len += 60000;
    buf_append_str(&quoted, "\"\n");
    struct resp_parser *parser = resp_parser_new();
    size_t before = allocated_bytes();
    cr_assert_eq(resp_parse(parser, buf_slice(&quoted), &limits), RESP_REQUEST);
    cr_assert_eq(resp_argv(parser)[0].len, 60000);
    cr_assert_eq(resp_parse(parser, buf_slice(&args), &limits), RESP_REQUEST);
    cr_assert_eq(resp_argc(parser), 100000);
    cr_assert_eq(resp_parse(parser, slice_of(NULL, 0), &limits), RESP_INCOMPLETE);
    size_t after = allocated_bytes();
    cr_assert_leq(after, before + 8192, "%zu bytes before, %zu after", before, after);
    resp_parser_free(parser);
    buf_fini(&args);
    buf_fini(&quoted);
}

/* A property over random streams, all drawn from one printed seed. */
struct random {
    uint64_t state;
};

static uint64_t random_below(struct random *r, uint64_t bound)
{
    r->state += 0x9e3779b97f4a7c15;
    uint64_t z = r->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % bound;
}

static size_t random_length(struct random *r)
{
    switch (random_below(r, 8)) {
    case 0: return 0;
    case 1: return random_below(r, 300);
    case 2: return random_below(r, 20) == 0 ? random_below(r, 70000) : 9 + random_below(r, 3);
    default: return random_below(r, 12);
    }
}

/* Bytes that a parser might take for structure, as often as others. */
static void random_bytes(struct random *r, struct buf *out, size_t len)
{
    static const char special[] = "\r\n*$\"'\\ \t0129x";
    char *at = buf_reserve(out, len);
    for (size_t i = 0; i < len; i++) {
        bool is_special = random_below(r, 2) == 0;
        at[i] = is_special ? special[random_below(r, sizeof special)] : (char)random_below(r, 256);
    }
    out->len += len;
}

static void append_inline_quoted(struct random *r, struct buf *out, struct slice arg)
{
    buf_append_str(out, "\"");
    for (size_t i = 0; i < arg.len; i++) {
        unsigned char c = (unsigned char)arg.data[i];
        if (c == '"' || c == '\\') {
            buf_appendf(out, "\\%c", c);
        } else if (c < ' ' || c > '~' || random_below(r, 10) == 0) {
            buf_appendf(out, random_below(r, 2) == 0 ? "\\x%02x" : "\\x%02X", c);
        } else {
            buf_append(out, slice_of(&arg.data[i], 1));
        }
    }
    buf_append_str(out, "\"");
}

/* Append a request to the stream, and what is to be told of it to the story. */
static void append_random_request(struct random *r, struct buf *stream, struct buf *story)
{
    enum { ARGS_MAX = 12 };
    static const char *const empty[] = {"\r\n", "\n", " \r\n", "*0\r\n", "*-5\r\n"};
    if (random_below(r, 12) == 0) {
        buf_append_str(stream, empty[random_below(r, COUNT_OF(empty))]);
        buf_append_str(story, "0\n");
        return;
    }
    bool is_inline = random_below(r, 4) == 0;
    uint32_t argc = 1 + (uint32_t)random_below(r, ARGS_MAX);
    struct buf arg[ARGS_MAX] = {{0}};
    struct slice argv[ARGS_MAX];
    if (!is_inline) { buf_appendf(stream, "*%u\r\n", argc); }
    for (uint32_t i = 0; i < argc; i++) {
        random_bytes(r, &arg[i], is_inline ? random_below(r, 20) : random_length(r));
        argv[i] = buf_slice(&arg[i]);
        if (is_inline) {
            append_inline_quoted(r, stream, argv[i]);
            buf_append_str(stream, i + 1 < argc ? " " : "");
        } else {
            buf_appendf(stream, "$%zu\r\n", argv[i].len);
            buf_append(stream, argv[i]);
            buf_append_str(stream, "\r\n");
        }
    }
    if (is_inline) { buf_append_str(stream, random_below(r, 2) == 0 ? "\n" : "\r\n"); }
    resp_story_request(story, argv, argc);
    for (uint32_t i = 0; i < argc; i++) {
        buf_fini(&arg[i]);
    }
}

static void check_random_stream(uint64_t seed)
{
    struct random r = {seed};
    struct buf stream = {0};
    struct buf story = {0};
    uint64_t request_count = random_below(&r, 30);
    for (uint64_t i = 0; i < request_count; i++) {
        append_random_request(&r, &stream, &story);
    }
    resp_story_end(&story, 0);
    struct resp_feed feed;
    resp_feed_init(&feed, &limits);
    uint64_t piece_max = random_below(&r, 4) == 0 ? 8 : 1 + random_below(&r, 3000);
    for (size_t at = 0; at < stream.len;) {
        size_t bytes = random_below(&r, piece_max + 1);
        if (bytes > stream.len - at) { bytes = stream.len - at; }
        resp_feed_piece(&feed, slice_of(stream.data + at, bytes));
        at += bytes;
    }
    cr_assert(slice_equal(resp_feed_end(&feed), buf_slice(&story)), "TEST_SEED=%llu",
              (unsigned long long)seed);
    resp_feed_fini(&feed);
    buf_fini(&stream);
    buf_fini(&story);
}

Test(resp_parse, random_streams_are_understood_however_they_are_cut)
{
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : clock_wall_us();
    unsigned count = given != NULL ? 1 : 300;
    for (unsigned i = 0; i < count; i++) {
        check_random_stream(seed + i);
    }
}
