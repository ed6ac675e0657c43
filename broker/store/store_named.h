/* store_named: elements that are found by a name: fields of hashes, members of sets and sorted sets. Rows `tag content
 * mix4 name`: mix4, a hash of the name, makes their order one that clients cannot choose, in which a random place is a
 * fair choice and a scan can go on after any change. Inside the store. */
#ifndef FANFARE_STORE_STORE_NAMED_H
#define FANFARE_STORE_STORE_NAMED_H

#include "store/store_walk.h"

void named_key(const struct store_txn *txn, char tag, uint64_t content, struct slice name,
               struct store_key_bytes *key);

/* Begin a walk at the first element whose mix is `mix` or above, and around the end to the first one if there is none.
 * False: the collection is empty. */
bool named_walk(struct store_walk *walk, struct store_txn *txn, char tag, uint64_t content,
                uint32_t mix);

/* One call of HSCAN, SSCAN, ZSCAN: elements from `cursor` on (0 at the beginning) until about `count` are visited; elements
 * of one mix come together. Gives: the next cursor; 0: the end. `visit` must not write. */
uint64_t named_scan(struct store_walk *walk, uint64_t cursor, uint64_t count,
                    void (*visit)(void *arg, struct store_walk *walk), void *arg);

#endif
