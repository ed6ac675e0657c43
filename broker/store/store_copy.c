/* store_copy: an object's content once more. */
#include "store/store_copy.h"

#include "store/store_int.h"
#include "store/store_unlink.h"
#include "store/store_value.h"

enum { COPY_BATCH = 64 }; /* rows read before they are written: a cursor does not outlive a write */

/* One row, with chunks of its own if it has some. */
static void copy_row(struct store_txn *txn, struct slice key, struct slice value, uint64_t content)
{
    struct store_key_bytes to;
    key_begin(&to, key.data[0]);
    key_u64(&to, content);
    key_append(&to, key.data + 9, key.len - 9);
    uint64_t chunks = content_has_values(key.data[0]) ? value_chunks(txn, value) : 0;
    if (chunks == 0) {
        txn_put(txn, key_slice(&to), value);
        return;
    }
    struct buf bytes = {0};
    struct buf head = {0};
    value_read(txn, value, &bytes);
    uint64_t oid = txn->next_oid++;
    chunks_write(txn, oid, 0, buf_slice(&bytes));
    buf_append(&head, value);
    value_set_chunks(&head, oid);
    txn_put(txn, key_slice(&to), buf_slice(&head));
    buf_fini(&bytes);
    buf_fini(&head);
}

struct row {
    uint32_t key_len;
    uint32_t value_len;
};

/* Read up to COPY_BATCH rows from `from` on. Gives: false: there are no more. */
static bool read_rows(struct store_txn *txn, const struct store_key_bytes *prefix,
                      struct store_key_bytes *from, struct buf *rows)
{
    struct store_cursor cursor;
    cursor_begin(&cursor, txn, key_slice(prefix));
    bool any = cursor_seek(&cursor, key_slice(from));
    rows->len = 0;
    for (unsigned i = 0; any && i < COPY_BATCH; i++, any = cursor_next(&cursor)) {
        const struct row row = {(uint32_t)cursor.key.len, (uint32_t)cursor.value.len};
        buf_append(rows, slice_of(&row, sizeof row));
        buf_append(rows, cursor.key);
        buf_append(rows, cursor.value);
    }
    if (any) {
        from->len = 0;
        key_append(from, cursor.key.data, cursor.key.len);
    }
    cursor_end(&cursor);
    return any;
}

static void copy_rows(struct store_txn *txn, char tag, uint64_t old, uint64_t content)
{
    struct store_key_bytes prefix;
    key_begin(&prefix, tag);
    key_u64(&prefix, old);
    struct store_key_bytes from = prefix;
    struct buf rows = {0};
    bool any = true;
    while (any && txn->err == ERR_OK) {
        any = read_rows(txn, &prefix, &from, &rows);
        for (size_t at = 0; at < rows.len;) {
            struct row row;
            memcpy(&row, rows.data + at, sizeof row);
            const char *key = rows.data + at + sizeof row;
            copy_row(txn, slice_of(key, row.key_len), slice_of(key + row.key_len, row.value_len),
                     content);
            at += sizeof row + row.key_len + row.value_len;
        }
    }
    buf_fini(&rows);
}

void store_key_copy(struct store_txn *txn, const struct store_object *from,
                    const struct store_ref *to)
{
    if (from->type == STORE_STREAM) { stream_flush(txn); }
    struct store_object copy = *from;
    char text[STORE_INLINE_MAX];
    if (from->text.len > 0) { memcpy(text, from->text.data, from->text.len); }
    copy.text.data = text;
    copy.oid = txn->next_oid++;
    copy.content = copy.oid;
    copy.version = 0;
    copy.timer_ms = copy.expire_ms;
    bool has_rows = from->type != STORE_STRING || from->count > STORE_INLINE_MAX;
    for (const char *tag = content_tags(from->type); has_rows && *tag != 0; tag++) {
        copy_rows(txn, *tag, from->content, copy.content);
    }
    if (copy.stream.idmp.content != 0) {
        copy.stream.idmp.content = txn->next_oid++;
        for (const char *tag = IDMP_TAGS; *tag != 0; tag++) {
            copy_rows(txn, *tag, from->stream.idmp.content, copy.stream.idmp.content);
        }
    }
    store_key_save(txn, to, &copy);
}
