/* store_value: values of elements, and the chunks of long ones. */
#include "store/store_value.h"

#include "store/store_score.h"

enum { VALUE_LONG = 1, VALUE_NAMED = 2, VALUE_EXPIRES = 4, LONG_BYTES = 16 };

enum { NAME_KEPT = 466 }; /* with the hash: two bytes more than the longest whole name */

void key_name(const struct store_txn *txn, struct store_key_bytes *key, struct slice name)
{
    if (!name_is_long(name)) {
        key_append(key, name.data, name.len);
        return;
    }
    uint64_t hash[2];
    store_hash128(txn->store, name, hash);
    key_append(key, name.data, NAME_KEPT);
    key_u64(key, hash[0]);
    key_u64(key, hash[1]);
}

/* ---- chunks ---- */

static void chunk_key(struct store_key_bytes *key, uint64_t oid, uint64_t chunk)
{
    CHECK(chunk <= UINT32_MAX);
    key_begin(key, 'v');
    key_u64(key, oid);
    key_u32(key, (uint32_t)chunk);
}

/* One chunk's bytes from `at` in it on; what lies between its end and `at` becomes zeros. */
static void chunk_write(struct store_txn *txn, uint64_t oid, uint64_t chunk, size_t at,
                        struct slice bytes)
{
    struct store_key_bytes key;
    chunk_key(&key, oid, chunk);
    char page[STORE_CHUNK_BYTES] = {0};
    size_t len = at + bytes.len;
    struct slice old;
    if (len - at < STORE_CHUNK_BYTES && txn_get(txn, key_slice(&key), &old)) {
        memcpy(page, old.data, old.len);
        if (old.len > len) { len = old.len; }
    }
    memcpy(page + at, bytes.data, bytes.len);
    txn_put(txn, key_slice(&key), slice_of(page, len));
}

void chunks_write(struct store_txn *txn, uint64_t oid, uint64_t at, struct slice bytes)
{
    while (bytes.len > 0) {
        size_t inside = at % STORE_CHUNK_BYTES;
        size_t part = STORE_CHUNK_BYTES - inside;
        if (part > bytes.len) { part = bytes.len; }
        chunk_write(txn, oid, at / STORE_CHUNK_BYTES, inside, slice_of(bytes.data, part));
        bytes = slice_of(bytes.data + part, bytes.len - part);
        at += part;
    }
}

void chunks_read(struct store_txn *txn, uint64_t oid, uint64_t at, uint64_t len, struct buf *out)
{
    while (len > 0) {
        struct store_key_bytes key;
        chunk_key(&key, oid, at / STORE_CHUNK_BYTES);
        size_t inside = at % STORE_CHUNK_BYTES;
        uint64_t part = STORE_CHUNK_BYTES - inside;
        if (part > len) { part = len; }
        struct slice page;
        if (!txn_get(txn, key_slice(&key), &page) || page.len < inside + part) {
            txn_fail(txn, ERR_CORRUPT);
            return;
        }
        buf_append(out, slice_of(page.data + inside, part));
        at += part;
        len -= part;
    }
}

void chunks_truncate(struct store_txn *txn, uint64_t oid, uint64_t at)
{
    struct store_key_bytes key;
    chunk_key(&key, oid, at / STORE_CHUNK_BYTES);
    size_t inside = at % STORE_CHUNK_BYTES;
    struct slice page;
    if (inside > 0 && txn_get(txn, key_slice(&key), &page) && page.len > inside) {
        char kept[STORE_CHUNK_BYTES];
        memcpy(kept, page.data, inside);
        txn_put(txn, key_slice(&key), slice_of(kept, inside));
    }
    for (uint64_t chunk = (at + STORE_CHUNK_BYTES - 1) / STORE_CHUNK_BYTES;; chunk++) {
        chunk_key(&key, oid, chunk);
        if (!txn_delete(txn, key_slice(&key))) { return; }
    }
}

uint64_t chunks_remove(struct store_txn *txn, uint64_t oid, uint64_t count)
{
    struct store_key_bytes prefix;
    key_begin(&prefix, 'v');
    key_u64(&prefix, oid);
    struct store_cursor cursor;
    cursor_begin(&cursor, txn, key_slice(&prefix));
    uint64_t removed = 0;
    for (bool any = cursor_first(&cursor); any && removed < count; any = cursor_next(&cursor)) {
        cursor_delete(&cursor);
        removed++;
    }
    cursor_end(&cursor);
    return removed;
}

/* ---- values ---- */

void value_put(struct store_txn *txn, const struct store_key_bytes *key, struct slice name,
               struct slice bytes)
{
    value_put_until(txn, key, name, bytes, 0);
}

void value_put_until(struct store_txn *txn, const struct store_key_bytes *key, struct slice name,
                     struct slice bytes, uint64_t expire_ms)
{
    bool is_long = bytes.len > STORE_INLINE_MAX;
    bool is_named = name_is_long(name);
    struct buf *value = &txn->scratch;
    value->len = 0;
    char flags = (char)((is_long ? VALUE_LONG : 0) | (is_named ? VALUE_NAMED : 0) |
                        (expire_ms != 0 ? VALUE_EXPIRES : 0));
    buf_append(value, slice_of(&flags, 1));
    if (expire_ms != 0) {
        uint64_t at = htobe64(expire_ms);
        buf_append(value, slice_of(&at, sizeof at));
    }
    if (is_named) {
        uint32_t len = htobe32((uint32_t)name.len);
        buf_append(value, slice_of(&len, sizeof len));
        buf_append(value, name);
    }
    if (is_long) {
        uint64_t where[2] = {htobe64(txn->next_oid), htobe64(bytes.len)};
        chunks_write(txn, txn->next_oid++, 0, bytes);
        buf_append(value, slice_of(where, sizeof where));
    } else {
        buf_append(value, bytes);
    }
    txn_put(txn, key_slice(key), buf_slice(value));
}

void name_put(struct store_txn *txn, const struct store_key_bytes *key, struct slice name)
{
    if (name_is_long(name)) {
        value_put(txn, key, name, SLICE(""));
    } else {
        txn_put(txn, key_slice(key), SLICE(""));
    }
}

/* Where what follows the flags and the deadline begins. */
static size_t value_head(struct slice value)
{
    return value.len > 0 && (value.data[0] & VALUE_EXPIRES) != 0 ? 9 : 1;
}

/* What follows the flags, the deadline and the name. */
static struct slice value_rest(struct store_txn *txn, struct slice value)
{
    size_t at = value_head(value);
    if (value.len >= at + 4 && (value.data[0] & VALUE_NAMED) != 0) {
        at += 4 + read_u32(value.data + at);
    }
    if (value.len < at) {
        txn_fail(txn, ERR_CORRUPT);
        return SLICE("");
    }
    return slice_of(value.data + at, value.len - at);
}

static bool value_is_long(struct slice value)
{
    return value.len > 0 && (value.data[0] & VALUE_LONG) != 0;
}

uint64_t value_chunks(struct store_txn *txn, struct slice value)
{
    if (!value_is_long(value)) { return 0; }
    struct slice rest = value_rest(txn, value);
    return rest.len == LONG_BYTES ? read_u64(rest.data) : 0;
}

void value_set_chunks(struct buf *value, uint64_t oid)
{
    CHECK(value_is_long(buf_slice(value)) && value->len >= LONG_BYTES);
    oid = htobe64(oid);
    memcpy(value->data + value->len - LONG_BYTES, &oid, sizeof oid);
}

struct slice value_name(struct store_txn *txn, struct slice key_end, struct slice value)
{
    if (!name_is_long(key_end)) { return key_end; }
    size_t at = value_head(value);
    if (value.len < at + 4 || value.len - at - 4 < read_u32(value.data + at)) {
        txn_fail(txn, ERR_CORRUPT);
        return SLICE("");
    }
    return slice_of(value.data + at + 4, read_u32(value.data + at));
}

uint64_t value_expiry(struct store_txn *txn, struct slice value)
{
    if (value_head(value) == 1) { return 0; }
    if (value.len >= 9) { return read_u64(value.data + 1); }
    txn_fail(txn, ERR_CORRUPT);
    return 0;
}

bool value_is_past(struct store_txn *txn, struct slice value)
{
    uint64_t expire_ms = value_expiry(txn, value);
    if (expire_ms == 0 || txn->now_ms <= expire_ms) { return false; }
    if (txn->clock_ms <= expire_ms) { txn->hid = true; }
    return true;
}

void value_set_expiry(struct store_txn *txn, struct buf *value, uint64_t expire_ms)
{
    bool had = value_expiry(txn, buf_slice(value)) != 0;
    uint64_t at = htobe64(expire_ms);
    if (had && expire_ms == 0) {
        value->data[0] &= ~VALUE_EXPIRES;
        memmove(value->data + 1, value->data + 9, value->len - 9);
        value->len -= sizeof at;
    } else if (expire_ms != 0) {
        if (!had) {
            (void)buf_reserve(value, sizeof at);
            memmove(value->data + 9, value->data + 1, value->len - 1);
            value->len += sizeof at;
            value->data[0] |= VALUE_EXPIRES;
        }
        memcpy(value->data + 1, &at, sizeof at);
    }
}

void value_read(struct store_txn *txn, struct slice value, struct buf *out)
{
    struct slice rest = value_rest(txn, value);
    if (!value_is_long(value)) {
        buf_append(out, rest);
    } else if (rest.len == LONG_BYTES) {
        chunks_read(txn, read_u64(rest.data), 0, read_u64(rest.data + 8), out);
    } else {
        txn_fail(txn, ERR_CORRUPT);
    }
}

struct slice value_bytes(struct store_txn *txn, struct slice value, struct buf *scratch)
{
    if (!value_is_long(value)) { return value_rest(txn, value); }
    scratch->len = 0;
    value_read(txn, value, scratch);
    return buf_slice(scratch);
}

double value_score(struct store_txn *txn, struct slice value)
{
    struct slice rest = value_rest(txn, value);
    if (rest.len == STORE_SCORE_BYTES) { return score_decode(read_u64(rest.data)); }
    txn_fail(txn, ERR_CORRUPT);
    return 0;
}

uint64_t value_len(struct store_txn *txn, struct slice value)
{
    struct slice rest = value_rest(txn, value);
    return value_is_long(value) && rest.len == LONG_BYTES ? read_u64(rest.data + 8) : rest.len;
}
