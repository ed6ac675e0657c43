/* rdb_in: bytes in RDB format, taken one after the other. */
#include "rdb/rdb_in.h"

#include <endian.h>
#include <lzf.h>

/* The first byte of a length: its upper two bits say how it goes on. */
enum { LENGTH_6 = 0, LENGTH_14 = 1, LENGTH_WIDE = 2, LENGTH_ENCODED = 3 };
enum { WIDE_32 = 0x80, WIDE_64 = 0x81 };
/* Strings that are none: the lower six bits. */
enum { TEXT_INT8 = 0, TEXT_INT16 = 1, TEXT_INT32 = 2, TEXT_LZF = 3 };

static const char ends_early[] = "the bytes end in the middle of something";

bool rdb_take(struct rdb_in *in, uint64_t bytes, struct slice *out)
{
    if (in->why != NULL || bytes > rdb_left(in)) { return rdb_fail(in, ends_early); }
    *out = slice_of(in->at, bytes);
    in->at += bytes;
    return true;
}

bool rdb_take_u8(struct rdb_in *in, uint8_t *out)
{
    struct slice bytes;
    if (!rdb_take(in, sizeof *out, &bytes)) { return false; }
    *out = (uint8_t)*bytes.data;
    return true;
}

bool rdb_take_u32(struct rdb_in *in, uint32_t *out)
{
    struct slice bytes;
    if (!rdb_take(in, sizeof *out, &bytes)) { return false; }
    memcpy(out, bytes.data, sizeof *out);
    *out = le32toh(*out);
    return true;
}

bool rdb_take_u64(struct rdb_in *in, uint64_t *out)
{
    struct slice bytes;
    if (!rdb_take(in, sizeof *out, &bytes)) { return false; }
    memcpy(out, bytes.data, sizeof *out);
    *out = le64toh(*out);
    return true;
}

bool rdb_take_double(struct rdb_in *in, double *out)
{
    uint64_t bits;
    if (!rdb_take_u64(in, &bits)) { return false; }
    memcpy(out, &bits, sizeof *out);
    return true;
}

/* A length (*is_encoded false), or the form of a string that has none. */
static bool take_head(struct rdb_in *in, uint64_t *out, bool *is_encoded)
{
    uint8_t first;
    struct slice rest;
    if (!rdb_take_u8(in, &first)) { return false; }
    unsigned low = first & 0x3f;
    *is_encoded = first >> 6 == LENGTH_ENCODED;
    if (first >> 6 == LENGTH_6 || *is_encoded) {
        *out = low;
        return true;
    }
    if (first >> 6 == LENGTH_14) {
        uint8_t second;
        if (!rdb_take_u8(in, &second)) { return false; }
        *out = low << 8 | second;
        return true;
    }
    if (first != WIDE_32 && first != WIDE_64) {
        return rdb_fail(in, "a length of an unknown form");
    }
    if (!rdb_take(in, first == WIDE_32 ? 4 : 8, &rest)) { return false; }
    *out = 0;
    for (size_t i = 0; i < rest.len; i++) {
        *out = *out << 8 | (uint8_t)rest.data[i];
    }
    return true;
}

bool rdb_take_length(struct rdb_in *in, uint64_t *out)
{
    bool is_encoded;
    if (!take_head(in, out, &is_encoded)) { return false; }
    return !is_encoded || rdb_fail(in, "a string where a length belongs");
}

bool rdb_take_count(struct rdb_in *in, size_t bytes_each, uint64_t *out)
{
    if (!rdb_take_length(in, out)) { return false; }
    return *out <= rdb_left(in) / bytes_each || rdb_fail(in, "more elements than bytes");
}

size_t rdb_number_text(int64_t v, char *out)
{
    bool is_below = v < 0;
    if (is_below) { *out = '-'; }
    return is_below + uint64_to_text(is_below ? 0 - (uint64_t)v : (uint64_t)v, out + is_below);
}

static bool take_number(struct rdb_in *in, uint64_t form, struct buf *scratch, struct slice *out)
{
    struct slice bytes;
    if (!rdb_take(in, (uint64_t)1 << form, &bytes)) { return false; }
    uint32_t bits = 0;
    for (size_t i = bytes.len; i > 0; i--) {
        bits = bits << 8 | (uint8_t)bytes.data[i - 1];
    }
    int64_t v = form == TEXT_INT8    ? (int64_t)(int8_t)bits
                : form == TEXT_INT16 ? (int64_t)(int16_t)bits
                                     : (int64_t)(int32_t)bits;
    scratch->len = 0;
    char *to = buf_reserve(scratch, RDB_NUMBER_TEXT_MAX);
    scratch->len = rdb_number_text(v, to);
    *out = buf_slice(scratch);
    return true;
}

/* `scratch` NULL: it is skipped. */
static bool take_compressed(struct rdb_in *in, struct buf *scratch, struct slice *out)
{
    uint64_t packed_bytes;
    uint64_t bytes;
    struct slice packed;
    if (!rdb_take_length(in, &packed_bytes) || !rdb_take_length(in, &bytes) ||
        !rdb_take(in, packed_bytes, &packed)) {
        return false;
    }
    if (bytes > RDB_TEXT_BYTES_MAX || bytes / RDB_LZF_RATIO > packed_bytes || bytes == 0) {
        return rdb_fail(in, "a compressed string of an impossible length");
    }
    if (scratch == NULL) { return true; }
    scratch->len = 0;
    char *to = buf_reserve(scratch, bytes);
    if (lzf_decompress(packed.data, (unsigned)packed.len, to, (unsigned)bytes) != bytes) {
        return rdb_fail(in, "a compressed string is damaged");
    }
    scratch->len = bytes;
    *out = buf_slice(scratch);
    return true;
}

bool rdb_take_text(struct rdb_in *in, struct buf *scratch, struct slice *out)
{
    uint64_t length;
    bool is_encoded;
    if (!take_head(in, &length, &is_encoded)) { return false; }
    if (is_encoded && length == TEXT_LZF) { return take_compressed(in, scratch, out); }
    if (is_encoded && length <= TEXT_INT32) { return take_number(in, length, scratch, out); }
    if (is_encoded) { return rdb_fail(in, "a string of an unknown form"); }
    if (length > RDB_TEXT_BYTES_MAX) { return rdb_fail(in, "a string above 512 MiB"); }
    return rdb_take(in, length, out);
}

bool rdb_skip_text(struct rdb_in *in)
{
    uint64_t length;
    bool is_encoded;
    struct slice skipped;
    if (!take_head(in, &length, &is_encoded)) { return false; }
    if (is_encoded && length == TEXT_LZF) { return take_compressed(in, NULL, NULL); }
    if (is_encoded && length > TEXT_LZF) { return rdb_fail(in, "a string of an unknown form"); }
    return rdb_take(in, is_encoded ? (uint64_t)1 << length : length, &skipped);
}
