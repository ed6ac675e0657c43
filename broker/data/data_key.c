/* data_key: a command's key. */
#include "data/data_key.h"

#include "base/slot.h"

const char data_wrong_type[] = "WRONGTYPE Operation against a key holding the wrong kind of value";

struct store_ref key_ref(const struct data_call *call, struct slice name)
{
    return (struct store_ref){call->db, call->is_sharded ? slot_of(name) : 0, name};
}

struct data_key key_find(struct data_call *call, struct slice name)
{
    struct data_key key = {.call = call, .ref = key_ref(call, name)};
    key.is_there = store_key_find(call->txn, &key.ref, &key.object);
    call->hits += key.is_there;
    call->misses += !key.is_there;
    return key;
}

bool key_open(struct data_call *call, struct slice name, enum store_type type, struct data_key *key)
{
    *key = key_find(call, name);
    if (!key->is_there || key->object.type == type) { return true; }
    reply_error(call->reply, data_wrong_type);
    return false;
}

struct store_object *key_make(struct data_key *key, enum store_type type)
{
    if (!key->is_there) {
        store_key_create(key->call->txn, type, &key->object);
        key_changed(key->call, key->ref.name, "new", EVENT_NEW);
        key->is_there = true;
    }
    return &key->object;
}

void key_changed(const struct data_call *call, struct slice name, const char *event,
                 enum data_event class)
{
    if (call->listener == NULL) { return; }
    const struct data_change change = {call->db, name, event, class};
    call->listener->changed(call->listener->arg, &change);
}

void key_save(struct data_key *key, const char *event, enum data_event class)
{
    const struct store_object *object = &key->object;
    bool may_be_empty = object->type == STORE_STRING || object->type == STORE_STREAM;
    bool is_gone = object->count == 0 && !may_be_empty;
    if (!is_gone) {
        store_key_save(key->call->txn, &key->ref, &key->object);
    } else if (object->version > 0) {
        store_key_remove(key->call->txn, &key->ref, object);
        key->is_there = false;
    }
    key_changed(key->call, key->ref.name, event, class);
    if (is_gone) { key_changed(key->call, key->ref.name, "del", EVENT_GENERIC); }
}

struct data_key key_replace(struct data_call *call, struct slice name)
{
    struct data_key key = key_find(call, name);
    key.was_replaced = key.is_there;
    if (key.is_there) { store_key_remove(call->txn, &key.ref, &key.object); }
    key.is_there = false;
    key.object = (struct store_object){0};
    return key;
}

void key_replaced(struct data_key *key, const char *event, enum data_event class)
{
    uint64_t count = key->object.count;
    if (count > 0) {
        key_save(key, event, class);
    } else if (key->was_replaced) {
        key_changed(key->call, key->ref.name, "del", EVENT_GENERIC);
    }
    reply_int(key->call->reply, (int64_t)count);
}

void key_remove(struct data_key *key, const char *event, enum data_event class)
{
    store_key_remove(key->call->txn, &key->ref, &key->object);
    key->is_there = false;
    key_changed(key->call, key->ref.name, event, class);
}

void park_or_null(struct data_call *call, bool is_array)
{
    if (call->may_park) {
        call->is_parked = true;
    } else if (is_array) {
        reply_null_array(call->reply);
    } else {
        reply_null(call->reply);
    }
}
