/* store_string: strings over one transaction: short ones beside their head, longer ones in chunks, so that a few bytes in
 * the middle of 512 MB cost a page. Write calls change the object; the caller saves it. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_STRING_H
#define FANFARE_STORE_STORE_STRING_H

#include "base/buf.h"
#include "store/store_key.h"

/* The whole text: of a new or emptied object, or in place of what is there. `text` is kept until the object is saved. */
void store_string_set(struct store_txn *txn, struct store_object *string, struct slice text);

/* Append bytes from `at` on, at most `len`, to `out`. */
void store_string_read(struct store_txn *txn, const struct store_object *string, uint64_t at,
                       uint64_t len, struct buf *out);

/* Write bytes over what is there from `at` on; what lies between its end and `at` becomes zeros. A short text is put
 * together in `scratch`, which is kept until the object is saved. */
void store_string_write(struct store_txn *txn, struct store_object *string, uint64_t at,
                        struct slice bytes, struct buf *scratch);

#endif
