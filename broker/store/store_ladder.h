/* store_ladder: rank and index in an ordered collection in O(log n). Inside the store.
 *
 * Rows `c content level1 boundary` -> elements8 children4. A row of level 1 stands for the elements from its boundary up to
 * the next row's, a row of level n for the rows of level n - 1 from its boundary on; the lowest boundary of each level is
 * empty, and the highest level is one row. A boundary of level n is one of level n - 1, too. A row is split when it
 * has more than LADDER_ELEMENTS_MAX elements or LADDER_CHILDREN_MAX children, and goes when it is empty.
 *
 * An element is its key's end behind tag and content id. Collections of up to LADDER_FROM elements have no ladder: they
 * are walked. */
#ifndef FANFARE_STORE_STORE_LADDER_H
#define FANFARE_STORE_STORE_LADDER_H

#include "store/store_int.h"
#include "store/store_key.h"

enum {
    LADDER_FROM = 1024, /* elements above which there is one, */
    LADDER_UNTIL = 512, /* and below which it goes */
    LADDER_ELEMENTS_MAX = 256,
    LADDER_CHILDREN_MAX = 64,
};

/* An ordered collection: the object, and the tag of the rows that are its order. */
struct ladder {
    struct store_txn *txn;
    struct store_object *object;
    char tag;
};

/* After an element's row was put, and object->count raised. Changes object->levels: the caller saves the object. */
void ladder_added(const struct ladder *ladder, struct slice element);
/* After an element's row was deleted, and object->count lowered. */
void ladder_removed(const struct ladder *ladder, struct slice element);

/* How many elements are below `element`, which need not be there. */
uint64_t ladder_rank(const struct ladder *ladder, struct slice element);

/* Put `cursor`, begun over the collection's rows, on the element of this index. False: there is none. */
bool ladder_seek(const struct ladder *ladder, uint64_t index, struct store_cursor *cursor);

/* The prefix of the collection's rows. */
static inline void ladder_prefix(const struct ladder *ladder, struct store_key_bytes *prefix)
{
    key_begin(prefix, ladder->tag);
    key_u64(prefix, ladder->object->content);
}

#endif
