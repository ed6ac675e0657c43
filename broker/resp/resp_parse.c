/* resp_parse: one pass over what is complete; a second, careful look only at what is unusual or cut
 * off.
 * Always, while a request is unfinished: argv[0..argc) are whole arguments, as if the request were
 * still at `origin`, where it was first seen; `at` is the offset of the first line or argument that
 * is not whole yet. An argument that is cut off is read again from its length line, which costs the
 * same however much of it has arrived. */
#include "resp/resp_parse.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

enum {
    ARGV_CAP_MIN = 8,
    ARGV_CAP_KEPT = 256,        /* a larger array is given back after its request: 4 KiB */
    UNQUOTED_BYTES_KEPT = 4096, /* and so is a larger buffer of unquoted arguments */
    LENGTH_LINE_BYTES = 12,     /* the longest common length line: '$', nine digits, CR LF */
};

struct resp_parser {
    struct slice *argv;
    uint32_t argv_cap;
    uint32_t argc;
    uint32_t args_expected; /* 0 until the count line is read */
    bool is_unfinished;     /* the last call returned RESP_INCOMPLETE: the next one goes on */
    size_t at;              /* offset of what is not parsed yet */
    size_t scanned;         /* bytes behind `at` that are known to hold no end of line */
    size_t bytes;           /* of the whole request, or of what is known of an unfinished one */
    uintptr_t origin;
    struct buf unquoted; /* inline arguments that had quotes; or the error that quotes the client */
    const char *error_text;
};

const struct resp_limits resp_limits_unauthenticated = {
    .inline_bytes_max = 64 * 1024,
    .bulk_bytes_max = 512 * 1024 * 1024,
    .args_count_max = INT32_MAX,
    .is_unauthenticated = true,
};

struct resp_parser *resp_parser_new(void)
{
    return mem_new0(sizeof(struct resp_parser));
}

void resp_parser_free(struct resp_parser *parser)
{
    if (parser != NULL) {
        mem_free(parser->argv);
        buf_fini(&parser->unquoted);
        mem_free(parser);
    }
}

uint32_t resp_argc(const struct resp_parser *parser)
{
    return parser->argc;
}

const struct slice *resp_argv(const struct resp_parser *parser)
{
    return parser->argv;
}

size_t resp_bytes(const struct resp_parser *parser)
{
    return parser->bytes;
}

const char *resp_error_text(const struct resp_parser *parser)
{
    return parser->error_text;
}

size_t resp_bytes_expected(const struct resp_parser *parser)
{
    return parser->bytes;
}

static enum resp_status fail(struct resp_parser *parser, const char *text)
{
    parser->error_text = text;
    return RESP_ERROR;
}

static enum resp_status request(struct resp_parser *parser, size_t bytes)
{
    parser->bytes = bytes;
    return RESP_REQUEST;
}

/* `bytes_min` of the request are known to be needed. */
static enum resp_status incomplete(struct resp_parser *parser, struct slice input, size_t bytes_min)
{
    parser->bytes = bytes_min > input.len ? bytes_min : input.len + 1;
    return RESP_INCOMPLETE;
}

/* Everything before offset `at` is parsed. */
static void move_to(struct resp_parser *parser, size_t at)
{
    if (parser->at != at) {
        parser->at = at;
        parser->scanned = 0;
    }
}

static void argv_grow(struct resp_parser *parser)
{
    parser->argv_cap = parser->argv_cap > 0 ? parser->argv_cap * 2 : ARGV_CAP_MIN;
    parser->argv = mem_resize(parser->argv, parser->argv_cap * sizeof(struct slice));
}

/* The limit that holds now, of one for everybody and one for the unauthenticated. */
static size_t at_most(const struct resp_limits *limits, size_t max, size_t unauthenticated_max)
{
    return limits->is_unauthenticated && unauthenticated_max < max ? unauthenticated_max : max;
}

/* The first `last` in the line at parser->at, or NULL. As in Redis a NUL hides what is behind it,
 * so that such a line is never found to end; and it must end within its limit, however cut. */
static const char *line_find(struct resp_parser *parser, struct slice input,
                             const struct resp_limits *limits, char last)
{
    const char *line = input.data + parser->at;
    size_t window = input.len - parser->at;
    if (window > limits->inline_bytes_max) { window = limits->inline_bytes_max + 1; }
    if (parser->scanned >= window) { return NULL; }
    const char *from = line + parser->scanned;
    size_t more = window - parser->scanned;
    if (*from == '\0') { return NULL; } /* seen before; what is behind it is not scanned again */
    const char *found = memchr(from, last, more);
    if (found != NULL) { more = (size_t)(found - from); }
    const char *nul = memchr(from, '\0', more);
    if (nul != NULL) {
        more = (size_t)(nul - from);
        found = NULL;
    }
    parser->scanned += more;
    return found;
}

/* line_find found nothing: is there room for more? */
static enum resp_status line_missing(struct resp_parser *parser, struct slice input,
                                     const struct resp_limits *limits, const char *too_big_text)
{
    if (input.len - parser->at > limits->inline_bytes_max) { return fail(parser, too_big_text); }
    return incomplete(parser, input, 0);
}

/* Blank in the C locale: these separate inline arguments. */
static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Vertical tab and form feed are blank but do not end an argument. */
static bool ends_argument(char c)
{
    return is_blank(c) && c != '\v' && c != '\f';
}

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9') { return c - '0'; }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The escape whose backslash is at text.data[0], with at least one byte behind it: its meaning goes
 * to *out. Returns its length. */
static size_t escape_read(struct slice text, char *out)
{
    static const char meaning[][2] = {
        {'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'b', '\b'}, {'a', '\a'}};
    char c = text.data[1];
    if (c == 'x' && text.len >= 4) {
        int high = hex_value(text.data[2]);
        int low = hex_value(text.data[3]);
        if (high >= 0 && low >= 0) {
            *out = (char)(high * 16 + low);
            return 4;
        }
    }
    *out = c;
    for (size_t i = 0; i < COUNT_OF(meaning); i++) {
        if (c == meaning[i][0]) { *out = meaning[i][1]; }
    }
    return 2;
}

/* Append what stands between the quote at line.data[at] and its partner to `out`, which has room.
 * Returns the offset behind the partner; 0 if there is none. */
static size_t quoted_read(struct buf *out, struct slice line, size_t at)
{
    char quote = line.data[at++];
    while (at < line.len) {
        struct slice rest = slice_of(line.data + at, line.len - at);
        char c = rest.data[0];
        size_t used = 1;
        if (c == quote) { return at + 1; }
        if (c == '\\' && rest.len > 1) {
            if (quote == '"') {
                used = escape_read(rest, &c);
            } else if (rest.data[1] == '\'') {
                c = '\'';
                used = 2;
            }
        }
        out->data[out->len++] = c;
        at += used;
    }
    return 0;
}

/* Append the argument that begins at line.data[at]: a plain run, which a quoted one may end.
 * Returns the offset behind it; 0 if quotes are unbalanced. */
static size_t inline_arg(struct resp_parser *parser, struct slice line, size_t at)
{
    size_t start = at;
    while (at < line.len && !ends_argument(line.data[at]) && line.data[at] != '"' &&
           line.data[at] != '\'') {
        at++;
    }
    struct slice arg = slice_of(line.data + start, at - start);
    if (at < line.len && !ends_argument(line.data[at])) {
        /* Unquoting never lengthens: room for the line is room for all its arguments, and none of
         * them moves. */
        struct buf *out = &parser->unquoted;
        char *unquoted = buf_reserve(out, line.len - start);
        buf_append(out, arg);
        at = quoted_read(out, line, at);
        if (at == 0 || (at < line.len && !is_blank(line.data[at]))) { return 0; }
        arg = slice_of(unquoted, (size_t)(out->data + out->len - unquoted));
    }
    if (parser->argc == parser->argv_cap) { argv_grow(parser); }
    parser->argv[parser->argc++] = arg;
    return at;
}

static enum resp_status inline_parse(struct resp_parser *parser, struct slice input,
                                     const struct resp_limits *limits)
{
    const char *newline = line_find(parser, input, limits, '\n');
    if (newline == NULL) {
        return line_missing(parser, input, limits, "Protocol error: too big inline request");
    }
    struct slice line = slice_of(input.data, (size_t)(newline - input.data));
    if (line.len > 0 && newline[-1] == '\r') { line.len--; }
    size_t at = 0;
    for (;;) {
        while (at < line.len && is_blank(line.data[at])) {
            at++;
        }
        if (at == line.len) { return request(parser, (size_t)(newline - input.data) + 1); }
        at = inline_arg(parser, line, at);
        if (at == 0) { return fail(parser, "Protocol error: unbalanced quotes in request"); }
    }
}

/* Read a length line of the common kind: `marker`, one to nine digits without leading zeros, CR,
 * and one byte more, which as in Redis may be any. Returns what is behind it; NULL if the line is
 * another one, or cut off: then it takes a careful look. */
static inline const char *length_read(const char *at, const char *end, char marker, size_t *out)
{
    if (end - at < 4 || at[0] != marker) { return NULL; }
    const char *stop = end - at > LENGTH_LINE_BYTES ? at + LENGTH_LINE_BYTES - 1 : end - 1;
    const char *digits = at + 1;
    size_t length = (unsigned char)(*digits - '0');
    if (length > 9) { return NULL; }
    for (at = digits + 1; at < stop; at++) {
        unsigned char digit = (unsigned char)(*at - '0');
        if (digit > 9) { break; }
        length = length * 10 + digit;
    }
    if (at == stop || *at != '\r' || (*digits == '0' && at - digits > 1)) { return NULL; }
    *out = length;
    return at + 2;
}

/* The count line, which length_read did not take, or which says too much. */
static enum resp_status count_parse_carefully(struct resp_parser *parser, struct slice input,
                                              const struct resp_limits *limits)
{
    const char *line = input.data;
    const char *cr = line_find(parser, input, limits, '\r');
    if (cr == NULL) {
        return line_missing(parser, input, limits, "Protocol error: too big mbulk count string");
    }
    if (cr + 1 == input.data + input.len) { return incomplete(parser, input, 0); }
    int64_t count;
    if (!slice_to_int64(slice_of(line + 1, (size_t)(cr - line) - 1), &count) ||
        count > limits->args_count_max) {
        return fail(parser, "Protocol error: invalid multibulk length");
    }
    if (limits->is_unauthenticated && count > RESP_UNAUTHENTICATED_ARGS_MAX) {
        return fail(parser, "Protocol error: unauthenticated multibulk length");
    }
    move_to(parser, (size_t)(cr + 2 - input.data));
    parser->args_expected = count > 0 ? (uint32_t)count : 0;
    return RESP_REQUEST;
}

/* Read the count line into args_expected, 0 for a request of no arguments. RESP_REQUEST: done. */
static enum resp_status count_parse(struct resp_parser *parser, struct slice input,
                                    const struct resp_limits *limits)
{
    size_t count_max = at_most(limits, limits->args_count_max, RESP_UNAUTHENTICATED_ARGS_MAX);
    size_t count;
    const char *behind = length_read(input.data, input.data + input.len, '*', &count);
    if (behind == NULL || count > count_max) {
        return count_parse_carefully(parser, input, limits);
    }
    move_to(parser, (size_t)(behind - input.data));
    parser->args_expected = (uint32_t)count;
    return RESP_REQUEST;
}

/* The argument at parser->at, which is cut off, unusual or wrong. RESP_REQUEST: it is whole, and
 * now *arg. */
static enum resp_status arg_parse_carefully(struct resp_parser *parser, struct slice input,
                                            const struct resp_limits *limits, struct slice *arg)
{
    const char *line = input.data + parser->at;
    const char *end = input.data + input.len;
    const char *cr = line_find(parser, input, limits, '\r');
    if (cr == NULL) {
        return line_missing(parser, input, limits, "Protocol error: too big bulk count string");
    }
    if (cr + 1 == end) { return incomplete(parser, input, 0); }
    if (line[0] != '$') {
        parser->unquoted.len = 0;
        buf_appendf(&parser->unquoted, "Protocol error: expected '$', got '%c'", line[0]);
        return fail(parser, parser->unquoted.data);
    }
    int64_t length;
    if (!slice_to_int64(slice_of(line + 1, (size_t)(cr - line) - 1), &length) || length < 0 ||
        (uint64_t)length > limits->bulk_bytes_max) {
        return fail(parser, "Protocol error: invalid bulk length");
    }
    if (limits->is_unauthenticated && length > RESP_UNAUTHENTICATED_BULK_BYTES_MAX) {
        return fail(parser, "Protocol error: unauthenticated bulk length");
    }
    *arg = slice_of(cr + 2, (size_t)length);
    size_t left = (size_t)(end - arg->data);
    if (left < arg->len || left - arg->len < 2) {
        return incomplete(parser, input, (size_t)(arg->data - input.data) + arg->len + 2);
    }
    return RESP_REQUEST;
}

/* The request has moved since its first bytes were seen, and is whole now. */
static void argv_move(struct resp_parser *parser, uintptr_t shift)
{
    for (uint32_t i = 0; i < parser->argc; i++) {
        parser->argv[i].data = (const char *)((uintptr_t)parser->argv[i].data - shift);
    }
}

static enum resp_status args_parse(struct resp_parser *parser, struct slice input,
                                   const struct resp_limits *limits)
{
    const size_t bulk_bytes_max =
        at_most(limits, limits->bulk_bytes_max, RESP_UNAUTHENTICATED_BULK_BYTES_MAX);
    const uintptr_t shift = parser->origin - (uintptr_t)input.data;
    const char *end = input.data + input.len;
    const char *at = input.data + parser->at;
    const uint32_t args_expected = parser->args_expected;
    uint32_t argc = parser->argc;
    enum resp_status status = RESP_REQUEST;
    while (argc < args_expected) {
        struct slice arg;
        arg.data = length_read(at, end, '$', &arg.len);
        /* The CR LF behind an argument is not looked at, as in Redis. */
        if (UNLIKELY(arg.data == NULL || arg.len > bulk_bytes_max ||
                     end - arg.data < (ptrdiff_t)arg.len + 2)) {
            move_to(parser, (size_t)(at - input.data));
            status = arg_parse_carefully(parser, input, limits, &arg);
            if (status != RESP_REQUEST) { break; }
        }
        if (UNLIKELY(argc == parser->argv_cap)) { argv_grow(parser); }
        at = arg.data + arg.len + 2;
        arg.data = (const char *)((uintptr_t)arg.data + shift);
        parser->argv[argc++] = arg;
    }
    parser->argc = argc;
    if (status != RESP_REQUEST) { return status; }
    if (shift != 0) { argv_move(parser, shift); }
    return request(parser, (size_t)(at - input.data));
}

static void request_begin(struct resp_parser *parser, struct slice input)
{
    if (UNLIKELY(parser->argv_cap > ARGV_CAP_KEPT)) {
        mem_free(parser->argv);
        parser->argv = NULL;
        parser->argv_cap = 0;
    }
    if (UNLIKELY(parser->unquoted.cap > UNQUOTED_BYTES_KEPT)) { buf_fini(&parser->unquoted); }
    parser->unquoted.len = 0;
    parser->argc = 0;
    parser->args_expected = 0;
    parser->at = 0;
    parser->scanned = 0;
    parser->origin = (uintptr_t)input.data;
}

static enum resp_status request_parse(struct resp_parser *parser, struct slice input,
                                      const struct resp_limits *limits)
{
    if (input.data[0] != '*') { return inline_parse(parser, input, limits); }
    if (parser->args_expected == 0) {
        enum resp_status status = count_parse(parser, input, limits);
        if (status != RESP_REQUEST) { return status; }
    }
    return args_parse(parser, input, limits);
}

enum resp_status resp_parse(struct resp_parser *parser, struct slice input,
                            const struct resp_limits *limits)
{
    if (!parser->is_unfinished) { request_begin(parser, input); }
    CHECK(input.len >= parser->at + parser->scanned);
    if (input.len == 0) { return incomplete(parser, input, 0); }
    enum resp_status status = request_parse(parser, input, limits);
    parser->is_unfinished = status == RESP_INCOMPLETE;
    return status;
}
