/* rdb_in: bytes in Redis's RDB format, taken one after the other: numbers, lengths, strings.
 * Owns: nothing; the bytes are the caller's, in memory or mapped. Thread: whoever owns the struct.
 * Always: nothing behind `end` is read, and nothing is allocated that the bytes at hand could not fill (a compressed string
 * is at most RDB_LZF_RATIO times what it is compressed to). After the first fault every call gives false. */
#ifndef FANFARE_RDB_RDB_IN_H
#define FANFARE_RDB_RDB_IN_H

#include "base/buf.h"
#include "base/slice.h"

enum {
    RDB_TEXT_BYTES_MAX = 512 << 20, /* of one string, as in Redis */
    RDB_LZF_RATIO = 256,
    RDB_NUMBER_TEXT_MAX = 21,
};

struct rdb_in {
    const char *at;
    const char *end;
    const char *why; /* static text: the first fault; NULL: there was none */
};

static inline struct rdb_in rdb_in_of(struct slice bytes)
{
    return (struct rdb_in){.at = bytes.data, .end = bytes.data + bytes.len};
}

static inline size_t rdb_left(const struct rdb_in *in)
{
    return (size_t)(in->end - in->at);
}

/* Note a fault, unless there was one. Gives: false. */
static inline bool rdb_fail(struct rdb_in *in, const char *why)
{
    if (in->why == NULL) { in->why = why; }
    return false;
}

/* The next bytes, where they are. */
MUST_USE bool rdb_take(struct rdb_in *in, uint64_t bytes, struct slice *out);
MUST_USE bool rdb_take_u8(struct rdb_in *in, uint8_t *out);
/* Little-endian, as Redis writes all numbers but lengths and ids. */
MUST_USE bool rdb_take_u32(struct rdb_in *in, uint32_t *out);
MUST_USE bool rdb_take_u64(struct rdb_in *in, uint64_t *out);
MUST_USE bool rdb_take_double(struct rdb_in *in, double *out);

/* A length, or a number in the form of one. */
MUST_USE bool rdb_take_length(struct rdb_in *in, uint64_t *out);
/* A number of things that take at least so many bytes each: no more of them than there are bytes for. */
MUST_USE bool rdb_take_count(struct rdb_in *in, size_t bytes_each, uint64_t *out);

/* A string: where it is, or in `scratch` if it was compressed or written as a number. Good until the next call with this
 * scratch. */
MUST_USE bool rdb_take_text(struct rdb_in *in, struct buf *scratch, struct slice *out);
MUST_USE bool rdb_skip_text(struct rdb_in *in);

/* `v` in decimal; `out` has RDB_NUMBER_TEXT_MAX bytes. Gives: the length. */
size_t rdb_number_text(int64_t v, char *out);

#endif
