/* store_script: see the header. */
#include "store/store_script.h"

#include "store/store_int.h"
#include "store/store_key.h"

enum { SCRIPT_LOADED = 1, HEAD_BYTES = 1 + 8 + 4, COUNTS_BYTES = 4 + 8 + 8 + 4 };

struct counts {
    uint32_t loaded;
    uint64_t loaded_bytes;
    uint64_t next_order;
    uint32_t called;
};

static const struct slice counts_key = {"f", 1};

static struct counts counts_get(struct store_txn *txn)
{
    struct slice value;
    if (!txn_get(txn, counts_key, &value) || value.len != COUNTS_BYTES) {
        return (struct counts){.next_order = 1};
    }
    return (struct counts){read_u32(value.data), read_u64(value.data + 4),
                           read_u64(value.data + 12), read_u32(value.data + 20)};
}

static void counts_put(struct store_txn *txn, const struct counts *counts)
{
    struct store_key_bytes value = {0};
    key_u32(&value, counts->loaded);
    key_u64(&value, counts->loaded_bytes);
    key_u64(&value, counts->next_order);
    key_u32(&value, counts->called);
    txn_put(txn, counts_key, key_slice(&value));
}

static void script_key(struct store_key_bytes *key, const unsigned char sha[SHA1_BYTES])
{
    key_begin(key, 'f');
    key_append(key, sha, SHA1_BYTES);
}

static void order_key(struct store_key_bytes *key, uint64_t order)
{
    key_begin(key, 'F');
    key_u64(key, order);
}

bool store_script_find(struct store_txn *txn, const unsigned char sha[SHA1_BYTES],
                       struct store_script *out)
{
    struct store_key_bytes key;
    struct slice value;
    script_key(&key, sha);
    if (!txn_get(txn, key_slice(&key), &value)) { return false; }
    if (value.len != HEAD_BYTES) {
        txn_fail(txn, ERR_CORRUPT);
        return false;
    }
    *out = (struct store_script){(value.data[0] & SCRIPT_LOADED) != 0, read_u64(value.data + 1),
                                 read_u32(value.data + 9)};
    return true;
}

void store_script_read(struct store_txn *txn, const unsigned char sha[SHA1_BYTES],
                       const struct store_script *script, struct buf *out)
{
    size_t end = out->len + script->len;
    for (uint32_t chunk = 0; out->len < end; chunk++) {
        struct store_key_bytes key;
        struct slice value;
        script_key(&key, sha);
        key_u32(&key, chunk);
        if (!txn_get(txn, key_slice(&key), &value) || value.len == 0) {
            txn_fail(txn, ERR_CORRUPT);
            return;
        }
        buf_append(out, value);
    }
}

static void head_put(struct store_txn *txn, const unsigned char sha[SHA1_BYTES],
                     const struct store_script *script)
{
    struct store_key_bytes key;
    struct store_key_bytes value = {0};
    script_key(&key, sha);
    key_u8(&value, script->is_loaded ? SCRIPT_LOADED : 0);
    key_u64(&value, script->order);
    key_u32(&value, script->len);
    txn_put(txn, key_slice(&key), key_slice(&value));
}

static void text_put(struct store_txn *txn, const unsigned char sha[SHA1_BYTES], struct slice text)
{
    for (uint32_t chunk = 0; text.len > 0; chunk++) {
        struct store_key_bytes key;
        size_t part = text.len < STORE_CHUNK_BYTES ? text.len : STORE_CHUNK_BYTES;
        script_key(&key, sha);
        key_u32(&key, chunk);
        txn_put(txn, key_slice(&key), slice_of(text.data, part));
        text = slice_of(text.data + part, text.len - part);
    }
}

void store_scripts_each(struct store_txn *txn, void (*visit)(void *arg, struct slice text),
                        void *arg)
{
    enum { KEY_BYTES = 1 + SHA1_BYTES };
    struct store_cursor cursor;
    struct buf text = {0};
    cursor_begin(&cursor, txn, counts_key);
    for (bool any = cursor_first(&cursor); any; any = cursor_next(&cursor)) {
        unsigned char sha[SHA1_BYTES];
        struct store_script script;
        if (cursor.key.len != KEY_BYTES) { continue; }
        memcpy(sha, cursor.key.data + 1, SHA1_BYTES);
        if (!store_script_find(txn, sha, &script) || !script.is_loaded) { continue; }
        text.len = 0;
        store_script_read(txn, sha, &script, &text);
        if (store_txn_err(txn) == ERR_OK) { visit(arg, buf_slice(&text)); }
    }
    cursor_end(&cursor);
    buf_fini(&text);
}

/* All rows that begin with these bytes go. */
static void remove_all(struct store_txn *txn, struct slice prefix)
{
    struct store_cursor cursor;
    cursor_begin(&cursor, txn, prefix);
    for (bool any = cursor_first(&cursor); any; any = cursor_next(&cursor)) {
        cursor_delete(&cursor);
    }
    cursor_end(&cursor);
}

static void order_put(struct store_txn *txn, uint64_t order, const unsigned char sha[SHA1_BYTES])
{
    struct store_key_bytes key;
    order_key(&key, order);
    txn_put(txn, key_slice(&key), slice_of(sha, SHA1_BYTES));
}

static void order_remove(struct store_txn *txn, uint64_t order)
{
    struct store_key_bytes key;
    order_key(&key, order);
    (void)txn_delete(txn, key_slice(&key));
}

/* The one that came first of those that came with their call. */
static void remove_oldest(struct store_txn *txn, struct counts *counts)
{
    struct store_cursor cursor;
    struct store_key_bytes key;
    cursor_begin(&cursor, txn, SLICE("F"));
    bool is_there = cursor_first(&cursor) && cursor.value.len == SHA1_BYTES;
    if (is_there) {
        script_key(&key, (const unsigned char *)cursor.value.data);
        cursor_delete(&cursor);
    }
    cursor_end(&cursor);
    if (!is_there) { return; }
    remove_all(txn, key_slice(&key));
    counts->called--;
}

static bool is_full(const struct counts *counts, size_t bytes)
{
    return counts->loaded >= STORE_SCRIPTS_LOADED_MAX ||
           counts->loaded_bytes + bytes > STORE_SCRIPTS_BYTES_MAX;
}

bool store_script_keep(struct store_txn *txn, const unsigned char sha[SHA1_BYTES],
                       struct slice text, bool is_loaded)
{
    struct store_script script;
    bool is_there = store_script_find(txn, sha, &script);
    if (is_there && (script.is_loaded || !is_loaded)) { return true; }
    struct counts counts = counts_get(txn);
    if (is_loaded && is_full(&counts, text.len)) { return false; }
    if (is_there) {
        order_remove(txn, script.order);
        counts.called--;
    } else {
        text_put(txn, sha, text);
    }
    script =
        (struct store_script){is_loaded, is_loaded ? 0 : counts.next_order++, (uint32_t)text.len};
    head_put(txn, sha, &script);
    if (is_loaded) {
        counts.loaded++;
        counts.loaded_bytes += text.len;
    } else {
        order_put(txn, script.order, sha);
        if (++counts.called > STORE_SCRIPTS_CALLED_MAX) { remove_oldest(txn, &counts); }
    }
    counts_put(txn, &counts);
    return true;
}

void store_script_flush(struct store_txn *txn)
{
    remove_all(txn, SLICE("f"));
    remove_all(txn, SLICE("F"));
}
