/* directory: stripes of channel entries, the pattern set, and the sequence point of every publish.
 */
#include "pubsub/directory.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "base/slot.h"
#include "pubsub/directory_table_int.h"

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
            entry_free(stripe, CONTAINER_OF(at, struct entry, remembered));
        }
        CHECK(stripe->entries.count == 0); /* every subscriber has left */
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

void directory_attach(struct directory *d, uint32_t worker, struct fanout *fanout,
                      struct mailbox *inbox, struct mailbox *lanes,
                      void (*on_delivery)(struct task *task))
{
    CHECK(worker < d->worker_count);
    struct member *member = &d->member[worker];
    member->fanout = fanout;
    member->inbox = inbox;
    member->lanes = lanes;
    member->on_delivery = on_delivery;
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
    list_remove(&entry->remembered);
    stripe->remembered_count--;
}

struct entry *entry_ensure(struct directory *d, struct stripe *stripe, enum topic_kind kind,
                           struct slice name, uint64_t hash)
{
    struct entry *entry = entry_find(stripe, name, hash);
    if (entry == NULL) { return entry_new(d, stripe, kind, name, hash); }
    if (list_is_linked(&entry->remembered)) { entry_forget(stripe, entry); }
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

struct topic *directory_topic(struct directory *d, uint32_t worker, enum topic_kind kind,
                              struct slice name)
{
    uint64_t hash = directory_hash(kind, name);
    struct stripe *stripe = stripe_lock(d, hash);
    struct topic *topic = local_topic(d, stripe, worker, kind, name, hash);
    stripe_unlock(stripe);
    return topic;
}

/* ---- one subscriber more or less, under the lock that the name needs ---- */

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
    share_leave(&pattern->share[worker], &pattern->seated);
    pattern_release(d, pattern);
}

void local_join(struct directory *d, struct stripe *stripe, uint32_t worker, enum topic_kind kind,
                struct slice name, uint64_t hash, struct topic *topic)
{
    if (kind == TOPIC_PATTERN) {
        struct pattern *pattern = pattern_ensure(d, name);
        share_join(&pattern->share[worker], &pattern->seated, topic);
        pattern->total++;
        return;
    }
    struct entry *entry = entry_ensure(d, stripe, kind, name, hash);
    stripe->live_count[kind] += entry->total == 0;
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
    stripe->live_count[kind] -= entry->total == 0;
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

/* Is a change of subscriptions to this name for this node alone to decide? Under the name's lock. */
static bool is_decided_here(const struct directory *d, enum topic_kind kind, struct slice name)
{
    if (LIKELY(d->partition_count == 0)) { return true; }
    return kind != TOPIC_PATTERN &&
           d->partition[directory_partition_of(d, name)].at.phase == PARTITION_OWNED;
}

bool directory_join(struct directory *d, uint32_t worker, enum topic_kind kind, struct slice name,
                    struct topic *topic, struct task *change)
{
    if (kind == TOPIC_PATTERN && d->partition_count > 0) { return false; }
    uint64_t hash = directory_hash(kind, name);
    struct stripe *stripe = name_lock(d, kind, hash);
    bool is_here = is_decided_here(d, kind, name);
    if (is_here) {
        local_join(d, stripe, worker, kind, name, hash, topic);
        mailbox_push(d->member[worker].inbox, change);
    }
    name_unlock(d, stripe);
    return is_here;
}

bool directory_leave(struct directory *d, uint32_t worker, enum topic_kind kind, struct slice name,
                     struct task *change)
{
    if (kind == TOPIC_PATTERN && d->partition_count > 0) { return false; }
    uint64_t hash = directory_hash(kind, name);
    struct stripe *stripe = name_lock(d, kind, hash);
    bool is_here = is_decided_here(d, kind, name);
    if (is_here) {
        local_leave(d, stripe, worker, kind, name, hash);
        mailbox_push(d->member[worker].inbox, change);
    }
    name_unlock(d, stripe);
    return is_here;
}

void directory_drop(struct directory *d, uint32_t worker, struct directory_drop *drop,
                    uint32_t count)
{
    if (count == 0) { return; }
    bool is_patterns = drop->kind == TOPIC_PATTERN;
    if (is_patterns) { directory_lock_all(d); }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = directory_hash(drop[i].kind, drop[i].name);
        struct stripe *stripe = is_patterns ? NULL : stripe_lock(d, hash);
        if (remote_note_drop(d, &drop[i])) {
            local_leave(d, stripe, worker, drop[i].kind, drop[i].name, hash);
        }
        if (stripe != NULL) { stripe_unlock(stripe); }
    }
    if (is_patterns) { directory_unlock_all(d); }
}

/* ---- publish ---- */

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
struct entry *entry_for_publish(struct directory *d, struct stripe *stripe, const struct run *run,
                                uint64_t hash)
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
        .origin = run->origin,
    };
    for (uint32_t i = 0, at = 0; at < pattern_count; i++) {
        struct topic *topic = entry->match[i]->share[worker].topic;
        if (topic != NULL) { delivery->pattern[at++] = topic; }
    }
    atomic_fetch_add_explicit(&member->inbox_bytes, run->len, memory_order_relaxed);
    mailbox_push(member->inbox, &delivery->task);
    return true;
}

static void post_to_workers(struct directory *d, const struct run *run, const struct entry *entry,
                            bool *woken)
{
    for (uint32_t worker = 0; worker < d->worker_count; worker++) {
        woken[worker] |= post_to(d, run, entry, worker);
    }
}

/* Add the shares of those nodes that are in `among`. */
static void nodes_add(struct run *run, const struct node_shares *shares,
                      const struct generations *generations, uint64_t among)
{
    for (uint32_t i = 0; i < shares->count; i++) {
        uint64_t node = 1ULL << shares->share[i].node;
        if (!(among & node) || !node_share_counts(&shares->share[i], generations)) { continue; }
        run->receivers += shares->share[i].count;
        run->nodes |= node;
    }
}

/* Who is to receive: sets run->receivers and run->nodes. */
static void count_receivers(const struct directory *d, struct run *run, const struct entry *entry)
{
    uint64_t followers = d->partition_count > 0 ? d->partition[run->partition].at.followers : 0;
    run->receivers = entry->total;
    if (UNLIKELY(entry->remote != NULL)) {
        nodes_add(run, entry->remote, entry_generations(d, entry), UINT64_MAX);
    }
    for (uint32_t i = 0; i < entry->match_count; i++) {
        run->receivers += entry->match[i]->total;
        const struct node_shares *shares = entry->match[i]->remote;
        if (UNLIKELY(shares != NULL)) {
            nodes_add(run, shares, &d->pattern_generations, followers);
        }
    }
}

void directory_post_shipment(struct directory *d, struct run *run, struct shipment *shipment,
                             bool *woken)
{
    uint64_t hash = directory_hash(run->kind, run->channel);
    struct stripe *stripe = stripe_lock(d, hash);
    run->receivers = 0;
    run->nodes = 0;
    run->origin = (struct origin){.node = ORIGIN_SELF};
    run->is_held = false;
    run->is_elsewhere = d->partition_count > 0 && !remote_orders(d, run);
    const struct entry *entry = run->is_elsewhere ? NULL : entry_for_publish(d, stripe, run, hash);
    if (entry != NULL) { count_receivers(d, run, entry); }
    bool may_go = run->nodes == 0 || remote_has_room(d, run);
    if (run->receivers > 0 && may_go) { post_to_workers(d, run, entry, woken); }
    if (run->nodes != 0 && may_go) { remote_push_run(d, run, shipment, woken); }
    stripe_unlock(stripe);
}

void directory_post(struct directory *d, struct run *run, bool *woken)
{
    directory_post_shipment(d, run, NULL, woken);
}

void directory_deliver_exclusive(struct directory *d, struct run *run, bool *woken)
{
    uint64_t hash = directory_hash(run->kind, run->channel);
    const struct entry *entry = entry_for_publish(d, &d->stripe[hash >> 56], run, hash);
    if (entry != NULL) { post_to_workers(d, run, entry, woken); }
}

void directory_deliver(struct directory *d, struct run *run, bool *woken)
{
    struct stripe *stripe = stripe_lock(d, directory_hash(run->kind, run->channel));
    directory_deliver_exclusive(d, run, woken);
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
    uint64_t hash = directory_hash(kind, name);
    struct stripe *stripe = stripe_lock(d, hash);
    const struct entry *entry = entry_find(stripe, name, hash);
    uint64_t total = entry != NULL ? entry->total + entry_remote_total(d, entry) : 0;
    stripe_unlock(stripe);
    return total;
}

/* In a cluster a channel is shown by the node that orders it. */
static bool is_shown(const struct directory *d, const struct entry *entry, enum topic_kind kind)
{
    return entry->kind == kind && !entry_is_unheard(d, entry) &&
           (d->partition_count == 0 || d->partition[entry->partition].at.phase == PARTITION_OWNED);
}

static void each_pattern(struct directory *d, void (*visit)(void *arg, struct slice name),
                         void *arg)
{
    struct stripe *stripe = stripe_lock(d, 0);
    struct pattern_node *node = NULL;
    while ((node = patterns_next(d->patterns, node)) != NULL) {
        bool is_shown = !pattern_is_unheard(d, CONTAINER_OF(node, struct pattern, node));
        if (is_shown) { visit(arg, node->by_text.key); }
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
            if (is_shown(d, entry, kind)) { visit(arg, node->key); }
        }
        stripe_unlock(stripe);
    }
}

static void count_one(void *arg, struct slice name)
{
    (void)name;
    ++*(uint64_t *)arg;
}

/* Those that are forgotten and not swept yet are still in the set. */
static uint64_t pattern_count(struct directory *d)
{
    struct stripe *stripe = stripe_lock(d, 0);
    bool is_swept = d->pattern_sweep.forgotten == d->pattern_sweep.swept;
    uint64_t count = patterns_count(d->patterns);
    stripe_unlock(stripe);
    if (is_swept) { return count; }
    count = 0;
    each_pattern(d, count_one, &count);
    return count;
}

uint64_t directory_count(struct directory *d, enum topic_kind kind)
{
    if (kind == TOPIC_PATTERN) { return pattern_count(d); }
    uint64_t count = 0;
    for (uint64_t i = 0; i < DIRECTORY_STRIPES; i++) {
        struct stripe *stripe = stripe_lock(d, i << 56);
        count += stripe->live_count[kind];
        stripe_unlock(stripe);
    }
    return count;
}
