/* wal_log: one group's part of the log in memory: the index of its entries and the recent ones'
 * bytes.
 * Owns: struct wal_log. Not: records and files. Thread: the raft thread.
 * Always: the same changes happen when something is put and when it is read back at start. */
#include "base/mem.h"
#include "consensus/log/wal_int.h"

static struct slice group_key(const uint64_t *group)
{
    return slice_of(group, sizeof *group);
}

struct wal_log *wal_log_find(struct wal *wal, uint64_t group)
{
    struct slice key = group_key(&group);
    struct map_node *node = map_find(&wal->logs_by_group, key, slice_hash(key));
    return node != NULL ? CONTAINER_OF(node, struct wal_log, node) : NULL;
}

struct wal_log *wal_log_add(struct wal *wal, uint64_t group, uint64_t self, uint64_t next_index)
{
    struct wal_log *log = mem_new0(sizeof *log);
    log->group = group;
    log->self = self;
    log->first_index = next_index;
    log->evict_from = next_index;
    log->node.key = group_key(&log->group);
    map_insert(&wal->logs_by_group, &log->node, slice_hash(log->node.key));
    list_push_back(&wal->logs, &log->link);
    return log;
}

/* Its record is not needed in its segment any more. */
static void segment_release(struct wal *wal, const struct wal_entry *entry)
{
    struct wal_segment *segment = wal_segment_of(wal, entry->segment);
    CHECK(segment->live_count > 0);
    if (--segment->live_count == 0) { segment->dead_batch = wal->open.number; }
}

static void data_set(struct wal *wal, struct wal_log *log, struct wal_entry *entry,
                     const char *data)
{
    entry->data = mem_copy(data, entry->len);
    log->cached_bytes += entry->len;
    wal->cached_bytes += entry->len;
}

static void data_free(struct wal *wal, struct wal_log *log, struct wal_entry *entry)
{
    log->cached_bytes -= entry->len;
    wal->cached_bytes -= entry->len;
    mem_free(entry->data);
    entry->data = NULL;
}

static void entry_release(struct wal *wal, struct wal_log *log, struct wal_entry *entry)
{
    if (entry->segment == 0) { return; } /* a hole, at start */
    segment_release(wal, entry);
    if (entry->data != NULL) { data_free(wal, log, entry); }
    log->live_bytes -= entry->len;
    wal->live_bytes -= entry->len;
}

void wal_log_truncate(struct wal *wal, struct wal_log *log, uint64_t index)
{
    while (log->count > 0 && log->first_index + log->count > index) {
        entry_release(wal, log, &log->entries[log->head + --log->count]);
    }
    if (log->count == 0) {
        log->first_index = index < log->first_index ? index : log->first_index;
        log->evict_from = log->first_index;
    }
}

/* Entries below first_index go. */
static void drop(struct wal *wal, struct wal_log *log, uint64_t first_index)
{
    while (log->count > 0 && log->first_index < first_index) {
        entry_release(wal, log, &log->entries[log->head]);
        log->head++;
        log->count--;
        log->first_index++;
    }
    if (log->count == 0) {
        log->head = 0;
        log->first_index = first_index > log->first_index ? first_index : log->first_index;
    }
    if (log->evict_from < log->first_index) { log->evict_from = log->first_index; }
}

static void entry_set(struct wal *wal, struct wal_log *log, struct wal_entry *entry,
                      const struct wal_entry *to, const char *data)
{
    *entry = *to;
    entry->data = NULL;
    log->live_bytes += entry->len;
    wal->live_bytes += entry->len;
    if (data != NULL) { data_set(wal, log, entry, data); }
    wal_segment_of(wal, entry->segment)->live_count++;
}

void wal_log_append(struct wal *wal, struct wal_log *log, const struct wal_entry *entry,
                    const char *data)
{
    if (log->head + log->count == log->cap) {
        if (log->head > log->cap / 2) {
            memmove(log->entries, log->entries + log->head, log->count * sizeof *log->entries);
            log->head = 0;
        } else {
            log->cap = log->cap > 0 ? log->cap * 2 : 64;
            log->entries = mem_resize(log->entries, log->cap * sizeof *log->entries);
        }
    }
    entry_set(wal, log, &log->entries[log->head + log->count++], entry, data);
}

void wal_log_prepend(struct wal_log *log, uint64_t index)
{
    CHECK(index > 0 && index < log->first_index);
    size_t more = log->first_index - index;
    struct wal_entry *entries = mem_new0((more + log->count + 1) * sizeof *entries);
    if (log->count > 0) {
        memcpy(entries + more, log->entries + log->head, log->count * sizeof *entries);
    }
    mem_free(log->entries);
    log->entries = entries;
    log->head = 0;
    log->count += more;
    log->cap = log->count + 1;
    log->first_index = index;
    log->evict_from = index;
}

static struct wal_entry *entry_at(struct wal_log *log, uint64_t index)
{
    CHECK(index >= log->first_index && index - log->first_index < log->count);
    return &log->entries[log->head + (index - log->first_index)];
}

void wal_log_fill(struct wal *wal, struct wal_log *log, uint64_t index,
                  const struct wal_entry *entry, const char *data)
{
    struct wal_entry *hole = entry_at(log, index);
    CHECK(hole->segment == 0);
    entry_set(wal, log, hole, entry, data);
}

void wal_log_move(struct wal *wal, struct wal_log *log, uint64_t index, uint32_t segment,
                  uint32_t offset)
{
    struct wal_entry *entry = entry_at(log, index);
    segment_release(wal, entry);
    entry->segment = segment;
    entry->offset = offset;
    wal_segment_of(wal, segment)->live_count++;
}

void wal_log_set_snapshot(struct wal *wal, struct wal_log *log, const struct manifest *snapshot,
                          uint64_t first_index, bool is_installed)
{
    if (is_installed) {
        drop(wal, log, UINT64_MAX);
        log->first_index = snapshot->index + 1;
        log->evict_from = log->first_index;
    } else {
        drop(wal, log, first_index);
    }
    manifest_fini(&log->snapshot);
    manifest_copy(&log->snapshot, snapshot);
    log->has_snapshot = true;
}

void wal_log_remove(struct wal *wal, struct wal_log *log)
{
    drop(wal, log, UINT64_MAX);
    wal_read_cancel(log);
    if (list_is_linked(&log->evictable)) { list_remove(&log->evictable); }
    map_remove(&wal->logs_by_group, &log->node);
    list_remove(&log->link);
    manifest_fini(&log->snapshot);
    mem_free(log->entries);
    mem_free(log);
}

struct wal_log *wal_log_next(struct wal *wal, const struct wal_log *log)
{
    struct list *next = log != NULL ? log->link.next : wal->logs.next;
    return next != &wal->logs ? CONTAINER_OF(next, struct wal_log, link) : NULL;
}

uint64_t wal_log_group(const struct wal_log *log)
{
    return log->group;
}

uint64_t wal_log_self(const struct wal_log *log)
{
    return log->self;
}

struct wal_ballot wal_log_ballot(const struct wal_log *log)
{
    return log->ballot;
}

const struct manifest *wal_log_snapshot(const struct wal_log *log)
{
    return log->has_snapshot ? &log->snapshot : NULL;
}

uint64_t wal_log_first_index(const struct wal_log *log)
{
    return log->first_index;
}

uint64_t wal_log_last_index(const struct wal_log *log)
{
    return log->first_index + log->count - 1;
}

const struct wal_entry *wal_log_entry(const struct wal_log *log, uint64_t index)
{
    if (index < log->first_index || index - log->first_index >= log->count) { return NULL; }
    return &log->entries[log->head + (index - log->first_index)];
}

uint64_t wal_log_term(const struct wal_log *log, uint64_t index)
{
    const struct wal_entry *entry = wal_log_entry(log, index);
    if (entry != NULL) { return entry->term; }
    return log->has_snapshot && log->snapshot.index == index ? log->snapshot.term : 0;
}

uint64_t wal_log_cached_bytes(const struct wal_log *log)
{
    return log->cached_bytes;
}

uint64_t wal_log_live_bytes(const struct wal_log *log)
{
    return log->live_bytes;
}

uint64_t wal_cached_bytes(const struct wal *wal)
{
    return wal->cached_bytes;
}

uint64_t wal_live_bytes(const struct wal *wal)
{
    return wal->live_bytes;
}

/* ---- memory ---- */

/* Is its record on the disk, so that it can be read back? A moved one may not be. */
static bool is_flushed(const struct wal *wal, const struct wal_entry *entry)
{
    const struct wal_batch *first = wal->is_flushing ? &wal->inflight : &wal->open;
    return entry->segment < first->segment ||
           (entry->segment == first->segment && entry->offset < first->offset);
}

static bool is_pinned(const struct wal_log *log, uint64_t index)
{
    return index >= log->pinned_from && index <= log->pinned_upto;
}

/* Forget data of one log, until the cache is small enough. False: there is nothing more of it. */
static bool evict(struct wal *wal, struct wal_log *log)
{
    for (; wal->cached_bytes > wal->opts.cache_bytes; log->evict_from++) {
        bool has_more =
            log->evict_from <= log->evict_upto && log->evict_from - log->first_index < log->count;
        if (!has_more) { return false; }
        struct wal_entry *entry = entry_at(log, log->evict_from);
        if (!is_flushed(wal, entry)) { return true; }
        if (is_pinned(log, log->evict_from)) { continue; } /* wal_pin does it, when it is over */
        if (entry->data != NULL && entry->type != wal->opts.kept_type) {
            data_free(wal, log, entry);
        }
    }
    return true;
}

void wal_evict(struct wal *wal, struct wal_log *log, uint64_t upto)
{
    log->evict_upto = upto > log->evict_upto ? upto : log->evict_upto;
    if (!list_is_linked(&log->evictable)) { list_push_back(&wal->evictable, &log->evictable); }
    LIST_EACH (at, &wal->evictable) {
        if (wal->cached_bytes <= wal->opts.cache_bytes) { return; }
        if (!evict(wal, CONTAINER_OF(at, struct wal_log, evictable))) { list_remove(at); }
    }
}

void wal_pin(struct wal *wal, struct wal_log *log, uint64_t from, uint64_t upto)
{
    uint64_t old_from = log->pinned_from > log->first_index ? log->pinned_from : log->first_index;
    uint64_t old_upto = log->pinned_upto;
    log->pinned_from = from;
    log->pinned_upto = upto;
    for (uint64_t i = old_from; i <= old_upto && i < log->evict_from; i++) {
        if (i - log->first_index >= log->count) { return; }
        struct wal_entry *entry = entry_at(log, i);
        if (entry->data != NULL && entry->type != wal->opts.kept_type && !is_pinned(log, i)) {
            data_free(wal, log, entry);
        }
    }
}

void wal_log_set_data(struct wal *wal, struct wal_log *log, uint64_t index, const char *data)
{
    struct wal_entry *entry = entry_at(log, index);
    CHECK(entry->data == NULL);
    data_set(wal, log, entry, data);
    if (log->evict_from > index) { log->evict_from = index; }
}
