/* store_hash: hashes. */
#include "store/store_hash.h"

#include "store/store_int.h"
#include "store/store_named.h"
#include "store/store_value.h"

static bool field_find(struct store_txn *txn, const struct store_object *hash, struct slice field,
                       struct store_key_bytes *key, struct slice *value)
{
    named_key(txn, 'h', hash->content, field, key);
    return txn_get(txn, key_slice(key), value);
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
    struct store_key_bytes key;
    struct slice value;
    bool is_new = !field_find(txn, hash, field, &key, &value);
    uint64_t chunks = is_new ? 0 : value_chunks(txn, value);
    if (chunks != 0) { (void)chunks_remove(txn, chunks, UINT64_MAX); }
    value_put(txn, &key, field, bytes);
    if (is_new) { hash->count++; }
    return is_new;
}

bool store_hash_delete(struct store_txn *txn, struct store_object *hash, struct slice field)
{
    struct store_key_bytes key;
    struct slice value;
    if (!field_find(txn, hash, field, &key, &value)) { return false; }
    uint64_t chunks = value_chunks(txn, value);
    if (chunks != 0) { (void)chunks_remove(txn, chunks, UINT64_MAX); }
    (void)txn_delete(txn, key_slice(&key));
    hash->count--;
    return true;
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
