/* log: one event, one line, one write() to stderr; logfmt or JSON.
 *     LOG_INFO("client closed", LOG_STR("reason", "backlog"), LOG_UINT("id", id));
 * prints  ts=2026-01-02T03:04:05.678Z level=info msg="client closed" reason=backlog id=7
 * Thread: any. The level and the format are process-wide, one of the two mutable globals that the
 * broker has. */
#ifndef FANFARE_BASE_LOG_H
#define FANFARE_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* error: an operator must act. warn: we coped. info: state changed, a few a minute. debug: off in
 * production. */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum log_kind { LOG_KIND_END, LOG_KIND_INT, LOG_KIND_UINT, LOG_KIND_TEXT };

struct log_field {
    const char *key;
    enum log_kind kind;
    union {
        int64_t as_int;
        uint64_t as_uint;
        struct slice as_text;
    };
};

#define LOG_INT(name, value)                                   \
    {                                                          \
        .key = (name), .kind = LOG_KIND_INT, .as_int = (value) \
    }
#define LOG_UINT(name, value)                                    \
    {                                                            \
        .key = (name), .kind = LOG_KIND_UINT, .as_uint = (value) \
    }
#define LOG_STR(name, value)                                                 \
    {                                                                        \
        .key = (name), .kind = LOG_KIND_TEXT, .as_text = slice_of_str(value) \
    }
#define LOG_SLICE(name, value)                                   \
    {                                                            \
        .key = (name), .kind = LOG_KIND_TEXT, .as_text = (value) \
    }

/* A call site's budget, for lines that a client can cause: at most LOG_LIMITED_PER_S a second, the
 * rest counted and told with the next line. */
enum { LOG_LIMITED_PER_S = 5 };
struct log_site {
    atomic_uint_fast64_t window_start_ns;
    atomic_uint_fast64_t window_count;
    atomic_uint_fast64_t suppressed_count;
};

void log_configure(enum log_level level, enum log_format format);
bool log_is_on(enum log_level level);

/* Borrows everything for the call. Values longer than 1 KiB are cut; bytes that are not printable
 * are escaped. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);
void log_write_limited(struct log_site *site, enum log_level level, const char *event,
                       const struct log_field *fields);

#define LOG_FIELDS(...) \
    ((const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.kind = LOG_KIND_END}})
#define LOG_AT(level, event, ...) \
    (log_is_on(level) ? log_write(level, event, LOG_FIELDS(__VA_ARGS__)) : (void)0)
#define LOG_ERROR(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define LOG_WARN(event, ...) LOG_AT(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define LOG_INFO(event, ...) LOG_AT(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define LOG_DEBUG(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define LOG_LIMITED(level, event, ...)                                                \
    do {                                                                              \
        static struct log_site log_site_here;                                         \
        if (log_is_on(level)) {                                                       \
            log_write_limited(&log_site_here, level, event, LOG_FIELDS(__VA_ARGS__)); \
        }                                                                             \
    } while (0)

#endif
