/* store_hash: hashes. */
#include "store/store_hash.h"

#include "store/store_fields.h"
#include "store/store_int.h"
#include "store/store_named.h"
#include "store/store_value.h"

/* ---- deadlines ----
 *
 * Each has a row of its own in their order, and the hash's head says where the first of them may be. */

static void expiry_key(const struct store_txn *txn, const struct store_object *hash,
                       uint64_t expire_ms, struct slice field, struct store_key_bytes *key)
{
    key_begin(key, 'e');
    key_u64(key, hash->content);
    key_u64(key, expire_ms);
    key_name(txn, key, field);
}

static void expiry_move(struct store_txn *txn, struct store_object *hash, struct slice field,
                        uint64_t from_ms, uint64_t to_ms)
{
    struct store_key_bytes key;
    if (from_ms == to_ms) { return; }
    if (from_ms != 0) {
        expiry_key(txn, hash, from_ms, field, &key);
        (void)txn_delete(txn, key_slice(&key));
    }
    if (to_ms == 0) { return; }
    expiry_key(txn, hash, to_ms, field, &key);
    name_put(txn, &key, field);
    if (hash->fields.next_ms == 0 || to_ms < hash->fields.next_ms) { hash->fields.next_ms = to_ms; }
}

/* The first deadline. False: there is none. */
static bool expiry_first(struct store_cursor *cursor, uint64_t *at_ms)
{
    bool any = cursor_first(cursor);
    if (any) { *at_ms = read_u64(cursor_suffix(cursor).data); }
    return any;
}

static void expiries_begin(struct store_cursor *cursor, struct store_txn *txn,
                           const struct store_object *hash, struct store_key_bytes *prefix)
{
    key_begin(prefix, 'e');
    key_u64(prefix, hash->content);
    cursor_begin(cursor, txn, key_slice(prefix));
}

uint64_t hash_count_past(struct store_txn *txn, const struct store_object *hash)
{
    struct store_key_bytes prefix;
    struct store_cursor cursor;
    uint64_t at_ms;
    uint64_t past = 0;
    expiries_begin(&cursor, txn, hash, &prefix);
    bool any = expiry_first(&cursor, &at_ms);
    while (any && at_ms < txn->now_ms) {
        if (txn->clock_ms <= at_ms) { txn->hid = true; }
        past++;
        any = cursor_next(&cursor);
        if (any) { at_ms = read_u64(cursor_suffix(&cursor).data); }
    }
    cursor_end(&cursor);
    return past;
}

/* ---- fields ---- */

/* The field's row, whether it is past its deadline or not. */
static bool row_find(struct store_txn *txn, const struct store_object *hash, struct slice field,
                     struct store_key_bytes *key, struct slice *value)
{
    named_key(txn, 'h', hash->content, field, key);
    return txn_get(txn, key_slice(key), value);
}

static bool field_find(struct store_txn *txn, const struct store_object *hash, struct slice field,
                       struct store_key_bytes *key, struct slice *value)
{
    return row_find(txn, hash, field, key, value) && !value_is_past(txn, *value);
}

bool store_hash_get(struct store_txn *txn, const struct store_object *hash, struct slice field,
                    struct buf *out)
{
    struct store_key_bytes key;
    struct slice value;
    if (!field_find(txn, hash, field, &key, &value)) { return false; }
    value_read(txn, value, out);
    return true;
}

bool store_hash_has(struct store_txn *txn, const struct store_object *hash, struct slice field,
                    uint64_t *len)
{
    struct store_key_bytes key;
    struct slice value;
    if (!field_find(txn, hash, field, &key, &value)) { return false; }
    if (len != NULL) { *len = value_len(txn, value); }
    return true;
}

bool store_hash_put(struct store_txn *txn, struct store_object *hash, struct slice field,
                    struct slice bytes)
{
    return store_hash_put_until(txn, hash, field, bytes, 0);
}

bool store_hash_put_until(struct store_txn *txn, struct store_object *hash, struct slice field,
                          struct slice bytes, uint64_t expire_ms)
{
    struct store_key_bytes key;
    struct slice value;
    bool has_row = row_find(txn, hash, field, &key, &value);
    bool was_past = has_row && value_is_past(txn, value);
    uint64_t old_ms = has_row ? value_expiry(txn, value) : 0;
    uint64_t chunks = has_row ? value_chunks(txn, value) : 0;
    if (chunks != 0) { (void)chunks_remove(txn, chunks, UINT64_MAX); }
    value_put_until(txn, &key, field, bytes, expire_ms);
    expiry_move(txn, hash, field, old_ms, expire_ms);
    if (!has_row || was_past) { hash->count++; }
    if (was_past) { hash->fields.hidden--; }
    return !has_row || was_past;
}

/* The row goes, and what hangs on it. */
static void row_delete(struct store_txn *txn, struct store_object *hash, struct slice field,
                       const struct store_key_bytes *key, struct slice value)
{
    uint64_t chunks = value_chunks(txn, value);
    uint64_t expire_ms = value_expiry(txn, value);
    if (chunks != 0) { (void)chunks_remove(txn, chunks, UINT64_MAX); }
    (void)txn_delete(txn, key_slice(key));
    expiry_move(txn, hash, field, expire_ms, 0);
    hash->count--;
}

bool store_hash_delete(struct store_txn *txn, struct store_object *hash, struct slice field)
{
    struct store_key_bytes key;
    struct slice value;
    if (!field_find(txn, hash, field, &key, &value)) { return false; }
    row_delete(txn, hash, field, &key, value);
    return true;
}

bool store_hash_expiry(struct store_txn *txn, const struct store_object *hash, struct slice field,
                       uint64_t *expire_ms)
{
    struct store_key_bytes key;
    struct slice value;
    if (!field_find(txn, hash, field, &key, &value)) { return false; }
    *expire_ms = value_expiry(txn, value);
    return true;
}

bool store_hash_set_expiry(struct store_txn *txn, struct store_object *hash, struct slice field,
                           uint64_t expire_ms)
{
    struct store_key_bytes key;
    struct slice value;
    if (!field_find(txn, hash, field, &key, &value)) { return false; }
    uint64_t old_ms = value_expiry(txn, value);
    if (old_ms == expire_ms) { return true; }
    struct buf changed = {0};
    buf_append(&changed, value);
    value_set_expiry(txn, &changed, expire_ms);
    txn_put(txn, key_slice(&key), buf_slice(&changed));
    buf_fini(&changed);
    expiry_move(txn, hash, field, old_ms, expire_ms);
    return true;
}

uint64_t hash_remove_past(struct store_txn *txn, struct store_object *hash, uint64_t count)
{
    uint64_t removed = 0;
    uint64_t at_ms = 0;
    struct buf field = {0};
    for (;;) {
        struct store_key_bytes prefix;
        struct store_cursor cursor;
        expiries_begin(&cursor, txn, hash, &prefix);
        bool any = expiry_first(&cursor, &at_ms);
        bool is_due = any && at_ms < txn->now_ms && removed < count;
        if (is_due) {
            struct slice end = cursor_suffix(&cursor);
            field.len = 0;
            buf_append(&field, value_name(txn, slice_of(end.data + 8, end.len - 8), cursor.value));
        }
        cursor_end(&cursor);
        hash->fields.next_ms = any ? at_ms : 0;
        if (!is_due) { break; }
        struct store_key_bytes key;
        struct slice value;
        if (!row_find(txn, hash, buf_slice(&field), &key, &value)) {
            txn_fail(txn, ERR_CORRUPT);
            break;
        }
        row_delete(txn, hash, buf_slice(&field), &key, value);
        removed++;
    }
    buf_fini(&field);
    return removed;
}

bool store_hash_walk(struct store_walk *walk, struct store_txn *txn,
                     const struct store_object *hash, uint32_t from)
{
    return named_walk(walk, txn, 'h', hash->content, from);
}

uint64_t store_hash_scan(struct store_txn *txn, const struct store_object *hash, uint64_t cursor,
                         uint64_t count, void (*visit)(void *arg, struct store_walk *walk),
                         void *arg)
{
    struct store_walk walk;
    walk_begin(&walk, txn, 'h', hash->content, STORE_UP);
    uint64_t next = named_scan(&walk, cursor, count, visit, arg);
    store_walk_end(&walk);
    return next;
}
