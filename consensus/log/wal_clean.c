/* wal_clean: keeps the log short when somebody still needs a little of a segment that is old.
 * Owns: the cleaner. Not: removing segments, which wal.c does when nothing in the oldest is needed.
 * Thread: the raft thread; the segment is read where the disk reads.
 * Always: an entry is in memory from the moment at which its new record is put, until that is
 * flushed; its old record goes no sooner. One piece is read at a time, and the next only when what
 * was moved is flushed: cleaning takes turns with everything else. */
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/log/wal_int.h"

enum { PIECE_BYTES = 1 << 20 };

/* ---- what is behind a snapshot ---- */

static void drop_trailing(struct wal *wal, struct wal_log *log)
{
    if (!log->has_snapshot || log->count == 0 || log->first_index > log->snapshot.index) { return; }
    struct manifest same;
    manifest_copy(&same, &log->snapshot);
    wal_put_snapshot(wal, log, &same, log->snapshot.index + 1, false);
    manifest_fini(&same);
}

void wal_drop_trailing(struct wal *wal)
{
    LIST_EACH (at, &wal->logs) {
        drop_trailing(wal, CONTAINER_OF(at, struct wal_log, link));
    }
}

/* ---- what is needed ---- */

/* Is the record at `offset` of the cleaner's segment the one by which an entry is found? */
static bool is_needed(const struct wal_cleaner *cleaner, const struct wal_log *log, uint64_t index,
                      uint64_t offset)
{
    const struct wal_entry *entry = wal_log_entry(log, index);
    return entry != NULL && entry->segment == cleaner->segment && entry->offset == offset;
}

static bool take_record(struct wal *wal, const struct wal_record *record, uint64_t offset)
{
    struct wal_entry_record entry;
    if (record->type != WAL_ENTRY && record->type != WAL_MOVED) { return true; }
    if (!wal_entry_decode(record->content, &entry)) { return false; }
    struct wal_log *log = wal_log_find(wal, record->group);
    if (log == NULL || !is_needed(&wal->cleaner, log, entry.index, offset)) { return true; }
    drop_trailing(wal, log);
    if (is_needed(&wal->cleaner, log, entry.index, offset)) {
        wal_put_moved(wal, log, &entry);
        metric_add(METRIC_raft_wal_moved_bytes_total, entry.data.len);
    }
    return true;
}

struct wal_piece {
    struct disk_job job;
    struct wal *wal; /* NULL: it has gone */
};

static void stick(struct wal_cleaner *cleaner)
{
    char name[DISK_NAME_BYTES];
    wal_segment_name(name, cleaner->segment);
    LOG_ERROR("an old segment of the log cannot be read: it stays, and the log grows",
              LOG_STR("file", name), LOG_UINT("offset", cleaner->offset));
    cleaner->is_stuck = true;
}

/* Take the whole records of a piece; the last may be cut, and is then read again. */
static void take_piece(struct wal *wal, struct slice piece)
{
    struct wal_cleaner *cleaner = &wal->cleaner;
    size_t at = 0;
    while (at < piece.len) {
        struct slice rest = slice_of(piece.data + at, piece.len - at);
        struct wal_record record;
        if (wal_record_parse(rest, &record) != WAL_PARSE_OK ||
            !take_record(wal, &record, cleaner->offset + at)) {
            break;
        }
        at += wal_record_bytes(record.content.len);
    }
    cleaner->offset += at;
    cleaner->batch = wal_batch_last(wal);
    bool is_cut = at == 0 && piece.len == cleaner->bytes && piece.len <= WAL_CONTENT_BYTES_MAX;
    if (at == 0 && !is_cut) { stick(cleaner); }
    cleaner->bytes = is_cut ? cleaner->bytes * 2 : PIECE_BYTES;
}

static void piece_free(struct disk_job *job)
{
    mem_free(job->data);
    mem_free(job->owner);
}

static void on_piece(struct disk_job *job)
{
    struct wal *wal = ((struct wal_piece *)job->owner)->wal;
    if (wal != NULL) {
        struct wal_cleaner *cleaner = &wal->cleaner;
        cleaner->piece = NULL;
        bool is_there = wal->segments[0].number == cleaner->segment;
        if (is_there && job->err == ERR_OK) {
            take_piece(wal, slice_of(job->data, job->done_len));
        } else if (is_there) {
            stick(cleaner);
        }
    }
    piece_free(job);
}

static void read_piece(struct wal *wal)
{
    struct wal_cleaner *cleaner = &wal->cleaner;
    struct wal_piece *piece = mem_new0(sizeof *piece);
    piece->wal = wal;
    piece->job = (struct disk_job){
        .op = DISK_READ,
        .offset = cleaner->offset,
        .data = mem_new(cleaner->bytes),
        .len = cleaner->bytes,
        .on_done = on_piece,
        .on_drop = piece_free,
        .owner = piece,
    };
    wal_segment_name(piece->job.name, cleaner->segment);
    cleaner->piece = piece;
    disk_submit(wal->opts.disk, &piece->job);
}

void wal_clean_end(struct wal *wal)
{
    if (wal->cleaner.piece != NULL) { wal->cleaner.piece->wal = NULL; }
}

/* May what is needed be moved? It may fill three quarters of the segments: nothing is moved again
 * and again to no effect. */
static bool has_waste(const struct wal *wal)
{
    return wal->segment_count * wal->opts.segment_bytes * 3 > wal->live_bytes * 4;
}

void wal_clean(struct wal *wal, uint64_t segments_max)
{
    struct wal_cleaner *cleaner = &wal->cleaner;
    if (cleaner->piece != NULL || wal->has_failed || wal->segment_count <= segments_max) { return; }
    if (!has_waste(wal)) { wal_drop_trailing(wal); }
    if (cleaner->segment != wal->segments[0].number) {
        *cleaner = (struct wal_cleaner){.segment = wal->segments[0].number, .bytes = PIECE_BYTES};
    }
    bool is_done = wal->segments[0].live_count == 0; /* it goes when what was moved is flushed */
    bool may_read = cleaner->segment < wal->flushed_segment && cleaner->batch <= wal->batch_flushed;
    if (!is_done && may_read && !cleaner->is_stuck && has_waste(wal)) { read_piece(wal); }
}
