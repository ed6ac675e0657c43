/* store_string: strings. */
#include "store/store_string.h"

#include "store/store_int.h"
#include "store/store_value.h"

void store_string_set(struct store_txn *txn, struct store_object *string, struct slice text)
{
    if (string->count > STORE_INLINE_MAX) { store_key_empty(txn, string); }
    string->count = text.len;
    string->text = SLICE("");
    if (text.len <= STORE_INLINE_MAX) {
        string->text = text;
    } else {
        chunks_write(txn, string->content, 0, text);
    }
}

void store_string_read(struct store_txn *txn, const struct store_object *string, uint64_t at,
                       uint64_t len, struct buf *out)
{
    if (at >= string->count) { return; }
    if (len > string->count - at) { len = string->count - at; }
    if (string->count <= STORE_INLINE_MAX) {
        buf_append(out, slice_of(string->text.data + at, len));
    } else {
        chunks_read(txn, string->content, at, len, out);
    }
}

/* Zeros up to `len`, a chunk at a time. */
static void fill(struct store_txn *txn, const struct store_object *string, uint64_t len)
{
    static const char zeros[STORE_CHUNK_BYTES];
    for (uint64_t at = string->count; at < len;) {
        uint64_t part = STORE_CHUNK_BYTES - at % STORE_CHUNK_BYTES;
        if (part > len - at) { part = len - at; }
        chunks_write(txn, string->content, at, slice_of(zeros, part));
        at += part;
    }
}

void store_string_write(struct store_txn *txn, struct store_object *string, uint64_t at,
                        struct slice bytes, struct buf *scratch)
{
    uint64_t end = at + bytes.len;
    uint64_t count = end > string->count ? end : string->count;
    if (bytes.len == 0) { return; }
    if (count <= STORE_INLINE_MAX) {
        scratch->len = 0;
        memset(buf_reserve(scratch, count), 0, count);
        if (string->text.len > 0) { memcpy(scratch->data, string->text.data, string->text.len); }
        memcpy(scratch->data + at, bytes.data, bytes.len);
        scratch->len = count;
        string->text = buf_slice(scratch);
        string->count = count;
        return;
    }
    if (string->count <= STORE_INLINE_MAX) { /* it grows out of its head */
        char text[STORE_INLINE_MAX];
        size_t len = string->text.len;
        if (len > 0) { memcpy(text, string->text.data, len); }
        chunks_write(txn, string->content, 0, slice_of(text, len));
        string->text = SLICE("");
    }
    if (at > string->count) { fill(txn, string, at); }
    chunks_write(txn, string->content, at, bytes);
    string->count = count;
}
