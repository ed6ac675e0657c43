/* store_set: sets. */
#include "store/store_set.h"

#include "store/store_int.h"
#include "store/store_named.h"
#include "store/store_value.h"

bool store_set_has(struct store_txn *txn, const struct store_object *set, struct slice member)
{
    struct store_key_bytes key;
    struct slice value;
    named_key(txn, 's', set->content, member, &key);
    return txn_get(txn, key_slice(&key), &value);
}

bool store_set_add(struct store_txn *txn, struct store_object *set, struct slice member)
{
    if (store_set_has(txn, set, member)) { return false; }
    struct store_key_bytes key;
    named_key(txn, 's', set->content, member, &key);
    name_put(txn, &key, member);
    set->count++;
    return true;
}

bool store_set_delete(struct store_txn *txn, struct store_object *set, struct slice member)
{
    struct store_key_bytes key;
    named_key(txn, 's', set->content, member, &key);
    if (!txn_delete(txn, key_slice(&key))) { return false; }
    set->count--;
    return true;
}

bool store_set_walk(struct store_walk *walk, struct store_txn *txn, const struct store_object *set,
                    uint32_t from)
{
    return named_walk(walk, txn, 's', set->content, from);
}

uint64_t store_set_scan(struct store_txn *txn, const struct store_object *set, uint64_t cursor,
                        uint64_t count, void (*visit)(void *arg, struct store_walk *walk),
                        void *arg)
{
    struct store_walk walk;
    walk_begin(&walk, txn, 's', set->content, STORE_UP);
    uint64_t next = named_scan(&walk, cursor, count, visit, arg);
    store_walk_end(&walk);
    return next;
}
