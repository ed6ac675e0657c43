/* order: the sequence point of every publish. */
#include "pubsub/order_int.h"

#include "base/mem.h"
#include "pubsub/lane_int.h"
#include "pubsub/table_int.h"

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
    struct posting *posting = mem_new(sizeof *posting + pattern_count * sizeof(struct topic *));
    *posting = (struct posting){
        .task.run = member->is.on_posting,
        .fanout = member->is.fanout,
        .channel = entry->share[worker].topic,
        .block = block_ref(run->block),
        .data = run->data,
        .len = run->len,
        .prefix_bytes = run->prefix_bytes,
        .message_count = run->message_count,
        .pattern_count = pattern_count,
        .kind = run->kind,
        .orderer = run->orderer,
    };
    for (uint32_t i = 0, at = 0; at < pattern_count; i++) {
        struct topic *topic = entry->match[i]->share[worker].topic;
        if (topic != NULL) { posting->pattern[at++] = topic; }
    }
    atomic_fetch_add_explicit(&member->inbox_bytes, run->len, memory_order_relaxed);
    mailbox_push(member->is.inbox, &posting->task);
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

void directory_prefetch(struct directory *d, const struct run *run, uint32_t count)
{
    enum { STRIPE_LARGE_BUCKETS = 32 }; /* the table is more than the cache near a core holds */
    CHECK(count <= DIRECTORY_PREFETCH_MAX);
    bool is_large[DIRECTORY_PREFETCH_MAX];
    for (uint32_t i = 0; i < count; i++) {
        is_large[i] = map_prefetch_bucket(&d->stripe[run[i].hash >> 56].entries, run[i].hash,
                                          STRIPE_LARGE_BUCKETS);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!is_large[i]) { continue; }
        struct stripe *stripe = stripe_lock(d, run[i].hash);
        map_prefetch_node(&stripe->entries, run[i].hash);
        stripe_unlock(stripe);
    }
}

void directory_post_shipment(struct directory *d, struct run *run, struct shipment *shipment,
                             bool *woken)
{
    struct stripe *stripe = stripe_lock(d, run->hash);
    run->receivers = 0;
    run->nodes = 0;
    run->orderer = (struct orderer){.node = ORDERER_SELF};
    run->is_lane_full = false;
    run->is_elsewhere = d->partition_count > 0 && !lane_orders(d, run);
    const struct entry *entry = run->is_elsewhere ? NULL : entry_for_publish(d, stripe, run);
    if (entry != NULL) { count_receivers(d, run, entry); }
    bool may_go = run->nodes == 0 || lane_has_room(d, run);
    if (run->receivers > 0 && may_go) { post_to_workers(d, run, entry, woken); }
    if (run->nodes != 0 && may_go) { lane_push_run(d, run, shipment, woken); }
    stripe_unlock(stripe);
}

void directory_post(struct directory *d, struct run *run, bool *woken)
{
    directory_post_shipment(d, run, NULL, woken);
}

void directory_deliver_exclusive(struct directory *d, struct run *run, bool *woken)
{
    const struct entry *entry = entry_for_publish(d, &d->stripe[run->hash >> 56], run);
    if (entry != NULL) { post_to_workers(d, run, entry, woken); }
}

void directory_deliver(struct directory *d, struct run *run, bool *woken)
{
    struct stripe *stripe = stripe_lock(d, run->hash);
    directory_deliver_exclusive(d, run, woken);
    stripe_unlock(stripe);
}

/* ---- workers that do not keep up ---- */

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
