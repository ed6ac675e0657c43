/* wal_record: the bytes of one record of the write-ahead log. All numbers are little-endian; a
 * record starts at a multiple of 8 bytes and ends with 1 to 8 bytes of padding that are not zero.
 * Thread: any. */
#ifndef FANFARE_CONSENSUS_WAL_RECORD_H
#define FANFARE_CONSENSUS_WAL_RECORD_H

#include "base/buf.h"

enum {
    WAL_FORMAT = 1,
    WAL_PADDING =
        0xa5, /* not zero, so that the last sector of a record that was written never is */
    WAL_HEADER_BYTES = 40,
    WAL_CONTENT_BYTES_MAX = 64 << 20, /* bounds an entry; larger lengths are damage */
    WAL_CONF_BYTES_MAX = 64 << 10,
    WAL_ENTRY_HEAD_BYTES = 24, /* of a WAL_ENTRY's content, before its data */
};

enum wal_type {
    WAL_SEGMENT = 1, /* first record of a segment: node id */
    WAL_STATE,       /* a group, all but its entries; repeated at the start of each segment */
    WAL_BALLOT,      /* term and vote of a group */
    WAL_ENTRY,       /* one entry; removes what the log held from its index on */
    WAL_SNAPSHOT,    /* a snapshot is on disk: entries below first_index are not needed any more */
    WAL_DELETE,      /* the group is gone from this node */
    WAL_MOVED,       /* an entry that the log holds, once more: an older segment can go */
    WAL_TYPE_END
};

/* What a snapshot is: everything but its data. `conf` is libraft's encoding of the configuration at
 * conf_index. */
struct manifest {
    uint64_t index;
    uint64_t term;
    uint64_t conf_index;
    uint64_t bytes;
    uint32_t crc;  /* CRC32C of the data */
    uint64_t file; /* number of the file that holds it on this node, never used twice; 0: the state
                      machine keeps it by itself */
    struct buf conf;
};

/* A replica's term, and its vote in it; 0: none. */
struct wal_ballot {
    uint64_t term;
    uint64_t vote;
};

/* The decoded header of a record and its content, which stays where it was read. */
struct wal_record {
    uint64_t sequence;       /* of the record, without a gap over the whole life of the log */
    uint64_t batch_sequence; /* of the first record that went to the disk in the same flush */
    uint64_t group;
    uint32_t segment;
    enum wal_type type;
    struct slice content;
};

/* WAL_STATE, decoded. */
struct wal_state {
    struct wal_ballot ballot;
    uint64_t self;       /* this replica's raft id in the group */
    uint64_t next_index; /* of the entry that the log would append */
    bool has_snapshot;
    struct manifest snapshot;
};

/* WAL_ENTRY and WAL_MOVED, decoded; data stays where it was read. */
struct wal_entry_record {
    uint64_t index;
    uint64_t term;
    uint8_t type; /* the caller's; not 0 */
    struct slice data;
};

/* WAL_SNAPSHOT, decoded. */
struct wal_snapshot_record {
    bool is_installed; /* it came from a leader: all entries are void */
    uint64_t first_index;
    struct manifest snapshot;
};

/* What wal_record_parse found at a place. */
enum wal_parse {
    WAL_PARSE_OK,
    WAL_PARSE_END,    /* a header of zeros: nothing was written here */
    WAL_PARSE_BROKEN, /* anything else */
};

/* Nothing but zeros? */
static inline bool wal_is_zero(struct slice s)
{
    return s.len == 0 || (s.data[0] == 0 && memcmp(s.data, s.data + 1, s.len - 1) == 0);
}

/* Bytes that a record with this content takes. */
static inline size_t wal_record_bytes(size_t content_bytes)
{
    return (WAL_HEADER_BYTES + content_bytes + 8) & ~(size_t)7;
}

/* Append a record to `out`, in two steps, so that its content is encoded in its place: begin, append
 * the content to `out`, end. `start` is what begin returned; record->content is not looked at. */
MUST_USE size_t wal_record_begin(struct buf *out);
void wal_record_end(struct buf *out, size_t start, const struct wal_record *record);

/* Decode the record at the start of `bytes`; *record is set on WAL_PARSE_OK only. */
MUST_USE enum wal_parse wal_record_parse(struct slice bytes, struct wal_record *record);

/* Is the header at the start of `bytes` whole? Then *content_bytes is its content's length. */
MUST_USE bool wal_header_is_valid(struct slice bytes, uint32_t *content_bytes);

/* Contents. The decoders return false on anything malformed, and accept what the encoders append.
 * A decoded manifest owns its conf: release it with manifest_fini. */
void wal_ballot_encode(struct buf *out, const struct wal_ballot *ballot);
MUST_USE bool wal_ballot_decode(struct slice content, struct wal_ballot *ballot);
void wal_entry_encode(struct buf *out, const struct wal_entry_record *entry);
MUST_USE bool wal_entry_decode(struct slice content, struct wal_entry_record *entry);
void wal_state_encode(struct buf *out, const struct wal_state *state);
MUST_USE bool wal_state_decode(struct slice content, struct wal_state *state);
void wal_snapshot_encode(struct buf *out, const struct wal_snapshot_record *snapshot);
MUST_USE bool wal_snapshot_decode(struct slice content, struct wal_snapshot_record *snapshot);

void manifest_copy(struct manifest *to,
                   const struct manifest *from); /* to is overwritten, not freed */
void manifest_fini(struct manifest *manifest);

#endif
