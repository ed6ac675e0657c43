/* store_idmp: what producers of a stream have added under ids of their own, so that the same thing sent again is not added
 * again: over one transaction. Under an id of its own (stream.idmp.content), producers and their ids by hashes of 128 bits:
 *
 *   i content pid16          count8
 *   i content pid16 iid16    at8 n8 ms8 seq8: the entry's id
 *   w content 0 at8 n8       pid16 iid16: all, from the oldest on
 *   w content 1 pid16 n8     iid16: one producer's, the same
 *
 * One is forgotten so long after it was added as the stream says (old ones go as new ones come), or when its producer has too
 * many. Calls change the stream; the caller saves it. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_IDMP_H
#define FANFARE_STORE_STORE_IDMP_H

#include "store/store_key.h"

enum {
    STORE_IDMP_DURATION_S = 100, /* of a stream that says nothing else */
    STORE_IDMP_MAXSIZE = 100,
    STORE_IDMP_EVICTED = 4, /* of what is too old, at each addition */
};

/* The entry that was added under the id, and is remembered. False: none is. */
bool store_idmp_find(struct store_txn *txn, const struct store_object *stream, struct slice pid,
                     struct slice iid, struct store_id *entry);
/* Remember one that is not. */
void store_idmp_add(struct store_txn *txn, struct store_object *stream, struct slice pid,
                    struct slice iid, struct store_id entry);
/* Forget all. */
void store_idmp_clear(struct store_txn *txn, struct store_object *stream);

#endif
