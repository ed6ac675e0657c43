/* store_head: see the header. */
#include "store/store_head.h"

#include "base/mem.h"
#include "store/store_value.h"

/* Bits of a head's flags. */
enum { HEAD_EXPIRES = 1, HEAD_LADDER = 2, HEAD_CONTENT = 4, HEAD_FIELDS = 8 };

enum {
    HEAD_BYTES = 1 + 1 + 1 + 8 + 8 + 8,
    STREAM_BYTES = 3 * 16 + 8 + 8, /* of it */
};

static void head_key(struct store_txn *txn, struct store_key_bytes *key, uint32_t space,
                     const struct store_ref *ref)
{
    key_begin(key, 'k');
    key_u32(key, space);
    key_u16(key, ref->slot);
    key_name(txn, key, ref->name);
}

/* ---- bytes ---- */

static void append_u64(struct buf *out, uint64_t v)
{
    v = htobe64(v);
    buf_append(out, slice_of(&v, sizeof v));
}

static void stream_encode(const struct store_object *object, struct buf *out)
{
    append_u64(out, object->stream.first.ms);
    append_u64(out, object->stream.first.seq);
    append_u64(out, object->stream.last.ms);
    append_u64(out, object->stream.last.seq);
    append_u64(out, object->stream.max_deleted.ms);
    append_u64(out, object->stream.max_deleted.seq);
    append_u64(out, object->stream.added);
    append_u64(out, (uint64_t)object->stream.groups << 32 | object->stream.next_group);
}

static void stream_decode(const char *at, struct store_object *object)
{
    object->stream.first = (struct store_id){read_u64(at), read_u64(at + 8)};
    object->stream.last = (struct store_id){read_u64(at + 16), read_u64(at + 24)};
    object->stream.max_deleted = (struct store_id){read_u64(at + 32), read_u64(at + 40)};
    object->stream.added = read_u64(at + 48);
    object->stream.groups = read_u32(at + 56);
    object->stream.next_group = read_u32(at + 60);
}

static uint8_t head_flags(const struct store_object *object)
{
    bool expires = object->expire_ms != 0 || object->timer_ms != 0;
    return (uint8_t)((expires ? HEAD_EXPIRES : 0) | (object->levels > 0 ? HEAD_LADDER : 0) |
                     (object->content != object->oid ? HEAD_CONTENT : 0) |
                     (object->fields.next_ms != 0 ? HEAD_FIELDS : 0));
}

static void head_encode(const struct store_object *object, struct slice name, struct buf *out)
{
    const uint8_t begin[3] = {(uint8_t)object->type, head_flags(object), object->encoding};
    out->len = 0;
    buf_append(out, slice_of(begin, sizeof begin));
    append_u64(out, object->version);
    append_u64(out, object->oid);
    append_u64(out, object->count + object->fields.hidden);
    if ((begin[1] & HEAD_EXPIRES) != 0) {
        append_u64(out, object->expire_ms);
        append_u64(out, object->timer_ms);
    }
    if ((begin[1] & HEAD_CONTENT) != 0) { append_u64(out, object->content); }
    if ((begin[1] & HEAD_LADDER) != 0) { buf_append(out, slice_of(&object->levels, 1)); }
    if ((begin[1] & HEAD_FIELDS) != 0) { append_u64(out, object->fields.next_ms); }
    if (object->type == STORE_LIST) {
        append_u64(out, object->first);
        append_u64(out, object->last);
    }
    if (object->type == STORE_STREAM) { stream_encode(object, out); }
    if (name_is_long(name)) {
        uint32_t len = htobe32((uint32_t)name.len);
        buf_append(out, slice_of(&len, sizeof len));
        buf_append(out, name);
    }
    if (object->type == STORE_STRING) { buf_append(out, object->text); }
}

/* How long a head with these flags is, without a name and a text. */
static size_t head_bytes(struct slice in, bool is_long)
{
    uint8_t flags = (uint8_t)in.data[1];
    return HEAD_BYTES + ((flags & HEAD_EXPIRES) != 0 ? 16 : 0) +
           ((flags & HEAD_CONTENT) != 0 ? 8 : 0) + ((flags & HEAD_LADDER) != 0 ? 1 : 0) +
           ((flags & HEAD_FIELDS) != 0 ? 8 : 0) + (in.data[0] == STORE_LIST ? 16 : 0) +
           (in.data[0] == STORE_STREAM ? STREAM_BYTES : 0) + (is_long ? 4 : 0);
}

/* `name`, where not NULL, is set if the name is long: to the one the head belongs to. False: it is damaged. */
bool head_decode(struct slice in, bool is_long, struct store_object *object, struct slice *name)
{
    if (in.len < HEAD_BYTES || in.len < head_bytes(in, is_long)) { return false; }
    uint8_t flags = (uint8_t)in.data[1];
    size_t at = HEAD_BYTES;
    *object = (struct store_object){
        .type = (enum store_type)in.data[0],
        .encoding = (uint8_t)in.data[2],
        .version = read_u64(in.data + 3),
        .oid = read_u64(in.data + 11),
        .content = read_u64(in.data + 11),
        .count = read_u64(in.data + 19),
    };
    if ((flags & HEAD_EXPIRES) != 0) {
        object->expire_ms = read_u64(in.data + at);
        object->timer_ms = read_u64(in.data + at + 8);
        at += 16;
    }
    if ((flags & HEAD_CONTENT) != 0) {
        object->content = read_u64(in.data + at);
        at += 8;
    }
    if ((flags & HEAD_LADDER) != 0) { object->levels = (uint8_t)in.data[at++]; }
    if ((flags & HEAD_FIELDS) != 0) {
        object->fields.next_ms = read_u64(in.data + at);
        object->fields.timer_ms = object->fields.next_ms;
        at += 8;
    }
    if (object->type == STORE_LIST) {
        object->first = read_u64(in.data + at);
        object->last = read_u64(in.data + at + 8);
        at += 16;
    }
    if (object->type == STORE_STREAM) {
        stream_decode(in.data + at, object);
        at += STREAM_BYTES;
    }
    if (is_long) {
        uint32_t len = read_u32(in.data + at);
        at += 4;
        if (in.len - at < len) { return false; }
        if (name != NULL) { *name = slice_of(in.data + at, len); }
        at += len;
    }
    if (object->type == STORE_STRING) { object->text = slice_of(in.data + at, in.len - at); }
    return true;
}

/* ---- what was found last ---- */

/* For who looks at how large a key is before he reads it. */
struct store_found {
    size_t snapshot; /* of the reader's */
    struct store_key_bytes key;
    struct store_object object; /* what it points to is in the snapshot's pages */
};

static bool is_found(const struct store_txn *txn, struct slice key)
{
    const struct store_found *found = txn->found;
    return found != NULL && txn->snapshot != 0 && found->snapshot == txn->snapshot &&
           slice_equal(key_slice(&found->key), key);
}

static void found_keep(struct store_txn *txn, struct slice key, const struct store_object *object)
{
    if (txn->found == NULL) { txn->found = mem_new0(sizeof *txn->found); }
    txn->found->snapshot = txn->snapshot;
    txn->found->key.len = 0;
    key_append(&txn->found->key, key.data, key.len);
    txn->found->object = *object;
}

/* ---- open heads ---- */

enum { OPEN_HEADS_MAX = 4 };

struct open_head {
    struct store_key_bytes key;
    struct store_object object;
};

struct store_open_heads {
    uint32_t count;
    struct open_head head[OPEN_HEADS_MAX];
};

static struct open_head *open_find(const struct store_txn *txn, struct slice key)
{
    struct store_open_heads *open = txn->open_heads;
    for (uint32_t i = 0; open != NULL && i < open->count; i++) {
        if (slice_equal(key_slice(&open->head[i].key), key)) { return &open->head[i]; }
    }
    return NULL;
}

void heads_flush(struct store_txn *txn)
{
    struct store_open_heads *open = txn->open_heads;
    for (uint32_t i = 0; open != NULL && i < open->count; i++) {
        head_encode(&open->head[i].object, SLICE(""), &txn->scratch);
        txn_put(txn, key_slice(&open->head[i].key), buf_slice(&txn->scratch));
    }
    if (open != NULL) { open->count = 0; }
}

/* The key's row is written, or removed, by itself. */
static void open_drop(struct store_txn *txn, struct slice key)
{
    struct open_head *head = open_find(txn, key);
    if (head == NULL) { return; }
    struct open_head *last = &txn->open_heads->head[--txn->open_heads->count];
    if (head != last) { *head = *last; }
}

static void open_put(struct store_txn *txn, const struct store_key_bytes *key,
                     const struct store_object *object)
{
    struct open_head *head = open_find(txn, key_slice(key));
    if (head == NULL) {
        if (txn->open_heads == NULL) { txn->open_heads = mem_new0(sizeof *txn->open_heads); }
        if (txn->open_heads->count == OPEN_HEADS_MAX) { heads_flush(txn); }
        head = &txn->open_heads->head[txn->open_heads->count++];
        head->key.len = 0;
        key_append(&head->key, key->bytes, key->len);
    }
    head->object = *object; /* as it would be read back */
    head->object.text = SLICE("");
    head->object.count += object->fields.hidden;
    head->object.fields.hidden = 0;
    head->object.fields.timer_ms = object->fields.next_ms;
}

/* ---- rows ---- */

bool head_get(struct store_txn *txn, uint32_t space, const struct store_ref *ref,
              struct store_object *out)
{
    *out = (struct store_object){0};
    if (space == 0) { return false; }
    struct store_key_bytes key;
    head_key(txn, &key, space, ref);
    const struct open_head *open = open_find(txn, key_slice(&key));
    if (open != NULL) {
        *out = open->object;
        return true;
    }
    if (is_found(txn, key_slice(&key))) {
        *out = txn->found->object;
        return true;
    }
    struct slice value;
    if (!txn_get(txn, key_slice(&key), &value)) { return false; }
    struct slice name = ref->name;
    if (!head_decode(value, name_is_long(ref->name), out, &name)) {
        txn_fail(txn, ERR_CORRUPT);
        *out = (struct store_object){0};
        return false;
    }
    /* Two long names of one hash of 128 bits: nobody has seen two. */
    CHECK(slice_equal(name, ref->name));
    if (txn->snapshot != 0 && !name_is_long(ref->name)) { found_keep(txn, key_slice(&key), out); }
    return true;
}

void head_put(struct store_txn *txn, uint32_t space, const struct store_ref *ref,
              const struct store_object *object)
{
    struct store_key_bytes key;
    head_key(txn, &key, space, ref);
    if (object->type != STORE_STRING && !name_is_long(ref->name)) {
        open_put(txn, &key, object);
        return;
    }
    open_drop(txn, key_slice(&key));
    head_encode(object, ref->name, &txn->scratch);
    txn_put(txn, key_slice(&key), buf_slice(&txn->scratch));
}

void head_delete(struct store_txn *txn, uint32_t space, const struct store_ref *ref)
{
    struct store_key_bytes key;
    head_key(txn, &key, space, ref);
    open_drop(txn, key_slice(&key));
    (void)txn_delete(txn, key_slice(&key));
}
