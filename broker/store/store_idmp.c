/* store_idmp: producers' ids. */
#include "store/store_idmp.h"

#include "store/store_int.h"
#include "store/store_unlink.h"

enum { HASH_BYTES = 16, ENTRY_BYTES = 8 + 8 + 16, BY_TIME = 0, BY_PRODUCER = 1 };

/* A producer, or its id. */
struct hashed {
    char bytes[HASH_BYTES];
};

static struct hashed hash_of(const struct store_txn *txn, struct slice name)
{
    uint64_t words[2];
    struct hashed out;
    store_hash128(txn->store, name, words);
    words[0] = htobe64(words[0]);
    words[1] = htobe64(words[1]);
    memcpy(out.bytes, words, sizeof words);
    return out;
}

static void key_hash(struct store_key_bytes *key, const struct hashed *hash)
{
    key_append(key, hash->bytes, sizeof hash->bytes);
}

/* ---- rows ---- */

static void producer_key(const struct store_object *stream, const struct hashed *pid,
                         struct store_key_bytes *key)
{
    key_begin(key, 'i');
    key_u64(key, stream->stream.idmp.content);
    key_hash(key, pid);
}

static void entry_key(const struct store_object *stream, const struct hashed *pid,
                      const struct hashed *iid, struct store_key_bytes *key)
{
    producer_key(stream, pid, key);
    key_hash(key, iid);
}

static void order_begin(const struct store_object *stream, uint8_t by, struct store_key_bytes *key)
{
    key_begin(key, 'w');
    key_u64(key, stream->stream.idmp.content);
    key_u8(key, by);
}

static void time_key(const struct store_object *stream, uint64_t at_ms, uint64_t n,
                     struct store_key_bytes *key)
{
    order_begin(stream, BY_TIME, key);
    key_u64(key, at_ms);
    key_u64(key, n);
}

static void turn_key(const struct store_object *stream, const struct hashed *pid, uint64_t n,
                     struct store_key_bytes *key)
{
    order_begin(stream, BY_PRODUCER, key);
    key_hash(key, pid);
    key_u64(key, n);
}

static uint64_t count_of(struct store_txn *txn, const struct store_object *stream,
                         const struct hashed *pid)
{
    struct store_key_bytes key;
    struct slice value;
    producer_key(stream, pid, &key);
    return txn_get(txn, key_slice(&key), &value) && value.len == 8 ? read_u64(value.data) : 0;
}

/* 0: the producer is forgotten. */
static void count_set(struct store_txn *txn, const struct store_object *stream,
                      const struct hashed *pid, uint64_t count)
{
    struct store_key_bytes key;
    struct store_key_bytes value = {0};
    producer_key(stream, pid, &key);
    key_u64(&value, count);
    if (count > 0) {
        txn_put(txn, key_slice(&key), key_slice(&value));
    } else {
        (void)txn_delete(txn, key_slice(&key));
    }
}

struct entry {
    uint64_t at_ms;
    uint64_t n;
    struct store_id id;
};

static bool entry_get(struct store_txn *txn, const struct store_object *stream,
                      const struct hashed *pid, const struct hashed *iid, struct entry *out)
{
    struct store_key_bytes key;
    struct slice value;
    entry_key(stream, pid, iid, &key);
    if (!txn_get(txn, key_slice(&key), &value)) { return false; }
    if (value.len != ENTRY_BYTES) {
        txn_fail(txn, ERR_CORRUPT);
        return false;
    }
    *out = (struct entry){read_u64(value.data),
                          read_u64(value.data + 8),
                          {read_u64(value.data + 16), read_u64(value.data + 24)}};
    return true;
}

/* ---- forgetting ---- */

static void forget(struct store_txn *txn, struct store_object *stream, const struct hashed *pid,
                   const struct hashed *iid)
{
    struct entry entry;
    struct store_key_bytes key;
    if (!entry_get(txn, stream, pid, iid, &entry)) {
        txn_fail(txn, ERR_CORRUPT);
        return;
    }
    entry_key(stream, pid, iid, &key);
    (void)txn_delete(txn, key_slice(&key));
    time_key(stream, entry.at_ms, entry.n, &key);
    (void)txn_delete(txn, key_slice(&key));
    turn_key(stream, pid, entry.n, &key);
    (void)txn_delete(txn, key_slice(&key));
    uint64_t count = count_of(txn, stream, pid) - 1;
    count_set(txn, stream, pid, count);
    stream->stream.idmp.iids--;
    stream->stream.idmp.pids -= count == 0;
}

static bool is_past(const struct store_txn *txn, const struct store_object *stream, uint64_t at_ms)
{
    return at_ms + stream->stream.idmp.duration_s * 1000ULL < txn->now_ms;
}

/* The oldest of all, if it is too old. */
static bool oldest_past(struct store_txn *txn, const struct store_object *stream,
                        struct hashed *pid, struct hashed *iid)
{
    struct store_key_bytes prefix;
    struct store_cursor cursor;
    order_begin(stream, BY_TIME, &prefix);
    cursor_begin(&cursor, txn, key_slice(&prefix));
    bool is_due = cursor_first(&cursor) && cursor.value.len == 2 * HASH_BYTES &&
                  is_past(txn, stream, read_u64(cursor_suffix(&cursor).data));
    if (is_due) {
        memcpy(pid->bytes, cursor.value.data, HASH_BYTES);
        memcpy(iid->bytes, cursor.value.data + HASH_BYTES, HASH_BYTES);
    }
    cursor_end(&cursor);
    return is_due;
}

/* The oldest of a producer. */
static bool oldest_of(struct store_txn *txn, const struct store_object *stream,
                      const struct hashed *pid, struct hashed *iid)
{
    struct store_key_bytes prefix;
    struct store_cursor cursor;
    order_begin(stream, BY_PRODUCER, &prefix);
    key_hash(&prefix, pid);
    cursor_begin(&cursor, txn, key_slice(&prefix));
    bool any = cursor_first(&cursor) && cursor.value.len == HASH_BYTES;
    if (any) { memcpy(iid->bytes, cursor.value.data, HASH_BYTES); }
    cursor_end(&cursor);
    return any;
}

static void make_room(struct store_txn *txn, struct store_object *stream, const struct hashed *pid)
{
    struct hashed other;
    struct hashed iid;
    for (int i = 0; i < STORE_IDMP_EVICTED && oldest_past(txn, stream, &other, &iid); i++) {
        forget(txn, stream, &other, &iid);
    }
    while (count_of(txn, stream, pid) >= stream->stream.idmp.maxsize &&
           oldest_of(txn, stream, pid, &iid) && txn->err == ERR_OK) {
        forget(txn, stream, pid, &iid);
    }
}

/* ---- the calls ---- */

bool store_idmp_find(struct store_txn *txn, const struct store_object *stream, struct slice pid,
                     struct slice iid, struct store_id *out)
{
    if (stream->stream.idmp.iids == 0) { return false; }
    struct hashed producer = hash_of(txn, pid);
    struct hashed own = hash_of(txn, iid);
    struct entry entry;
    if (!entry_get(txn, stream, &producer, &own, &entry)) { return false; }
    *out = entry.id;
    return !is_past(txn, stream, entry.at_ms);
}

void store_idmp_add(struct store_txn *txn, struct store_object *stream, struct slice pid,
                    struct slice iid, struct store_id id)
{
    struct store_idmp *idmp = &stream->stream.idmp;
    struct hashed producer = hash_of(txn, pid);
    struct hashed own = hash_of(txn, iid);
    if (idmp->duration_s == 0) {
        idmp->duration_s = STORE_IDMP_DURATION_S;
        idmp->maxsize = STORE_IDMP_MAXSIZE;
    }
    if (idmp->content == 0) { idmp->content = txn->next_oid++; }
    struct entry old; /* too old to be found, and not removed yet */
    if (entry_get(txn, stream, &producer, &own, &old)) { forget(txn, stream, &producer, &own); }
    make_room(txn, stream, &producer);
    uint64_t n = ++idmp->added;
    struct store_key_bytes key;
    struct store_key_bytes value = {0};
    key_u64(&value, txn->now_ms);
    key_u64(&value, n);
    key_u64(&value, id.ms);
    key_u64(&value, id.seq);
    entry_key(stream, &producer, &own, &key);
    txn_put(txn, key_slice(&key), key_slice(&value));
    value.len = 0;
    key_hash(&value, &producer);
    key_hash(&value, &own);
    time_key(stream, txn->now_ms, n, &key);
    txn_put(txn, key_slice(&key), key_slice(&value));
    turn_key(stream, &producer, n, &key);
    txn_put(txn, key_slice(&key), slice_of(own.bytes, sizeof own.bytes));
    uint64_t count = count_of(txn, stream, &producer);
    count_set(txn, stream, &producer, count + 1);
    idmp->iids++;
    idmp->pids += count == 0;
}

void store_idmp_clear(struct store_txn *txn, struct store_object *stream)
{
    unlink_idmp(txn, stream);
    stream->stream.idmp.content = 0;
    stream->stream.idmp.iids = 0;
    stream->stream.idmp.pids = 0;
}
