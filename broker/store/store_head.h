/* store_head: the row of a key (`k space slot name`) and the object that it stands for.
 * A log entry often writes to one key again and again: what is put of a key whose value does not stand in its row becomes a row
 * when the entry ends, or too many of them are open. Thread: the transaction's.
 * Always: rows depend on the entry alone, not on how entries share a transaction. */
#ifndef FANFARE_STORE_STORE_HEAD_H
#define FANFARE_STORE_STORE_HEAD_H

#include "store/store_int.h"
#include "store/store_object.h"

/* The head, whatever its deadline. False: there is none, or an error. */
bool head_get(struct store_txn *txn, uint32_t space, const struct store_ref *ref,
              struct store_object *out);
void head_put(struct store_txn *txn, uint32_t space, const struct store_ref *ref,
              const struct store_object *object);
void head_delete(struct store_txn *txn, uint32_t space, const struct store_ref *ref);

/* A row's bytes. `name`, where not NULL, is set if the name is long: to the one the head belongs to. False: it is damaged. */
bool head_decode(struct slice in, bool is_long, struct store_object *object, struct slice *name);

#endif
