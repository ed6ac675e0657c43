/* store_walk: over the elements of a collection in its order, either way.
 * Owns: a cursor and a buffer, until store_walk_end; it points into itself and is not copied. While it goes on nothing is written in the transaction. */
#ifndef FANFARE_STORE_STORE_WALK_H
#define FANFARE_STORE_STORE_WALK_H

#include "base/buf.h"
#include "store/store_key.h"
#include "store/store_row.h"

enum store_walk_way { STORE_UP, STORE_DOWN };

struct store_walk {
    struct store_cursor cursor;
    struct store_key_bytes prefix;
    enum store_walk_way way;
    bool is_there; /* on an element */
    struct buf scratch;
};

/* Begin, on no element yet: the collections' own calls put it on one. */
void walk_begin(struct store_walk *walk, struct store_txn *txn, char tag, uint64_t content,
                enum store_walk_way way);

/* From a field that is past its deadline to the next one that is not. False: there is none. */
bool walk_settle(struct store_walk *walk);

/* To the next element. False: there is none. */
bool store_walk_next(struct store_walk *walk);
void store_walk_end(struct store_walk *walk);

/* Of the element under the walk; good until it moves. */
struct slice store_walk_name(
    const struct store_walk *walk); /* hashes: the field; sets, sorted sets: the member */
struct slice store_walk_value(struct store_walk *walk);       /* lists, hashes */
uint64_t store_walk_value_len(const struct store_walk *walk); /* the same, not read */
double store_walk_score(const struct store_walk *walk); /* sorted sets, in the order of scores */

#endif
