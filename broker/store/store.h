/* store: one partition's data in an LMDB environment, and its transactions.
 *
 * Owns: the environment, the partition's counters (applied index, clock, write sequence, digest). Not: Redis's
 * commands, Raft, time: what a transaction writes depends on its arguments alone, so that every replica computes the
 * same bytes. No call here reads a clock, a random source, an address or an option.
 *
 * Durability: none of its own. Commits are not synced; after a crash of the process all committed transactions are
 * there, after a crash of the machine the environment is thrown away and rebuilt from a snapshot and the log.
 *
 * Errors in a transaction stick: after the first one reads find nothing, writes do nothing, and store_commit returns it.
 * So a handler checks no put, and a full disk undoes the whole batch.
 *
 * Layout, format 2 (1 is the same without deadlines of fields, and is taken for it). One tree; a key is a tag and big-endian numbers. `space` (4 bytes) stands for a database, which
 * FLUSHDB and SWAPDB exchange at once; `slot` (2) is 0 where a database is whole; `oid` (8) is given to each object once.
 *
 *   !                         the partition's counters
 *   D db2                     space4 keys8 expiring8; not in the digest, as !
 *   k space slot name         a key's head: store_key.h
 *   o space slot oid          name; the order of SCAN
 *   v oid chunk4              4,080 bytes of a long value
 *   l oid position8           an element of a list
 *   h oid mix4 field          a field of a hash
 *   e oid at8 field           a field's deadline; who looks for fields that are past theirs walks here
 *   s oid mix4 member         a member of a set
 *   z oid mix4 member         score8: a member of a sorted set
 *   y oid score8 member       the same in the order of the scores
 *   c oid level1 boundary     elements8 children4: store_ladder.h
 *   x oid ms8 seq8            entries of a stream: store_stream.h
 *   g oid group, n oid gid4 consumer, p oid gid4 ms8 seq8, j oid gid4 cid4 ms8 seq8: store_group.h
 *   i oid pid iid, w oid ...  ids of producers: store_idmp.h
 *   t at8 kind1 space slot oid   something that happens at a time: a key's deadline, the first one of a hash's fields
 *   f sha20, F order8         texts of scripts: store_script.h
 *   b kind1 id                what is unlinked and not removed yet: store_unlink.h
 *   u lane, r lane seq8       numbers of origins and what they were answered: store_lane.h
 *
 * An LMDB key ends at 511 bytes. A name, field or member above STORE_NAME_MAX keeps its first bytes and a keyed hash
 * of 128 bits in the key; the whole of it stands in the value, and is compared. */
#ifndef FANFARE_STORE_STORE_H
#define FANFARE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"

enum { STORE_FORMAT = 2 };

struct store;
struct store_txn;

/* The id of a stream's entry. */
struct store_id {
    uint64_t ms;
    uint64_t seq;
};

struct store_opts {
    const char *path;     /* of the file; LMDB's lock file is beside it */
    uint64_t map_bytes;   /* address space, not memory; fixed for the life of the process */
    uint32_t readers_max; /* read transactions at a time */
    uint64_t hash_seed
        [2]; /* of a new store: the same on all replicas, and not known to clients. 0: its first entry's */
};

/* Open, or create, the environment.
 * Errors: ERR_SYSTEM (it cannot be opened; errno says why), ERR_FULL, ERR_CORRUPT (it is no store, or of another format:
 * to be rebuilt). Nothing is left behind, but a file that was there. */
MUST_USE enum err store_open(struct store **out, const struct store_opts *opts);

/* Takes: store, which may be NULL; no transaction is open. */
void store_close(struct store *store);

/* Write everything through to the disk, for a clean shutdown. Errors: ERR_SYSTEM, ERR_FULL. */
MUST_USE enum err store_sync(struct store *store);

/* ---- transactions ---- */

/* Begin the write transaction. One at a time, and all of it on one thread. `now_ms` is the entry's time: it hides what has
 * expired. Gives: *out, until commit or abort. Errors: ERR_SYSTEM, ERR_FULL. */
MUST_USE enum err store_begin(struct store *store, struct store_txn **out);

/* The entry that is applied next: its time, and the seed of all that is random in it. */
void store_txn_entry(struct store_txn *txn, uint64_t now_ms, uint64_t seed);

/* Call `on_work` from time to time, after so much work that it takes about a millisecond: from inside a call that reads or
 * writes. It does not use the transaction. */
void store_txn_on_work(struct store_txn *txn, void (*on_work)(void *arg), void *arg);
/* Work was done that is none of the store's: it counts as one read does. */
void store_txn_work(struct store_txn *txn);

/* All of it, or nothing. Takes: txn. Errors: the first one that a call in it met; ERR_FULL, ERR_SYSTEM. */
MUST_USE enum err store_commit(struct store_txn *txn);
void store_abort(struct store_txn *txn);

/* A read transaction that is used again and again: made once, begun and ended around each use. An ended one keeps no
 * page from being used again. Any thread, one at a time. */
MUST_USE enum err store_reader_new(struct store *store, struct store_txn **out);
void store_reader_free(struct store_txn *txn);
/* `now_ms` hides what has expired by then; `seed` is of what is random in it. */
MUST_USE enum err store_reader_begin(struct store_txn *txn, uint64_t now_ms, uint64_t seed);
/* From now on: it is going to read all that is there. */
void store_reader_read_ahead(struct store_txn *txn);
/* Another time, before anything was read. */
void store_reader_set_now(struct store_txn *txn, uint64_t now_ms);
void store_reader_end(struct store_txn *txn);
/* Did it hide a key that is not past its deadline by the time of the last entry? Then what it found rests on a clock that the
 * other replicas have not seen. */
bool store_reader_hid(const struct store_txn *txn);

/* May store_key_next_expiry and store_purge_is_due answer otherwise than when this was last called? */
bool store_txn_take_timers(struct store_txn *txn);

/* The first error that a call in the transaction met. */
enum err store_txn_err(const struct store_txn *txn);
uint64_t store_txn_now_ms(const struct store_txn *txn);
/* The next number of the seed. */
uint64_t store_txn_random(struct store_txn *txn);

/* ---- the partition's counters ---- */

/* The index of the last log entry whose effects are in the store: written with them. */
uint64_t store_applied(const struct store_txn *txn);
void store_set_applied(struct store_txn *txn, uint64_t index);

/* The time of the last entry; 0: there was none. */
uint64_t store_clock_ms(const struct store_txn *txn);

/* Over every put and delete since the store was made: equal on replicas that have applied the same. */
uint32_t store_digest(const struct store_txn *txn);

/* Pages in use and pages of the file, for metrics. */
struct store_size {
    uint64_t used_bytes;
    uint64_t file_bytes;
    uint64_t reader_lag; /* transactions that the oldest reader is behind */
};
struct store_size store_size(const struct store *store);
/* Memory that LMDB sets aside for each open store and does not touch before its first large transaction. */
size_t store_reserved_bytes(void);
/* Of the store that a reader reads. */
struct store_size store_txn_size(const struct store_txn *txn);

#endif
