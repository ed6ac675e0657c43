/* interest: this node's in the world, and other nodes' in this one's. */
#include "pubsub/interest.h"

#include "base/mem.h"
#include "pubsub/lane_int.h"
#include "pubsub/table_int.h"

/* ---- what this node's clients want, exclusive ---- */

/* The lists are per stripe and partition, so that this takes no longer for what others want. */
void directory_each_local(struct directory *d, uint32_t partition, local_visit *visit, void *arg)
{
    for (unsigned i = 0; i < DIRECTORY_STRIPES; i++) {
        LIST_EACH (at, &d->stripe[i].local[partition]) {
            const struct entry *entry = CONTAINER_OF(at, struct entry, link);
            visit(arg, entry->kind, entry->node.key, entry->total);
        }
    }
}

static struct pattern *pattern_after(const struct directory *d, const struct pattern *pattern)
{
    struct pattern_node *node = patterns_next(d->patterns, pattern != NULL ? &pattern->node : NULL);
    return node != NULL ? CONTAINER_OF(node, struct pattern, node) : NULL;
}

void directory_each_local_pattern(struct directory *d, local_visit *visit, void *arg)
{
    for (struct pattern *at = pattern_after(d, NULL); at != NULL; at = pattern_after(d, at)) {
        uint64_t count = at->total - at->joining + at->leaving;
        if (count > 0) { visit(arg, TOPIC_PATTERN, at->node.by_text.key, count); }
    }
}

uint64_t directory_pattern_changes(struct directory *d)
{
    return d->pattern_changes;
}

/* ---- what other nodes want ---- */

/* Under the name's lock. */
static void change_share(struct directory *d, struct stripe *stripe, uint64_t hash, uint32_t node,
                         enum topic_kind kind, struct slice name, int64_t change)
{
    if (kind == TOPIC_PATTERN) {
        struct pattern *pattern = pattern_ensure(d, name);
        node_shares_change(&pattern->remote, &d->pattern_generations, node, change);
        pattern_release(d, pattern);
    } else {
        struct entry *entry = entry_ensure(d, stripe, kind, name, hash);
        node_shares_change(&entry->remote, entry_generations(d, entry), node, change);
        entry_release(d, stripe, entry);
    }
}

/* Gives: an acknowledgement with room for its ids and numbers. */
static struct lane_item *ack_new(struct directory *d, uint32_t node, uint32_t lane,
                                 uint32_t id_count, uint32_t seq_count)
{
    struct lane_item *item = lane_item_empty(d, lane);
    item->type = LANE_ACK;
    item->nodes = 1ULL << node;
    item->ids = mem_new((id_count + seq_count) * sizeof *item->ids);
    item->id_count = id_count;
    item->seq_count = seq_count;
    return item;
}

/* Under the stripe. */
static void ack_channel(struct directory *d, uint32_t node, enum topic_kind kind,
                        uint32_t partition, uint64_t id)
{
    uint32_t lane = partition % d->worker_count;
    struct lane_item *item = ack_new(d, node, lane, 1, 1);
    item->kind = kind;
    item->partition = partition;
    item->ids[0] = id;
    struct partition *p = &d->partition[partition];
    lock_take(&p->lock);
    item->epoch = p->at.epoch;
    item->ids[1] = p->at.seq;
    lane_push(d, item, lane);
    lock_release(&p->lock);
    member_wake(d, lane);
}

/* Under all stripes. */
static void ack_patterns(struct directory *d, uint32_t node, uint32_t lane,
                         const struct pattern_delta *delta, uint32_t count)
{
    uint32_t id_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        id_count += delta[i].id != 0;
    }
    if (id_count == 0) { return; }
    uint32_t partitions = d->partition_count + d->worker_count - 1 - lane;
    struct lane_item *item = ack_new(d, node, lane, id_count, partitions / d->worker_count);
    item->kind = TOPIC_PATTERN;
    uint64_t *number = item->ids;
    for (uint32_t i = 0; i < count; i++) {
        if (delta[i].id != 0) { *number++ = delta[i].id; }
    }
    for (uint32_t p = lane; p < d->partition_count; p += d->worker_count) {
        const struct remote_partition *at = &d->partition[p].at;
        *number++ = at->phase == PARTITION_OWNED ? at->seq : 0;
    }
    lane_push(d, item, lane);
    member_wake(d, lane);
}

void directory_change_patterns(struct directory *d, uint32_t node,
                               const struct pattern_delta *delta, uint32_t count)
{
    directory_lock_all(d);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = directory_hash(TOPIC_PATTERN, delta[i].name);
        change_share(d, NULL, hash, node, TOPIC_PATTERN, delta[i].name, delta[i].change);
    }
    for (uint32_t lane = 0; lane < d->worker_count; lane++) {
        ack_patterns(d, node, lane, delta, count);
    }
    directory_unlock_all(d);
}

/* ---- new snapshots of what a node wants ---- */

void directory_stage_interest(struct directory *d, uint32_t node, uint32_t partition)
{
    generations_stage(&d->partition[partition].generations, node);
    d->channel_sweep.forgotten++; /* what was staged and not taken */
}

void directory_stage_more_interest(struct directory *d, uint32_t node, enum topic_kind kind,
                                   struct slice name, uint32_t count)
{
    uint64_t hash = directory_hash(kind, name);
    const struct generations *generations =
        &d->partition[directory_partition_of(d, name)].generations;
    struct stripe *stripe = stripe_lock(d, hash);
    if (generations->staged[node] != 0 && count > 0) {
        struct entry *entry = entry_ensure(d, stripe, kind, name, hash);
        node_shares_stage(&entry->remote, generations, node, count);
    }
    stripe_unlock(stripe);
}

void directory_unstage_interest(struct directory *d, uint32_t node, uint32_t partition)
{
    generations_unstage(&d->partition[partition].generations, node);
    d->channel_sweep.forgotten++;
}

void directory_take_staged_interest(struct directory *d, uint32_t node, uint32_t partition,
                                    uint64_t snapshot)
{
    struct generations *generations = &d->partition[partition].generations;
    if (generations->staged[node] != 0) {
        generations_take_staged(generations, node);
    } else {
        generations_forget(generations, node);
    }
    d->channel_sweep.forgotten++;
    directory_set_snapshot(d, node, partition, snapshot);
}

void directory_stage_patterns(struct directory *d, uint32_t node)
{
    directory_lock_all(d);
    generations_stage(&d->pattern_generations, node);
    d->pattern_sweep.forgotten++; /* what was staged and not taken */
    directory_unlock_all(d);
}

void directory_stage_more_patterns(struct directory *d, uint32_t node,
                                   const struct pattern_delta *delta, uint32_t count)
{
    CHECK(count <= PATTERN_STEPS_MAX);
    directory_lock_all(d);
    bool is_staged = d->pattern_generations.staged[node] != 0;
    for (uint32_t i = 0; is_staged && i < count; i++) {
        if (delta[i].change <= 0) { continue; }
        struct pattern *pattern = pattern_ensure(d, delta[i].name);
        node_shares_stage(&pattern->remote, &d->pattern_generations, node,
                          (uint32_t)delta[i].change);
    }
    directory_unlock_all(d);
}

/* Without numbers: it says nothing about what the node has seen. */
static void ack_snapshot(struct directory *d, uint32_t node)
{
    for (uint32_t lane = 0; lane < d->worker_count; lane++) {
        struct lane_item *item = ack_new(d, node, lane, 1, 0);
        item->kind = TOPIC_PATTERN;
        item->ids[0] = 0;
        lane_push(d, item, lane);
        member_wake(d, lane);
    }
}

void directory_take_staged_patterns(struct directory *d, uint32_t node)
{
    directory_lock_all(d);
    if (d->pattern_generations.staged[node] != 0) {
        generations_take_staged(&d->pattern_generations, node);
        d->pattern_sweep.forgotten++;
        ack_snapshot(d, node);
    }
    directory_unlock_all(d);
}

/* ---- */

bool directory_change_interest(struct directory *d, const struct interest_told *told)
{
    CHECK(told->kind != TOPIC_PATTERN);
    uint64_t hash = directory_hash(told->kind, told->name);
    struct stripe *stripe = stripe_lock(d, hash);
    const struct partition *p = &d->partition[told->partition];
    bool is_here = p->at.phase == PARTITION_OWNED && p->at.epoch == told->epoch &&
                   (told->snapshot == 0 || told->snapshot == p->snapshot[told->node]);
    if (is_here) {
        change_share(d, stripe, hash, told->node, told->kind, told->name, told->change);
        if (told->id != 0) { ack_channel(d, told->node, told->kind, told->partition, told->id); }
    }
    stripe_unlock(stripe);
    return is_here;
}

void directory_set_snapshot(struct directory *d, uint32_t node, uint32_t partition,
                            uint64_t snapshot)
{
    d->partition[partition].snapshot[node] = snapshot;
}

static uint64_t nodes_of(const struct node_shares *shares, const struct generations *generations)
{
    uint64_t nodes = 0;
    for (uint32_t i = 0; shares != NULL && i < shares->count; i++) {
        bool counts = node_share_counts(&shares->share[i], generations);
        nodes |= counts ? 1ULL << shares->share[i].node : 0;
    }
    return nodes;
}

uint64_t directory_interested(struct directory *d, enum topic_kind kind, struct slice name)
{
    uint64_t hash = directory_hash(kind, name);
    const struct run run = {.channel = name, .hash = hash, .kind = kind};
    const struct entry *entry = entry_for_publish(d, &d->stripe[hash >> 56], &run);
    if (entry == NULL) { return 0; }
    uint64_t nodes = nodes_of(entry->remote, entry_generations(d, entry));
    for (uint32_t m = 0; m < entry->match_count; m++) {
        nodes |= nodes_of(entry->match[m]->remote, &d->pattern_generations);
    }
    return nodes;
}
