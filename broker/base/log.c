/* log: formats a line into a stack buffer and writes it once. */
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    LOG_LINE_BYTES = 8192,
    LOG_VALUE_BYTES_MAX = 1024,
    LOG_FIELD_BYTES_MIN = 64, /* a field that would have less is left out */
    LOG_ESCAPE_BYTES = 6,
    LOG_LINE_END_BYTES = 4,
};

static _Atomic(enum log_level) log_level_now = LOG_LEVEL_INFO;
static _Atomic(enum log_format) log_format_now = LOG_FORMAT_TEXT;

struct line {
    size_t len;
    char text[LOG_LINE_BYTES];
};

static const char *const level_word[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

void log_configure(enum log_level level, enum log_format format)
{
    atomic_store_explicit(&log_level_now, level, memory_order_relaxed);
    atomic_store_explicit(&log_format_now, format, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
    return level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

/* What is left before the closing quote, the closing brace and the newline. */
static size_t line_room(const struct line *line)
{
    return sizeof line->text - LOG_LINE_END_BYTES - line->len;
}

static void line_put(struct line *line, struct slice s)
{
    CHECK(s.len <= line_room(line) + LOG_LINE_END_BYTES);
    if (s.len > 0) {
        memcpy(line->text + line->len, s.data, s.len);
        line->len += s.len;
    }
}

static void line_put_escaped(struct line *line, struct slice s)
{
    size_t len = s.len < LOG_VALUE_BYTES_MAX ? s.len : LOG_VALUE_BYTES_MAX;
    for (size_t i = 0; i < len && line_room(line) >= LOG_ESCAPE_BYTES; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c == '"' || c == '\\') {
            line_put(line, slice_of((char[]){'\\', (char)c}, 2));
        } else if (c < 0x20 || c >= 0x7f) {
            char code[8];
            int n = snprintf(code, sizeof code, "\\u%04x", c);
            line_put(line, slice_of(code, (size_t)n));
        } else {
            line_put(line, slice_of(&s.data[i], 1));
        }
    }
}

static bool needs_quotes(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') { return true; }
    }
    return s.len == 0;
}

static void line_put_text(struct line *line, struct slice s, bool always_quote)
{
    bool quote = always_quote || needs_quotes(s);
    if (quote) { line_put(line, SLICE("\"")); }
    line_put_escaped(line, s);
    if (quote) { line_put(line, SLICE("\"")); }
}

static void line_put_field(struct line *line, const struct log_field *field, bool json)
{
    if (line_room(line) < LOG_FIELD_BYTES_MIN + strlen(field->key)) { return; }
    line_put(line, json ? SLICE(",\"") : SLICE(" "));
    line_put(line, slice_of_str(field->key));
    line_put(line, json ? SLICE("\":") : SLICE("="));
    char digits[24];
    int n = 0;
    switch (field->kind) {
    case LOG_KIND_TEXT: line_put_text(line, field->as_text, json); return;
    case LOG_KIND_INT: n = snprintf(digits, sizeof digits, "%lld", (long long)field->as_int); break;
    case LOG_KIND_UINT:
        n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)field->as_uint);
        break;
    case LOG_KIND_END: return;
    }
    line_put(line, slice_of(digits, (size_t)n));
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    bool json = atomic_load_explicit(&log_format_now, memory_order_relaxed) == LOG_FORMAT_JSON;
    struct line line;
    line.len = 0;
    uint64_t now_us = clock_wall_us();
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char stamp[48];
    size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    n += (size_t)snprintf(stamp + n, sizeof stamp - n, ".%03uZ", (unsigned)(now_us / 1000 % 1000));
    line_put(&line, json ? SLICE("{\"ts\":\"") : SLICE("ts="));
    line_put(&line, slice_of(stamp, n));
    line_put(&line, json ? SLICE("\",\"level\":\"") : SLICE(" level="));
    line_put(&line, slice_of_str(level_word[level]));
    line_put(&line, json ? SLICE("\",\"msg\":") : SLICE(" msg="));
    line_put_text(&line, slice_of_str(event), true);
    for (const struct log_field *field = fields; field->kind != LOG_KIND_END; field++) {
        line_put_field(&line, field, json);
    }
    if (json) { line.text[line.len++] = '}'; }
    line.text[line.len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line.text, line.len);
    (void)written; /* nobody is left to tell */
}

void log_write_limited(struct log_site *site, enum log_level level, const char *event,
                       const struct log_field *fields)
{
    uint64_t now_ns = clock_mono_ns();
    uint64_t start_ns = atomic_load(&site->window_start_ns);
    if (now_ns - start_ns >= NS_PER_S &&
        atomic_compare_exchange_strong(&site->window_start_ns, &start_ns, now_ns)) {
        atomic_store(&site->window_count, 0);
        uint64_t suppressed = atomic_exchange(&site->suppressed_count, 0);
        if (suppressed > 0) {
            log_write(level, event, LOG_FIELDS(LOG_UINT("suppressed", suppressed)));
        }
    }
    if (atomic_fetch_add(&site->window_count, 1) >= LOG_LIMITED_PER_S) {
        atomic_fetch_add(&site->suppressed_count, 1);
        return;
    }
    log_write(level, event, fields);
}

/* check.h's: a broken process says where, and ends. Here, so that what check.h serves need not know the log. */
void check_failed(const char *file, int line, const char *what)
{
    LOG_ERROR("check failed", LOG_STR("what", what), LOG_STR("file", file), LOG_INT("line", line));
    abort();
}
