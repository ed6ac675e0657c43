/* store_scratch: a store in a folder of its own, and one write transaction after the other. */
#ifndef FANFARE_TESTS_UNIT_STORE_SCRATCH_H
#define FANFARE_TESTS_UNIT_STORE_SCRATCH_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/store_int.h"
#include "store/store_key.h"

struct scratch {
    char dir[64];
    char path[80];
    struct store *store;
    struct store_txn *txn;
    uint64_t now_ms;
    uint64_t random;
};

static inline uint64_t scratch_random(struct scratch *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random;
}

static inline enum err scratch_open(struct scratch *s, uint64_t map_bytes)
{
    const struct store_opts opts = {
        .path = s->path, .map_bytes = map_bytes, .readers_max = 8, .hash_seed = {7, 11}};
    return store_open(&s->store, &opts);
}

static inline void scratch_begin(struct scratch *s)
{
    cr_assert_eq(store_begin(s->store, &s->txn), ERR_OK);
    store_txn_entry(s->txn, s->now_ms, 42);
}

static inline void scratch_commit(struct scratch *s)
{
    cr_assert_eq(store_commit(s->txn), ERR_OK);
}

/* Commit, and go on in the next transaction. */
static inline void scratch_next(struct scratch *s)
{
    scratch_commit(s);
    scratch_begin(s);
}

static inline void scratch_init(struct scratch *s, uint64_t seed)
{
    *s = (struct scratch){.now_ms = 1000, .random = seed * 0x9e3779b97f4a7c15 + 1};
    const char *tmp = getenv("TMPDIR");
    snprintf(s->dir, sizeof s->dir, "%s/store.XXXXXX", tmp != NULL ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(s->dir));
    snprintf(s->path, sizeof s->path, "%s/data", s->dir);
    cr_assert_eq(scratch_open(s, 1ULL << 30), ERR_OK);
    scratch_begin(s);
}

/* The rows of the committed state: 2 are there when there is no key, the counters and one database's. */
static inline size_t scratch_rows(struct scratch *s)
{
    MDB_stat stat;
    scratch_next(s);
    mdb_env_stat(s->store->env, &stat);
    return stat.ms_entries;
}

static inline void scratch_fini(struct scratch *s)
{
    char lock[96];
    scratch_commit(s);
    store_close(s->store);
    snprintf(lock, sizeof lock, "%s-lock", s->path);
    unlink(s->path);
    unlink(lock);
    cr_assert_eq(rmdir(s->dir), 0);
}

/* Purge what is unlinked, and have nothing left but the counters and the database's record. */
static inline void scratch_expect_empty(struct scratch *s)
{
    while (store_purge(s->txn, 100)) {
        scratch_next(s);
    }
    cr_assert_eq(store_txn_err(s->txn), ERR_OK);
    cr_assert_eq(scratch_rows(s), 2, "%zu rows are left", scratch_rows(s));
}

/* The number behind the colon of a name such as `key:12`. */
static inline unsigned number_in(struct slice name)
{
    unsigned number = 0;
    for (size_t at = 0; at < name.len; at++) {
        char c = name.data[at];
        if (c >= '0' && c <= '9') { number = number * 10 + (unsigned)(c - '0'); }
    }
    return number;
}

#endif
