/* wal_recover: reads the log back at start.
 * Owns: the decision between a torn tail and damage. Thread: whoever starts the process; blocks.
 * Always: nothing that had been flushed is dropped silently. Batches are written one at a time, so
 * a valid record whose batch began after a broken place proves that the place had been flushed:
 * that is damage. Without such a proof the place is a torn write if a sector of it still holds the
 * zeros it was preallocated with, and damage if none does.
 * And: what is read may be in the page cache only, even clean, if the flush that ended the process
 * before failed. Of the last batch nothing proves that it was flushed, so it is written anew. */
#include "consensus/log/wal_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

enum {
    HOLES_MAX = 1 << 24, /* more entries than these between two of a log: damage */
    SECTOR_BYTES = 512,
    CLEAN_BYTES = 1 << 20, /* zeros written at a time, and behind what is seen of a torn end */
};

struct file {
    uint32_t number;
    uint64_t bytes;
};

/* One pass over all segments. */
struct scan {
    struct wal *wal;
    struct wal_report *report;
    struct file *files; /* by number */
    size_t file_count;
    size_t file_cap;
    struct buf data;            /* the segment being read */
    uint64_t expected_sequence; /* of the next record; 0 before the first */
    size_t end_file;            /* where the log ends: files[end_file], end_offset */
    uint64_t end_offset;
    uint64_t torn_bytes;
    uint64_t batch_offset; /* of the last batch, in the segment where the log ends */
};

static enum err damage(struct scan *scan, size_t file, uint64_t offset, const char *what)
{
    snprintf(scan->report->damage, sizeof scan->report->damage,
             "%s in segment %" PRIu32 " at offset %" PRIu64 ", record %" PRIu64, what,
             scan->files[file].number, offset, scan->expected_sequence);
    return ERR_CORRUPT;
}

static void on_file(void *arg, const char *name, uint64_t bytes)
{
    struct scan *scan = arg;
    uint32_t number;
    if (!wal_segment_number(name, &number)) { return; }
    if (scan->file_count == scan->file_cap) {
        scan->file_cap = scan->file_cap > 0 ? scan->file_cap * 2 : 16;
        scan->files = mem_resize(scan->files, scan->file_cap * sizeof *scan->files);
    }
    scan->files[scan->file_count++] = (struct file){number, bytes};
}

static int compare_files(const void *a, const void *b)
{
    const struct file *fa = a;
    const struct file *fb = b;
    return fa->number < fb->number ? -1 : fa->number > fb->number;
}

static enum err load(struct scan *scan, size_t file, struct buf *data)
{
    data->len = 0;
    struct disk_job job = {.op = DISK_READ, .len = scan->files[file].bytes};
    if (job.len == 0) { return ERR_OK; }
    job.data = buf_reserve(data, job.len);
    wal_segment_name(job.name, scan->files[file].number);
    enum err err = disk_run(scan->wal->opts.disk, &job);
    data->len = err == ERR_OK ? job.done_len : 0;
    return err;
}

/* ---- meaning ---- */

static enum err apply_state(struct scan *scan, const struct wal_record *record)
{
    struct wal_state state;
    if (!wal_state_decode(record->content, &state)) { return ERR_CORRUPT; }
    struct wal_log *log = wal_log_find(scan->wal, record->group);
    if (log == NULL) {
        log = wal_log_add(scan->wal, record->group, state.self, state.next_index);
        log->ballot = state.ballot;
        if (state.has_snapshot) {
            log->snapshot = state.snapshot;
            log->has_snapshot = true;
            return ERR_OK;
        }
    }
    bool same = log->self == state.self && log->ballot.term == state.ballot.term &&
                log->ballot.vote == state.ballot.vote;
    manifest_fini(&state.snapshot);
    return same ? ERR_OK : ERR_CORRUPT;
}

/* The data of an entry, if it is to be in memory from the start; else NULL. */
static const char *kept_data(const struct scan *scan, const struct wal_entry_record *e)
{
    return e->type == scan->wal->opts.kept_type ? e->data.data : NULL;
}

static enum err apply_entry(struct scan *scan, struct wal_log *log, const struct wal_record *record,
                            uint64_t offset)
{
    struct wal_entry_record e;
    if (!wal_entry_decode(record->content, &e) || e.index > log->first_index + log->count) {
        return ERR_CORRUPT;
    }
    wal_log_truncate(scan->wal, log, e.index);
    struct wal_entry entry = {
        .term = e.term,
        .len = (uint32_t)e.data.len,
        .segment = record->segment,
        .offset = (uint32_t)offset,
        .type = e.type,
    };
    wal_log_append(scan->wal, log, &entry, kept_data(scan, &e));
    scan->report->entry_count++;
    return ERR_OK;
}

/* What was in a segment that has gone since. It may be before all that was read so far: then there
 * are holes in between, to be filled, or dropped, by what follows. */
static enum err apply_moved(struct scan *scan, struct wal_log *log, const struct wal_record *record,
                            uint64_t offset)
{
    struct wal_entry_record e;
    if (!wal_entry_decode(record->content, &e) || e.index >= log->first_index + log->count ||
        (e.index < log->first_index && log->first_index - e.index > HOLES_MAX)) {
        return ERR_CORRUPT;
    }
    if (e.index < log->first_index) { wal_log_prepend(log, e.index); }
    const struct wal_entry *old = wal_log_entry(log, e.index);
    if (old->segment != 0) {
        if (old->term != e.term || old->len != e.data.len) { return ERR_CORRUPT; }
        wal_log_move(scan->wal, log, e.index, record->segment, (uint32_t)offset);
        return ERR_OK;
    }
    struct wal_entry entry = {
        .term = e.term,
        .len = (uint32_t)e.data.len,
        .segment = record->segment,
        .offset = (uint32_t)offset,
        .type = e.type,
    };
    wal_log_fill(scan->wal, log, e.index, &entry, kept_data(scan, &e));
    return ERR_OK;
}

static enum err apply_snapshot(struct scan *scan, struct wal_log *log,
                               const struct wal_record *record)
{
    struct wal_snapshot_record s;
    if (!wal_snapshot_decode(record->content, &s)) { return ERR_CORRUPT; }
    wal_log_set_snapshot(scan->wal, log, &s.snapshot, s.first_index, s.is_installed);
    manifest_fini(&s.snapshot);
    return ERR_OK;
}

static enum err apply(struct scan *scan, const struct wal_record *record, uint64_t offset)
{
    struct wal_log *log = wal_log_find(scan->wal, record->group);
    bool needs_log = record->type != WAL_SEGMENT && record->type != WAL_STATE;
    if ((needs_log && log == NULL) || (record->type == WAL_SEGMENT) != (offset == 0)) {
        return ERR_CORRUPT;
    }
    switch (record->type) {
    case WAL_SEGMENT: {
        struct wal_ballot id;
        uint64_t want = scan->wal->opts.node_id;
        return wal_ballot_decode(record->content, &id) && (want == 0 || id.term == want)
                   ? ERR_OK
                   : ERR_CORRUPT;
    }
    case WAL_STATE: return apply_state(scan, record);
    case WAL_BALLOT: return wal_ballot_decode(record->content, &log->ballot) ? ERR_OK : ERR_CORRUPT;
    case WAL_ENTRY: return apply_entry(scan, log, record, offset);
    case WAL_SNAPSHOT: return apply_snapshot(scan, log, record);
    case WAL_DELETE: wal_log_remove(scan->wal, log); return ERR_OK;
    case WAL_MOVED: return apply_moved(scan, log, record, offset);
    case WAL_TYPE_END: break;
    }
    return ERR_CORRUPT;
}

static bool has_hole(const struct wal_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        if (log->entries[log->head + i].segment == 0) { return true; }
    }
    return false;
}

/* Every log must reach from its snapshot, or from entry 1, without a gap. */
static enum err check_logs(struct scan *scan)
{
    for (struct wal_log *log = wal_log_next(scan->wal, NULL); log != NULL;
         log = wal_log_next(scan->wal, log)) {
        uint64_t base = log->has_snapshot ? log->snapshot.index : 0;
        if (log->first_index > base + 1 || log->first_index + log->count < base + 1 ||
            has_hole(log)) {
            return damage(scan, scan->end_file, scan->end_offset, "entries are missing");
        }
        scan->report->group_count++;
    }
    return ERR_OK;
}

/* ---- torn or damaged ---- */

/* Does a sector, or the part of one that lies inside, hold nothing but zeros? */
static bool has_unwritten_sector(struct slice file, size_t from, size_t to)
{
    while (from < to) {
        size_t end = (from / SECTOR_BYTES + 1) * SECTOR_BYTES;
        end = end < to ? end : to;
        if (wal_is_zero(slice_of(file.data + from, end - from))) { return true; }
        from = end;
    }
    return false;
}

/* Could the record at `at`, which is broken, be one that never reached the disk as a whole? */
static bool looks_torn(struct slice file, size_t at)
{
    struct slice rest = slice_of(file.data + at, file.len - at);
    uint32_t content_bytes;
    if (rest.len < WAL_HEADER_BYTES) { return true; }
    if (!wal_header_is_valid(rest, &content_bytes)) {
        return has_unwritten_sector(file, at, at + WAL_HEADER_BYTES);
    }
    size_t bytes = wal_record_bytes(content_bytes);
    return bytes > rest.len || has_unwritten_sector(file, at, at + bytes);
}

/* Is there, behind `at`, a valid record whose batch began after the expected record? Then that had
 * been flushed. */
static bool has_proof(const struct scan *scan, struct slice file, size_t at)
{
    size_t end = file.len;
    while (end > at && file.data[end - 1] == 0) {
        end--;
    } /* a record does not end with a zero */
    for (at = (at + 7) & ~(size_t)7; at + WAL_HEADER_BYTES < end; at += 8) {
        struct slice rest = slice_of(file.data + at, file.len - at);
        struct wal_record record;
        uint32_t content_bytes;
        if (!wal_header_is_valid(rest, &content_bytes)) { continue; }
        if (wal_record_parse(rest, &record) == WAL_PARSE_OK &&
            record.batch_sequence > scan->expected_sequence) {
            return true;
        }
    }
    return false;
}

/* The log cannot be read on at files[file] + at: decide whether it ends there, torn, or is damaged.
 * */
static enum err judge_end(struct scan *scan, size_t file, size_t at)
{
    struct slice here = buf_slice(&scan->data);
    if (has_proof(scan, here, at)) {
        return damage(scan, file, at, "a record that had been flushed is damaged");
    }
    for (size_t later = file + 1; later < scan->file_count; later++) {
        struct buf data = {0};
        enum err err = load(scan, later, &data);
        bool proof = err == ERR_OK && has_proof(scan, buf_slice(&data), 0);
        buf_fini(&data);
        if (err != ERR_OK) { return err; }
        if (proof) { return damage(scan, file, at, "a record that had been flushed is damaged"); }
    }
    if (at == 0 && file == 0 && scan->files[0].number != 1) {
        return damage(scan, file, at, "the oldest segment has no beginning");
    }
    size_t end = here.len;
    while (end > at && here.data[end - 1] == 0) {
        end--;
    }
    if (end > at && !looks_torn(here, at)) {
        return damage(scan, file, at, "the last record is damaged");
    }
    scan->end_file = file;
    scan->end_offset = at;
    scan->torn_bytes = end - at;
    scan->report->torn_bytes = scan->torn_bytes;
    return ERR_OK;
}

/* ---- the pass ---- */

/* Take the records of one segment; *at is where they end. */
static enum err scan_segment(struct scan *scan, size_t file, size_t *at)
{
    struct slice data = buf_slice(&scan->data);
    *at = 0;
    while (*at < data.len) {
        struct wal_record record;
        if (wal_record_parse(slice_of(data.data + *at, data.len - *at), &record) != WAL_PARSE_OK) {
            return ERR_OK;
        }
        if (scan->expected_sequence == 0) { scan->expected_sequence = record.sequence; }
        if (record.sequence != scan->expected_sequence ||
            record.segment != scan->files[file].number) {
            return damage(scan, file, *at, "a record is not where it belongs");
        }
        if (apply(scan, &record, *at) != ERR_OK) {
            return damage(scan, file, *at, "a record makes no sense");
        }
        if (record.batch_sequence == record.sequence) { scan->batch_offset = *at; }
        scan->expected_sequence++;
        scan->report->record_count++;
        *at += wal_record_bytes(record.content.len);
    }
    return ERR_OK;
}

/* Does the next segment go on where this one ends, at `at`? */
static enum err continues(struct scan *scan, size_t file, size_t at, bool *out)
{
    *out = false;
    if (file + 1 == scan->file_count ||
        !wal_is_zero(slice_of(scan->data.data + at, scan->data.len - at))) {
        return ERR_OK;
    }
    struct buf next = {0};
    enum err err = load(scan, file + 1, &next);
    struct wal_record record;
    if (err == ERR_OK && wal_record_parse(buf_slice(&next), &record) == WAL_PARSE_OK) {
        *out = record.sequence == scan->expected_sequence;
    }
    buf_fini(&next);
    return err;
}

static enum err scan_all(struct scan *scan)
{
    for (size_t i = 0; i < scan->file_count; i++) {
        if (i > 0 && scan->files[i].number != scan->files[i - 1].number + 1) {
            return damage(scan, i, 0, "a segment is missing before it:");
        }
        enum err err = load(scan, i, &scan->data);
        if (err != ERR_OK) { return err; }
        wal_segment_add(scan->wal, scan->files[i].number);
        scan->report->segment_count++;
        size_t at;
        err = scan_segment(scan, i, &at);
        if (err != ERR_OK) { return err; }
        bool goes_on;
        err = continues(scan, i, at, &goes_on);
        if (err == ERR_OK && !goes_on) { return judge_end(scan, i, at); }
        if (err != ERR_OK) { return err; }
    }
    return ERR_OK;
}

/* ---- making the end writable ---- */

static enum err remove_file(struct scan *scan, size_t file)
{
    struct disk_job job = {.op = DISK_REMOVE};
    wal_segment_name(job.name, scan->files[file].number);
    return disk_run(scan->wal->opts.disk, &job);
}

static enum err write_end(struct scan *scan, uint64_t offset, char *data, size_t len)
{
    struct disk_job job = {.op = DISK_WRITE,
                           .offset = offset,
                           .data = data,
                           .len = len,
                           .sync = true,
                           .sync_name = true};
    wal_segment_name(job.name, scan->files[scan->end_file].number);
    return disk_run(scan->wal->opts.disk, &job);
}

/* Overwrite what is torn, from its end on: should a flush fail half-way, the next start still sees
 * the torn bytes before, and cleans as far again. */
static enum err clean_torn(struct scan *scan)
{
    uint64_t file_bytes = scan->data.len;
    uint64_t end = scan->end_offset + scan->torn_bytes + CLEAN_BYTES;
    end = end < file_bytes ? end : file_bytes;
    char *zeros = mem_new0(CLEAN_BYTES);
    enum err err = ERR_OK;
    while (end > scan->end_offset && err == ERR_OK) {
        uint64_t bytes = end - scan->end_offset;
        bytes = bytes < CLEAN_BYTES ? bytes : CLEAN_BYTES;
        end -= bytes;
        err = write_end(scan, end, zeros, bytes);
    }
    mem_free(zeros);
    return err;
}

/* Make the end what it was read as, on the platter too. */
static enum err clean_end(struct scan *scan)
{
    enum err err = clean_torn(scan);
    if (err != ERR_OK) { return err; }
    return write_end(scan, scan->batch_offset, scan->data.data + scan->batch_offset,
                     scan->end_offset - scan->batch_offset);
}

/* Cut what is torn and put the first batch behind the last record. */
static enum err settle(struct scan *scan)
{
    struct wal *wal = scan->wal;
    enum err err = ERR_OK;
    size_t keep = scan->file_count == 0 ? 0 : scan->end_file + (scan->end_offset > 0);
    for (size_t i = scan->file_count; i > keep && err == ERR_OK; i--) {
        err = remove_file(scan, i - 1);
    }
    if (err == ERR_OK && keep > 0 && keep == scan->end_file + 1) { err = clean_end(scan); }
    if (err != ERR_OK) { return err; }
    wal->segment_count = keep;
    wal->next_sequence = scan->expected_sequence > 0 ? scan->expected_sequence : 1;
    uint32_t last = keep > 0 ? scan->files[keep - 1].number : 0;
    wal->flushed_segment = last;
    wal_batch_begin(wal, last, keep > scan->end_file ? scan->end_offset : UINT64_MAX);
    return ERR_OK;
}

static enum err scan_start(struct scan *scan)
{
    struct disk *disk = scan->wal->opts.disk;
    enum err err = disk->ops->list(disk, on_file, scan);
    if (err != ERR_OK) { return err; }
    if (scan->file_count > 0) {
        qsort(scan->files, scan->file_count, sizeof *scan->files, compare_files);
    }
    err = scan_all(scan);
    return err == ERR_OK ? check_logs(scan) : err;
}

static void scan_fini(struct scan *scan)
{
    buf_fini(&scan->data);
    mem_free(scan->files);
}

enum err wal_open(struct wal **out, const struct wal_opts *opts, struct wal_report *report)
{
    *report = (struct wal_report){0};
    struct scan scan = {.wal = wal_new(opts), .report = report};
    enum err err = scan_start(&scan);
    if (err == ERR_OK) { err = settle(&scan); }
    if (err == ERR_OK) {
        *out = scan.wal;
    } else {
        LOG_ERROR("the write-ahead log cannot be used", LOG_STR("err", err_word(err)),
                  LOG_STR("what", report->damage));
        wal_free(scan.wal);
    }
    scan_fini(&scan);
    return err;
}

enum err wal_check(struct disk *disk, struct wal_report *report,
                   void (*on_group)(void *arg, uint64_t group, const struct wal_log *log),
                   void *arg)
{
    *report = (struct wal_report){0};
    struct wal_opts opts = {.disk = disk};
    struct scan scan = {.wal = wal_new(&opts), .report = report};
    enum err err = scan_start(&scan);
    for (struct wal_log *log = wal_log_next(scan.wal, NULL); log != NULL;
         log = wal_log_next(scan.wal, log)) {
        on_group(arg, log->group, log);
    }
    wal_free(scan.wal);
    scan_fini(&scan);
    return err;
}
