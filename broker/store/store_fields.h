/* store_fields: what the keyspace needs of a hash whose fields have deadlines. Inside the store. */
#ifndef FANFARE_STORE_STORE_FIELDS_H
#define FANFARE_STORE_STORE_FIELDS_H

#include "store/store.h"

struct store_object;

/* How many fields are past their deadline by the transaction's time and not removed. */
uint64_t hash_count_past(struct store_txn *txn, const struct store_object *hash);

/* Remove such fields, at most so many. `hash` is as it stands: none of them is left out of its count. Afterwards
 * fields.next_ms is the first deadline of those that are left. Gives: how many went. */
uint64_t hash_remove_past(struct store_txn *txn, struct store_object *hash, uint64_t count);

#endif
