/* wal_int: what wal.c and wal_recover.c share. */
#ifndef FANFARE_CONSENSUS_WAL_INT_H
#define FANFARE_CONSENSUS_WAL_INT_H

#include "base/map.h"
#include "consensus/log/wal.h"

struct wal_log {
    struct map_node node;
    struct list link; /* wal->logs, in order of creation */
    uint64_t group;
    uint64_t self;
    struct wal_ballot ballot;
    bool has_snapshot;
    struct manifest snapshot;
    uint64_t first_index;      /* of entries[head], or of the entry to come */
    struct wal_entry *entries; /* entries[head .. head + count) */
    size_t head;
    size_t count;
    size_t cap;
    uint64_t cached_bytes;
    uint64_t live_bytes;
    uint64_t evict_from;  /* entries below have no data, but for configurations */
    uint64_t evict_upto;  /* entries above are needed in memory */
    uint64_t pinned_from; /* to pinned_upto: their data is being read elsewhere; 0: none */
    uint64_t pinned_upto;
    struct list evictable; /* wal->evictable, while there may be something to evict */
    struct wal_reader *reader;
};

struct wal_segment {
    uint32_t number;
    uint64_t live_count; /* entries whose record is here */
    uint64_t dead_batch; /* live_count fell to 0 in this batch */
};

/* The search for what is needed in the oldest segment (wal_clean.c). */
struct wal_cleaner {
    struct wal_piece *piece; /* being read; NULL: none */
    uint32_t segment;
    uint64_t offset;
    uint64_t batch; /* what was moved last is in this one */
    size_t bytes;   /* to read at a time: more than the longest record met */
    bool is_stuck;  /* the segment cannot be read: it stays */
};

/* Records on their way to one place. */
struct wal_batch {
    struct buf bytes;
    uint64_t number;
    uint64_t first_sequence;
    uint32_t segment;
    uint64_t offset;
    bool creates_segment;
};

struct wal {
    struct wal_opts opts;
    struct map logs_by_group;
    struct list logs;
    uint64_t next_sequence;
    struct wal_segment *segments; /* consecutive numbers, oldest first */
    size_t segment_count;
    size_t segment_cap;
    struct wal_batch open;     /* collects */
    struct wal_batch inflight; /* on its way while is_flushing; else only its memory counts */
    uint64_t zeroed_end;       /* the segment being written has been written up to here */
    bool is_flushing;
    bool is_full;
    bool has_failed;
    bool is_removing;
    uint64_t live_bytes;
    uint64_t cached_bytes;
    struct list evictable; /* struct wal_log, least recently applied first */
    struct wal_cleaner cleaner;
    uint64_t batch_flushed;
    uint32_t flushed_segment; /* the highest segment with a flushed batch */
    uint64_t flush_count;
    struct disk_job flush_job;
    struct disk_job remove_job;
};

struct wal *wal_new(const struct wal_opts *opts);
void wal_segment_name(char name[DISK_NAME_BYTES], uint32_t number);
bool wal_segment_number(const char *name, uint32_t *number);
void wal_segment_add(struct wal *wal, uint32_t number);
struct wal_segment *wal_segment_of(struct wal *wal, uint32_t number); /* which is there */
/* Place the open batch, which is empty, at `offset` of the last segment, or in a new one if that is
 * full. */
void wal_batch_begin(struct wal *wal, uint32_t segment, uint64_t offset);

/* Put an entry again, from its bytes; nothing but its place changes. */
void wal_put_moved(struct wal *wal, struct wal_log *log, const struct wal_entry_record *record);
void wal_clean_end(struct wal *wal);

/* Changes of a log in memory, the same when put and when read back. */
struct wal_log *wal_log_add(struct wal *wal, uint64_t group, uint64_t self, uint64_t next_index);
void wal_log_remove(struct wal *wal, struct wal_log *log);
void wal_log_truncate(struct wal *wal, struct wal_log *log,
                      uint64_t index); /* entries from index on go */
/* data: a copy is taken, or NULL for not in memory. */
void wal_log_append(struct wal *wal, struct wal_log *log, const struct wal_entry *entry,
                    const char *data);
void wal_log_set_snapshot(struct wal *wal, struct wal_log *log, const struct manifest *snapshot,
                          uint64_t first_index, bool is_installed);
/* The data of an entry that has none in memory. */
void wal_log_set_data(struct wal *wal, struct wal_log *log, uint64_t index, const char *data);
/* The entry's record is at another place now. */
void wal_log_move(struct wal *wal, struct wal_log *log, uint64_t index, uint32_t segment,
                  uint32_t offset);
/* Make place for entries from `index` on, which is before the first: they are holes, without a
 * segment, until they are set. */
void wal_log_prepend(struct wal_log *log, uint64_t index);
/* An entry at a hole. */
void wal_log_fill(struct wal *wal, struct wal_log *log, uint64_t index,
                  const struct wal_entry *entry, const char *data);

#endif
