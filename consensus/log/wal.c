/* wal: append, flush, index and trim of the write-ahead log.
 * Owns: the segments' contents, the index of every group's entries, the recent entries' bytes. Not:
 * what they mean.
 * Thread: the raft thread; file operations run where the disk runs them.
 * Always: batches are contiguous and written one at a time, so that a valid record proves that
 * everything before its batch had been flushed; the first batch of a segment repeats the state of
 * all groups, so that older segments may go when no entry in them is needed. */
#include "consensus/log/wal_int.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/metrics.h"

enum {
    ZERO_BYTES = 256 << 10,     /* written ahead of the log at a time */
    BATCH_BYTES_KEPT = 4 << 20, /* of memory, for the next batch */
};

/* ---- segments ---- */

void wal_segment_name(char name[DISK_NAME_BYTES], uint32_t number)
{
    snprintf(name, DISK_NAME_BYTES, "wal-%010" PRIu32, number);
}

bool wal_segment_number(const char *name, uint32_t *number)
{
    char again[DISK_NAME_BYTES];
    if (sscanf(name, "wal-%10" SCNu32, number) != 1) { return false; }
    wal_segment_name(again, *number);
    return strcmp(again, name) == 0;
}

void wal_segment_add(struct wal *wal, uint32_t number)
{
    CHECK(wal->segment_count == 0 || wal->segments[wal->segment_count - 1].number + 1 == number);
    if (wal->segment_count == wal->segment_cap) {
        wal->segment_cap = wal->segment_cap > 0 ? wal->segment_cap * 2 : 16;
        wal->segments = mem_resize(wal->segments, wal->segment_cap * sizeof *wal->segments);
    }
    wal->segments[wal->segment_count++] = (struct wal_segment){.number = number};
}

struct wal_segment *wal_segment_of(struct wal *wal, uint32_t number)
{
    CHECK(wal->segment_count > 0 && number >= wal->segments[0].number);
    CHECK(number - wal->segments[0].number < wal->segment_count);
    return &wal->segments[number - wal->segments[0].number];
}

static void trim(struct wal *wal);

static void on_removed(struct disk_job *job)
{
    struct wal *wal = job->owner;
    wal->is_removing = false;
    if (job->err != ERR_OK) {
        wal->has_failed = true;
        wal->opts.on_failed(wal->opts.arg, job->err, job->name);
        return;
    }
    trim(wal);
}

/* Remove the oldest segment if nothing in it is needed and what made it so is durable; one at a
 * time, so that a crash leaves no hole. */
static void trim(struct wal *wal)
{
    if (wal->is_removing || wal->has_failed || wal->segment_count < 2) { return; }
    struct wal_segment *oldest = &wal->segments[0];
    if (oldest->number >= wal->flushed_segment || oldest->live_count > 0 ||
        oldest->dead_batch > wal->batch_flushed) {
        return;
    }
    struct disk_job *job = &wal->remove_job;
    *job = (struct disk_job){.op = DISK_REMOVE, .on_done = on_removed, .owner = wal};
    wal_segment_name(job->name, oldest->number);
    wal->segment_count--;
    memmove(wal->segments, wal->segments + 1, wal->segment_count * sizeof *wal->segments);
    wal->is_removing = true;
    disk_submit(wal->opts.disk, job);
}

/* ---- putting ---- */

/* Put a record: begin, encode its content into wal->open.bytes, end. */
static size_t put_begin(struct wal *wal)
{
    if (wal->open.bytes.len == 0) { wal->open.first_sequence = wal->next_sequence; }
    return wal_record_begin(&wal->open.bytes);
}

static void put_end(struct wal *wal, size_t start, enum wal_type type, uint64_t group)
{
    wal_record_end(&wal->open.bytes, start,
                   &(struct wal_record){
                       .sequence = wal->next_sequence++,
                       .batch_sequence = wal->open.first_sequence,
                       .group = group,
                       .segment = wal->open.segment,
                       .type = type,
                   });
}

static void put_state(struct wal *wal, const struct wal_log *log)
{
    struct wal_state state = {
        .ballot = log->ballot,
        .self = log->self,
        .next_index = log->first_index + log->count,
        .has_snapshot = log->has_snapshot,
        .snapshot = log->snapshot,
    };
    size_t start = put_begin(wal);
    wal_state_encode(&wal->open.bytes, &state);
    put_end(wal, start, WAL_STATE, log->group);
}

void wal_batch_begin(struct wal *wal, uint32_t segment, uint64_t offset)
{
    CHECK(wal->open.bytes.len == 0);
    wal->open.number++;
    wal->open.segment = segment;
    wal->open.offset = offset;
    wal->open.creates_segment = segment == 0 || offset >= wal->opts.segment_bytes;
    if (!wal->open.creates_segment) { return; }
    wal->open.segment = segment + 1;
    wal->open.offset = 0;
    wal_segment_add(wal, wal->open.segment);
    size_t start = put_begin(wal);
    wal_ballot_encode(&wal->open.bytes, &(struct wal_ballot){.term = wal->opts.node_id});
    put_end(wal, start, WAL_SEGMENT, 0);
    LIST_EACH (at, &wal->logs) {
        put_state(wal, CONTAINER_OF(at, struct wal_log, link));
    }
}

struct wal_log *wal_log_create(struct wal *wal, uint64_t group, uint64_t self)
{
    CHECK(group != 0 && wal_log_find(wal, group) == NULL);
    struct wal_log *log = wal_log_add(wal, group, self, 1);
    put_state(wal, log);
    return log;
}

void wal_log_delete(struct wal *wal, struct wal_log *log)
{
    put_end(wal, put_begin(wal), WAL_DELETE, log->group);
    wal_log_remove(wal, log);
}

void wal_put_ballot(struct wal *wal, struct wal_log *log, struct wal_ballot ballot)
{
    CHECK(ballot.term >= log->ballot.term);
    log->ballot = ballot;
    size_t start = put_begin(wal);
    wal_ballot_encode(&wal->open.bytes, &ballot);
    put_end(wal, start, WAL_BALLOT, log->group);
}

void wal_put_entry(struct wal *wal, struct wal_log *log, uint64_t index, uint64_t term,
                   uint8_t type, struct slice data)
{
    CHECK(index >= log->first_index);
    CHECK(index <= log->first_index + log->count);
    CHECK(wal->open.offset + wal->open.bytes.len <= UINT32_MAX); /* what a turn puts is bounded */
    wal_log_truncate(wal, log, index);
    struct wal_entry entry = {
        .term = term,
        .len = (uint32_t)data.len,
        .segment = wal->open.segment,
        .offset = (uint32_t)(wal->open.offset + wal->open.bytes.len),
        .type = type,
    };
    size_t start = put_begin(wal);
    wal_entry_encode(&wal->open.bytes, &(struct wal_entry_record){index, term, type, data});
    put_end(wal, start, WAL_ENTRY, log->group);
    wal_log_append(wal, log, &entry, data.data != NULL ? data.data : "");
}

void wal_put_moved(struct wal *wal, struct wal_log *log, const struct wal_entry_record *record)
{
    CHECK(wal->open.offset + wal->open.bytes.len <= UINT32_MAX);
    uint32_t offset = (uint32_t)(wal->open.offset + wal->open.bytes.len);
    size_t start = put_begin(wal);
    wal_entry_encode(&wal->open.bytes, record);
    put_end(wal, start, WAL_MOVED, log->group);
    wal_log_move(wal, log, record->index, wal->open.segment, offset);
    if (wal_log_entry(log, record->index)->data == NULL) { /* it cannot be read back yet */
        wal_log_set_data(wal, log, record->index, record->data.data);
        wal_evict(wal, log, record->index);
    }
}

void wal_put_snapshot(struct wal *wal, struct wal_log *log, const struct manifest *snapshot,
                      uint64_t first_index, bool is_installed)
{
    struct wal_snapshot_record record = {is_installed, first_index, *snapshot};
    size_t start = put_begin(wal);
    wal_snapshot_encode(&wal->open.bytes, &record);
    put_end(wal, start, WAL_SNAPSHOT, log->group);
    wal_log_set_snapshot(wal, log, snapshot, first_index, is_installed);
}

/* ---- flushing ---- */

static void on_flush_done(struct disk_job *job)
{
    struct wal *wal = job->owner;
    if (job->err == ERR_FULL) {
        wal->is_full = true; /* the batch stays: wal_retry writes it at the same place */
        return;
    }
    if (job->err != ERR_OK) {
        wal->has_failed = true;
        wal->opts.on_failed(wal->opts.arg, job->err, job->name);
        return;
    }
    wal->is_flushing = false;
    wal->flush_count++;
    metric_add(METRIC_raft_wal_flushes_total, 1);
    metric_add(METRIC_raft_wal_flushed_bytes_total, job->len);
    wal->batch_flushed = wal->inflight.number;
    wal->flushed_segment = wal->inflight.segment;
    uint64_t end = job->offset + job->len + job->zero_bytes;
    wal->zeroed_end = end > wal->zeroed_end || job->create_bytes > 0 ? end : wal->zeroed_end;
    wal->inflight.bytes.len = 0;
    if (wal->inflight.bytes.cap > BATCH_BYTES_KEPT) { buf_fini(&wal->inflight.bytes); }
    trim(wal);
    wal->opts.on_flushed(wal->opts.arg, wal->batch_flushed);
}

/* How many zeros to write behind the batch in flight: now and then many, so that a flush rarely
 * touches blocks that were never written, which costs the file system an inode or a journal. */
static size_t zeros_due(const struct wal *wal)
{
    uint64_t end = wal->inflight.offset + wal->inflight.bytes.len;
    bool is_written = !wal->inflight.creates_segment && end <= wal->zeroed_end;
    if (is_written || end >= wal->opts.segment_bytes) { return 0; }
    uint64_t rest = wal->opts.segment_bytes - end;
    return rest < ZERO_BYTES ? rest : ZERO_BYTES;
}

static void flush_submit(struct wal *wal)
{
    struct disk_job *job = &wal->flush_job;
    *job = (struct disk_job){
        .op = DISK_WRITE,
        .offset = wal->inflight.offset,
        .data = wal->inflight.bytes.data,
        .len = wal->inflight.bytes.len,
        .zero_bytes = zeros_due(wal),
        .sync = true,
        .keep_open = true,
        .on_done = on_flush_done,
        .owner = wal,
    };
    if (wal->inflight.creates_segment) {
        uint64_t want = wal->inflight.bytes.len;
        job->create_bytes = want > wal->opts.segment_bytes ? want : wal->opts.segment_bytes;
    }
    wal_segment_name(job->name, wal->inflight.segment);
    wal->is_full = false;
    disk_submit(wal->opts.disk, job);
}

void wal_flush(struct wal *wal)
{
    if (wal->is_flushing || wal->has_failed || wal->open.bytes.len == 0) { return; }
    struct buf emptied = wal->inflight.bytes;
    wal->inflight = wal->open;
    wal->open.bytes = emptied;
    wal->is_flushing = true;
    wal_batch_begin(wal, wal->inflight.segment, wal->inflight.offset + wal->inflight.bytes.len);
    flush_submit(wal);
}

void wal_retry(struct wal *wal)
{
    CHECK(wal->is_full);
    flush_submit(wal);
}

bool wal_is_full(const struct wal *wal)
{
    return wal->is_full;
}

uint64_t wal_batch(const struct wal *wal)
{
    return wal->open.number;
}

uint64_t wal_batch_flushed(const struct wal *wal)
{
    return wal->batch_flushed;
}

uint64_t wal_batch_last(const struct wal *wal)
{
    return wal->open.bytes.len > 0 ? wal->open.number : wal->open.number - 1;
}

uint64_t wal_segment_count(const struct wal *wal)
{
    return wal->segment_count;
}

uint64_t wal_flush_count(const struct wal *wal)
{
    return wal->flush_count;
}

/* ---- reading back ---- */

struct wal_reader {
    struct disk_job job;
    struct wal *wal;
    struct wal_log *log; /* NULL: deleted meanwhile */
    uint64_t from;
    uint64_t count;
    uint32_t segment;
    void (*on_done)(void *arg, enum err err);
    void *arg;
};

void wal_read_cancel(struct wal_log *log)
{
    if (log->reader != NULL) {
        log->reader->log = NULL;
        log->reader = NULL;
    }
}

bool wal_is_reading(const struct wal_log *log)
{
    return log->reader != NULL;
}

/* The record of `entry` in what was read, checked against what the index says of it. */
static bool reader_find(const struct wal_reader *reader, uint64_t index,
                        const struct wal_entry *entry, struct wal_entry_record *found)
{
    struct wal_record record;
    size_t at = entry->offset - reader->job.offset;
    if (at >= reader->job.done_len) { return false; }
    if (wal_record_parse(slice_of(reader->job.data + at, reader->job.done_len - at), &record) !=
        WAL_PARSE_OK) {
        return false;
    }
    if ((record.type != WAL_ENTRY && record.type != WAL_MOVED) ||
        record.group != reader->log->group || !wal_entry_decode(record.content, found)) {
        return false;
    }
    return found->index == index && found->term == entry->term && found->data.len == entry->len;
}

/* Take over what was read; entries that changed meanwhile are left alone. */
static enum err reader_take(struct wal_reader *reader)
{
    struct wal_log *log = reader->log;
    for (uint64_t index = reader->from; index < reader->from + reader->count; index++) {
        if (index < log->first_index || index - log->first_index >= log->count) { continue; }
        const struct wal_entry *entry = wal_log_entry(log, index);
        if (entry->data != NULL || entry->segment != reader->segment ||
            entry->offset < reader->job.offset) {
            continue;
        }
        if (reader->job.err != ERR_OK) { return reader->job.err; }
        struct wal_entry_record found;
        if (!reader_find(reader, index, entry, &found)) { return ERR_CORRUPT; }
        wal_log_set_data(reader->wal, log, index, found.data.data);
    }
    return ERR_OK;
}

static void on_read(struct disk_job *job)
{
    struct wal_reader *reader = job->owner;
    if (reader->log != NULL) {
        reader->log->reader = NULL;
        enum err err = reader_take(reader);
        reader->on_done(reader->arg, err);
    }
    mem_free(job->data);
    mem_free(reader);
}

static void on_read_drop(struct disk_job *job)
{
    mem_free(job->data);
    mem_free(job->owner);
}

void wal_read(struct wal *wal, struct wal_log *log, uint64_t from, size_t bytes_max,
              void (*on_done)(void *arg, enum err err), void *arg)
{
    CHECK(log->reader == NULL);
    const struct wal_entry *first = wal_log_entry(log, from);
    CHECK(first != NULL && first->data == NULL);
    uint64_t end = first->offset;
    uint64_t count = 0;
    for (const struct wal_entry *at = first; at != NULL; at = wal_log_entry(log, from + count)) {
        uint64_t at_end = at->offset + wal_record_bytes(at->len + WAL_ENTRY_HEAD_BYTES);
        if (at->segment != first->segment || at->data != NULL || at->offset < first->offset) {
            break;
        }
        if (count > 0 && at_end - first->offset > bytes_max) { break; }
        end = at_end > end ? at_end : end; /* what was moved may stand before its predecessor */
        count++;
    }
    struct wal_reader *reader = mem_new0(sizeof *reader);
    reader->wal = wal;
    reader->log = log;
    reader->from = from;
    reader->count = count;
    reader->segment = first->segment;
    reader->on_done = on_done;
    reader->arg = arg;
    reader->job =
        (struct disk_job){.op = DISK_READ, .offset = first->offset, .len = end - first->offset};
    reader->job.data = mem_new(reader->job.len);
    reader->job.on_done = on_read;
    reader->job.on_drop = on_read_drop;
    reader->job.owner = reader;
    wal_segment_name(reader->job.name, reader->segment);
    log->reader = reader;
    disk_submit(wal->opts.disk, &reader->job);
}

/* ---- life ---- */

struct wal *wal_new(const struct wal_opts *opts)
{
    struct wal *wal = mem_new0(sizeof *wal);
    wal->opts = *opts;
    wal->next_sequence = 1;
    list_init(&wal->logs);
    list_init(&wal->evictable);
    return wal;
}

void wal_free(struct wal *wal)
{
    if (wal == NULL) { return; }
    wal_clean_end(wal);
    while (!list_is_empty(&wal->logs)) {
        wal_log_remove(wal, CONTAINER_OF(wal->logs.next, struct wal_log, link));
    }
    map_fini(&wal->logs_by_group);
    buf_fini(&wal->open.bytes);
    buf_fini(&wal->inflight.bytes);
    mem_free(wal->segments);
    mem_free(wal);
}
