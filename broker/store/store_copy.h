/* store_copy: an object's content once more, under another name. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_COPY_H
#define FANFARE_STORE_STORE_COPY_H

#include "store/store_key.h"

/* Under a name that has none, with its deadline. Cost: that of writing all of it. */
void store_key_copy(struct store_txn *txn, const struct store_object *from,
                    const struct store_ref *to);

#endif
