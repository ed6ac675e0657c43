/* store: the environment, transactions, and what every transaction carries: counters, digest, the first error. */
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/store_ahead.h"
#include "store/store_int.h"

enum {
    COUNTERS_BYTES = 1 + 8 * 4 + 4 + 4 + 16,
    SPACE_BYTES = 4 + 8 + 8,
    WORK_COUNT = 512, /* calls of LMDB between two words to who wants to know; a power of two */
};

static const struct slice counters_key = {"!", 1};

enum err store_err_of(int rc)
{
    switch (rc) {
    case MDB_SUCCESS: return ERR_OK;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT: return ERR_FULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE: return ERR_CORRUPT;
    default: errno = rc > 0 ? rc : EIO; return ERR_SYSTEM;
    }
}

/* ---- the counters ---- */

static void counters_encode(const struct store_txn *txn, struct store_key_bytes *out)
{
    key_begin(out, STORE_FORMAT);
    key_u64(out, txn->applied);
    key_u64(out, txn->clock_ms);
    key_u64(out, txn->write_seq);
    key_u64(out, txn->next_oid);
    key_u32(out, txn->next_space);
    key_u32(out, txn->digest);
    key_u64(out, txn->store->hash_seed[0]);
    key_u64(out, txn->store->hash_seed[1]);
}

static bool counters_decode(struct store_txn *txn, struct slice in, uint64_t hash_seed[2])
{
    bool is_known = in.len == COUNTERS_BYTES && in.data[0] >= 1 && in.data[0] <= STORE_FORMAT;
    if (!is_known) { return false; }
    const char *at = in.data + 1;
    txn->applied = read_u64(at);
    txn->clock_ms = read_u64(at + 8);
    txn->write_seq = read_u64(at + 16);
    txn->next_oid = read_u64(at + 24);
    txn->next_space = read_u32(at + 32);
    txn->digest = read_u32(at + 36);
    hash_seed[0] = read_u64(at + 40);
    hash_seed[1] = read_u64(at + 48);
    return true;
}

static void counters_read(struct store_txn *txn)
{
    struct slice value;
    uint64_t hash_seed[2];
    if (!txn_get(txn, counters_key, &value)) {
        txn_fail(txn, ERR_CORRUPT);
    } else if (!counters_decode(txn, value, hash_seed)) {
        txn_fail(txn, ERR_CORRUPT);
    }
    txn->space_count = 0;
}

/* ---- the environment ---- */

/* A new store's counters, or those that are there. */
static enum err store_found(struct store *store, const struct store_opts *opts)
{
    struct store_txn txn = {.store = store, .is_write = true};
    enum err err = store_err_of(mdb_txn_begin(store->env, NULL, 0, &txn.mdb));
    if (err != ERR_OK) { return err; }
    err = store_err_of(mdb_dbi_open(txn.mdb, NULL, 0, &store->dbi));
    struct slice value;
    if (err != ERR_OK) {
        goto abort;
    } else if (txn_get(&txn, counters_key, &value)) {
        if (!counters_decode(&txn, value, store->hash_seed)) { err = ERR_CORRUPT; }
    } else if (txn.err == ERR_OK) {
        memcpy(store->hash_seed, opts->hash_seed, sizeof store->hash_seed);
        store->has_seed = (opts->hash_seed[0] | opts->hash_seed[1]) != 0;
        txn.next_oid = 1;
        txn.next_space = 1;
        struct store_key_bytes counters;
        counters_encode(&txn, &counters);
        txn_put(&txn, counters_key, key_slice(&counters));
    }
    if (err == ERR_OK) { err = txn.err; }
    if (err != ERR_OK) { goto abort; }
    return store_err_of(mdb_txn_commit(txn.mdb));
abort:
    mdb_txn_abort(txn.mdb);
    return err;
}

enum err store_open(struct store **out, const struct store_opts *opts)
{
    struct store *store = mem_new0(sizeof *store);
    const unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC | MDB_NORDAHEAD;
    enum err err = store_err_of(mdb_env_create(&store->env));
    if (err == ERR_OK) { err = store_err_of(mdb_env_set_mapsize(store->env, opts->map_bytes)); }
    if (err == ERR_OK) {
        err = store_err_of(mdb_env_set_maxreaders(store->env, opts->readers_max));
    }
    if (err == ERR_OK) { err = store_err_of(mdb_env_open(store->env, opts->path, flags, 0600)); }
    if (err == ERR_OK) { err = store_found(store, opts); }
    if (err != ERR_OK) {
        store_close(store);
        return err;
    }
    *out = store;
    return ERR_OK;
}

void store_close(struct store *store)
{
    if (store == NULL) { return; }
    if (store->env != NULL) { mdb_env_close(store->env); }
    mem_free(store);
}

enum err store_sync(struct store *store)
{
    return store_err_of(mdb_env_sync(store->env, 1));
}

/* A line of LMDB's list of readers: process, thread, and the transaction that it reads, if it does. */
static int on_reader(const char *line, void *arg)
{
    uint64_t *oldest = arg;
    uint64_t txn;
    if (sscanf(line, "%*d %*x %" SCNu64, &txn) == 1 && txn < *oldest) { *oldest = txn; }
    return 0;
}

struct store_size store_size(const struct store *store)
{
    MDB_envinfo info;
    MDB_stat stat;
    CHECK(mdb_env_info(store->env, &info) == 0 && mdb_env_stat(store->env, &stat) == 0);
    uint64_t oldest = info.me_last_txnid;
    CHECK(mdb_reader_list(store->env, on_reader, &oldest) >= 0);
    uint64_t pages = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    return (struct store_size){
        .used_bytes = pages * stat.ms_psize,
        .file_bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize,
        .reader_lag = info.me_last_txnid - oldest,
    };
}

size_t store_reserved_bytes(void)
{
    enum {
        PAGES_MAX = 1 << 17
    }; /* of a transaction: its pages that are changed, and those that get free */
    return heap_class_bytes((PAGES_MAX + 1) * sizeof(size_t)) +
           heap_class_bytes(PAGES_MAX * (sizeof(size_t) + sizeof(void *)));
}

struct store_size store_txn_size(const struct store_txn *txn)
{
    return store_size(txn->store);
}

/* ---- transactions ---- */

/* What the transaction has besides LMDB's own. */
static void txn_fini(struct store_txn *txn)
{
    for (uint32_t i = 0; i < txn->cursor_count; i++) {
        mdb_cursor_close(txn->cursor[i]);
    }
    txn->cursor_count = 0;
    mem_free(txn->found);
    mem_free(txn->ahead);
    mem_free(txn->open_heads);
    buf_fini(&txn->scratch);
    buf_fini(&txn->open_block.bytes);
}

enum err store_begin(struct store *store, struct store_txn **out)
{
    struct store_txn *txn = mem_new0(sizeof *txn);
    txn->store = store;
    txn->is_write = true;
    enum err err = store_err_of(mdb_txn_begin(store->env, NULL, 0, &txn->mdb));
    if (err == ERR_OK) {
        counters_read(txn);
        err = txn->err;
        if (err != ERR_OK) { mdb_txn_abort(txn->mdb); }
    }
    if (err != ERR_OK) {
        mem_free(txn);
        return err;
    }
    *out = txn;
    return ERR_OK;
}

/* splitmix64 (Steele, Lea and Flood, 2014) */
static uint64_t mix_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* Nothing is hashed yet. If the transaction is aborted, the same entry comes again. */
static void seed_hashes(struct store *store, uint64_t seed)
{
    store->hash_seed[0] = mix_next(&seed);
    store->hash_seed[1] = mix_next(&seed);
}

void store_txn_entry(struct store_txn *txn, uint64_t now_ms, uint64_t seed)
{
    CHECK(txn->is_write && now_ms >= txn->clock_ms);
    stream_flush(txn);
    heads_flush(txn);
    if (txn->clock_ms == 0 && !txn->store->has_seed) { seed_hashes(txn->store, seed); }
    txn->now_ms = now_ms;
    txn->clock_ms = now_ms;
    txn->random = seed;
}

static void spaces_write(struct store_txn *txn)
{
    for (uint32_t i = 0; i < txn->space_count; i++) {
        const struct store_space *space = &txn->space[i];
        if (!space->is_dirty) { continue; }
        struct store_key_bytes key;
        key_begin(&key, 'D');
        key_u16(&key, space->db);
        struct store_key_bytes value = {0};
        key_u32(&value, space->space);
        key_u64(&value, space->keys);
        key_u64(&value, space->expiring);
        txn_put(txn, key_slice(&key), key_slice(&value));
    }
}

enum err store_commit(struct store_txn *txn)
{
    CHECK(txn->is_write);
    stream_flush(txn);
    heads_flush(txn);
    spaces_write(txn);
    struct store_key_bytes counters;
    counters_encode(txn, &counters);
    txn_put(txn, counters_key, key_slice(&counters));
    txn_fini(txn);
    enum err err = txn->err;
    if (err == ERR_OK) {
        err = store_err_of(mdb_txn_commit(txn->mdb));
    } else {
        mdb_txn_abort(txn->mdb);
    }
    mem_free(txn);
    return err;
}

void store_abort(struct store_txn *txn)
{
    txn_fini(txn);
    mdb_txn_abort(txn->mdb);
    mem_free(txn);
}

enum err store_reader_new(struct store *store, struct store_txn **out)
{
    struct store_txn *txn = mem_new0(sizeof *txn);
    txn->store = store;
    enum err err = store_err_of(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn->mdb));
    if (err != ERR_OK) {
        mem_free(txn);
        return err;
    }
    mdb_txn_reset(txn->mdb);
    *out = txn;
    return ERR_OK;
}

void store_reader_free(struct store_txn *txn)
{
    if (txn == NULL) { return; }
    txn_fini(txn);
    mdb_txn_abort(txn->mdb);
    mem_free(txn);
}

enum err store_reader_begin(struct store_txn *txn, uint64_t now_ms, uint64_t seed)
{
    enum err err = store_err_of(mdb_txn_renew(txn->mdb));
    if (err != ERR_OK) { return err; }
    txn->err = ERR_OK;
    txn->hid = false;
    txn->now_ms = now_ms;
    txn->random = seed;
    if (txn->snapshot == mdb_txn_id(txn->mdb)) { return ERR_OK; } /* it has all of that */
    counters_read(txn);
    txn->snapshot = txn->err == ERR_OK ? mdb_txn_id(txn->mdb) : 0;
    if (txn->err != ERR_OK) { mdb_txn_reset(txn->mdb); }
    return txn->err;
}

void store_reader_read_ahead(struct store_txn *txn)
{
    if (txn->ahead == NULL) { txn->ahead = mem_new0(sizeof *txn->ahead); }
}

void store_reader_set_now(struct store_txn *txn, uint64_t now_ms)
{
    CHECK(!txn->is_write);
    txn->now_ms = now_ms;
}

void store_reader_end(struct store_txn *txn)
{
    if (UNLIKELY(txn->err != ERR_OK)) { txn->snapshot = 0; }
    mdb_txn_reset(txn->mdb);
}

bool store_reader_hid(const struct store_txn *txn)
{
    return txn->hid;
}

bool store_txn_take_timers(struct store_txn *txn)
{
    bool has_timers = txn->has_timers;
    txn->has_timers = false;
    return has_timers;
}

enum err store_txn_err(const struct store_txn *txn)
{
    return txn->err;
}

uint64_t store_txn_now_ms(const struct store_txn *txn)
{
    return txn->now_ms;
}

uint64_t store_txn_random(struct store_txn *txn)
{
    return mix_next(&txn->random);
}

uint64_t store_applied(const struct store_txn *txn)
{
    return txn->applied;
}

void store_txn_on_work(struct store_txn *txn, void (*on_work)(void *arg), void *arg)
{
    txn->on_work = on_work;
    txn->work_arg = arg;
}

void store_txn_work(struct store_txn *txn)
{
    bool is_much = (++txn->work & (WORK_COUNT - 1)) == 0;
    if (UNLIKELY(is_much) && txn->on_work != NULL) { txn->on_work(txn->work_arg); }
}

void store_set_applied(struct store_txn *txn, uint64_t index)
{
    CHECK(txn->is_write && index >= txn->applied);
    txn->applied = index;
}

uint64_t store_clock_ms(const struct store_txn *txn)
{
    return txn->clock_ms;
}

uint32_t store_digest(const struct store_txn *txn)
{
    return txn->digest;
}

/* ---- reading and writing ---- */

void txn_fail(struct store_txn *txn, enum err err)
{
    if (txn->err == ERR_OK) { txn->err = err; }
}

static MDB_val val_of(struct slice s)
{
    return (MDB_val){s.len, (void *)(uintptr_t)s.data};
}

static struct slice slice_of_val(MDB_val v)
{
    return slice_of(v.mv_data, v.mv_size);
}

bool txn_get(struct store_txn *txn, struct slice key, struct slice *value)
{
    store_txn_work(txn);
    if (txn->err != ERR_OK) { return false; }
    MDB_val k = val_of(key);
    MDB_val v;
    int rc = mdb_get(txn->mdb, txn->store->dbi, &k, &v);
    if (rc == MDB_SUCCESS) {
        *value = slice_of_val(v);
        ahead_look(txn->ahead, v.mv_data);
        return true;
    }
    if (rc != MDB_NOTFOUND) { txn_fail(txn, store_err_of(rc)); }
    return false;
}

/* The counters, and the databases' counts, are put once a transaction: they are left out, since replicas batch the
 * same entries differently. */
static void note_change(struct store_txn *txn, char what, struct slice key, struct slice value)
{
    if (key.data[0] == '!' || key.data[0] == 'D') { return; }
    txn->has_timers |= key.data[0] == 't' || key.data[0] == 'b';
    uint32_t head[2] = {htobe32((uint32_t)key.len << 8 | (unsigned char)what),
                        htobe32((uint32_t)value.len)};
    txn->digest = crc32c(txn->digest, head, sizeof head);
    txn->digest = crc32c(txn->digest, key.data, key.len);
    txn->digest = crc32c(txn->digest, value.data, value.len);
}

void txn_put(struct store_txn *txn, struct slice key, struct slice value)
{
    CHECK(txn->is_write);
    store_txn_work(txn);
    if (txn->err != ERR_OK) { return; }
    note_change(txn, '+', key, value);
    MDB_val k = val_of(key);
    MDB_val v = val_of(value);
    int rc = mdb_put(txn->mdb, txn->store->dbi, &k, &v, 0);
    if (rc != MDB_SUCCESS) { txn_fail(txn, store_err_of(rc)); }
}

bool txn_delete(struct store_txn *txn, struct slice key)
{
    CHECK(txn->is_write);
    store_txn_work(txn);
    if (txn->err != ERR_OK) { return false; }
    MDB_val k = val_of(key);
    int rc = mdb_del(txn->mdb, txn->store->dbi, &k, NULL);
    if (rc == MDB_SUCCESS) {
        note_change(txn, '-', key, SLICE(""));
        return true;
    }
    if (rc != MDB_NOTFOUND) { txn_fail(txn, store_err_of(rc)); }
    return false;
}

/* ---- cursors ---- */

void cursor_begin(struct store_cursor *cursor, struct store_txn *txn, struct slice prefix)
{
    *cursor = (struct store_cursor){.txn = txn, .prefix = prefix};
    if (txn->err != ERR_OK) { return; }
    int rc = MDB_SUCCESS;
    if (txn->cursor_count > 0) {
        cursor->mdb = txn->cursor[--txn->cursor_count];
        if (!txn->is_write) { rc = mdb_cursor_renew(txn->mdb, cursor->mdb); }
    } else {
        rc = mdb_cursor_open(txn->mdb, txn->store->dbi, &cursor->mdb);
    }
    if (rc != MDB_SUCCESS) { txn_fail(txn, store_err_of(rc)); }
}

void cursor_end(struct store_cursor *cursor)
{
    struct store_txn *txn = cursor->txn;
    if (cursor->mdb == NULL) { return; }
    if (txn->cursor_count < STORE_CURSORS_MAX) {
        txn->cursor[txn->cursor_count++] = cursor->mdb;
    } else {
        mdb_cursor_close(cursor->mdb);
    }
    cursor->mdb = NULL;
}

static bool cursor_move(struct store_cursor *cursor, struct slice key, MDB_cursor_op op)
{
    store_txn_work(cursor->txn);
    if (cursor->txn->err != ERR_OK) { return false; }
    MDB_val k = val_of(key);
    MDB_val v;
    int rc = mdb_cursor_get(cursor->mdb, &k, &v, op);
    if (rc != MDB_SUCCESS) {
        if (rc != MDB_NOTFOUND) { txn_fail(cursor->txn, store_err_of(rc)); }
        return false;
    }
    cursor->key = slice_of_val(k);
    cursor->value = slice_of_val(v);
    ahead_look(cursor->txn->ahead, k.mv_data);
    ahead_look(cursor->txn->ahead, v.mv_data); /* which may be elsewhere, if it is long */
    return slice_starts_with(cursor->key, cursor->prefix);
}

bool cursor_seek(struct store_cursor *cursor, struct slice key)
{
    return cursor_move(cursor, key, MDB_SET_RANGE);
}

bool cursor_seek_back(struct store_cursor *cursor, struct slice key)
{
    if (cursor->txn->err != ERR_OK) { return false; }
    MDB_val k = val_of(key);
    MDB_val v;
    int rc = mdb_cursor_get(cursor->mdb, &k, &v, MDB_SET_RANGE);
    if (rc == MDB_NOTFOUND) { return cursor_move(cursor, key, MDB_LAST); }
    if (rc != MDB_SUCCESS) {
        txn_fail(cursor->txn, store_err_of(rc));
        return false;
    }
    if (!slice_equal(slice_of_val(k), key)) { return cursor_move(cursor, key, MDB_PREV); }
    cursor->key = slice_of_val(k);
    cursor->value = slice_of_val(v);
    return slice_starts_with(cursor->key, cursor->prefix);
}

bool cursor_first(struct store_cursor *cursor)
{
    return cursor_seek(cursor, cursor->prefix);
}

bool cursor_last(struct store_cursor *cursor)
{
    /* The first key that is above all with the prefix: a prefix ends with a number, which is never all ones. */
    struct store_key_bytes above = {0};
    key_append(&above, cursor->prefix.data, cursor->prefix.len);
    while (above.bytes[above.len - 1] == 0xff) {
        above.len--;
    }
    above.bytes[above.len - 1]++;
    if (cursor_seek_back(cursor, key_slice(&above))) { return true; }
    return cursor_previous(cursor) && slice_starts_with(cursor->key, cursor->prefix);
}

bool cursor_next(struct store_cursor *cursor)
{
    return cursor_move(cursor, cursor->key, MDB_NEXT);
}

bool cursor_previous(struct store_cursor *cursor)
{
    return cursor_move(cursor, cursor->key, MDB_PREV);
}

void cursor_delete(struct store_cursor *cursor)
{
    store_txn_work(cursor->txn);
    if (cursor->txn->err != ERR_OK) { return; }
    note_change(cursor->txn, '-', cursor->key, SLICE(""));
    int rc = mdb_cursor_del(cursor->mdb, 0);
    if (rc != MDB_SUCCESS) { txn_fail(cursor->txn, store_err_of(rc)); }
}

/* ---- databases ---- */

struct store_space *txn_space(struct store_txn *txn, uint16_t db)
{
    for (uint32_t i = 0; i < txn->space_count; i++) {
        if (txn->space[i].db == db) { return &txn->space[i]; }
    }
    CHECK(txn->space_count < STORE_DATABASES_MAX);
    struct store_space *space = &txn->space[txn->space_count++];
    *space = (struct store_space){.db = db};
    struct store_key_bytes key;
    key_begin(&key, 'D');
    key_u16(&key, db);
    struct slice value;
    if (!txn_get(txn, key_slice(&key), &value)) { return space; }
    if (value.len != SPACE_BYTES) {
        txn_fail(txn, ERR_CORRUPT);
        return space;
    }
    space->space = read_u32(value.data);
    space->keys = read_u64(value.data + 4);
    space->expiring = read_u64(value.data + 12);
    return space;
}
