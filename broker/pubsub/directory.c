/* directory: stripes of channel entries, the pattern set, and the sequence point of every publish.
 */
#include "pubsub/directory.h"

#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "pubsub/directory_int.h"
#include "pubsub/patterns.h"

enum {
    DIRECTORY_STRIPES = 256,
    STRIPE_REMEMBERED_MAX =
        64, /* channels without a subscriber whose pattern matches a stripe remembers */
};

/* One worker's share of a channel or pattern. */
struct share {
    struct topic *topic; /* the worker's own; NULL exactly when count is 0 */
    uint64_t count;
};

struct pattern {
    struct pattern_node node;
    uint64_t total;
    struct share share[]; /* by worker; the text follows */
};

struct entry {
    struct map_node node;
    struct list remembered; /* in the stripe's list while total is 0 */
    uint64_t total;         /* the sum of the shares */
    struct pattern **match; /* what matches this channel, valid while match_version is the set's */
    uint64_t match_version;
    uint32_t match_count;
    enum topic_kind kind;
    struct share share[]; /* by worker; the name follows */
};

struct stripe {
    _Alignas(64) struct lock lock;
    struct map entries;
    struct list remembered; /* oldest first */
    uint32_t remembered_count;
    uint64_t live_count[TOPIC_KINDS]; /* entries with a subscriber */
};

struct member {
    struct fanout *fanout;
    struct mailbox *inbox;
    void (*on_delivery)(struct task *task);
    atomic_size_t inbox_bytes; /* posted and not yet delivered */
    atomic_bool is_awaited;    /* somebody waits for inbox_bytes to fall */
};

struct directory {
    struct stripe stripe[DIRECTORY_STRIPES];
    struct patterns *patterns; /* written under all stripes, read under any */
    uint64_t pattern_version;  /* likewise; starts at 1 so that 0 means "never matched" */
    struct member *member;
    uint32_t worker_count;
};

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
    mem_free(entry);
}

void directory_free(struct directory *d)
{
    if (d == NULL) { return; }
    for (unsigned i = 0; i < DIRECTORY_STRIPES; i++) {
        struct stripe *stripe = &d->stripe[i];
        LIST_EACH (at, &stripe->remembered) {
            entry_free(stripe, CONTAINER_OF(at, struct entry, remembered));
        }
        CHECK(stripe->entries.count == 0); /* every subscriber has left */
        lock_fini(&stripe->lock);
    }
    CHECK(patterns_count(d->patterns) == 0);
    patterns_free(d->patterns);
    mem_free(d->member);
    mem_free(d);
}

void directory_attach(struct directory *d, uint32_t worker, struct fanout *fanout,
                      struct mailbox *inbox, void (*on_delivery)(struct task *task))
{
    CHECK(worker < d->worker_count);
    struct member *member = &d->member[worker];
    member->fanout = fanout;
    member->inbox = inbox;
    member->on_delivery = on_delivery;
}

/* Channels and shard channels live in one map: the kind shifts the hash, which the map compares, so
 * equal names of different kinds never meet. */
static uint64_t name_hash(enum topic_kind kind, struct slice name)
{
    return slice_hash(name) ^ (uint64_t)kind * 0x9e3779b97f4a7c15ULL;
}

static struct stripe *stripe_lock(struct directory *d, uint64_t hash)
{
    struct stripe *stripe = &d->stripe[hash >> 56];
    lock_take(&stripe->lock);
    return stripe;
}

static void stripe_unlock(struct stripe *stripe)
{
    lock_release(&stripe->lock);
}

static void all_lock(struct directory *d)
{
    for (unsigned i = 0; i < DIRECTORY_STRIPES; i++) {
        lock_take(&d->stripe[i].lock);
    }
}

static void all_unlock(struct directory *d)
{
    for (unsigned i = DIRECTORY_STRIPES; i-- > 0;) {
        stripe_unlock(&d->stripe[i]);
    }
}

static struct entry *entry_find(struct stripe *stripe, struct slice name, uint64_t hash)
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
    entry->kind = kind;
    map_insert(&stripe->entries, &entry->node, hash);
    return entry;
}

static void entry_forget(struct stripe *stripe, struct entry *entry)
{
    list_remove(&entry->remembered);
    stripe->remembered_count--;
}

static struct pattern *pattern_find(struct directory *d, struct slice text)
{
    struct pattern_node *node = patterns_find(d->patterns, text);
    return node != NULL ? CONTAINER_OF(node, struct pattern, node) : NULL;
}

static struct pattern *pattern_new(struct directory *d, struct slice text)
{
    size_t shares_bytes = d->worker_count * sizeof(struct share);
    struct pattern *pattern = mem_new0(sizeof *pattern + shares_bytes + text.len + 1);
    char *copy = (char *)pattern->share + shares_bytes;
    memcpy(copy, text.data, text.len);
    pattern->node.by_text.key = slice_of(copy, text.len);
    patterns_insert(d->patterns, &pattern->node);
    d->pattern_version++;
    return pattern;
}

struct topic *directory_topic(struct directory *d, uint32_t worker, enum topic_kind kind,
                              struct slice name)
{
    uint64_t hash = name_hash(kind, name);
    struct stripe *stripe = stripe_lock(d, hash);
    struct topic *topic = NULL;
    if (kind == TOPIC_PATTERN) {
        struct pattern *pattern = pattern_find(d, name);
        topic = pattern != NULL ? pattern->share[worker].topic : NULL;
    } else {
        struct entry *entry = entry_find(stripe, name, hash);
        topic = entry != NULL ? entry->share[worker].topic : NULL;
    }
    stripe_unlock(stripe);
    return topic;
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

static void push_change(struct directory *d, uint32_t worker, struct task *change)
{
    if (change != NULL) { mailbox_push(d->member[worker].inbox, change); }
}

void directory_join(struct directory *d, uint32_t worker, enum topic_kind kind, struct slice name,
                    struct topic *topic, struct task *change)
{
    if (kind == TOPIC_PATTERN) {
        all_lock(d);
        struct pattern *pattern = pattern_find(d, name);
        pattern = pattern != NULL ? pattern : pattern_new(d, name);
        share_join(&pattern->share[worker], &pattern->total, topic);
        push_change(d, worker, change);
        all_unlock(d);
        return;
    }
    uint64_t hash = name_hash(kind, name);
    struct stripe *stripe = stripe_lock(d, hash);
    struct entry *entry = entry_find(stripe, name, hash);
    if (entry == NULL) {
        entry = entry_new(d, stripe, kind, name, hash);
    } else if (entry->total == 0) {
        entry_forget(stripe, entry);
    }
    stripe->live_count[kind] += entry->total == 0;
    share_join(&entry->share[worker], &entry->total, topic);
    push_change(d, worker, change);
    stripe_unlock(stripe);
}

/* Under all stripes. */
static void pattern_leave(struct directory *d, uint32_t worker, struct slice text)
{
    struct pattern *pattern = pattern_find(d, text);
    CHECK(pattern != NULL);
    share_leave(&pattern->share[worker], &pattern->total);
    if (pattern->total == 0) {
        patterns_remove(d->patterns, &pattern->node);
        d->pattern_version++;
        mem_free(pattern);
    }
}

void directory_leave(struct directory *d, uint32_t worker, enum topic_kind kind, struct slice name,
                     struct task *change)
{
    if (kind == TOPIC_PATTERN) {
        all_lock(d);
        pattern_leave(d, worker, name);
        push_change(d, worker, change);
        all_unlock(d);
        return;
    }
    uint64_t hash = name_hash(kind, name);
    struct stripe *stripe = stripe_lock(d, hash);
    struct entry *entry = entry_find(stripe, name, hash);
    CHECK(entry != NULL);
    share_leave(&entry->share[worker], &entry->total);
    if (entry->total == 0) {
        stripe->live_count[kind]--;
        entry_free(stripe, entry);
    }
    push_change(d, worker, change);
    stripe_unlock(stripe);
}

void directory_leave_patterns(struct directory *d, uint32_t worker, const struct slice *text,
                              uint32_t count)
{
    all_lock(d);
    for (uint32_t i = 0; i < count; i++) {
        pattern_leave(d, worker, text[i]);
    }
    all_unlock(d);
}

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

/* Bring the entry's matches up to the present pattern set. */
static void entry_match(struct directory *d, struct entry *entry)
{
    struct match_list list = {0};
    patterns_match(d->patterns, entry->node.key, on_match, &list);
    mem_free(entry->match);
    entry->match = list.match;
    entry->match_count = list.count;
    entry->match_version = d->pattern_version;
    metric_add(METRIC_pattern_matches_total, 1);
}

/* The entry to publish through: with matches up to date; NULL if nobody can be interested. A
 * channel without a subscriber gets one, too, while there are patterns, so that its matches are not
 * sought for each message. */
static struct entry *entry_for_publish(struct directory *d, struct stripe *stripe,
                                       const struct run *run, uint64_t hash)
{
    struct entry *entry = entry_find(stripe, run->channel, hash);
    if (run->kind != TOPIC_CHANNEL) { return entry; }
    if (entry == NULL) {
        if (patterns_count(d->patterns) == 0) { return NULL; }
        if (stripe->remembered_count == STRIPE_REMEMBERED_MAX) {
            struct list *oldest = list_pop_front(&stripe->remembered);
            stripe->remembered_count--;
            entry_free(stripe, CONTAINER_OF(oldest, struct entry, remembered));
        }
        entry = entry_new(d, stripe, run->kind, run->channel, hash);
        list_push_back(&stripe->remembered, &entry->remembered);
        stripe->remembered_count++;
    }
    if (entry->match_version != d->pattern_version) { entry_match(d, entry); }
    return entry;
}

/* Post the run to one worker, if a subscriber of the channel or of a matching pattern is there. */
static bool post_to(struct directory *d, const struct run *run, const struct entry *entry,
                    uint32_t worker)
{
    uint32_t pattern_count = 0;
    for (uint32_t i = 0; i < entry->match_count; i++) {
        pattern_count += entry->match[i]->share[worker].topic != NULL;
    }
    if (entry->share[worker].topic == NULL && pattern_count == 0) { return false; }
    struct member *member = &d->member[worker];
    struct delivery *delivery = mem_new(sizeof *delivery + pattern_count * sizeof(struct topic *));
    *delivery = (struct delivery){
        .task.run = member->on_delivery,
        .fanout = member->fanout,
        .channel = entry->share[worker].topic,
        .block = block_ref(run->block),
        .data = run->data,
        .len = run->len,
        .prefix_bytes = run->prefix_bytes,
        .message_count = run->message_count,
        .pattern_count = pattern_count,
        .kind = run->kind,
    };
    for (uint32_t i = 0, at = 0; at < pattern_count; i++) {
        struct topic *topic = entry->match[i]->share[worker].topic;
        if (topic != NULL) { delivery->pattern[at++] = topic; }
    }
    atomic_fetch_add_explicit(&member->inbox_bytes, run->len, memory_order_relaxed);
    mailbox_push(member->inbox, &delivery->task);
    return true;
}

void directory_post(struct directory *d, struct run *run, bool *woken)
{
    uint64_t hash = name_hash(run->kind, run->channel);
    struct stripe *stripe = stripe_lock(d, hash);
    const struct entry *entry = entry_for_publish(d, stripe, run, hash);
    run->receivers = 0;
    if (entry != NULL) {
        run->receivers = entry->total;
        for (uint32_t i = 0; i < entry->match_count; i++) {
            run->receivers += entry->match[i]->total;
        }
        for (uint32_t worker = 0; worker < d->worker_count && run->receivers > 0; worker++) {
            woken[worker] |= post_to(d, run, entry, worker);
        }
    }
    stripe_unlock(stripe);
}

/* The waiter writes is_awaited, then reads inbox_bytes; the worker writes inbox_bytes, then reads
 * is_awaited: one of them sees the other. */
bool directory_is_congested(struct directory *d, uint32_t worker)
{
    for (uint32_t i = 0; i < d->worker_count; i++) {
        struct member *member = &d->member[i];
        if (i == worker || atomic_load_explicit(&member->inbox_bytes, memory_order_relaxed) <=
                               DIRECTORY_INBOX_BYTES) {
            continue;
        }
        atomic_store(&member->is_awaited, true);
        if (atomic_load(&member->inbox_bytes) > DIRECTORY_INBOX_BYTES) { return true; }
    }
    return false;
}

bool directory_taken(struct directory *d, uint32_t worker, size_t bytes)
{
    struct member *member = &d->member[worker];
    size_t before = atomic_fetch_sub(&member->inbox_bytes, bytes);
    CHECK(before >= bytes);
    return before - bytes <= DIRECTORY_INBOX_BYTES && atomic_load(&member->is_awaited) &&
           atomic_exchange(&member->is_awaited, false);
}

uint64_t directory_subscribers(struct directory *d, enum topic_kind kind, struct slice name)
{
    CHECK(kind != TOPIC_PATTERN);
    uint64_t hash = name_hash(kind, name);
    struct stripe *stripe = stripe_lock(d, hash);
    const struct entry *entry = entry_find(stripe, name, hash);
    uint64_t total = entry != NULL ? entry->total : 0;
    stripe_unlock(stripe);
    return total;
}

static void each_pattern(struct directory *d, void (*visit)(void *arg, struct slice name),
                         void *arg)
{
    struct stripe *stripe = stripe_lock(d, 0);
    const struct pattern_node *node = NULL;
    while ((node = patterns_next(d->patterns, node)) != NULL) {
        visit(arg, node->by_text.key);
    }
    stripe_unlock(stripe);
}

void directory_each(struct directory *d, enum topic_kind kind,
                    void (*visit)(void *arg, struct slice name), void *arg)
{
    if (kind == TOPIC_PATTERN) {
        each_pattern(d, visit, arg);
        return;
    }
    for (uint64_t i = 0; i < DIRECTORY_STRIPES; i++) {
        struct stripe *stripe = stripe_lock(d, i << 56);
        struct map_node *node = NULL;
        while ((node = map_next(&stripe->entries, node)) != NULL) {
            const struct entry *entry = CONTAINER_OF(node, struct entry, node);
            if (entry->kind == kind && entry->total > 0) { visit(arg, node->key); }
        }
        stripe_unlock(stripe);
    }
}

uint64_t directory_count(struct directory *d, enum topic_kind kind)
{
    if (kind == TOPIC_PATTERN) {
        struct stripe *stripe = stripe_lock(d, 0);
        uint64_t count = patterns_count(d->patterns);
        stripe_unlock(stripe);
        return count;
    }
    uint64_t count = 0;
    for (uint64_t i = 0; i < DIRECTORY_STRIPES; i++) {
        struct stripe *stripe = stripe_lock(d, i << 56);
        count += stripe->live_count[kind];
        stripe_unlock(stripe);
    }
    return count;
}
