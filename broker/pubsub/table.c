/* table: stripes of channel entries and the pattern set. */
#include "pubsub/table_int.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "base/slot.h"

/* Channels without a subscriber whose pattern matches a stripe remembers. */
enum { STRIPE_REMEMBERED_MAX = 64 };

struct directory *directory_new(uint32_t worker_count)
{
    CHECK(worker_count > 0);
    struct directory *d = mem_new0(sizeof *d);
    d->worker_count = worker_count;
    d->member = mem_new0(worker_count * sizeof *d->member);
    d->patterns = patterns_new();
    d->pattern_version = 1;
    for (unsigned i = 0; i < DIRECTORY_STRIPES; i++) {
        lock_init(&d->stripe[i].lock);
        list_init(&d->stripe[i].remembered);
    }
    return d;
}

static void entry_free(struct stripe *stripe, struct entry *entry)
{
    map_remove(&stripe->entries, &entry->node);
    mem_free(entry->match);
    mem_free(entry->remote);
    mem_free(entry);
}

void directory_free(struct directory *d)
{
    if (d == NULL) { return; }
    directory_forget_all(d);
    for (unsigned i = 0; i < DIRECTORY_STRIPES; i++) {
        struct stripe *stripe = &d->stripe[i];
        LIST_EACH (at, &stripe->remembered) {
            entry_free(stripe, CONTAINER_OF(at, struct entry, link));
        }
        CHECK(stripe->entries.count == 0); /* every subscriber has left */
        mem_free(stripe->local);
        lock_fini(&stripe->lock);
    }
    CHECK(patterns_count(d->patterns) == 0);
    patterns_free(d->patterns);
    for (uint32_t i = 0; i < d->partition_count; i++) {
        lock_fini(&d->partition[i].lock);
    }
    mem_free(d->partition);
    mem_free(d->lane_bytes);
    mem_free(d->member);
    mem_free(d);
}

void directory_attach(struct directory *d, uint32_t worker, const struct directory_member *member)
{
    CHECK(worker < d->worker_count);
    d->member[worker].is = *member;
}

void directory_feed_lanes(struct directory *d, uint32_t worker,
                          void (*on_lane_item)(struct task *task), void *remote_arg)
{
    CHECK(worker < d->worker_count);
    d->member[worker].on_lane_item = on_lane_item;
    d->member[worker].remote_arg = remote_arg;
}

/* Channels and shard channels live in one map: the kind shifts the hash, which the map compares, so
 * equal names of different kinds never meet. */
uint64_t directory_hash(enum topic_kind kind, struct slice name)
{
    return slice_hash(name) ^ (uint64_t)kind * 0x9e3779b97f4a7c15ULL;
}

struct stripe *stripe_lock(struct directory *d, uint64_t hash)
{
    struct stripe *stripe = &d->stripe[hash >> 56];
    lock_take(&stripe->lock);
    return stripe;
}

void stripe_unlock(struct stripe *stripe)
{
    lock_release(&stripe->lock);
}

void directory_lock_all(struct directory *d)
{
    for (unsigned i = 0; i < DIRECTORY_STRIPES; i++) {
        lock_take(&d->stripe[i].lock);
    }
}

void directory_unlock_all(struct directory *d)
{
    for (unsigned i = DIRECTORY_STRIPES; i-- > 0;) {
        stripe_unlock(&d->stripe[i]);
    }
}

struct entry *entry_find(struct stripe *stripe, struct slice name, uint64_t hash)
{
    struct map_node *node = map_find(&stripe->entries, name, hash);
    return node != NULL ? CONTAINER_OF(node, struct entry, node) : NULL;
}

static struct entry *entry_new(struct directory *d, struct stripe *stripe, enum topic_kind kind,
                               struct slice name, uint64_t hash)
{
    size_t shares_bytes = d->worker_count * sizeof(struct share);
    struct entry *entry = mem_new0(sizeof *entry + shares_bytes + name.len + 1);
    char *text = (char *)entry->share + shares_bytes;
    memcpy(text, name.data, name.len);
    entry->node.key = slice_of(text, name.len);
    entry->kind = (uint8_t)kind;
    if (d->partition_count > 0) { entry->partition = (uint16_t)directory_partition_of(d, name); }
    map_insert(&stripe->entries, &entry->node, hash);
    return entry;
}

static void entry_forget(struct stripe *stripe, struct entry *entry)
{
    list_remove(&entry->link);
    stripe->remembered_count--;
}

struct entry *entry_ensure(struct directory *d, struct stripe *stripe, enum topic_kind kind,
                           struct slice name, uint64_t hash)
{
    struct entry *entry = entry_find(stripe, name, hash);
    if (entry == NULL) { return entry_new(d, stripe, kind, name, hash); }
    if (entry->total == 0 && list_is_linked(&entry->link)) { entry_forget(stripe, entry); }
    return entry;
}

void entry_release(struct directory *d, struct stripe *stripe, struct entry *entry)
{
    if (entry_is_unheard(d, entry)) { entry_free(stripe, entry); }
}

struct pattern *pattern_find(struct directory *d, struct slice text)
{
    struct pattern_node *node = patterns_find(d->patterns, text);
    return node != NULL ? CONTAINER_OF(node, struct pattern, node) : NULL;
}

struct pattern *pattern_ensure(struct directory *d, struct slice text)
{
    struct pattern *pattern = pattern_find(d, text);
    if (pattern != NULL) { return pattern; }
    size_t shares_bytes = d->worker_count * sizeof(struct share);
    pattern = mem_new0(sizeof *pattern + shares_bytes + text.len + 1);
    char *copy = (char *)pattern->share + shares_bytes;
    memcpy(copy, text.data, text.len);
    pattern->node.by_text.key = slice_of(copy, text.len);
    patterns_insert(d->patterns, &pattern->node);
    d->pattern_version++;
    return pattern;
}

void pattern_release(struct directory *d, struct pattern *pattern)
{
    if (!pattern_is_unheard(d, pattern)) { return; }
    patterns_remove(d->patterns, &pattern->node);
    d->pattern_version++;
    mem_free(pattern->remote);
    mem_free(pattern);
}

/* ---- one subscriber more or less, under the lock that the name needs ---- */

struct topic *local_topic(struct directory *d, struct stripe *stripe, uint32_t worker,
                          enum topic_kind kind, struct slice name, uint64_t hash)
{
    if (kind == TOPIC_PATTERN) {
        struct pattern *pattern = pattern_find(d, name);
        return pattern != NULL ? pattern->share[worker].topic : NULL;
    }
    struct entry *entry = entry_find(stripe, name, hash);
    return entry != NULL ? entry->share[worker].topic : NULL;
}

static void share_join(struct share *share, uint64_t *total, struct topic *topic)
{
    CHECK(share->topic == NULL || share->topic == topic);
    share->topic = topic;
    share->count++;
    (*total)++;
}

static void share_leave(struct share *share, uint64_t *total)
{
    CHECK(share->count > 0);
    share->count--;
    (*total)--;
    if (share->count == 0) { share->topic = NULL; }
}

void pattern_share_leave(struct directory *d, struct pattern *pattern, uint32_t worker)
{
    share_leave(&pattern->share[worker], &pattern->attached);
    pattern_release(d, pattern);
}

void local_join(struct directory *d, struct stripe *stripe, uint32_t worker, enum topic_kind kind,
                struct slice name, uint64_t hash, struct topic *topic)
{
    if (kind == TOPIC_PATTERN) {
        struct pattern *pattern = pattern_ensure(d, name);
        share_join(&pattern->share[worker], &pattern->attached, topic);
        pattern->total++;
        return;
    }
    struct entry *entry = entry_ensure(d, stripe, kind, name, hash);
    if (entry->total == 0) {
        stripe->live_count[kind]++;
        if (stripe->local != NULL) {
            list_push_back(&stripe->local[entry->partition], &entry->link);
        }
    }
    share_join(&entry->share[worker], &entry->total, topic);
}

void local_leave(struct directory *d, struct stripe *stripe, uint32_t worker, enum topic_kind kind,
                 struct slice name, uint64_t hash)
{
    if (kind == TOPIC_PATTERN) {
        struct pattern *pattern = pattern_find(d, name);
        CHECK(pattern != NULL && pattern->total > 0);
        pattern->total--;
        pattern_share_leave(d, pattern, worker);
        return;
    }
    struct entry *entry = entry_find(stripe, name, hash);
    CHECK(entry != NULL);
    share_leave(&entry->share[worker], &entry->total);
    if (entry->total == 0) {
        stripe->live_count[kind]--;
        if (stripe->local != NULL) { list_remove(&entry->link); }
    }
    entry_release(d, stripe, entry);
}

struct stripe *name_lock(struct directory *d, enum topic_kind kind, uint64_t hash)
{
    if (kind != TOPIC_PATTERN) { return stripe_lock(d, hash); }
    directory_lock_all(d);
    return NULL;
}

void name_unlock(struct directory *d, struct stripe *stripe)
{
    if (stripe != NULL) {
        stripe_unlock(stripe);
    } else {
        directory_unlock_all(d);
    }
}

/* ---- what matches a channel ---- */

struct match_list {
    struct pattern **match;
    uint32_t count;
    uint32_t cap;
};

static void on_match(void *arg, struct pattern_node *node)
{
    struct match_list *list = arg;
    if (list->count == list->cap) {
        list->cap = list->cap > 0 ? list->cap * 2 : 4;
        list->match = mem_resize(list->match, list->cap * sizeof(struct pattern *));
    }
    list->match[list->count++] = CONTAINER_OF(node, struct pattern, node);
}

static int by_text(const void *a, const void *b)
{
    const struct pattern *const *left = a;
    const struct pattern *const *right = b;
    return slice_compare((*left)->node.by_text.key, (*right)->node.by_text.key);
}

/* Bring the entry's matches up to the present pattern set. A client sees its patterns in one order, whatever has
 * come and gone. */
static void entry_match(struct directory *d, struct entry *entry)
{
    struct match_list list = {0};
    patterns_match(d->patterns, entry->node.key, on_match, &list);
    if (list.count > 1) { qsort(list.match, list.count, sizeof(struct pattern *), by_text); }
    mem_free(entry->match);
    entry->match = list.match;
    entry->match_count = list.count;
    entry->match_version = d->pattern_version;
    metric_add(METRIC_pattern_matches_total, 1);
}

/* A channel without a subscriber gets an entry, too, while there are patterns, so that its matches are
 * not sought for each message. */
struct entry *entry_for_publish(struct directory *d, struct stripe *stripe, const struct run *run)
{
    struct entry *entry = entry_find(stripe, run->channel, run->hash);
    if (run->kind != TOPIC_CHANNEL) { return entry; }
    if (entry == NULL) {
        if (patterns_count(d->patterns) == 0) { return NULL; }
        if (stripe->remembered_count == STRIPE_REMEMBERED_MAX) {
            struct list *oldest = list_pop_front(&stripe->remembered);
            stripe->remembered_count--;
            entry_free(stripe, CONTAINER_OF(oldest, struct entry, link));
        }
        entry = entry_new(d, stripe, run->kind, run->channel, run->hash);
        list_push_back(&stripe->remembered, &entry->link);
        stripe->remembered_count++;
    }
    if (entry->match_version != d->pattern_version) { entry_match(d, entry); }
    return entry;
}

/* ---- partitions ---- */

void directory_set_partitions(struct directory *d, uint32_t partition_count, size_t lane_bytes_max)
{
    CHECK(d->partition_count == 0 && partition_count > 0);
    d->partition = mem_new0(partition_count * sizeof *d->partition);
    for (uint32_t i = 0; i < partition_count; i++) {
        lock_init(&d->partition[i].lock);
        d->partition[i].at.owner = REMOTE_NOBODY;
    }
    for (unsigned i = 0; i < DIRECTORY_STRIPES; i++) {
        d->stripe[i].local = mem_new(partition_count * sizeof(struct list));
        for (uint32_t p = 0; p < partition_count; p++) {
            list_init(&d->stripe[i].local[p]);
        }
    }
    d->partition_count = partition_count;
    d->lane_bytes_max = lane_bytes_max;
    d->lane_bytes = mem_new0(d->worker_count * REMOTE_NODES_MAX * sizeof *d->lane_bytes);
}

uint32_t directory_partition_of(const struct directory *d, struct slice channel)
{
    return slot_partition(d->partition_count, slot_of(channel));
}

void directory_exclusive(struct directory *d, void (*body)(void *arg), void *arg)
{
    directory_lock_all(d);
    body(arg);
    directory_unlock_all(d);
}

struct remote_partition *directory_partition(struct directory *d, uint32_t partition)
{
    CHECK(partition < d->partition_count);
    return &d->partition[partition].at;
}

struct remote_partition directory_partition_peek(struct directory *d, uint32_t partition)
{
    CHECK(partition < d->partition_count);
    struct stripe *stripe = stripe_lock(d, 0);
    struct partition *p = &d->partition[partition];
    lock_take(&p->lock);
    struct remote_partition copy = p->at;
    lock_release(&p->lock);
    stripe_unlock(stripe);
    return copy;
}
