/* store_int: transactions as the store's own files see them: keys, values, cursors. */
#ifndef FANFARE_STORE_STORE_INT_H
#define FANFARE_STORE_STORE_INT_H

#include <lmdb.h>

#include "base/buf.h"
#include "store/store_row.h"

enum {
    STORE_DATABASES_MAX = 64, /* whose counts one transaction changes */
    STORE_CURSORS_MAX = 4,    /* kept for use again */
};

struct store {
    MDB_env *env;
    MDB_dbi dbi;
    uint64_t hash_seed[2];
    bool has_seed; /* a new store: it was given one */
};

/* What a database number stands for. */
struct store_space {
    uint16_t db;
    uint32_t space; /* 0: the database has never been written */
    uint64_t keys;
    uint64_t expiring;
    bool is_dirty;
};

/* Entries that the present log entry appends to a stream: a row when another stream, or another log entry, comes, or
 * somebody reads. */
struct store_open_block {
    uint64_t content; /* of the stream; 0: none */
    struct store_id first;
    struct buf bytes;
};

struct store_txn {
    struct store *store;
    MDB_txn *mdb;
    size_t snapshot;           /* a reader: of which `space` and the counters are; 0: of none */
    struct store_ahead *ahead; /* a reader of all that is there; NULL: another one */
    struct store_found *found; /* a reader: the last head that it found; NULL: none ever */
    bool is_write;
    bool has_timers; /* something at a time, or unlinked, was put or removed */
    bool hid;        /* a reader: a key whose deadline is not past by clock_ms */
    enum err err;    /* the first one; sticks */
    uint64_t now_ms;
    uint64_t random; /* state of the entry's generator */
    /* The counters, as read at the beginning; of a write transaction: as they will be. */
    uint64_t applied;
    uint64_t clock_ms;
    uint64_t write_seq;
    uint64_t next_oid;
    uint32_t next_space;
    uint32_t digest;
    struct store_space space[STORE_DATABASES_MAX];
    uint32_t space_count;
    MDB_cursor *cursor[STORE_CURSORS_MAX];
    uint32_t cursor_count;
    uint32_t work;              /* calls of LMDB */
    void (*on_work)(void *arg); /* NULL: nobody wants to know */
    void *work_arg;
    struct buf scratch; /* a value that is being put together */
    struct store_open_block open_block;
    struct store_open_heads
        *open_heads; /* that the log entry has put (store_head.h); NULL: none ever */
};

/* ---- reading and writing ---- */

/* What LMDB answered. */
enum err store_err_of(int rc);

void txn_fail(struct store_txn *txn, enum err err);

/* Gives: the value, in LMDB's page until the transaction's next write or its end. False: no such key, or an error. */
bool txn_get(struct store_txn *txn, struct slice key, struct slice *value);
void txn_put(struct store_txn *txn, struct slice key, struct slice value);
/* False: there was none. */
bool txn_delete(struct store_txn *txn, struct slice key);

/* ---- cursors ---- */

void cursor_begin(struct store_cursor *cursor, struct store_txn *txn, struct slice prefix);
void cursor_end(struct store_cursor *cursor);
/* To the first key at or above, or the last one at or below. False: there is none with the prefix. */
bool cursor_seek(struct store_cursor *cursor, struct slice key);
bool cursor_seek_back(struct store_cursor *cursor, struct slice key);
bool cursor_first(struct store_cursor *cursor);
bool cursor_last(struct store_cursor *cursor);
bool cursor_next(struct store_cursor *cursor);
bool cursor_previous(struct store_cursor *cursor);
/* The pair under the cursor. Afterwards cursor_next goes to the one that followed it. */
void cursor_delete(struct store_cursor *cursor);

/* store_stream.c: the open block becomes a row. store_head.c: so do open heads. */
void stream_flush(struct store_txn *txn);
void heads_flush(struct store_txn *txn);

/* ---- databases ---- */

/* The transaction's record of a database. Write transactions: changed in place, set is_dirty. */
struct store_space *txn_space(struct store_txn *txn, uint16_t db);

/* ---- hashes, keyed by the store's seed ---- */

uint64_t store_hash64(const struct store *store, struct slice bytes);
void store_hash128(const struct store *store, struct slice bytes, uint64_t out[2]);

#endif
