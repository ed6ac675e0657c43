/* rdb_file: what stands in an RDB file, one thing after the other: keys, and what is beside them.
 * Owns: scratch memory, until rdb_file_end. Borrows the bytes, which do not change meanwhile. Thread: whoever owns it. */
#ifndef FANFARE_RDB_RDB_FILE_H
#define FANFARE_RDB_RDB_FILE_H

#include "rdb/rdb_value.h"

enum { RDB_DATABASES_MAX = 1 << 16 };

enum rdb_step {
    RDB_STEP_KEY, /* db, key, type, expire_ms; in.at is at its value */
    RDB_STEP_DB, /* db: keys that follow are in this one; expected, expected_expiring if they are told (else 0) */
    RDB_STEP_NOTE,        /* key, value: what Redis says of itself */
    RDB_STEP_FUNCTION,    /* value: a library's source */
    RDB_STEP_MODULE_DATA, /* key: the name of a module that saved something of its own */
    RDB_STEP_END,         /* bytes_after: what comes behind the file */
    RDB_STEP_BAD,         /* in.why */
};

struct rdb_file {
    struct rdb_in in;
    struct slice bytes;
    uint32_t version;
    uint32_t db;
    struct slice key; /* good until the next step */
    struct slice value;
    uint8_t type;
    uint64_t expire_ms; /* 0: never */
    uint64_t expected;
    uint64_t expected_expiring;
    bool checks_sum; /* at the end, over all of the file */
    struct buf scratch[2];
    char module[RDB_MODULE_NAME_BYTES];
};

/* False: it is no RDB file, or of a version that is not read here; in.why. */
MUST_USE bool rdb_file_begin(struct rdb_file *file, struct slice bytes, bool checks_sum);
/* After RDB_STEP_KEY the value has to be read (rdb_value_read, rdb_module_skip) before the next step. */
enum rdb_step rdb_file_next(struct rdb_file *file);
void rdb_file_end(struct rdb_file *file);

/* ---- written: a file is its beginning, notes, then of each database its number and keys (a deadline, if there is one, the
 * type's byte, the name, the value), and its end, without a checksum ---- */

void rdb_put_file_begin(struct buf *out);
void rdb_put_note(struct buf *out, struct slice key, struct slice value);
void rdb_put_db(struct buf *out, uint32_t db, uint64_t keys, uint64_t expiring);
void rdb_put_expiry(struct buf *out, uint64_t expire_ms);
void rdb_put_file_end(struct buf *out);

/* Where the file stands. */
static inline uint64_t rdb_file_at(const struct rdb_file *file)
{
    return (uint64_t)(file->in.at - file->bytes.data);
}

#endif
