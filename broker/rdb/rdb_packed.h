/* rdb_packed: the packed forms in which Redis keeps small collections and writes them as one string: listpack (7.0 on),
 * ziplist, zipmap, intset. Borrows the bytes. Thread: whoever owns the struct.
 * Always: nothing outside the bytes is read, whatever they say. */
#ifndef FANFARE_RDB_RDB_PACKED_H
#define FANFARE_RDB_RDB_PACKED_H

#include "base/buf.h"
#include "rdb/rdb_in.h"

enum rdb_packing { RDB_LISTPACK, RDB_ZIPLIST, RDB_ZIPMAP, RDB_INTSET };

struct rdb_packed {
    enum rdb_packing packing;
    const char *at;
    const char *end;
    uint32_t number_bytes; /* of an intset */
    bool is_value;         /* of a zipmap: what comes next */
    uint64_t left;         /* of an intset */
};

/* An item, either form of which can be asked for: a number's text stands in `digits`. Not to be copied. */
struct rdb_item {
    bool is_number;
    int64_t number;
    struct slice text;
    char digits[RDB_NUMBER_TEXT_MAX];
};

enum rdb_next { RDB_ITEM, RDB_ITEMS_END, RDB_ITEMS_BAD };

/* False: the bytes are none of this form. */
MUST_USE bool rdb_packed_begin(struct rdb_packed *packed, enum rdb_packing packing,
                               struct slice bytes);
MUST_USE enum rdb_next rdb_packed_next(struct rdb_packed *packed, struct rdb_item *item);

/* ---- listpacks, written ---- */

struct rdb_listpack {
    struct buf bytes; /* of the listpack, without its end */
    uint32_t count;
};

/* Begin one, in the memory of the one before. */
void rdb_listpack_begin(struct rdb_listpack *pack);
void rdb_listpack_number(struct rdb_listpack *pack, int64_t v);
/* As a number if it is the text of one. */
void rdb_listpack_text(struct rdb_listpack *pack, struct slice text);
/* The whole of it; good until it is begun anew. */
struct slice rdb_listpack_end(struct rdb_listpack *pack);

#endif
