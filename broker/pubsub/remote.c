/* remote: partitions, other nodes' interest, lanes. */
#include "pubsub/remote.h"

#include "base/mem.h"
#include "base/slot.h"
#include "pubsub/directory_table_int.h"
#include "pubsub/fanout_int.h"

/* ---- partitions ---- */

void directory_set_partitions(struct directory *d, uint32_t partition_count, size_t lane_bytes_max)
{
    CHECK(d->partition_count == 0 && partition_count > 0);
    d->partition = mem_new0(partition_count * sizeof *d->partition);
    for (uint32_t i = 0; i < partition_count; i++) {
        lock_init(&d->partition[i].lock);
        d->partition[i].at.owner = REMOTE_NOBODY;
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

/* ---- walks, exclusive ---- */

static struct entry *entry_next(const struct stripe *stripe, struct entry *entry)
{
    struct map_node *node = map_next(&stripe->entries, entry != NULL ? &entry->node : NULL);
    return node != NULL ? CONTAINER_OF(node, struct entry, node) : NULL;
}

static void each_entry(struct directory *d, void (*visit)(void *arg, const struct entry *entry),
                       void *arg)
{
    for (unsigned i = 0; i < DIRECTORY_STRIPES; i++) {
        const struct stripe *stripe = &d->stripe[i];
        for (struct entry *at = entry_next(stripe, NULL); at != NULL; at = entry_next(stripe, at)) {
            visit(arg, at);
        }
    }
}

static struct pattern *pattern_after(const struct directory *d, const struct pattern *pattern)
{
    struct pattern_node *node = patterns_next(d->patterns, pattern != NULL ? &pattern->node : NULL);
    return node != NULL ? CONTAINER_OF(node, struct pattern, node) : NULL;
}

struct local_visit {
    enum topic_kind kind;
    void (*visit)(void *arg, uint32_t partition, enum topic_kind kind, struct slice name,
                  uint64_t count);
    void *arg;
};

static void visit_local(void *arg, const struct entry *entry)
{
    const struct local_visit *local = arg;
    if (entry->kind == local->kind && entry->total > 0) {
        local->visit(local->arg, entry->partition, entry->kind, entry->node.key, entry->total);
    }
}

void directory_each_local(struct directory *d, enum topic_kind kind,
                          void (*visit)(void *arg, uint32_t partition, enum topic_kind kind,
                                        struct slice name, uint64_t count),
                          void *arg)
{
    if (kind != TOPIC_PATTERN) {
        struct local_visit local = {kind, visit, arg};
        each_entry(d, visit_local, &local);
        return;
    }
    for (struct pattern *at = pattern_after(d, NULL); at != NULL; at = pattern_after(d, at)) {
        uint64_t count = at->total - at->joining + at->leaving;
        if (count > 0) { visit(arg, 0, kind, at->node.by_text.key, count); }
    }
}

uint64_t directory_pattern_changes(struct directory *d)
{
    return d->pattern_changes;
}

/* ---- what other nodes want ---- */

void directory_set_snapshot(struct directory *d, uint32_t node, uint32_t partition,
                            uint64_t snapshot)
{
    d->partition[partition].snapshot[node] = snapshot;
}

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

void directory_add_interest(struct directory *d, uint32_t node, enum topic_kind kind,
                            struct slice name, uint32_t count)
{
    uint64_t hash = directory_hash(kind, name);
    change_share(d, &d->stripe[hash >> 56], hash, node, kind, name, count);
}

/* ---- lanes ---- */

static void push_lane(struct directory *d, struct lane_item *item, uint32_t worker)
{
    mailbox_push(d->member[worker].lanes, &item->task);
}

void directory_push_lane(struct directory *d, struct lane_item *item)
{
    push_lane(d, item, item->partition % d->worker_count);
}

void directory_wake_lanes(struct directory *d)
{
    for (uint32_t i = 0; i < d->worker_count; i++) {
        fanout_wake(d->member[i].fanout);
    }
}

struct lane_item *lane_item_new(struct directory *d, enum lane_item_type type, uint64_t nodes,
                                uint32_t partition)
{
    struct lane_item *item = mem_new0(sizeof *item);
    fanout_lane_item_init(d->member[partition % d->worker_count].fanout, item);
    item->type = type;
    item->nodes = nodes;
    item->partition = partition;
    item->epoch = d->partition[partition].at.epoch;
    return item;
}

bool remote_orders(const struct directory *d, const struct run *run)
{
    const struct remote_partition *at = &d->partition[run->partition].at;
    return at->phase == PARTITION_OWNED && (run->epoch == 0 || run->epoch == at->epoch);
}

static atomic_size_t *lane_bytes(const struct directory *d, uint32_t worker, uint32_t node)
{
    return &d->lane_bytes[worker * REMOTE_NODES_MAX + node];
}

/* One run may pass the limit, however large it is: else it could never go. */
bool remote_has_room(const struct directory *d, struct run *run)
{
    uint32_t worker = run->partition % d->worker_count;
    for (uint64_t nodes = run->nodes; nodes != 0; nodes &= nodes - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(nodes);
        if (atomic_load(lane_bytes(d, worker, node)) > d->lane_bytes_max) {
            run->is_held = true;
            run->full_node = node;
            return false;
        }
    }
    return true;
}

static void add_lane_bytes(struct directory *d, const struct run *run)
{
    uint32_t worker = run->partition % d->worker_count;
    for (uint64_t nodes = run->nodes; nodes != 0; nodes &= nodes - 1) {
        atomic_fetch_add(lane_bytes(d, worker, (uint32_t)__builtin_ctzll(nodes)), run->len);
    }
}

bool directory_lane_taken(struct directory *d, uint32_t worker, uint32_t node, size_t bytes)
{
    size_t before = atomic_fetch_sub(lane_bytes(d, worker, node), bytes);
    CHECK(before >= bytes);
    return before > d->lane_bytes_max && before - bytes <= d->lane_bytes_max;
}

void remote_push_run(struct directory *d, const struct run *run, struct shipment *shipment,
                     bool *woken)
{
    add_lane_bytes(d, run);
    struct lane_item *item = lane_item_new(d, LANE_RUN, run->nodes, run->partition);
    item->kind = run->kind;
    item->message_count = run->message_count;
    item->span = (struct span){block_ref(run->block), run->data, run->len};
    item->shipment = shipment;
    struct partition *p = &d->partition[run->partition];
    lock_take(&p->lock);
    item->seq = p->at.seq + 1;
    p->at.seq += run->message_count;
    directory_push_lane(d, item);
    lock_release(&p->lock);
    woken[run->partition % d->worker_count] = true;
}

/* Gives: an acknowledgement with room for its ids and numbers. */
static struct lane_item *ack_new(struct directory *d, uint32_t node, uint32_t lane,
                                 uint32_t id_count, uint32_t seq_count)
{
    struct lane_item *item = mem_new0(sizeof *item);
    fanout_lane_item_init(d->member[lane].fanout, item);
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
    push_lane(d, item, lane);
    lock_release(&p->lock);
    fanout_wake(d->member[lane].fanout);
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
    push_lane(d, item, lane);
    fanout_wake(d->member[lane].fanout);
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
    const struct run run = {.channel = name, .kind = kind};
    const struct entry *entry = entry_for_publish(d, &d->stripe[hash >> 56], &run, hash);
    if (entry == NULL) { return 0; }
    uint64_t nodes = nodes_of(entry->remote, entry_generations(d, entry));
    for (uint32_t m = 0; m < entry->match_count; m++) {
        nodes |= nodes_of(entry->match[m]->remote, &d->pattern_generations);
    }
    return nodes;
}

/* ---- this node's pending changes ---- */

/* Does the partition's owner count, or is it about to count, what our clients want? */
static bool is_counted(const struct remote_partition *at)
{
    return at->phase == PARTITION_SYNCED || at->phase == PARTITION_READY;
}

/* A pattern's change that has begun goes on without its client. */
static bool note_pattern_drop(struct directory *d, struct directory_drop *drop)
{
    drop->partition = 0;
    drop->epoch = ++d->pattern_changes;
    bool is_under_way = drop->pending != NULL && drop->pending->is_begun;
    if (drop->pending != NULL) { drop->pending->is_cancelled = true; }
    drop->is_to_be_told = !is_under_way;
    return !is_under_way;
}

bool remote_note_drop(struct directory *d, struct directory_drop *drop)
{
    drop->is_to_be_told = false;
    if (d->partition_count == 0) { return true; }
    if (drop->kind == TOPIC_PATTERN) { return note_pattern_drop(d, drop); }
    drop->partition = directory_partition_of(d, drop->name);
    const struct remote_partition *at = &d->partition[drop->partition].at;
    drop->snapshot = at->snapshot;
    struct interest_change *pending = drop->pending;
    if (pending == NULL) {
        drop->is_to_be_told = is_counted(at);
        return true;
    }
    pending->is_cancelled = true; /* its own telling goes on, if it is still right */
    if (pending->is_applied) { return false; }
    pending->is_drop = is_counted(at);
    pending->snapshot = at->snapshot;
    return true;
}

void directory_cancel_change(struct directory *d, struct interest_change *change)
{
    struct slice name = interest_change_name(change);
    struct stripe *stripe = name_lock(d, change->kind, directory_hash(change->kind, name));
    change->is_cancelled = true;
    if (change->is_begun && !change->is_applied) { /* a pattern: not counted here from now on */
        struct pattern *pattern = pattern_find(d, name);
        CHECK(pattern != NULL && pattern->joining > 0);
        pattern->joining--;
        pattern->total--;
    }
    name_unlock(d, stripe);
}

enum change_result directory_apply_change(struct directory *d, struct interest_change *change,
                                          uint64_t snapshot)
{
    CHECK(change->kind != TOPIC_PATTERN);
    struct slice name = interest_change_name(change);
    uint64_t hash = directory_hash(change->kind, name);
    struct fanout *fanout = change->fanout;
    uint32_t worker = fanout_index(fanout);
    struct stripe *stripe = stripe_lock(d, hash);
    if (d->partition[change->partition].at.snapshot != snapshot) {
        stripe_unlock(stripe);
        return CHANGE_IS_STALE;
    }
    bool is_void_join = change->is_cancelled && change->is_join;
    change->is_void = change->is_cancelled;
    if (!change->is_void) {
        change->topic = local_topic(d, stripe, worker, change->kind, name, hash);
    }
    if (!change->is_void && change->is_join) {
        if (change->topic == NULL) { change->topic = topic_new(change->kind, name); }
        local_join(d, stripe, worker, change->kind, name, hash, change->topic);
    } else if (!change->is_void) {
        local_leave(d, stripe, worker, change->kind, name, hash);
    }
    change->is_applied = true;
    mailbox_push(d->member[worker].inbox, &change->task); /* from here on it is its worker's */
    stripe_unlock(stripe);
    fanout_wake(fanout);
    return is_void_join ? CHANGE_IS_VOID : CHANGE_APPLIED;
}

/* ---- this node's changes of patterns ---- */

static void pattern_begin_join(struct directory *d, struct interest_change *change, uint32_t worker)
{
    struct slice text = interest_change_name(change);
    uint64_t hash = directory_hash(TOPIC_PATTERN, text);
    change->topic = local_topic(d, NULL, worker, TOPIC_PATTERN, text, hash);
    if (change->topic == NULL) { change->topic = topic_new(TOPIC_PATTERN, text); }
    local_join(d, NULL, worker, TOPIC_PATTERN, text, hash, change->topic);
    pattern_find(d, text)->joining++;
}

static void pattern_begin_leave(struct directory *d, struct interest_change *change,
                                uint32_t worker)
{
    struct pattern *pattern = pattern_find(d, interest_change_name(change));
    CHECK(pattern != NULL && pattern->total > 0 && pattern->share[worker].topic != NULL);
    change->topic = pattern->share[worker].topic;
    pattern->total--;
    pattern->leaving++;
}

static void begin_pattern(struct directory *d, struct pattern_step *step)
{
    struct interest_change *change = step->change;
    CHECK(change->kind == TOPIC_PATTERN && !change->is_begun);
    step->is_void = change->is_cancelled;
    if (step->is_void) { return; }
    uint32_t worker = fanout_index(change->fanout);
    if (change->is_join) {
        pattern_begin_join(d, change, worker);
    } else {
        pattern_begin_leave(d, change, worker);
    }
    change->is_begun = true;
    mailbox_push(d->member[worker].inbox, &change->begin_task);
    fanout_wake(d->member[worker].fanout);
}

static void end_pattern(struct directory *d, struct pattern_step *step)
{
    struct interest_change *change = step->change;
    CHECK(change->is_begun && !change->is_applied);
    uint32_t worker = fanout_index(change->fanout);
    struct pattern *pattern = pattern_find(d, interest_change_name(change));
    CHECK(pattern != NULL);
    change->is_void = change->is_join && change->is_cancelled;
    bool is_in_force = change->is_join && !change->is_void && change->err == ERR_OK;
    if (!change->is_join) {
        pattern->leaving--;
    } else if (!change->is_void) {
        pattern->joining--;
        pattern->total -= is_in_force ? 0 : 1;
    }
    if (!is_in_force) { pattern_share_leave(d, pattern, worker); }
    change->is_applied = true;
    step->is_void = change->is_void;
    mailbox_push(d->member[worker].inbox, &change->task); /* from here on it is its worker's */
    fanout_wake(d->member[worker].fanout);
}

static void all_steps(struct directory *d, struct pattern_step *step, uint32_t count,
                      void (*one)(struct directory *d, struct pattern_step *step))
{
    CHECK(count <= PATTERN_STEPS_MAX);
    if (count == 0) { return; }
    directory_lock_all(d);
    for (uint32_t i = 0; i < count; i++) {
        one(d, &step[i]);
    }
    directory_unlock_all(d);
}

void directory_begin_patterns(struct directory *d, struct pattern_step *step, uint32_t count)
{
    all_steps(d, step, count, begin_pattern);
}

void directory_end_patterns(struct directory *d, struct pattern_step *step, uint32_t count)
{
    all_steps(d, step, count, end_pattern);
}
