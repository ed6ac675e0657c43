/* acl_log: a list, newest first. */
#include "acl/acl_log.h"

#include "base/list.h"
#include "base/lock.h"
#include "base/mem.h"

enum { SAME_WITHIN_MS = 60000, LOOKED_AT_MAX = 10 };

struct kept {
    struct list link;
    struct acl_log_entry entry; /* its texts are owned */
};

struct acl_log {
    struct lock lock;
    struct list entries; /* the one updated last is first */
    uint32_t count;
    uint32_t entries_max;
    uint64_t last_id;
};

struct acl_log *acl_log_new(void)
{
    struct acl_log *log = mem_new0(sizeof *log);
    lock_init(&log->lock);
    list_init(&log->entries);
    log->entries_max = 128;
    return log;
}

static struct slice keep(struct slice text)
{
    size_t len = text.len < ACL_LOG_TEXT_BYTES ? text.len : ACL_LOG_TEXT_BYTES;
    return slice_of(mem_copy(text.data, len), len);
}

static void drop(struct slice text)
{
    mem_free((void *)(uintptr_t)text.data);
}

static void kept_free(struct acl_log *log, struct kept *kept)
{
    list_remove(&kept->link);
    log->count--;
    drop(kept->entry.object);
    drop(kept->entry.user);
    drop(kept->entry.client);
    mem_free(kept);
}

static void shorten(struct acl_log *log, uint32_t to)
{
    while (log->count > to) {
        kept_free(log, CONTAINER_OF(log->entries.prev, struct kept, link));
    }
}

void acl_log_free(struct acl_log *log)
{
    if (log == NULL) { return; }
    shorten(log, 0);
    lock_fini(&log->lock);
    mem_free(log);
}

void acl_log_limit(struct acl_log *log, uint32_t entries_max)
{
    lock_take(&log->lock);
    log->entries_max = entries_max;
    lock_release(&log->lock);
}

static bool is_same(const struct acl_log_entry *a, const struct acl_log_entry *b, uint64_t now_ms)
{
    struct slice object = b->object;
    if (object.len > ACL_LOG_TEXT_BYTES) { object.len = ACL_LOG_TEXT_BYTES; }
    return a->reason == b->reason && a->context == b->context && slice_equal(a->object, object) &&
           slice_equal(a->user, b->user) && now_ms - a->updated_ms <= SAME_WITHIN_MS;
}

/* The newest ones are looked at: a flood of refusals costs the same each. */
static struct kept *find_same(struct acl_log *log, const struct acl_log_entry *entry,
                              uint64_t now_ms)
{
    uint32_t looked_at = 0;
    LIST_EACH (link, &log->entries) {
        struct kept *kept = CONTAINER_OF(link, struct kept, link);
        if (is_same(&kept->entry, entry, now_ms)) { return kept; }
        if (++looked_at == LOOKED_AT_MAX) { break; }
    }
    return NULL;
}

static struct kept *kept_new(struct acl_log *log, const struct acl_log_entry *entry,
                             uint64_t now_ms)
{
    struct kept *kept = mem_new0(sizeof *kept);
    kept->entry = *entry;
    kept->entry.id = ++log->last_id;
    kept->entry.count = 0;
    kept->entry.created_ms = now_ms;
    kept->entry.object = keep(entry->object);
    kept->entry.user = keep(entry->user);
    kept->entry.client = keep(entry->client);
    log->count++;
    return kept;
}

static void push_front(struct list *head, struct list *link)
{
    list_push_back(head->next, link);
}

void acl_log_add(struct acl_log *log, const struct acl_log_entry *entry, uint64_t now_ms)
{
    lock_take(&log->lock);
    struct kept *kept = find_same(log, entry, now_ms);
    if (kept == NULL) {
        kept = kept_new(log, entry, now_ms);
    } else {
        list_remove(&kept->link);
        drop(kept->entry.client); /* the one that did it last is told of */
        kept->entry.client = keep(entry->client);
    }
    kept->entry.count++;
    kept->entry.updated_ms = now_ms;
    push_front(&log->entries, &kept->link);
    shorten(log, log->entries_max);
    lock_release(&log->lock);
}

void acl_log_clear(struct acl_log *log)
{
    lock_take(&log->lock);
    shorten(log, 0);
    lock_release(&log->lock);
}

void acl_log_each(struct acl_log *log, uint32_t count, const struct acl_log_visitor *visitor)
{
    lock_take(&log->lock);
    uint32_t left = count < log->count ? count : log->count;
    visitor->begin(visitor->arg, left);
    LIST_EACH (link, &log->entries) {
        if (left-- == 0) { break; }
        visitor->entry(visitor->arg, &CONTAINER_OF(link, struct kept, link)->entry);
    }
    lock_release(&log->lock);
}
