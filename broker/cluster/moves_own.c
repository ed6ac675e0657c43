/* moves_own: this node begins to own partitions: what the members tell it (Sync), what the previous owner left
 * in their hands, and members that come late. Worker 0's; a place, whose staged pictures any worker may bring, is
 * under its lock. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/moves_int.h"
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
    struct inlet *inlet;
    const struct wire_sync *sync;
};

/* What was counted until now has been acknowledged on the lane in front of the answer; what names an earlier number is not
 * counted from here on. Exclusive. */
static void take_fence(void *arg)
{
    const struct telling *telling = arg;
    const struct wire_sync *sync = telling->sync;
    const struct inlet *inlet = telling->inlet;
    struct directory *d = inlet->half->cluster->directory;
    const struct remote_partition *at = directory_partition(d, sync->partition);
    if (at->phase != PARTITION_OWNED || at->epoch != sync->epoch) { return; } /* its map is old */
    directory_set_snapshot(d, inlet->node, sync->partition, sync->snapshot);
    struct lane_item *item = lane_item_new(d, LANE_READY, 1ULL << inlet->node, sync->partition);
    item->snapshot = sync->snapshot;
    item->is_fence = true;
    directory_push_lane(d, item);
}

/* It begins to tell all anew. */
static void stage_anew(void *arg)
{
    const struct telling *telling = arg;
    struct cluster *c = telling->inlet->half->cluster;
    uint32_t p = telling->sync->partition;
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    handover_unstage(&place->handover, telling->inlet->node);
    lock_release(&place->lock);
    directory_stage_interest(c->directory, telling->inlet->node, p);
}

/* The names go where they are looked for, and count when all are there and it is their turn. */
static void stage(struct inlet *inlet, const struct wire_sync *sync)
{
    struct cluster *c = inlet->half->cluster;
    struct telling telling = {inlet, sync};
    if (sync->is_first) { directory_exclusive(c->directory, stage_anew, &telling); }
    for (size_t i = 0; i < sync->entry_count; i++) {
        const struct wire_sync_entry *entry = &sync->entry[i];
        directory_stage_more_interest(c->directory, inlet->node, entry->kind, entry->name,
                                      entry->count);
    }
    struct place *place = &c->place[sync->partition];
    lock_take(&place->lock);
    handover_stage(&place->handover, inlet->node, inlet->incarnation, sync);
    lock_release(&place->lock);
    if (sync->is_last) { moves_soon(c); }
}

bool moves_on_sync(struct inlet *inlet, const struct wire_sync *sync)
{
    struct cluster *c = inlet->half->cluster;
    if (!sync_is_sane(c, sync)) { return false; }
    if (sync->is_fence) {
        struct telling telling = {inlet, sync};
        directory_exclusive(c->directory, take_fence, &telling);
        directory_wake_lanes(c->directory);
        return true;
    }
    stage(inlet, sync);
    return true;
}

/* ---- this node's side: owning ---- */

/* Has every member that is up told us what it wants? Under the place's lock. */
static bool all_have_told(struct cluster *c, uint32_t p)
{
    const struct half *half = half_0(c);
    for (uint32_t node = 0; node < half->map->node_count; node++) {
        bool is_other = node != half->self && node_is_up(half->map, node);
        if (is_other && !has_told(c, p, node)) { return false; }
    }
    return true;
}

/* And has the stream before ours ended? */
static bool may_begin(struct cluster *c, uint32_t p)
{
    const struct remote_partition at = directory_partition_peek(c->directory, p);
    if (at.owner != half_0(c)->self || at.phase == PARTITION_OWNED) { return false; }
    struct place *place = &c->place[p];
    lock_take(&place->lock);
    bool may = place->handover.previous.node == REMOTE_NOBODY && all_have_told(c, p);
    lock_release(&place->lock);
    return may;
}

/* What the node has staged is in force. */
static void take_interest(struct directory *d, uint32_t p, const struct place *place, uint32_t node)
{
    directory_take_staged_interest(d, node, p, place->handover.staging[node]->snapshot);
}

static void push_ready(struct cluster *c, uint32_t p, uint32_t node, bool is_missed)
{
    struct lane_item *item = lane_item_new(c->directory, LANE_READY, 1ULL << node, p);
    item->snapshot = c->place[p].handover.staging[node]->snapshot;
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
static void recover_run(struct cluster *c, uint32_t p, struct place *place, uint64_t members,
                        const struct tail_run *run)
{
    struct slice channel = msg_channel(run->kind, run->span.data);
    uint64_t wanted = directory_interested(c->directory, run->kind, channel) & members;
    uint64_t nodes = 0;
    for (uint64_t left = wanted; left != 0; left &= left - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(left);
        if (place->handover.staging[node]->seq < run->seq) { nodes |= 1ULL << node; }
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
static uint64_t who_follows(const struct place *place, uint64_t members, uint64_t floor)
{
    uint64_t nodes = 0;
    for (uint64_t left = members; left != 0; left &= left - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(left);
        bool has_all = !has_missed(place->handover.staging[node]->seq, floor);
        nodes |= has_all ? 1ULL << node : 0;
    }
    return nodes;
}

static void recover(struct cluster *c, uint32_t p, struct place *place, uint64_t members,
                    uint64_t floor)
{
    uint64_t followers = who_follows(place, members, floor);
    struct tail_walk walk;
    tail_walk_begin(&walk, &place->handover, members);
    for (const struct tail_run *run; (run = tail_walk_next(&walk)) != NULL;) {
        recover_run(c, p, place, followers, run);
        if (run->seq > place->handover.seq) { /* news to this node's own subscribers */
            struct slice channel = msg_channel(run->kind, run->span.data);
            const struct arrival arrival = {run->span,
                                            msg_prefix_bytes(run->kind, channel),
                                            run->count,
                                            run->kind,
                                            {.node = ORIGIN_NOBODY}};
            fanout_deliver_exclusive(half_0(c)->fanout, &arrival);
        }
    }
}

/* Under the place's lock, exclusive. */
static void begin_one(struct turnover *t, uint32_t p)
{
    struct cluster *c = t->cluster;
    uint64_t members = t->members;
    struct place *place = &c->place[p];
    struct handover *h = &place->handover;
    uint64_t floor;
    uint64_t seq;
    handover_survey(h, members, &floor, &seq);
    for (uint64_t nodes = members; nodes != 0; nodes &= nodes - 1) {
        take_interest(c->directory, p, place, (uint32_t)__builtin_ctzll(nodes));
    }
    struct remote_partition *at = directory_partition(c->directory, p);
    at->phase = PARTITION_OWNED;
    at->seq = seq;
    at->snapshot = ++at->number;
    at->followers = members;
    if (has_missed(h->seq, floor)) { moves_missed_one(c, p); }
    recover(c, p, place, members, floor);
    place->is_followed = true;
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
    directory_forget_interest(c->directory, t->is_concerned);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (!t->is_concerned[p]) { continue; }
        lock_take(&c->place[p].lock);
        t->is_concerned[p] = all_have_told(c, p);
        if (t->is_concerned[p]) { begin_one(t, p); }
        lock_release(&c->place[p].lock);
    }
}

static void log_begun(struct cluster *c, const bool *is_concerned)
{
    uint64_t now_ns = clock_mono_ns();
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (!is_concerned[p]) { continue; }
        uint64_t us = (now_ns - c->place[p].warming_since_ns) / 1000;
        c->place[p].warming_since_ns = 0;
        atomic_store(&c->last_warmup_us, us);
        LOG_INFO("owner of a partition", LOG_UINT("partition", p),
                 LOG_UINT("epoch", c->place[p].handover.epoch), LOG_UINT("warm_up_us", us));
    }
}

void own_count(struct cluster *c)
{
    uint32_t owned = 0;
    uint32_t warming = 0;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        if (at.owner != half_0(c)->self || at.owner == REMOTE_NOBODY) { continue; }
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
        if (!moves_may_work(c)) { break; }
        t.is_concerned[p] = true;
        t.any = true;
        moves_worked(c, 0);
    }
    if (t.any) {
        directory_exclusive(c->directory, begin_all, &t);
        directory_wake_lanes(c->directory);
        log_begun(c, t.is_concerned);
        half_look_all(c);
    }
    turnover_end(&t);
}

/* ---- members that come late, or again ---- */

/* To a partition that is ordered already. */
static void take_latecomer(void *arg)
{
    const struct latecomer *late = arg;
    struct cluster *c = late->cluster;
    struct place *place = &c->place[late->partition];
    lock_take(&place->lock);
    uint64_t incarnation = half_0(c)->map->node[late->node].incarnation;
    if (handover_has_news(&place->handover, late->node, incarnation)) {
        take_interest(c->directory, late->partition, place, late->node);
        directory_partition(c->directory, late->partition)->followers |= 1ULL << late->node;
        push_ready(c, late->partition, late->node, false);
        staging_take(place->handover.staging[late->node]);
    }
    lock_release(&place->lock);
}

void own_take_latecomers(struct cluster *c)
{
    const struct half *half = half_0(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        if (at.phase != PARTITION_OWNED) { continue; }
        struct place *place = &c->place[p];
        for (uint32_t node = 0; node < half->map->node_count; node++) {
            lock_take(&place->lock);
            bool is_late =
                handover_has_news(&place->handover, node, half->map->node[node].incarnation);
            lock_release(&place->lock);
            if (!is_late || !node_is_up(half->map, node)) { continue; }
            if (!moves_may_work(c)) { return; }
            moves_worked(c, 0);
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
    struct place *place = &c->place[late->partition];
    lock_take(&place->lock);
    if (handover_is_outdated(&place->handover, late->node)) {
        struct staging *staging = place->handover.staging[late->node];
        own_push_end(c, late->partition, 1ULL << late->node, staging->epoch, 0);
        staging_take(staging);
        directory_unstage_interest(c->directory, late->node, late->partition);
    }
    lock_release(&place->lock);
}

void own_answer_outdated(struct cluster *c)
{
    const struct half *half = half_0(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        struct place *place = &c->place[p];
        for (uint32_t node = 0; node < half->map->node_count; node++) {
            lock_take(&place->lock);
            bool is_outdated = handover_is_outdated(&place->handover, node);
            lock_release(&place->lock);
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
    struct place *place = &c->place[asked->partition];
    lock_take(&place->lock);
    uint64_t seq = handover_end_seq(&place->handover, asked->epoch);
    lock_release(&place->lock);
    own_push_end(c, asked->partition, 1ULL << asked->node, asked->epoch, seq);
}

static void on_end_asked(struct event *event)
{
    struct cluster *c = event->half->cluster;
    struct end_asked asked = {c, event->partition, event->node, event->a};
    directory_exclusive(c->directory, push_end_asked, &asked);
    directory_wake_lanes(c->directory);
}

/* What was ordered in an epoch that is over has gone out by now. One that is not over ends by itself, for all. */
bool moves_on_ask_end(struct inlet *inlet, const struct wire_ask_end *ask_end)
{
    struct cluster *c = inlet->half->cluster;
    if (ask_end->partition >= c->partition_count) { return false; }
    const struct remote_partition at = directory_partition_peek(c->directory, ask_end->partition);
    if (at.epoch > ask_end->epoch) {
        event_post(half_0(c), (struct event){.run = on_end_asked,
                                             .node = inlet->node,
                                             .partition = ask_end->partition,
                                             .a = ask_end->epoch});
    }
    return true;
}
