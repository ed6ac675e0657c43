/* store_set: sets over one transaction. Write calls change the object; the caller saves it, or removes it when its count is
 * 0. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_SET_H
#define FANFARE_STORE_STORE_SET_H

#include "store/store_walk.h"

bool store_set_has(struct store_txn *txn, const struct store_object *set, struct slice member);
/* True: the member is new. */
bool store_set_add(struct store_txn *txn, struct store_object *set, struct slice member);
/* False: there was none. */
bool store_set_delete(struct store_txn *txn, struct store_object *set, struct slice member);

/* All members, from a place in their order on and around: for SPOP and SRANDMEMBER a random one. */
bool store_set_walk(struct store_walk *walk, struct store_txn *txn, const struct store_object *set,
                    uint32_t from);
uint64_t store_set_scan(struct store_txn *txn, const struct store_object *set, uint64_t cursor,
                        uint64_t count, void (*visit)(void *arg, struct store_walk *walk),
                        void *arg);

#endif
