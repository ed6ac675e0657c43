/* rdb_write: values in RDB format, in forms that Redis 5 and all later ones read (a stream's that 7.0 reads): collections
 * element by element, of which Redis makes its packed forms by its own limits.
 * Owns: nothing; appends to the caller's buffer. Thread: any. */
#ifndef FANFARE_RDB_RDB_WRITE_H
#define FANFARE_RDB_RDB_WRITE_H

#include "rdb/rdb_packed.h"
#include "rdb/rdb_value.h"

enum {
    RDB_VERSION_WRITTEN = 10, /* Redis 7.0's */
    RDB_VERSION_FIELD_DEADLINES = 12,
    RDB_VERSION_READ_MAX = 12, /* Redis 7.4's */
};

void rdb_put_u8(struct buf *out, uint8_t v);
void rdb_put_u64(struct buf *out, uint64_t v);
void rdb_put_double(struct buf *out, double v);
void rdb_put_length(struct buf *out, uint64_t v);
/* As a number if it is the text of one of at most 32 bits, as Redis has it. */
void rdb_put_text(struct buf *out, struct slice text);
/* As streams' groups have it. */
void rdb_put_raw_id(struct buf *out, struct rdb_id id);
void rdb_put_id(struct buf *out, struct rdb_id id);

/* A stream's entries: nodes of the size that Redis gives them. rdb_entries_end appends how many there are, and all of them. */
struct rdb_entries {
    struct rdb_listpack pack;
    struct buf nodes;
    struct buf fields; /* of the node's first entry: as texts with their lengths before them */
    uint64_t node_count;
    struct rdb_id first; /* of the node */
    uint32_t entries;    /* in the node */
    uint32_t field_count;
};

void rdb_entries_add(struct rdb_entries *entries, struct rdb_id id, const struct slice *part,
                     uint32_t part_count);
void rdb_entries_end(struct rdb_entries *entries, struct buf *out);
/* For who takes `nodes` away as they come, and knows node_count beforehand: the last one is finished. */
void rdb_entries_flush(struct rdb_entries *entries);
void rdb_entries_fini(struct rdb_entries *entries);

/* ---- DUMP's payloads ---- */

/* What stands behind the value: a version and a checksum. */
void rdb_payload_end(struct buf *payload, uint16_t version);

/* Is it a payload that is whole and of a version that is read here? Gives: its value, the type's byte first. */
MUST_USE bool rdb_payload_begin(struct slice payload, struct slice *value);

#endif
