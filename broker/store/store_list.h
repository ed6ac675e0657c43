/* store_list: lists over one transaction. Elements stand at positions (`l content position8`), STEP apart where they
 * were pushed, so that there is room between them. Indexes count from the head, from 0. All write calls change the
 * object; the caller saves it, or removes it when its count is 0. Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_LIST_H
#define FANFARE_STORE_STORE_LIST_H

#include "base/buf.h"
#include "store/store_key.h"
#include "store/store_walk.h"

enum store_end { STORE_HEAD, STORE_TAIL };

void store_list_push(struct store_txn *txn, struct store_object *list, enum store_end end,
                     struct slice bytes);
/* Appends the element to `out`. The list is not empty. */
void store_list_pop(struct store_txn *txn, struct store_object *list, enum store_end end,
                    struct buf *out);

/* Appends the element of this index. False: there is none. */
bool store_list_get(struct store_txn *txn, const struct store_object *list, uint64_t index,
                    struct buf *out);
/* False: there is none. */
bool store_list_set(struct store_txn *txn, struct store_object *list, uint64_t index,
                    struct slice bytes);

/* Begin a walk at this index. Its items have a value; see store_walk.h. */
bool store_list_walk(struct store_walk *walk, struct store_txn *txn,
                     const struct store_object *list, uint64_t index, enum store_walk_way way);

/* Insert before the element that has this index now; index == count: behind the last one. */
void store_list_insert(struct store_txn *txn, struct store_object *list, uint64_t index,
                       struct slice bytes);

/* Remove `count` elements from this index on. */
void store_list_remove(struct store_txn *txn, struct store_object *list, uint64_t index,
                       uint64_t count);

/* Remove elements equal to `bytes`, at most `count` of them, beginning at this end. Gives: how many. */
uint64_t store_list_remove_equal(struct store_txn *txn, struct store_object *list,
                                 struct slice bytes, uint64_t count, enum store_end end);

#endif
