/* slice: a borrowed pointer and a length; bytes, never NUL-terminated text. Thread: any. */
#ifndef FANFARE_BASE_SLICE_H
#define FANFARE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"

struct slice {
    const char *data;
    size_t len;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})

/* For printf("%.*s"): only for text known to be short. */
#define SLICE_ARG(slice) (int)(slice).len, (slice).data

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){data, len};
}

static inline struct slice slice_of_str(const char *str)
{
    return (struct slice){str, strlen(str)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII case is ignored; for command names, options and keywords, which hold no NUL. */
static inline bool slice_equal_nocase(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

/* memcmp order, a prefix first. */
int slice_compare(struct slice a, struct slice b);

/* Seeded once per process from the kernel's randomness, so that clients cannot aim at one bucket.
 */
uint64_t slice_hash(struct slice s);

/* The whole slice as a signed decimal integer in Redis's strict form: no spaces, no plus sign, no
 * leading zeros. False, and *out untouched, if it is not one or does not fit. */
MUST_USE bool slice_to_int64(struct slice s, int64_t *out);

/* Write v in decimal; `out` has room for 20 bytes. Returns the number written; no NUL. */
size_t uint64_to_text(uint64_t v, char *out);

#endif
