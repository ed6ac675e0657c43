/* data_text: a string key's text. */
#include "data/data_text.h"

#include "store/store_string.h"

struct slice text_of(const struct data_key *key, struct buf *scratch)
{
    if (!key->is_there) { return SLICE(""); }
    if (key->object.count <= STORE_INLINE_MAX) { return key->object.text; }
    scratch->len = 0;
    store_string_read(key->call->txn, &key->object, 0, UINT64_MAX, scratch);
    return buf_slice(scratch);
}

void text_reply(const struct data_key *key)
{
    struct buf scratch = {0};
    if (key->is_there) {
        reply_bulk(key->call->reply, text_of(key, &scratch));
    } else {
        reply_null(key->call->reply);
    }
    buf_fini(&scratch);
}

void text_assign(struct data_key *key, struct slice text)
{
    bool is_string = !key->is_there || key->object.type == STORE_STRING;
    struct store_object *object = key_make(key, STORE_STRING);
    if (!is_string) {
        store_key_empty(key->call->txn, object);
        object->type = STORE_STRING;
    }
    object->encoding = TEXT_ENCODING_FREE;
    store_string_set(key->call->txn, object, text);
}

void text_set(struct data_key *key, struct slice text, uint64_t expire_ms)
{
    text_assign(key, text);
    if (key->object.expire_ms != expire_ms) {
        store_key_set_expiry(key->call->txn, &key->ref, &key->object, expire_ms);
    } else {
        store_key_save(key->call->txn, &key->ref, &key->object);
    }
    key_changed(key->call, key->ref.name, "set", EVENT_STRING);
}

bool text_may_be(const struct data_call *call, uint64_t bytes)
{
    if (bytes <= TEXT_BYTES_MAX) { return true; }
    reply_error(call->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}
