/* resp_write: each reply reserves its room once and is written in place. */
#include "resp/resp_write.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    HEAD_BYTES_MAX = 1 + 20 + 2, /* a type byte, the digits of a 64-bit number, CR LF */
    DOUBLE_BYTES_MAX = 32,       /* "%.17g" of any double, and its NUL */
    ERROR_BYTES_GUESS = 128,
};

static char *put(char *at, struct slice bytes)
{
    if (bytes.len > 0) { memcpy(at, bytes.data, bytes.len); }
    return at + bytes.len;
}

/* Write "<type><v>\r\n"; `at` has room for HEAD_BYTES_MAX. Returns where it ends. */
static char *put_head(char *at, char type, uint64_t v)
{
    *at++ = type;
    at += uint64_to_text(v, at);
    return put(at, SLICE("\r\n"));
}

static void written(struct reply *reply, const char *end)
{
    reply->out->len = (size_t)(end - reply->out->data);
}

static void reply_head(struct reply *reply, char type, uint64_t v)
{
    char *at = buf_reserve(reply->out, HEAD_BYTES_MAX);
    written(reply, put_head(at, type, v));
}

static bool is_resp3(const struct reply *reply)
{
    return reply->version >= 3;
}

void reply_status(struct reply *reply, const char *text)
{
    struct slice s = slice_of_str(text);
    char *at = buf_reserve(reply->out, 1 + s.len + 2);
    *at++ = '+';
    written(reply, put(put(at, s), SLICE("\r\n")));
}

void reply_ok(struct reply *reply)
{
    buf_append(reply->out, SLICE("+OK\r\n"));
}

/* End the error whose text has been written from out->data[start] on. */
static void error_finish(struct reply *reply, size_t start)
{
    struct buf *out = reply->out;
    for (size_t i = start; i < out->len; i++) {
        if (out->data[i] == '\r' || out->data[i] == '\n') { out->data[i] = ' '; }
    }
    buf_append(out, SLICE("\r\n"));
    reply->error_count++;
}

void reply_error_slice(struct reply *reply, struct slice text)
{
    char *at = buf_reserve(reply->out, 1 + text.len + 2);
    *at++ = '-';
    written(reply, put(at, text));
    error_finish(reply, reply->out->len - text.len);
}

void reply_error(struct reply *reply, const char *text)
{
    reply_error_slice(reply, slice_of_str(text));
}

void reply_errorf(struct reply *reply, const char *format, ...)
{
    struct buf *out = reply->out;
    buf_append(out, SLICE("-"));
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    char *at = buf_reserve(out, ERROR_BYTES_GUESS);
    int len = vsnprintf(at, out->cap - out->len, format, args);
    CHECK(len >= 0);
    if ((size_t)len >= out->cap - out->len) {
        at = buf_reserve(out, (size_t)len + 1);
        CHECK(vsnprintf(at, (size_t)len + 1, format, again) == len);
    }
    va_end(again);
    va_end(args);
    out->len += (size_t)len;
    error_finish(reply, out->len - (size_t)len);
}

void reply_int(struct reply *reply, int64_t v)
{
    if (v >= 0) {
        reply_head(reply, ':', (uint64_t)v);
        return;
    }
    char *at = buf_reserve(reply->out, 1 + HEAD_BYTES_MAX);
    *at = ':';
    written(reply, put_head(at + 1, '-', 0 - (uint64_t)v));
}

void reply_bulk(struct reply *reply, struct slice bytes)
{
    char *at = buf_reserve(reply->out, HEAD_BYTES_MAX + bytes.len + 2);
    at = put_head(at, '$', bytes.len);
    written(reply, put(put(at, bytes), SLICE("\r\n")));
}

void reply_bulk_str(struct reply *reply, const char *str)
{
    reply_bulk(reply, slice_of_str(str));
}

void reply_double_text(struct reply *reply, struct slice text)
{
    if (!is_resp3(reply)) {
        reply_bulk(reply, text);
        return;
    }
    char *at = buf_reserve(reply->out, 1 + text.len + 2);
    *at++ = ',';
    written(reply, put(put(at, text), SLICE("\r\n")));
}

void reply_double(struct reply *reply, double v)
{
    char text[DOUBLE_BYTES_MAX];
    int len = isnan(v) ? snprintf(text, sizeof text, "nan") /* printf may show its sign */
                       : snprintf(text, sizeof text, "%.17g", v);
    reply_double_text(reply, slice_of(text, (size_t)len));
}

void reply_bool(struct reply *reply, bool v)
{
    if (is_resp3(reply)) {
        buf_append(reply->out, v ? SLICE("#t\r\n") : SLICE("#f\r\n"));
    } else {
        buf_append(reply->out, v ? SLICE(":1\r\n") : SLICE(":0\r\n"));
    }
}

void reply_verbatim(struct reply *reply, struct slice text)
{
    if (!is_resp3(reply)) {
        reply_bulk(reply, text);
        return;
    }
    const struct slice format = SLICE("txt:");
    char *at = buf_reserve(reply->out, HEAD_BYTES_MAX + format.len + text.len + 2);
    at = put_head(at, '=', format.len + text.len);
    written(reply, put(put(put(at, format), text), SLICE("\r\n")));
}

void reply_null(struct reply *reply)
{
    buf_append(reply->out, is_resp3(reply) ? SLICE("_\r\n") : SLICE("$-1\r\n"));
}

void reply_null_array(struct reply *reply)
{
    buf_append(reply->out, is_resp3(reply) ? SLICE("_\r\n") : SLICE("*-1\r\n"));
}

void reply_array(struct reply *reply, size_t count)
{
    reply_head(reply, '*', count);
}

void reply_map(struct reply *reply, size_t count)
{
    if (is_resp3(reply)) {
        reply_head(reply, '%', count);
    } else {
        reply_head(reply, '*', count * 2);
    }
}

void reply_set(struct reply *reply, size_t count)
{
    reply_head(reply, is_resp3(reply) ? '~' : '*', count);
}

void reply_push(struct reply *reply, size_t count)
{
    reply_head(reply, is_resp3(reply) ? '>' : '*', count);
}
