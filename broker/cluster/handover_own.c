/* handover_own: this node begins to own partitions: what the members tell it (Sync), what the previous owner left
 * in their hands, and members that come late. Worker 0's; a partition, whose staged snapshots any worker may bring, is
 * under its lock. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/handovers_int.h"
#include "pubsub/msg.h"

/* ---- what the members tell ---- */

static bool sync_is_sane(const struct cluster *c, const struct wire_sync *sync)
{
    if (sync->partition >= c->partition_count) { return false; }
    for (size_t i = 0; i < sync->entry_count; i++) {
        const struct wire_sync_entry *entry = &sync->entry[i];
        if (entry->kind == TOPIC_PATTERN ||
            directory_partition_of(c->directory, entry->name) != sync->partition) {
            return false;
        }
    }
    for (size_t i = 0; i < sync->tail_count; i++) {
        const struct wire_run *run = &sync->tail[i];
        struct slice channel = msg_channel(run->kind, run->data.data);
        if (run->count == 0 || directory_partition_of(c->directory, channel) != sync->partition) {
            return false;
        }
    }
    return true;
}

/* What a member tells, for bodies of directory_exclusive. */
struct telling {
    struct accepted_peer *accepted;
    const struct wire_sync *sync;
};

/* What was counted until now has been acknowledged on the lane in front of the answer; what names an earlier number is not
 * counted from here on. Exclusive. */
static void take_fence(void *arg)
{
    const struct telling *telling = arg;
    const struct wire_sync *sync = telling->sync;
    const struct accepted_peer *accepted = telling->accepted;
    struct directory *d = accepted->cw->cluster->directory;
    const struct remote_partition *at = directory_partition(d, sync->partition);
    if (at->phase != PARTITION_OWNED || at->epoch != sync->epoch) { return; } /* its map is old */
    directory_set_snapshot(d, accepted->node, sync->partition, sync->snapshot);
    struct lane_item *item = lane_item_new(d, LANE_READY, 1ULL << accepted->node, sync->partition);
    item->snapshot = sync->snapshot;
    item->is_fence = true;
    directory_push_lane(d, item);
}

/* It begins to tell all anew. */
static void stage_anew(void *arg)
{
    const struct telling *telling = arg;
    struct cluster *c = telling->accepted->cw->cluster;
    uint32_t p = telling->sync->partition;
    struct cluster_partition *cp = &c->partition[p];
    lock_take(&cp->lock);
    handover_unstage(&cp->handover, telling->accepted->node);
    lock_release(&cp->lock);
    directory_stage_interest(c->directory, telling->accepted->node, p);
}

/* The names go where they are looked for, and count when all are there and it is their turn. */
static void stage(struct accepted_peer *accepted, const struct wire_sync *sync)
{
    struct cluster *c = accepted->cw->cluster;
    struct telling telling = {accepted, sync};
    if (sync->is_first) { directory_exclusive(c->directory, stage_anew, &telling); }
    for (size_t i = 0; i < sync->entry_count; i++) {
        const struct wire_sync_entry *entry = &sync->entry[i];
        directory_stage_more_interest(c->directory, accepted->node, entry->kind, entry->name,
                                      entry->count);
    }
    struct cluster_partition *cp = &c->partition[sync->partition];
    lock_take(&cp->lock);
    handover_stage(&cp->handover, accepted->node, accepted->incarnation, sync);
    lock_release(&cp->lock);
    if (sync->is_last) { handovers_soon(c); }
}

bool handovers_on_sync(struct accepted_peer *accepted, const struct wire_sync *sync)
{
    struct cluster *c = accepted->cw->cluster;
    if (!sync_is_sane(c, sync)) { return false; }
    if (sync->is_fence) {
        struct telling telling = {accepted, sync};
        directory_exclusive(c->directory, take_fence, &telling);
        directory_wake_lanes(c->directory);
        return true;
    }
    stage(accepted, sync);
    return true;
}

/* ---- this node's side: owning ---- */

/* Has every member that is up told us what it wants? Under the partition's lock. */
static bool all_have_told(struct cluster *c, uint32_t p)
{
    const struct cluster_worker *cw = cluster_worker_0(c);
    for (uint32_t node = 0; node < cw->map->node_count; node++) {
        bool is_other = node != cw->self && node_is_up(cw->map, node);
        if (is_other && !has_told(c, p, node)) { return false; }
    }
    return true;
}

/* And has the stream before ours ended? */
static bool may_begin(struct cluster *c, uint32_t p)
{
    const struct remote_partition at = directory_partition_peek(c->directory, p);
    if (at.owner != cluster_worker_0(c)->self || at.phase == PARTITION_OWNED) { return false; }
    struct cluster_partition *cp = &c->partition[p];
    lock_take(&cp->lock);
    bool may = cp->handover.previous.node == REMOTE_NOBODY && all_have_told(c, p);
    lock_release(&cp->lock);
    return may;
}

/* What the node has staged is in force. */
static void take_interest(struct directory *d, uint32_t p, const struct cluster_partition *cp,
                          uint32_t node)
{
    directory_take_staged_interest(d, node, p, cp->handover.staging[node]->snapshot);
}

static void push_ready(struct cluster *c, uint32_t p, uint32_t node, bool is_missed)
{
    struct lane_item *item = lane_item_new(c->directory, LANE_READY, 1ULL << node, p);
    item->snapshot = c->partition[p].handover.staging[node]->snapshot;
    item->seq = directory_partition(c->directory, p)->seq;
    item->is_missed = is_missed;
    directory_push_lane(c->directory, item);
}

void own_push_end(struct cluster *c, uint32_t p, uint64_t nodes, uint64_t epoch, uint64_t seq)
{
    if (nodes == 0) { return; }
    struct lane_item *item = lane_item_new(c->directory, LANE_END, nodes, p);
    item->epoch = epoch;
    item->seq = seq;
    directory_push_lane(c->directory, item);
}

/* Is what the node has seen, up to `seq`, not followed by what is still kept? */
static bool has_missed(uint64_t seq, uint64_t floor)
{
    return seq + 1 < floor;
}

/* Give a run of the previous owner to those who want it and have not seen its number. */
static void recover_run(struct cluster *c, uint32_t p, struct cluster_partition *cp,
                        uint64_t members, const struct tail_run *run)
{
    struct slice channel = msg_channel(run->kind, run->span.data);
    uint64_t wanted = directory_interested(c->directory, run->kind, channel) & members;
    uint64_t nodes = 0;
    for (uint64_t left = wanted; left != 0; left &= left - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(left);
        if (cp->handover.staging[node]->seq < run->seq) { nodes |= 1ULL << node; }
    }
    if (nodes != 0) {
        struct lane_item *item = lane_item_new(c->directory, LANE_RUN, nodes, p);
        item->seq = run->seq;
        item->kind = run->kind;
        item->message_count = run->count;
        item->is_recovered = true;
        item->span = (struct span){block_ref(run->span.block), run->span.data, run->span.len};
        directory_push_lane(c->directory, item);
    }
}

/* Who has missed something is shown nothing of what came behind it. */
static uint64_t who_follows(const struct cluster_partition *cp, uint64_t members, uint64_t floor)
{
    uint64_t nodes = 0;
    for (uint64_t left = members; left != 0; left &= left - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(left);
        bool has_all = !has_missed(cp->handover.staging[node]->seq, floor);
        nodes |= has_all ? 1ULL << node : 0;
    }
    return nodes;
}

static void recover(struct cluster *c, uint32_t p, struct cluster_partition *cp, uint64_t members,
                    uint64_t floor)
{
    uint64_t followers = who_follows(cp, members, floor);
    struct tail_walk walk;
    tail_walk_begin(&walk, &cp->handover, members);
    for (const struct tail_run *run; (run = tail_walk_next(&walk)) != NULL;) {
        recover_run(c, p, cp, followers, run);
        if (run->seq > cp->handover.seq) { /* news to this node's own subscribers */
            struct slice channel = msg_channel(run->kind, run->span.data);
            const struct received_run received_run = {run->span,
                                                      msg_prefix_bytes(run->kind, channel),
                                                      run->count,
                                                      run->kind,
                                                      {.node = ORDERER_NOBODY}};
            fanout_deliver_exclusive(cluster_worker_0(c)->fanout, &received_run);
        }
    }
}

/* Under the partition's lock, exclusive. */
static void begin_one(struct turnover *t, uint32_t p)
{
    struct cluster *c = t->cluster;
    uint64_t members = t->members;
    struct cluster_partition *cp = &c->partition[p];
    struct handover *h = &cp->handover;
    uint64_t floor;
    uint64_t seq;
    handover_survey(h, members, &floor, &seq);
    for (uint64_t nodes = members; nodes != 0; nodes &= nodes - 1) {
        take_interest(c->directory, p, cp, (uint32_t)__builtin_ctzll(nodes));
    }
    struct remote_partition *at = directory_partition(c->directory, p);
    at->phase = PARTITION_OWNED;
    at->seq = seq;
    at->snapshot = ++at->number;
    at->followers = members;
    if (has_missed(h->seq, floor)) { handovers_missed_one(c, p); }
    recover(c, p, cp, members, floor);
    cp->is_followed = true;
    for (uint64_t nodes = members; nodes != 0; nodes &= nodes - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(nodes);
        push_ready(c, p, node, has_missed(h->staging[node]->seq, floor));
        staging_take(h->staging[node]);
    }
    handover_begin(h, seq);
}

/* A member may have begun to tell it all anew since may_begin looked. */
static void begin_all(void *arg)
{
    struct turnover *t = arg;
    struct cluster *c = t->cluster;
    directory_forget_interest(c->directory, t->is_affected);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (!t->is_affected[p]) { continue; }
        lock_take(&c->partition[p].lock);
        t->is_affected[p] = all_have_told(c, p);
        if (t->is_affected[p]) { begin_one(t, p); }
        lock_release(&c->partition[p].lock);
    }
}

static void log_begun(struct cluster *c, const bool *is_affected)
{
    uint64_t now_ns = clock_mono_ns();
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (!is_affected[p]) { continue; }
        uint64_t us = (now_ns - c->partition[p].warming_since_ns) / 1000;
        c->partition[p].warming_since_ns = 0;
        atomic_store(&c->last_warmup_us, us);
        LOG_INFO("owner of a partition", LOG_UINT("partition", p),
                 LOG_UINT("epoch", c->partition[p].handover.epoch), LOG_UINT("warm_up_us", us));
    }
}

void own_count(struct cluster *c)
{
    uint32_t owned = 0;
    uint32_t warming = 0;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        if (at.owner != cluster_worker_0(c)->self || at.owner == REMOTE_NOBODY) { continue; }
        owned += at.phase == PARTITION_OWNED;
        warming += at.phase != PARTITION_OWNED;
    }
    atomic_store(&c->owned, owned);
    atomic_store(&c->warming, warming);
    struct membership *membership = c->membership;
    if (membership != NULL) { membership_set_warming(membership, warming); }
}

void own_begin(struct cluster *c)
{
    struct turnover t = turnover_begin(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (!may_begin(c, p)) { continue; }
        if (!handovers_may_work(c)) { break; }
        t.is_affected[p] = true;
        t.any = true;
        handovers_worked(c, 0);
    }
    if (t.any) {
        directory_exclusive(c->directory, begin_all, &t);
        directory_wake_lanes(c->directory);
        log_begun(c, t.is_affected);
        cluster_look_all(c);
    }
    turnover_end(&t);
}

/* ---- members that come late, or again ---- */

/* To a partition that is ordered already. */
static void take_latecomer(void *arg)
{
    const struct latecomer *late = arg;
    struct cluster *c = late->cluster;
    struct cluster_partition *cp = &c->partition[late->partition];
    lock_take(&cp->lock);
    uint64_t incarnation = cluster_worker_0(c)->map->node[late->node].incarnation;
    if (handover_has_news(&cp->handover, late->node, incarnation)) {
        take_interest(c->directory, late->partition, cp, late->node);
        directory_partition(c->directory, late->partition)->followers |= 1ULL << late->node;
        push_ready(c, late->partition, late->node, false);
        staging_take(cp->handover.staging[late->node]);
    }
    lock_release(&cp->lock);
}

void own_take_latecomers(struct cluster *c)
{
    const struct cluster_worker *cw = cluster_worker_0(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        if (at.phase != PARTITION_OWNED) { continue; }
        struct cluster_partition *cp = &c->partition[p];
        for (uint32_t node = 0; node < cw->map->node_count; node++) {
            lock_take(&cp->lock);
            bool is_late = handover_has_news(&cp->handover, node, cw->map->node[node].incarnation);
            lock_release(&cp->lock);
            if (!is_late || !node_is_up(cw->map, node)) { continue; }
            if (!handovers_may_work(c)) { return; }
            handovers_worked(c, 0);
            struct latecomer late = {c, p, node};
            directory_exclusive(c->directory, take_latecomer, &late);
            directory_wake_lanes(c->directory);
        }
    }
}

/* Whoever tells an owner that was, because it does not know better yet, has to be told the end of a stream that it
 * has not seen the end of: END may have gone out before its lane was there. */
static void answer_outdated(void *arg)
{
    const struct latecomer *late = arg;
    struct cluster *c = late->cluster;
    struct cluster_partition *cp = &c->partition[late->partition];
    lock_take(&cp->lock);
    if (handover_is_outdated(&cp->handover, late->node)) {
        struct staging *staging = cp->handover.staging[late->node];
        own_push_end(c, late->partition, 1ULL << late->node, staging->epoch, 0);
        staging_take(staging);
        directory_unstage_interest(c->directory, late->node, late->partition);
    }
    lock_release(&cp->lock);
}

void own_answer_outdated(struct cluster *c)
{
    const struct cluster_worker *cw = cluster_worker_0(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        struct cluster_partition *cp = &c->partition[p];
        for (uint32_t node = 0; node < cw->map->node_count; node++) {
            lock_take(&cp->lock);
            bool is_outdated = handover_is_outdated(&cp->handover, node);
            lock_release(&cp->lock);
            if (!is_outdated) { continue; }
            struct latecomer late = {c, p, node};
            directory_exclusive(c->directory, answer_outdated, &late);
            directory_wake_lanes(c->directory);
        }
    }
}

struct end_asked {
    struct cluster *cluster;
    uint32_t partition;
    uint32_t node;
    uint64_t epoch;
};

static void push_end_asked(void *arg)
{
    const struct end_asked *asked = arg;
    struct cluster *c = asked->cluster;
    struct cluster_partition *cp = &c->partition[asked->partition];
    lock_take(&cp->lock);
    uint64_t seq = handover_end_seq(&cp->handover, asked->epoch);
    lock_release(&cp->lock);
    own_push_end(c, asked->partition, 1ULL << asked->node, asked->epoch, seq);
}

static void on_end_asked(struct event *event)
{
    struct cluster *c = event->cw->cluster;
    struct end_asked asked = {c, event->partition, event->node, event->a};
    directory_exclusive(c->directory, push_end_asked, &asked);
    directory_wake_lanes(c->directory);
}

/* What was ordered in an epoch that is over has gone out by now. One that is not over ends by itself, for all. */
bool handovers_on_ask_end(struct accepted_peer *accepted, const struct wire_ask_end *ask_end)
{
    struct cluster *c = accepted->cw->cluster;
    if (ask_end->partition >= c->partition_count) { return false; }
    const struct remote_partition at = directory_partition_peek(c->directory, ask_end->partition);
    if (at.epoch > ask_end->epoch) {
        event_post(cluster_worker_0(c), (struct event){.run = on_end_asked,
                                                       .node = accepted->node,
                                                       .partition = ask_end->partition,
                                                       .a = ask_end->epoch});
    }
    return true;
}
