/* store_group: consumer groups. */
#include "store/store_group.h"

#include "store/store_int.h"
#include "store/store_unlink.h"
#include "store/store_value.h"

enum { GROUP_BYTES = 16 + 8 + 8 + 4 + 4, OLDEST_BYTES = 8 };
enum { CONSUMER_BYTES = 8 * 3, PENDING_BYTES = 4 + 8 + 8 };
enum { CONSUMER_BY_NAME = 0, CONSUMER_BY_ID = 1 };

static struct store_id read_id(const char *at)
{
    return (struct store_id){read_u64(at), read_u64(at + 8)};
}

static void key_id(struct store_key_bytes *key, struct store_id id)
{
    key_u64(key, id.ms);
    key_u64(key, id.seq);
}

static void in_group(struct store_key_bytes *key, char tag, const struct store_object *stream,
                     const struct store_group *group)
{
    key_begin(key, tag);
    key_u64(key, stream->content);
    key_u32(key, group->gid);
}

/* A value of a fixed length; what is not of it is damage. */
static bool get_fixed(struct store_txn *txn, const struct store_key_bytes *key, size_t bytes,
                      struct slice *value)
{
    if (!txn_get(txn, key_slice(key), value)) { return false; }
    if (value->len >= bytes) { return true; }
    txn_fail(txn, ERR_CORRUPT);
    return false;
}

/* ---- groups ---- */

static void group_key(struct store_txn *txn, const struct store_object *stream, struct slice name,
                      struct store_key_bytes *key)
{
    key_begin(key, 'g');
    key_u64(key, stream->content);
    key_name(txn, key, name);
}

/* A group's value is one of store_value.h, with the name if it is long: what it holds. */
static struct store_group group_decode(struct store_txn *txn, struct slice value)
{
    struct buf none = {0};
    struct slice in = value_bytes(txn, value, &none);
    if (in.len != GROUP_BYTES && in.len != GROUP_BYTES + OLDEST_BYTES) {
        txn_fail(txn, ERR_CORRUPT);
        return (struct store_group){0};
    }
    return (struct store_group){
        .last = read_id(in.data),
        .read = read_u64(in.data + 16),
        .pending = read_u64(in.data + 24),
        .gid = read_u32(in.data + 32),
        .consumers = read_u32(in.data + 36),
        .oldest_ms = in.len > GROUP_BYTES ? read_u64(in.data + GROUP_BYTES) : 0,
    };
}

bool store_group_find(struct store_txn *txn, const struct store_object *stream, struct slice name,
                      struct store_group *out)
{
    struct store_key_bytes key;
    struct slice value;
    group_key(txn, stream, name, &key);
    if (!txn_get(txn, key_slice(&key), &value)) { return false; }
    *out = group_decode(txn, value);
    return true;
}

void store_group_save(struct store_txn *txn, const struct store_object *stream, struct slice name,
                      const struct store_group *group)
{
    struct store_key_bytes key;
    struct store_key_bytes value = {0};
    key_id(&value, group->last);
    key_u64(&value, group->read);
    key_u64(&value, group->pending);
    key_u32(&value, group->gid);
    key_u32(&value, group->consumers);
    if (group->oldest_ms != 0) { key_u64(&value, group->oldest_ms); }
    group_key(txn, stream, name, &key);
    value_put(txn, &key, name, key_slice(&value));
}

void store_group_create(struct store_txn *txn, struct store_object *stream, struct slice name,
                        struct store_group *group)
{
    group->gid = ++stream->stream.next_group;
    stream->stream.groups++;
    store_group_save(txn, stream, name, group);
}

void store_group_remove(struct store_txn *txn, struct store_object *stream, struct slice name,
                        const struct store_group *group)
{
    struct store_key_bytes key;
    group_key(txn, stream, name, &key);
    (void)txn_delete(txn, key_slice(&key));
    stream->stream.groups--;
    if (group->consumers > 0 || group->pending > 0) {
        unlink_group(txn, stream->content, group->gid, group->pending + group->consumers);
    }
}

bool store_groups_walk(struct store_walk *walk, struct store_txn *txn,
                       const struct store_object *stream)
{
    walk_begin(walk, txn, 'g', stream->content, STORE_UP);
    walk->is_there = cursor_first(&walk->cursor);
    return walk->is_there;
}

struct slice store_groups_name(const struct store_walk *walk)
{
    return value_name(walk->cursor.txn, cursor_suffix(&walk->cursor), walk->cursor.value);
}

struct store_group store_groups_group(struct store_walk *walk)
{
    return group_decode(walk->cursor.txn, walk->cursor.value);
}

/* ---- consumers ---- */

static void consumer_name_key(struct store_txn *txn, const struct store_object *stream,
                              const struct store_group *group, struct slice name,
                              struct store_key_bytes *key)
{
    in_group(key, 'n', stream, group);
    key_u8(key, CONSUMER_BY_NAME);
    key_name(txn, key, name);
}

static void consumer_id_key(const struct store_object *stream, const struct store_group *group,
                            uint32_t cid, struct store_key_bytes *key)
{
    in_group(key, 'n', stream, group);
    key_u8(key, CONSUMER_BY_ID);
    key_u32(key, cid);
}

static struct store_consumer consumer_decode(uint32_t cid, struct slice in)
{
    return (struct store_consumer){
        .cid = cid,
        .seen_ms = read_u64(in.data),
        .active_ms = read_u64(in.data + 8),
        .pending = read_u64(in.data + 16),
    };
}

static bool consumer_get(struct store_txn *txn, const struct store_object *stream,
                         const struct store_group *group, uint32_t cid, struct slice *value)
{
    struct store_key_bytes key;
    consumer_id_key(stream, group, cid, &key);
    return get_fixed(txn, &key, CONSUMER_BYTES, value);
}

bool store_consumer_find(struct store_txn *txn, const struct store_object *stream,
                         const struct store_group *group, struct slice name,
                         struct store_consumer *out)
{
    struct store_key_bytes key;
    struct slice value;
    consumer_name_key(txn, stream, group, name, &key);
    if (!get_fixed(txn, &key, 4, &value)) { return false; }
    uint32_t cid = read_u32(value.data);
    if (!consumer_get(txn, stream, group, cid, &value)) {
        txn_fail(txn, ERR_CORRUPT);
        return false;
    }
    struct slice whole = slice_of(value.data + CONSUMER_BYTES, value.len - CONSUMER_BYTES);
    CHECK(slice_equal(whole, name)); /* two long names of one hash of 128 bits */
    *out = consumer_decode(cid, value);
    return true;
}

void store_consumer_save(struct store_txn *txn, const struct store_object *stream,
                         const struct store_group *group, struct slice name,
                         const struct store_consumer *consumer)
{
    struct store_key_bytes key;
    struct store_key_bytes head = {0};
    key_u64(&head, consumer->seen_ms);
    key_u64(&head, consumer->active_ms);
    key_u64(&head, consumer->pending);
    txn->scratch.len = 0;
    buf_append(&txn->scratch, key_slice(&head));
    buf_append(&txn->scratch, name);
    consumer_id_key(stream, group, consumer->cid, &key);
    txn_put(txn, key_slice(&key), buf_slice(&txn->scratch));
}

void store_consumer_create(struct store_txn *txn, struct store_object *stream,
                           struct store_group *group, struct slice name, struct store_consumer *out)
{
    *out = (struct store_consumer){.cid = ++stream->stream.next_group};
    group->consumers++;
    struct store_key_bytes key;
    struct store_key_bytes value = {0};
    key_u32(&value, out->cid);
    consumer_name_key(txn, stream, group, name, &key);
    txn_put(txn, key_slice(&key), key_slice(&value));
}

uint64_t store_consumer_remove(struct store_txn *txn, const struct store_object *stream,
                               struct store_group *group, struct slice name,
                               const struct store_consumer *consumer)
{
    uint64_t removed = 0;
    struct store_walk walk;
    while (store_pending_walk(&walk, txn, stream, group, consumer->cid, (struct store_id){0, 0})) {
        struct store_id id = store_pending_of(&walk, stream, group).id;
        store_walk_end(&walk);
        if (!store_pending_delete(txn, stream, group, id)) { break; }
        removed++;
    }
    store_walk_end(&walk);
    struct store_key_bytes key;
    consumer_name_key(txn, stream, group, name, &key);
    (void)txn_delete(txn, key_slice(&key));
    consumer_id_key(stream, group, consumer->cid, &key);
    (void)txn_delete(txn, key_slice(&key));
    group->consumers--;
    return removed;
}

struct slice store_consumer_name(struct store_txn *txn, const struct store_object *stream,
                                 const struct store_group *group, uint32_t cid)
{
    struct slice value;
    if (!consumer_get(txn, stream, group, cid, &value)) { return SLICE(""); }
    return slice_of(value.data + CONSUMER_BYTES, value.len - CONSUMER_BYTES);
}

/* Behind the prefix of tag and content: gid4, then what the walk is over. */
static bool walk_in_group(struct store_walk *walk, struct store_txn *txn,
                          const struct store_key_bytes *prefix, const struct store_key_bytes *from)
{
    *walk = (struct store_walk){.way = STORE_UP, .prefix = *prefix};
    cursor_begin(&walk->cursor, txn, key_slice(&walk->prefix));
    walk->is_there = cursor_seek(&walk->cursor, key_slice(from));
    return walk->is_there;
}

bool store_consumers_walk(struct store_walk *walk, struct store_txn *txn,
                          const struct store_object *stream, const struct store_group *group)
{
    struct store_key_bytes prefix;
    in_group(&prefix, 'n', stream, group);
    key_u8(&prefix, CONSUMER_BY_NAME);
    return walk_in_group(walk, txn, &prefix, &prefix);
}

/* The row of the consumer whose name the walk is on. */
static struct slice consumers_row(const struct store_walk *walk)
{
    struct store_key_bytes key = walk->prefix;
    struct slice value = walk->cursor.value;
    key.len--;
    key_u8(&key, CONSUMER_BY_ID);
    if (value.len == 4) { key_append(&key, value.data, 4); }
    if (!get_fixed(walk->cursor.txn, &key, CONSUMER_BYTES, &value)) {
        txn_fail(walk->cursor.txn, ERR_CORRUPT);
        static const char nothing[CONSUMER_BYTES];
        return slice_of(nothing, sizeof nothing);
    }
    return value;
}

struct slice store_consumers_name(const struct store_walk *walk)
{
    struct slice row = consumers_row(walk);
    return slice_of(row.data + CONSUMER_BYTES, row.len - CONSUMER_BYTES);
}

struct store_consumer store_consumers_consumer(const struct store_walk *walk)
{
    struct slice row = consumers_row(walk);
    uint32_t cid = walk->cursor.value.len == 4 ? read_u32(walk->cursor.value.data) : 0;
    return consumer_decode(cid, row);
}

/* ---- what is pending ---- */

static void pending_key(const struct store_object *stream, const struct store_group *group,
                        struct store_id id, struct store_key_bytes *key)
{
    in_group(key, 'p', stream, group);
    key_id(key, id);
}

static void owned_key(const struct store_object *stream, const struct store_group *group,
                      uint32_t cid, struct store_id id, struct store_key_bytes *key)
{
    in_group(key, 'j', stream, group);
    key_u32(key, cid);
    key_id(key, id);
}

static struct store_pending pending_decode(struct store_id id, struct slice in)
{
    return (struct store_pending){id, read_u32(in.data), read_u64(in.data + 4),
                                  read_u64(in.data + 12)};
}

bool store_pending_find(struct store_txn *txn, const struct store_object *stream,
                        const struct store_group *group, struct store_id id,
                        struct store_pending *out)
{
    struct store_key_bytes key;
    struct slice value;
    pending_key(stream, group, id, &key);
    if (!get_fixed(txn, &key, PENDING_BYTES, &value)) { return false; }
    *out = pending_decode(id, value);
    return true;
}

/* One less is pending for a consumer: its row says so. */
static void consumer_less(struct store_txn *txn, const struct store_object *stream,
                          const struct store_group *group, uint32_t cid, struct store_id id)
{
    struct store_key_bytes key;
    if (cid == 0) { return; } /* nobody's */
    owned_key(stream, group, cid, id, &key);
    (void)txn_delete(txn, key_slice(&key));
    struct slice value;
    if (!consumer_get(txn, stream, group, cid, &value)) { return; }
    struct store_consumer consumer = consumer_decode(cid, value);
    consumer.pending--;
    struct buf name = {0};
    buf_append(&name, slice_of(value.data + CONSUMER_BYTES, value.len - CONSUMER_BYTES));
    store_consumer_save(txn, stream, group, buf_slice(&name), &consumer);
    buf_fini(&name);
}

static void row_put(struct store_txn *txn, const struct store_object *stream,
                    struct store_group *group, const struct store_pending *pending, bool is_new)
{
    uint64_t at_ms = pending->delivered_ms;
    if (group->pending == 0 || at_ms < group->oldest_ms) { group->oldest_ms = at_ms; }
    if (is_new) { group->pending++; }
    struct store_key_bytes key;
    struct store_key_bytes value = {0};
    key_u32(&value, pending->cid);
    key_u64(&value, at_ms);
    key_u64(&value, pending->count);
    pending_key(stream, group, pending->id, &key);
    txn_put(txn, key_slice(&key), key_slice(&value));
}

void store_pending_put(struct store_txn *txn, const struct store_object *stream,
                       struct store_group *group, struct store_consumer *consumer,
                       const struct store_pending *pending)
{
    CHECK(consumer->cid == pending->cid);
    struct store_pending old;
    bool is_new = !store_pending_find(txn, stream, group, pending->id, &old);
    struct store_key_bytes key;
    if (!is_new && old.cid != pending->cid) {
        consumer_less(txn, stream, group, old.cid, pending->id);
    }
    if (is_new || old.cid != pending->cid) {
        owned_key(stream, group, pending->cid, pending->id, &key);
        txn_put(txn, key_slice(&key), SLICE(""));
        consumer->pending++;
    }
    row_put(txn, stream, group, pending, is_new);
}

void store_pending_release(struct store_txn *txn, const struct store_object *stream,
                           struct store_group *group, struct store_id id, uint64_t count)
{
    struct store_pending old;
    bool is_new = !store_pending_find(txn, stream, group, id, &old);
    const struct store_pending pending = {.id = id, .count = count};
    if (!is_new) { consumer_less(txn, stream, group, old.cid, id); }
    row_put(txn, stream, group, &pending, is_new);
}

bool store_pending_delete(struct store_txn *txn, const struct store_object *stream,
                          struct store_group *group, struct store_id id)
{
    struct store_pending old;
    if (!store_pending_find(txn, stream, group, id, &old)) { return false; }
    struct store_key_bytes key;
    pending_key(stream, group, id, &key);
    (void)txn_delete(txn, key_slice(&key));
    consumer_less(txn, stream, group, old.cid, id);
    group->pending--;
    return true;
}

bool store_pending_walk(struct store_walk *walk, struct store_txn *txn,
                        const struct store_object *stream, const struct store_group *group,
                        uint32_t cid, struct store_id from)
{
    struct store_key_bytes prefix;
    in_group(&prefix, cid == 0 ? 'p' : 'j', stream, group);
    if (cid != 0) { key_u32(&prefix, cid); }
    struct store_key_bytes at = prefix;
    key_id(&at, from);
    return walk_in_group(walk, txn, &prefix, &at);
}

struct store_pending store_pending_of(struct store_walk *walk, const struct store_object *stream,
                                      const struct store_group *group)
{
    struct store_id id = read_id(cursor_suffix(&walk->cursor).data);
    struct store_pending pending = {.id = id};
    if (walk->prefix.bytes[0] == 'p' && walk->cursor.value.len >= PENDING_BYTES) {
        return pending_decode(id, walk->cursor.value);
    }
    if (!store_pending_find(walk->cursor.txn, stream, group, id, &pending)) {
        txn_fail(walk->cursor.txn, ERR_CORRUPT);
    }
    return pending;
}

bool store_pending_last(struct store_txn *txn, const struct store_object *stream,
                        const struct store_group *group, struct store_pending *out)
{
    struct store_key_bytes prefix;
    struct store_cursor cursor;
    in_group(&prefix, 'p', stream, group);
    cursor_begin(&cursor, txn, key_slice(&prefix));
    bool any = cursor_last(&cursor);
    if (any && cursor.value.len >= PENDING_BYTES) {
        *out = pending_decode(read_id(cursor_suffix(&cursor).data), cursor.value);
    } else if (any) {
        txn_fail(txn, ERR_CORRUPT);
    }
    cursor_end(&cursor);
    return any && txn->err == ERR_OK;
}
