/* store_value: bytes beside a key: short ones inline, long ones in chunks of their own; and the parts of a key that stand
 * for a name. Inside the store.
 *
 * A value: flags1, then if it has a deadline expire8, then of a long name length4 and the name, then the bytes, or oid8
 * length8 of a long value. */
#ifndef FANFARE_STORE_STORE_VALUE_H
#define FANFARE_STORE_STORE_VALUE_H

#include "base/buf.h"
#include "store/store_int.h"
#include "store/store_object.h"

/* A name in a key: whole, or its beginning and a hash that makes it longer than any whole one. */
void key_name(const struct store_txn *txn, struct store_key_bytes *key, struct slice name);

static inline bool name_is_long(struct slice name)
{
    return name.len > STORE_NAME_MAX;
}

/* Chunks of a long value under an id. */
void chunks_write(struct store_txn *txn, uint64_t oid, uint64_t at, struct slice bytes);
void chunks_read(struct store_txn *txn, uint64_t oid, uint64_t at, uint64_t len, struct buf *out);
/* All from byte `at` on go. */
void chunks_truncate(struct store_txn *txn, uint64_t oid, uint64_t at);
/* At most `count` of them. Gives: how many went. */
uint64_t chunks_remove(struct store_txn *txn, uint64_t oid, uint64_t count);

/* A value of an element. `name` is the element's, kept if it is long. */
void value_put(struct store_txn *txn, const struct store_key_bytes *key, struct slice name,
               struct slice bytes);
/* The same with a deadline; 0: none. */
void value_put_until(struct store_txn *txn, const struct store_key_bytes *key, struct slice name,
                     struct slice bytes, uint64_t expire_ms);
/* The deadline; 0: none. */
uint64_t value_expiry(struct store_txn *txn, struct slice value);
/* Is it past by the transaction's time? A reader that hides it notes whether others know that time. */
bool value_is_past(struct store_txn *txn, struct slice value);
/* Let the value have another deadline, or none. */
void value_set_expiry(struct store_txn *txn, struct buf *value, uint64_t expire_ms);
/* A row that says no more than that the name is there: empty, but for a long name. */
void name_put(struct store_txn *txn, const struct store_key_bytes *key, struct slice name);
/* The score in a sorted set's value. */
double value_score(struct store_txn *txn, struct slice value);
/* The id of the value's chunks; 0: it has none. */
uint64_t value_chunks(struct store_txn *txn, struct slice value);
/* Let a value that has chunks have those under another id. */
void value_set_chunks(struct buf *value, uint64_t oid);
/* The name in a key's end, or in the value if it is long. */
struct slice value_name(struct store_txn *txn, struct slice key_end, struct slice value);
/* Append the bytes. */
void value_read(struct store_txn *txn, struct slice value, struct buf *out);
/* The bytes where they are, if they are inline; else they are read into `scratch`. */
struct slice value_bytes(struct store_txn *txn, struct slice value, struct buf *scratch);
uint64_t value_len(struct store_txn *txn, struct slice value);

#endif
