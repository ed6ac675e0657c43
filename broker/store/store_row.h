/* store_row: a row of the store as its files see it: a key under construction, a cursor. Not for other modules, but for what
 * store_walk.h embeds. */
#ifndef FANFARE_STORE_STORE_ROW_H
#define FANFARE_STORE_STORE_ROW_H

#include <endian.h>

#include "store/store.h"

enum { STORE_KEY_MAX = 511 }; /* LMDB's */

struct MDB_cursor;

/* ---- keys under construction ---- */

struct store_key_bytes {
    size_t len;
    unsigned char bytes[STORE_KEY_MAX];
};

static inline void key_begin(struct store_key_bytes *key, char tag)
{
    key->bytes[0] = (unsigned char)tag;
    key->len = 1;
}

static inline void key_append(struct store_key_bytes *key, const void *bytes, size_t len)
{
    CHECK(key->len + len <= STORE_KEY_MAX);
    if (len > 0) { memcpy(key->bytes + key->len, bytes, len); }
    key->len += len;
}

static inline void key_u8(struct store_key_bytes *key, uint8_t v)
{
    key_append(key, &v, sizeof v);
}

static inline void key_u16(struct store_key_bytes *key, uint16_t v)
{
    v = htobe16(v);
    key_append(key, &v, sizeof v);
}

static inline void key_u32(struct store_key_bytes *key, uint32_t v)
{
    v = htobe32(v);
    key_append(key, &v, sizeof v);
}

static inline void key_u64(struct store_key_bytes *key, uint64_t v)
{
    v = htobe64(v);
    key_append(key, &v, sizeof v);
}

static inline struct slice key_slice(const struct store_key_bytes *key)
{
    return slice_of(key->bytes, key->len);
}

static inline uint64_t read_u64(const void *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return be64toh(v);
}

static inline uint32_t read_u32(const void *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return be32toh(v);
}

static inline uint16_t read_u16(const void *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return be16toh(v);
}

/* A walk over the keys that start with `prefix`, which the caller keeps alive. key and value are LMDB's until the
 * transaction's next write that is not through this cursor. */
struct store_cursor {
    struct store_txn *txn;
    struct MDB_cursor *mdb;
    struct slice prefix;
    struct slice key;
    struct slice value;
};

static inline struct slice cursor_suffix(const struct store_cursor *cursor)
{
    return slice_of(cursor->key.data + cursor->prefix.len, cursor->key.len - cursor->prefix.len);
}

#endif
