/* store_stream: the entries of streams over one transaction.
 *
 * Rows `x content ms8 seq8` -> a block: entries in the order of their ids, the first one's in the key. A block holds what one
 * log entry appended, up to a page, and is never rewritten to append; only a deletion rewrites it. Entries below the
 * object's first id are trimmed: they stand in a block whose rest is alive, and are not to be seen.
 *
 * Write calls change the object; the caller saves it (an empty stream is kept, as in Redis). Thread: the transaction's. */
#ifndef FANFARE_STORE_STORE_STREAM_H
#define FANFARE_STORE_STORE_STREAM_H

#include "store/store_walk.h"

static inline int store_id_compare(struct store_id a, struct store_id b)
{
    if (a.ms != b.ms) { return a.ms < b.ms ? -1 : 1; }
    if (a.seq != b.seq) { return a.seq < b.seq ? -1 : 1; }
    return 0;
}

#define STORE_ID_MAX ((struct store_id){UINT64_MAX, UINT64_MAX})

/* Append an entry; its id is above the last one's. `part` are fields and values in turn, an even number of them. */
void store_stream_add(struct store_txn *txn, struct store_object *stream, struct store_id id,
                      const struct slice *part, uint32_t part_count);

/* False: there is no such entry. */
bool store_stream_delete(struct store_txn *txn, struct store_object *stream, struct store_id id);

/* Remove entries from the oldest on: until `keep` are left, or all below `min` have gone, whichever the caller wants (the
 * other is 0). With is_loose only whole blocks go, and at most `limit` entries (0: no limit). Gives: how many went. */
struct store_trim {
    uint64_t keep;
    struct store_id min;
    bool is_by_id;
    bool is_loose;
    uint64_t limit;
};
uint64_t store_stream_trim(struct store_txn *txn, struct store_object *stream,
                           const struct store_trim *trim);

/* A walk over entries. Owns: a walk and a buffer, until store_entries_end. Nothing is written meanwhile. */
struct store_entries {
    struct store_walk walk;
    const struct store_object *stream;
    struct slice block; /* under the walk */
    struct buf long_block;
    struct buf offsets; /* of its entries that are there: uint32_t */
    size_t at;          /* in offsets */
    bool is_there;
    struct store_id id;  /* of the entry under the walk */
    uint32_t part_count; /* its fields and values */
    uint32_t part_at;
    struct slice parts;  /* encoded: store_entries_part takes them one after the other, */
    struct slice fields; /* fields from here if they are not its own */
    bool has_own_fields;
};

/* Begin at the first entry at or above `from` (STORE_UP), or the last one at or below it. */
bool store_entries_begin(struct store_entries *entries, struct store_txn *txn,
                         const struct store_object *stream, struct store_id from,
                         enum store_walk_way way);
bool store_entries_next(struct store_entries *entries);
void store_entries_end(struct store_entries *entries);
/* The next field or value of the entry under the walk; after part_count of them there is none. */
struct slice store_entries_part(struct store_entries *entries);

#endif
