/* wal_log: one group's part of the log in memory: the index of its entries and the recent ones'
 * bytes.
 * Owns: struct wal_log. Not: records and files. Thread: the raft thread.
 * Always: the same changes happen when something is put and when it is read back at start. */
#include <raft.h>

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

static void entry_release(struct wal *wal, struct wal_log *log, struct wal_entry *entry)
{
    struct wal_segment *segment = wal_segment_of(wal, entry->segment);
    CHECK(segment->live_count > 0);
    if (--segment->live_count == 0) { segment->dead_batch = wal->open.number; }
    if (entry->data != NULL) {
        log->cached_bytes -= entry->len;
        mem_free(entry->data);
    }
    log->live_bytes -= entry->len;
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
    struct wal_entry *added = &log->entries[log->head + log->count++];
    *added = *entry;
    added->data = NULL;
    log->live_bytes += entry->len;
    if (data != NULL) {
        added->data = mem_copy(data, entry->len);
        log->cached_bytes += entry->len;
    }
    wal_segment_of(wal, entry->segment)->live_count++;
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

struct wal_hard wal_log_hard(const struct wal_log *log)
{
    return log->hard;
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

void wal_evict(struct wal_log *log, uint64_t upto, uint64_t keep_bytes)
{
    uint64_t at = log->evict_from;
    for (; log->cached_bytes > keep_bytes && at <= upto; at++) {
        if (at < log->first_index || at - log->first_index >= log->count) { break; }
        struct wal_entry *entry = &log->entries[log->head + (at - log->first_index)];
        if (entry->data != NULL && entry->type != RAFT_CHANGE) {
            log->cached_bytes -= entry->len;
            mem_free(entry->data);
            entry->data = NULL;
        }
    }
    log->evict_from = at;
}
