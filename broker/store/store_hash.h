/* store_hash: hashes over one transaction. A field may have a deadline, and is hidden and removed as keys are (store_key.h):
 * no call finds one that is past it. Write calls change the object; the caller saves it, or removes it when its count
 * is 0. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_HASH_H
#define FANFARE_STORE_STORE_HASH_H

#include "store/store_walk.h"

/* Appends the field's value. False: there is none. */
bool store_hash_get(struct store_txn *txn, const struct store_object *hash, struct slice field,
                    struct buf *out);
/* Is there such a field, and how long is its value? `len` may be NULL. */
bool store_hash_has(struct store_txn *txn, const struct store_object *hash, struct slice field,
                    uint64_t *len);
/* True: the field is new. */
bool store_hash_put(struct store_txn *txn, struct store_object *hash, struct slice field,
                    struct slice value);
/* The same with a deadline; 0: none. store_hash_put takes the field's deadline away. */
bool store_hash_put_until(struct store_txn *txn, struct store_object *hash, struct slice field,
                          struct slice value, uint64_t expire_ms);
/* When the field ends; 0: never. False: there is no such field. */
bool store_hash_expiry(struct store_txn *txn, const struct store_object *hash, struct slice field,
                       uint64_t *expire_ms);
/* False: there is no such field. */
bool store_hash_set_expiry(struct store_txn *txn, struct store_object *hash, struct slice field,
                           uint64_t expire_ms);
/* False: there was none. */
bool store_hash_delete(struct store_txn *txn, struct store_object *hash, struct slice field);

/* All fields, from a place in their order on and around (a random one, for HRANDFIELD): the caller counts. */
bool store_hash_walk(struct store_walk *walk, struct store_txn *txn,
                     const struct store_object *hash, uint32_t from);
/* named_scan over the hash. */
uint64_t store_hash_scan(struct store_txn *txn, const struct store_object *hash, uint64_t cursor,
                         uint64_t count, void (*visit)(void *arg, struct store_walk *walk),
                         void *arg);

#endif
