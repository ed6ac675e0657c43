/* store_unlink: content that nobody can reach any more. */
#include "store/store_unlink.h"

#include "store/store_value.h"

const char *content_tags(enum store_type type)
{
    switch (type) {
    case STORE_STRING: return "v";
    case STORE_LIST: return "lc";
    case STORE_SET: return "s";
    case STORE_ZSET: return "zyc";
    case STORE_HASH: return "he";
    case STORE_STREAM: return "xgnpj";
    case STORE_NONE: return "";
    }
    return "";
}

bool content_has_values(char tag)
{
    return tag == 'l' || tag == 'h' || tag == 'x';
}

/* Remove rows with a prefix and, where their values may have some, their chunks. Gives: how many went. */
static uint64_t rows_remove(struct store_txn *txn, const struct store_key_bytes *prefix,
                            uint64_t count)
{
    bool has_values = content_has_values((char)prefix->bytes[0]);
    struct store_cursor cursor;
    cursor_begin(&cursor, txn, key_slice(prefix));
    uint64_t removed = 0;
    bool any = cursor_first(&cursor);
    while (any && removed < count) {
        uint64_t chunks = has_values ? value_chunks(txn, cursor.value) : 0;
        cursor_delete(&cursor);
        removed++;
        if (chunks == 0) {
            any = cursor_next(&cursor);
        } else { /* the tree has changed beside the cursor */
            removed += chunks_remove(txn, chunks, UINT64_MAX);
            any = cursor_first(&cursor);
        }
    }
    cursor_end(&cursor);
    return removed;
}

uint64_t unlinked_remove(struct store_txn *txn, const struct unlinked *unlinked, uint64_t count)
{
    bool is_group = unlinked->kind == UNLINKED_GROUP;
    uint64_t removed = 0;
    const char *tag = is_group ? "npj" : content_tags(unlinked->type);
    for (; *tag != 0 && removed < count; tag++) {
        struct store_key_bytes prefix;
        key_begin(&prefix, *tag);
        key_u64(&prefix, unlinked->id);
        if (is_group) { key_u32(&prefix, unlinked->gid); }
        removed += rows_remove(txn, &prefix, count - removed);
    }
    return removed;
}

/* ---- noting it ---- */

static void unlinked_key(const struct unlinked *unlinked, struct store_key_bytes *key)
{
    key_begin(key, 'b');
    key_u8(key, (uint8_t)unlinked->kind);
    key_u64(key, unlinked->id);
    if (unlinked->kind == UNLINKED_GROUP) { key_u32(key, unlinked->gid); }
}

/* `rows` is about how many it has. */
static void unlink_rows(struct store_txn *txn, const struct unlinked *unlinked, uint64_t rows)
{
    if (rows <= STORE_REMOVED_AT_ONCE) {
        (void)unlinked_remove(txn, unlinked, UINT64_MAX);
        return;
    }
    struct store_key_bytes key;
    unlinked_key(unlinked, &key);
    char type = (char)unlinked->type;
    txn_put(txn, key_slice(&key), slice_of(&type, 1));
}

void unlink_content(struct store_txn *txn, const struct store_object *object)
{
    const struct unlinked unlinked = {
        .kind = UNLINKED_OBJECT, .id = object->content, .type = object->type};
    uint64_t rows = object->count + object->fields.hidden;
    if (object->fields.next_ms != 0) { rows *= 2; } /* as many deadlines, at the most */
    if (object->type == STORE_STREAM) {
        stream_flush(txn);
        if (object->stream.groups > 0) { rows = UINT64_MAX; } /* who knows what they have */
    }
    if (object->type == STORE_STRING) {
        if (object->count <= STORE_INLINE_MAX) { return; }
        rows = object->count / STORE_CHUNK_BYTES;
    }
    unlink_rows(txn, &unlinked, rows);
}

void unlink_group(struct store_txn *txn, uint64_t content, uint32_t gid, uint64_t rows)
{
    const struct unlinked unlinked = {.kind = UNLINKED_GROUP, .id = content, .gid = gid};
    unlink_rows(txn, &unlinked, rows);
}

void unlink_space(struct store_txn *txn, uint32_t space)
{
    const struct unlinked unlinked = {.kind = UNLINKED_SPACE, .id = space};
    unlink_rows(txn, &unlinked, UINT64_MAX);
}

bool unlinked_first(struct store_txn *txn, struct unlinked *out)
{
    struct store_cursor cursor;
    cursor_begin(&cursor, txn, SLICE("b"));
    bool any = cursor_first(&cursor);
    if (any) {
        const char *at = cursor.key.data;
        *out = (struct unlinked){
            .kind = (enum unlinked_kind)at[1],
            .id = read_u64(at + 2),
            .gid = at[1] == UNLINKED_GROUP ? read_u32(at + 10) : 0,
            .type = cursor.value.len == 1 ? (enum store_type)cursor.value.data[0] : STORE_NONE,
        };
    }
    cursor_end(&cursor);
    return any;
}

void unlinked_done(struct store_txn *txn, const struct unlinked *unlinked)
{
    struct store_key_bytes key;
    unlinked_key(unlinked, &key);
    (void)txn_delete(txn, key_slice(&key));
}
