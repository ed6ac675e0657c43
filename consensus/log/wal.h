/* wal: the node's write-ahead log, shared by all its Raft groups.
 *
 * What a loop turn puts is collected into one batch; wal_flush writes it with one write and one
 * fdatasync on the disk's threads, one batch at a time. Everything put is at once visible in
 * memory; it may be relied on after a crash when its batch has been reported by on_flushed. Thread:
 * the raft thread. */
#ifndef FANFARE_CONSENSUS_WAL_H
#define FANFARE_CONSENSUS_WAL_H

#include "consensus/disk/disk.h"
#include "consensus/log/wal_record.h"

struct wal;
struct wal_log; /* one group's part of the log */

struct wal_opts {
    struct disk *disk;
    uint64_t node_id;
    uint64_t segment_bytes; /* a segment is closed when a batch ends past this */
    void (*on_flushed)(void *arg, uint64_t batch); /* all batches up to this one are durable */
    void (*on_failed)(void *arg, enum err err,
                      const char *file); /* the disk broke: the process must stop */
    void *arg;
    uint64_t cache_bytes; /* of the node's entries that wal_evict leaves in memory */
    uint8_t kept_type;    /* entries of this type never leave memory; 0: none */
};

/* One entry in memory. data is NULL while it is on the disk only. */
struct wal_entry {
    uint64_t term;
    char *data;
    uint32_t len;
    uint32_t segment; /* where its record is */
    uint32_t offset;
    uint8_t type; /* the caller's; not 0 */
};

/* What recovery found; after ERR_CORRUPT it names the damage. */
struct wal_report {
    uint64_t segment_count;
    uint64_t record_count;
    uint64_t entry_count;
    uint64_t group_count;
    uint64_t torn_bytes; /* cut off the end: written but never flushed */
    char damage[160];    /* empty: none */
};

/* Read the log of `opts->disk` and make it ready to append; an empty disk is an empty log. Blocks:
 * for start-up.
 * Borrows: opts->disk until wal_free.      Gives: *out on ERR_OK; release with wal_free.
 * Errors:  ERR_CORRUPT (what had been flushed is damaged: nothing was changed), ERR_SYSTEM,
 * ERR_FULL. */
MUST_USE enum err wal_open(struct wal **out, const struct wal_opts *opts,
                           struct wal_report *report);

/* As wal_open, but changes nothing on the disk and only tells what is there. */
MUST_USE enum err wal_check(struct disk *disk, struct wal_report *report,
                            void (*on_group)(void *arg, uint64_t group, const struct wal_log *log),
                            void *arg);

/* Free the memory. Nothing may be in flight. `wal` may be NULL. */
void wal_free(struct wal *wal);

/* Groups. */
struct wal_log *wal_log_find(struct wal *wal, uint64_t group);
struct wal_log *wal_log_create(struct wal *wal, uint64_t group, uint64_t self); /* not there yet */
void wal_log_delete(struct wal *wal, struct wal_log *log);                      /* frees log */
struct wal_log *wal_log_next(struct wal *wal, const struct wal_log *log); /* walk; first for NULL */

uint64_t wal_log_group(const struct wal_log *log);
uint64_t wal_log_self(const struct wal_log *log);
struct wal_ballot wal_log_ballot(const struct wal_log *log);
const struct manifest *wal_log_snapshot(const struct wal_log *log); /* NULL: none yet */
uint64_t
wal_log_first_index(const struct wal_log *log); /* of the first entry held, or the one to come */
uint64_t
wal_log_last_index(const struct wal_log *log); /* of the last entry held, or of the snapshot */
const struct wal_entry *wal_log_entry(const struct wal_log *log,
                                      uint64_t index); /* NULL: not held */
uint64_t wal_log_term(const struct wal_log *log,
                      uint64_t index); /* entry's or snapshot's term; 0: not known */
uint64_t wal_log_cached_bytes(const struct wal_log *log);
uint64_t wal_log_live_bytes(const struct wal_log *log); /* of all entries held */

/* Put. Entries: all from `index` on are removed first, then one is appended; its index is the last
 * one's + 1. */
void wal_put_ballot(struct wal *wal, struct wal_log *log, struct wal_ballot ballot);
void wal_put_entry(struct wal *wal, struct wal_log *log, uint64_t index, uint64_t term,
                   uint8_t type, struct slice data);
/* The data of `snapshot` is durable: entries below first_index go. Installed: all entries go. */
void wal_put_snapshot(struct wal *wal, struct wal_log *log, const struct manifest *snapshot,
                      uint64_t first_index, bool is_installed);

/* The number of the batch that collects now: what was put is durable once on_flushed reports it. */
uint64_t wal_batch(const struct wal *wal);
uint64_t wal_batch_flushed(const struct wal *wal);
/* The newest batch that holds anything: what was put until now is in it or before. */
uint64_t wal_batch_last(const struct wal *wal);

/* Start to flush what was put, unless a flush is in flight or there is nothing. */
void wal_flush(struct wal *wal);
/* Is the flush in flight waiting for space? wal_retry tries again. */
bool wal_is_full(const struct wal *wal);
void wal_retry(struct wal *wal);

/* Bring entries from `from` on back into memory, up to about bytes_max, at least one; on_done(arg,
 * err) later, unless the log is deleted before. One read per log at a time. Errors: ERR_CORRUPT,
 * ERR_SYSTEM (the disk broke). */
void wal_read(struct wal *wal, struct wal_log *log, uint64_t from, size_t bytes_max,
              void (*on_done)(void *arg, enum err err), void *arg);
bool wal_is_reading(const struct wal_log *log);
void wal_read_cancel(struct wal_log *log); /* on_done will not be called */
/* The data of entries up to `upto`, which are flushed, is not needed in memory: of all such data on
 * this node, more than cache_bytes is forgotten. */
void wal_evict(struct wal *wal, struct wal_log *log, uint64_t upto);
/* As far as the data of these entries is in memory it stays there; of the log's other entries none is held any
 * more. 0 and 0: no matter. */
void wal_pin(struct wal *wal, struct wal_log *log, uint64_t from, uint64_t upto);
uint64_t wal_cached_bytes(const struct wal *wal); /* of all entries' data in memory */

/* Where segments_max are passed, make the oldest segment removable, a piece at each call: what is
 * behind its group's snapshot goes, and what is needed is written again at the end of the log. A
 * group that does nothing, or is not even open, keeps no segment. */
void wal_clean(struct wal *wal, uint64_t segments_max);
/* Drop all that is behind a snapshot. */
void wal_drop_trailing(struct wal *wal);
uint64_t wal_live_bytes(const struct wal *wal); /* of all entries of all groups */
uint64_t wal_segment_count(const struct wal *wal);
uint64_t wal_flush_count(const struct wal *wal);

#endif
