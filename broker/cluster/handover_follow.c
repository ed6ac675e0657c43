/* handover_follow: this node follows owners elsewhere: snapshots of what its clients want, and READY. And the closing of
 * subscribers that may have missed something. Worker 0's, but what says otherwise. */
#include "base/mem.h"
#include "cluster/dialled.h"
#include "cluster/handovers_int.h"
#include "cluster/interest.h"
#include "cluster/interest_snapshot.h"
#include "cluster/lanes.h"

/* ---- closing subscribers that may have missed something ---- */

static void on_missed(struct event *event)
{
    struct cluster *c = event->cw->cluster;
    bool *is_missing = event->pointer;
    fanout_commit(event->cw->fanout); /* who has been acknowledged by now is not refused */
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (is_missing[p]) { interest_missed(event->cw, p); }
    }
    mem_free(is_missing);
}

void handovers_missed(struct cluster *c, const bool *is_missing)
{
    for (uint32_t i = 0; i < c->worker_count; i++) {
        fanout_interrupt(c->worker[i]->fanout, is_missing);
        bool *copy = mem_new(c->partition_count);
        memcpy(copy, is_missing, c->partition_count);
        event_post(c->worker[i], (struct event){.run = on_missed, .pointer = copy});
    }
}

void handovers_missed_one(struct cluster *c, uint32_t partition)
{
    bool *is_missing = mem_new0(c->partition_count);
    is_missing[partition] = true;
    handovers_missed(c, is_missing);
    mem_free(is_missing);
}

/* ---- this node's side: following an owner ---- */

/* The names of one partition, for its owner. */
struct snapshot {
    struct cluster *cluster;
    uint32_t partition;
    bool is_told;
    struct remote_partition at; /* then */
    struct interest_snapshot of;
};

/* Its stream begins with this. False: not now, the lane has just ended. Exclusive. */
static bool tell_owner(struct cluster *c, uint32_t p)
{
    struct remote_partition *at = directory_partition(c->directory, p);
    struct cluster_partition *cp = &c->partition[p];
    struct stream on = {.incarnation = cluster_worker_0(c)->dialled[at->owner]->incarnation};
    lock_take(&cp->lock);
    lock_take(&c->lock);
    on.lane = lane_number(c, at->owner, p);
    lock_release(&c->lock);
    bool may = on.lane != 0 && handover_may_tell(&cp->handover);
    if (may) {
        handover_tell(&cp->handover, &on);
        at->phase = PARTITION_SYNCED;
        at->snapshot = ++at->number;
    }
    lock_release(&cp->lock);
    return may;
}

static void take_snapshot(void *arg)
{
    struct snapshot *snapshot = arg;
    struct directory *d = snapshot->cluster->directory;
    snapshot->is_told = tell_owner(snapshot->cluster, snapshot->partition);
    if (!snapshot->is_told) { return; }
    snapshot->at = *directory_partition(d, snapshot->partition);
    directory_each_local(d, snapshot->partition, interest_snapshot_add, &snapshot->of);
}

static struct wire_run *tail_as_runs(const struct tail *tail)
{
    struct wire_run *runs = mem_new0((tail->count + 1) * sizeof *runs);
    size_t i = 0;
    LIST_EACH (at, &tail->runs) {
        const struct tail_run *run = CONTAINER_OF(at, struct tail_run, link);
        runs[i++] = (struct wire_run){.seq = run->seq,
                                      .kind = run->kind,
                                      .count = run->count,
                                      .data = slice_of(run->span.data, run->span.len)};
    }
    return runs;
}

static void sync_send(struct snapshot *snapshot)
{
    struct cluster *c = snapshot->cluster;
    uint32_t p = snapshot->partition;
    const struct remote_partition *told = &snapshot->at;
    interest_snapshot_seal(&snapshot->of);
    struct dialled_peer *dialled = cluster_worker_0(c)->dialled[told->owner];
    struct cluster_partition *cp = &c->partition[p];
    struct handover *h = &cp->handover;
    lock_take(&cp->lock);
    struct wire_run *tail = tail_as_runs(&h->tail);
    size_t begun = 0;
    bool is_last;
    do {
        size_t end = interest_snapshot_part(&snapshot->of, begun, sync_frame_bytes(c));
        is_last = end == snapshot->of.count;
        const struct wire_frame frame = {
            .type = WIRE_SYNC,
            .sync = {.partition = p,
                     .epoch = told->epoch,
                     .snapshot = told->snapshot,
                     .is_first = begun == 0,
                     .is_last = is_last,
                     .entry = snapshot->of.entry + begun,
                     .entry_count = end - begun,
                     .seq = h->seq,
                     .tail_from = h->tail.from,
                     .tail = tail,
                     .tail_count = is_last ? h->tail.count : 0},
        };
        dialled_send(dialled, dialled->request, &frame);
        begun = end;
    } while (!is_last);
    lock_release(&cp->lock);
    mem_free(tail);
}

/* May the partition's owner be told our interest now? */
static bool may_sync(struct cluster *c, uint32_t p)
{
    struct cluster_worker *cw = cluster_worker_0(c);
    const struct remote_partition at = directory_partition_peek(c->directory, p);
    if (at.phase != PARTITION_STALE || at.owner == REMOTE_NOBODY || at.owner == cw->self) {
        return false;
    }
    struct dialled_peer *dialled = cw->dialled[at.owner];
    struct cluster_partition *cp = &c->partition[p];
    lock_take(&cp->lock);
    bool is_at_end = handover_may_tell(&cp->handover);
    lock_release(&cp->lock);
    return is_at_end && dialled_can_ask(dialled) && lanes_complete(c, at.owner) > 0 &&
           c->patterns_told[at.owner] != 0;
}

struct fencing {
    struct cluster *cluster;
    uint32_t partition;
    struct remote_partition at;
};

static void number_fence(void *arg)
{
    struct fencing *fencing = arg;
    struct cluster *c = fencing->cluster;
    struct cluster_partition *cp = &c->partition[fencing->partition];
    struct remote_partition *at = directory_partition(c->directory, fencing->partition);
    lock_take(&cp->lock);
    handover_ask_fence(&cp->handover, ++at->number);
    lock_release(&cp->lock);
    fencing->at = *at;
}

/* Is the owner to say first what it has counted? Then it is asked to, once. */
static bool must_fence(struct cluster *c, uint32_t p)
{
    struct cluster_partition *cp = &c->partition[p];
    lock_take(&cp->lock);
    bool must = handover_needs_fence(&cp->handover);
    bool is_asked = cp->handover.stream.fence != 0;
    lock_release(&cp->lock);
    if (!must || is_asked) { return must; }
    struct fencing fencing = {.cluster = c, .partition = p};
    directory_exclusive(c->directory, number_fence, &fencing);
    struct dialled_peer *dialled = cluster_worker_0(c)->dialled[fencing.at.owner];
    const struct wire_frame frame = {.type = WIRE_SYNC,
                                     .sync = {.partition = p,
                                              .epoch = fencing.at.epoch,
                                              .snapshot = fencing.at.number,
                                              .is_fence = true}};
    dialled_send(dialled, dialled->request, &frame);
    return true;
}

static void sync_owner(struct cluster *c, uint32_t p)
{
    struct snapshot snapshot = {.cluster = c, .partition = p};
    directory_exclusive(c->directory, take_snapshot, &snapshot);
    if (snapshot.is_told) { sync_send(&snapshot); }
    handovers_worked(c, snapshot.of.count);
    interest_snapshot_fini(&snapshot.of);
}

void follow_sync_owners(struct cluster *c)
{
    for (uint32_t p = 0; p < c->partition_count; p++) {
        if (!may_sync(c, p) || must_fence(c, p)) { continue; }
        if (!handovers_may_work(c)) { return; }
        sync_owner(c, p);
    }
}

void follow_ask_ends(struct cluster *c)
{
    struct cluster_worker *cw = cluster_worker_0(c);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        struct cluster_partition *cp = &c->partition[p];
        lock_take(&cp->lock);
        const struct stream *awaited = handover_awaits_end(&cp->handover);
        struct stream stream = awaited != NULL ? *awaited : (struct stream){.node = REMOTE_NOBODY};
        lock_release(&cp->lock);
        struct dialled_peer *dialled = awaited != NULL ? cw->dialled[stream.node] : NULL;
        if (!dialled_can_ask(dialled)) { continue; }
        const struct wire_frame frame = {.type = WIRE_ASK_END,
                                         .ask_end = {.partition = p, .epoch = stream.epoch}};
        dialled_send(dialled, dialled->request, &frame);
    }
}

static void on_ready(struct event *event);

static void on_fence(struct cluster *c, uint32_t node, const struct wire_ready *ready)
{
    struct cluster_partition *cp = &c->partition[ready->partition];
    lock_take(&cp->lock);
    bool is_awaited = handover_on_fence(&cp->handover, node, ready);
    lock_release(&cp->lock);
    if (is_awaited) { handovers_soon(c); }
}

void handovers_on_ready(struct cluster *c, uint32_t node, const struct wire_ready *ready)
{
    if (ready->is_fence) {
        on_fence(c, node, ready);
        return;
    }
    struct cluster_partition *cp = &c->partition[ready->partition];
    lock_take(&cp->lock);
    bool is_current = handover_on_ready(&cp->handover, node, ready);
    lock_release(&cp->lock);
    if (!is_current) { return; }
    if (ready->is_missed) { handovers_missed_one(c, ready->partition); }
    event_post(cluster_worker_0(c), (struct event){.run = on_ready,
                                                   .node = node,
                                                   .partition = ready->partition,
                                                   .a = ready->epoch,
                                                   .b = ready->snapshot});
}

static void mark_ready(void *arg)
{
    const struct event *event = arg;
    struct remote_partition *at =
        directory_partition(event->cw->cluster->directory, event->partition);
    bool is_newest = event->b == at->snapshot || event->b == 0 || !handover_rule(RULE_SNAPSHOT);
    bool is_its = at->owner == event->node && at->epoch == event->a;
    if (at->phase == PARTITION_SYNCED && is_its && is_newest) {
        struct cluster_partition *cp = &event->cw->cluster->partition[event->partition];
        at->phase = PARTITION_READY;
        cp->is_followed = true;
        lock_take(&cp->lock);
        handover_change(&cp->handover);
        lock_release(&cp->lock);
    }
}

static void on_ready(struct event *event)
{
    directory_exclusive(event->cw->cluster->directory, mark_ready, event);
    interest_look(event->cw);
    cluster_look_all(event->cw->cluster);
}
