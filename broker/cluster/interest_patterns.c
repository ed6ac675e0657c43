/* interest_patterns: changes of our clients' patterns, which every member counts: worker 0 tells all of them. And other
 * nodes' patterns.
 * Patterns change under all stripes: so they do in groups, one of each kind in a turn, and so many are under way at a
 * time that looking at all of them is cheap. The rest waits.
 * Always: what is in pattern_sync.done is awaited by nobody, or given up; the rest of under_way is awaited. */
#include "base/clock.h"
#include "base/mem.h"
#include "cluster/accepted.h"
#include "cluster/dialled.h"
#include "cluster/handover.h"
#include "cluster/handovers_int.h"
#include "cluster/interest.h"
#include "cluster/interest_int.h"
#include "cluster/interest_snapshot.h"
#include "cluster/lanes.h"

enum { OPS_MAX = 2048 };

/* ---- what is under way ---- */

static struct pattern_op *op_at(struct list *link)
{
    return CONTAINER_OF(link, struct pattern_op, link);
}

/* Under cluster.lock. `id` is that of an acknowledgement. NULL: it has ended. */
static struct pattern_op *op_find(struct cluster *c, uint64_t id)
{
    id >>= 8;
    struct map_node *node = map_find(&c->patterns, interest_id(&id), slice_hash(interest_id(&id)));
    return node != NULL ? CONTAINER_OF(node, struct pattern_op, by_id) : NULL;
}

static void on_slice(struct task *task);
static void snapshot_drop(struct cluster_worker *cw);

/* There may be something to begin or to end. */
static void go_on(struct cluster_worker *cw)
{
    struct pattern_sync *sync = &cw->cluster->pattern_sync;
    if (sync->is_posted) { return; }
    sync->is_posted = true;
    mailbox_post(worker_mailbox(cw->worker), &sync->task);
}

static void op_done(struct cluster_worker *cw, struct pattern_op *op)
{
    if (!list_is_linked(&op->done_link)) {
        list_push_back(&cw->cluster->pattern_sync.done, &op->done_link);
    }
    go_on(cw);
}

/* The members, what they have been asked or what they have answered may have changed. */
static void op_look(struct cluster_worker *cw, struct pattern_op *op)
{
    op->awaited = 0;
    for (uint32_t node = 0; cw->map != NULL && node < cw->map->node_count; node++) {
        if (node == cw->self || !node_is_up(cw->map, node)) { continue; }
        bool is_missing = op->asked[node].id == 0 || op->asked[node].remaining > 0;
        op->awaited |= (uint64_t)is_missing << node;
    }
    if ((op->awaited == 0 && cw->map != NULL) || op->is_given_up) {
        op_done(cw, op);
    } else if (list_is_linked(&op->done_link)) {
        list_remove(&op->done_link);
    }
}

void interest_look(struct cluster_worker *cw)
{
    LIST_EACH (at, &cw->cluster->pattern_sync.under_way) {
        op_look(cw, op_at(at));
    }
    go_on(cw);
}

/* If its link or one of its lanes is gone, the node will be told all patterns anew, and asked again then. Who is asked
 * again may still acknowledge the first time: that is not enough to wait for, but the subscriber hears of it. */
static void op_ask(struct cluster_worker *cw, struct pattern_op *op, uint32_t node)
{
    struct pattern_asked *asked = &op->asked[node];
    *asked = (struct pattern_asked){.remaining = lanes_complete(cw->cluster, node)};
    if (asked->remaining == 0 || !dialled_can_ask(cw->dialled[node])) { return; }
    asked->id = op->id << 8 | op->asked_count++;
    interest_send(cw->dialled[node], op->change, asked->id, NULL, op->change->is_join ? 1 : -1);
}

/* ---- beginning ---- */

static void op_begin(struct cluster_worker *cw, struct interest_change *change)
{
    struct cluster *c = cw->cluster;
    struct pattern_op *op = mem_new0(sizeof *op);
    op->change = change;
    op->id = ++cw->next_id;
    op->by_id.key = interest_id(&op->id);
    list_init(&op->done_link);
    list_push_back(&c->pattern_sync.under_way, &op->link);
    c->pattern_sync.under_way_count++;
    lock_take(&c->lock);
    map_insert(&c->patterns, &op->by_id, slice_hash(op->by_id.key));
    lock_release(&c->lock);
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        if (c->patterns_told[node] != 0) { op_ask(cw, op, node); }
    }
    op_look(cw, op);
}

/* Begin those that have waited longest. */
static void begin_some(struct cluster_worker *cw)
{
    struct pattern_sync *sync = &cw->cluster->pattern_sync;
    struct pattern_step step[PATTERN_STEPS_MAX];
    uint32_t count = 0;
    while (count < PATTERN_STEPS_MAX && sync->under_way_count + count < OPS_MAX &&
           !list_is_empty(&sync->waiting)) {
        struct list *link = list_pop_front(&sync->waiting);
        step[count++].change = CONTAINER_OF(link, struct interest_change, link);
    }
    directory_begin_patterns(cw->cluster->directory, step, count);
    for (uint32_t i = 0; i < count; i++) {
        if (step[i].is_void) {
            interest_change_give_back(step[i].change);
        } else {
            op_begin(cw, step[i].change);
        }
    }
}

static void tell_all(struct cluster_worker *cw, const struct interest_change *change, uint64_t seq)
{
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        uint64_t told = cw->cluster->patterns_told[node];
        struct dialled_peer *dialled = cw->dialled[node];
        if (told == 0 || told > seq || !dialled_can_ask(dialled)) { continue; }
        interest_send(dialled, change, 0, NULL, -1);
    }
}

/* Who is being told all patterns hears of them behind that. */
static void tell_drops(struct cluster_worker *cw)
{
    struct pattern_sync *sync = &cw->cluster->pattern_sync;
    if (sync->snapshot != NULL) { return; }
    struct list *link;
    while ((link = list_pop_front(&sync->drops)) != NULL) {
        struct interest_change *change = CONTAINER_OF(link, struct interest_change, link);
        tell_all(cw, change, change->epoch);
        interest_change_free(change);
    }
}

static void finish_all(struct cluster_worker *cw);

static void on_change(struct event *event)
{
    struct cluster_worker *cw = event->cw;
    struct interest_change *change = event->pointer;
    if (change->is_drop) {
        list_push_back(&cw->cluster->pattern_sync.drops, &change->link);
        tell_drops(cw);
        return;
    }
    list_push_back(&cw->cluster->pattern_sync.waiting, &change->link);
    if (atomic_load(&cw->cluster->is_stopping)) {
        finish_all(cw);
    } else {
        go_on(cw);
    }
}

void interest_change_pattern(struct cluster_worker *cw, struct interest_change *change)
{
    event_post(cluster_worker_0(cw->cluster), (struct event){.run = on_change, .pointer = change});
}

/* ---- ending: all count it, or have ceased to; or it is given up ---- */

/* Those nodes have been asked to count it, and are not to. */
static void join_take_back(struct cluster_worker *cw, const struct interest_change *change,
                           uint64_t nodes)
{
    for (; nodes != 0; nodes &= nodes - 1) {
        struct dialled_peer *dialled = cw->dialled[__builtin_ctzll(nodes)];
        if (dialled_can_ask(dialled)) { interest_send(dialled, change, 0, NULL, -1); }
    }
}

/* What is left of an op whose change is its worker's again. */
struct ended {
    struct interest_change *copy; /* of a join; else NULL */
    uint64_t asked;               /* nodes */
    bool is_refused;
};

/* Take it out of the lists: from here on no lane finds it. A leaving needs nobody's consent; a join that is given up
 * is refused. */
static struct ended op_leave(struct cluster *c, struct pattern_op *op)
{
    struct interest_change *change = op->change;
    change->err = op->is_given_up && change->is_join ? ERR_CLUSTER_DOWN : ERR_OK;
    struct ended ended = {.is_refused = change->err != ERR_OK};
    if (change->is_join) { ended.copy = interest_copy(change); }
    for (uint32_t node = 0; node < PMAP_NODES_MAX; node++) {
        if (op->asked[node].id != 0) { ended.asked |= 1ULL << node; }
    }
    lock_take(&c->lock);
    map_remove(&c->patterns, &op->by_id);
    lock_release(&c->lock);
    list_remove(&op->link);
    list_remove(&op->done_link);
    c->pattern_sync.under_way_count--;
    mem_free(op);
    return ended;
}

/* A join is in force when every partition's stream comes to us; one that is given up need not wait for that. While a
 * snapshot is on its way, which has what was in force when it was taken, none ends. */
static void end_some(struct cluster_worker *cw)
{
    struct cluster *c = cw->cluster;
    if (list_is_empty(&c->pattern_sync.done) || c->pattern_sync.snapshot != NULL) { return; }
    bool are_settled = handovers_are_settled(c);
    struct pattern_step step[PATTERN_STEPS_MAX];
    struct ended ended[PATTERN_STEPS_MAX];
    uint32_t count = 0;
    LIST_EACH (at, &c->pattern_sync.done) {
        struct pattern_op *op = CONTAINER_OF(at, struct pattern_op, done_link);
        if (count == PATTERN_STEPS_MAX) { break; }
        op_look(cw, op); /* the map may be a newer one */
        if (!list_is_linked(at) || (!are_settled && !op->is_given_up)) { continue; }
        step[count].change = op->change;
        ended[count++] = op_leave(c, op);
    }
    directory_end_patterns(c->directory, step, count);
    for (uint32_t i = 0; i < count; i++) {
        if (ended[i].copy == NULL) { continue; }
        if (step[i].is_void || ended[i].is_refused) {
            join_take_back(cw, ended[i].copy, ended[i].asked);
        }
        mem_free(ended[i].copy);
    }
    if (count > 0) { go_on(cw); }
}

/* A turn's share of the work. What is done and may not end yet is looked at when that changes (interest_look). */
static void on_slice(struct task *task)
{
    struct cluster *c =
        CONTAINER_OF(CONTAINER_OF(task, struct pattern_sync, task), struct cluster, pattern_sync);
    struct cluster_worker *cw = cluster_worker_0(c);
    c->pattern_sync.is_posted = false;
    end_some(cw);
    begin_some(cw);
    if (!list_is_empty(&c->pattern_sync.waiting) && c->pattern_sync.under_way_count < OPS_MAX) {
        go_on(cw);
    }
}

static void give_up(struct cluster_worker *cw, struct pattern_op *op)
{
    op->is_given_up = true;
    op_done(cw, op);
}

/* The process ends: nothing is under way any more. */
static void finish_all(struct cluster_worker *cw)
{
    struct pattern_sync *sync = &cw->cluster->pattern_sync;
    snapshot_drop(cw);
    while (!list_is_empty(&sync->waiting) || !list_is_empty(&sync->under_way)) {
        LIST_EACH (at, &sync->under_way) {
            give_up(cw, op_at(at));
        }
        end_some(cw);
        begin_some(cw);
    }
}

void interest_stop_patterns(struct cluster_worker *cw)
{
    finish_all(cw);
}

/* A leaving is not confirmed while something that was ordered before it may be on an open lane: either the lane brings
 * the acknowledgement behind that, or it ends, and the client is closed. */
static bool may_give_up(const struct cluster_worker *cw, const struct pattern_op *op)
{
    for (uint64_t nodes = op->awaited; nodes != 0 && !op->change->is_join; nodes &= nodes - 1) {
        uint32_t node = (uint32_t)__builtin_ctzll(nodes);
        if (lanes_complete(cw->cluster, node) > 0) { return false; }
    }
    return true;
}

/* Joins that have not begun are refused; what has begun ends, in slices. */
void interest_tick_patterns(struct cluster_worker *cw, uint64_t since_ns)
{
    struct pattern_sync *sync = &cw->cluster->pattern_sync;
    uint32_t refused = 0;
    LIST_EACH (at, &sync->waiting) {
        struct interest_change *change = CONTAINER_OF(at, struct interest_change, link);
        if (change->since_ns > since_ns || refused == OPS_MAX) { break; }
        if (!change->is_join) { continue; } /* a leaving only has to wait its turn */
        refused++;
        list_remove(at);
        change->err = ERR_CLUSTER_DOWN;
        interest_change_give_back(change);
    }
    LIST_EACH (at, &sync->under_way) {
        bool is_old = op_at(at)->change->since_ns <= since_ns;
        if (is_old && may_give_up(cw, op_at(at))) { give_up(cw, op_at(at)); }
    }
    go_on(cw);
}

/* ---- acknowledgements ---- */

static void on_counted(struct event *event)
{
    struct cluster_worker *cw = event->cw;
    struct cluster *c = cw->cluster;
    lock_take(&c->lock);
    struct pattern_op *op = op_find(c, event->a);
    lock_release(&c->lock);
    struct pattern_asked *asked = op != NULL ? &op->asked[event->node] : NULL;
    if (asked == NULL || asked->id != event->a || asked->remaining == 0) { return; }
    if (--asked->remaining > 0) { return; }
    op->awaited &= ~(1ULL << event->node);
    if (op->awaited == 0) { op_done(cw, op); }
}

/* The lane's owner was given our snapshot anew, which is without what is under way. */
static void forget_counted(struct cluster *c, struct orderer orderer)
{
    if (!handover_rule(RULE_PATTERN_SNAPSHOT)) { return; }
    lock_take(&c->lock);
    for (struct map_node *at = map_next(&c->patterns, NULL); at != NULL;
         at = map_next(&c->patterns, at)) {
        struct pattern_op *op = CONTAINER_OF(at, struct pattern_op, by_id);
        interest_change_counted(op->change, orderer, false);
    }
    lock_release(&c->lock);
}

/* On the lane's worker. The subscriber's worker is told here, so that it hears of it between what has come on
 * this lane before and after; under the lock, so that it does before the change's end. */
void interest_on_pattern_ack(struct accepted_peer *accepted, uint64_t id)
{
    struct cluster *c = accepted->cw->cluster;
    const struct orderer orderer = {(uint8_t)accepted->node, (uint8_t)accepted->worker};
    if (id == 0) {
        forget_counted(c, orderer);
        return;
    }
    lock_take(&c->lock);
    struct pattern_op *op = op_find(c, id);
    if (op != NULL) { interest_change_counted(op->change, orderer, true); }
    lock_release(&c->lock);
    event_post(cluster_worker_0(c),
               (struct event){.run = on_counted, .node = accepted->node, .a = id});
}

/* ---- all of them, for a node that has come up ---- */

struct pattern_snapshot {
    uint32_t node;
    struct interest_snapshot of;
    size_t begun; /* so many have been sent */
    uint64_t changes;
    struct directory *directory;
};

static void snapshot_take(void *arg)
{
    struct pattern_snapshot *snapshot = arg;
    directory_each_local_pattern(snapshot->directory, interest_snapshot_add, &snapshot->of);
    snapshot->changes = directory_pattern_changes(snapshot->directory);
}

static struct pattern_snapshot *snapshot_new(struct directory *d, uint32_t node)
{
    struct pattern_snapshot *snapshot = mem_new0(sizeof *snapshot);
    snapshot->node = node;
    snapshot->directory = d;
    directory_exclusive(d, snapshot_take, snapshot);
    interest_snapshot_seal(&snapshot->of);
    return snapshot;
}

static void snapshot_drop(struct cluster_worker *cw)
{
    struct pattern_sync *sync = &cw->cluster->pattern_sync;
    if (sync->snapshot == NULL) { return; }
    interest_snapshot_fini(&sync->snapshot->of);
    mem_free(sync->snapshot);
    sync->snapshot = NULL;
    tell_drops(cw);
    go_on(cw);
}

/* One frame. True: it was the last one. */
static bool snapshot_send(struct pattern_snapshot *snapshot, struct cluster *c,
                          struct dialled_peer *dialled)
{
    size_t begun = snapshot->begun;
    size_t end = interest_snapshot_part(&snapshot->of, begun, sync_frame_bytes(c));
    const struct wire_frame frame = {
        .type = WIRE_SYNC,
        .sync = {.is_patterns = true,
                 .is_first = begun == 0,
                 .is_last = end == snapshot->of.count,
                 .entry = snapshot->of.entry + begun,
                 .entry_count = end - begun},
    };
    dialled_send(dialled, dialled->request, &frame);
    snapshot->begun = end;
    handovers_worked(c, end - begun);
    return frame.sync.is_last;
}

void interest_tell_patterns(struct cluster_worker *cw, uint32_t node)
{
    struct cluster *c = cw->cluster;
    struct pattern_sync *sync = &c->pattern_sync;
    struct dialled_peer *dialled = cw->dialled[node];
    bool is_for_another = sync->snapshot != NULL && sync->snapshot->node != node;
    if (is_for_another || !dialled_can_ask(dialled) || lanes_complete(c, node) == 0) { return; }
    if (!handovers_may_work(c)) { return; }
    if (sync->snapshot == NULL) {
        sync->snapshot = snapshot_new(c->directory, node);
        handovers_worked(c, sync->snapshot->of.count / 2);
    }
    do {
        if (!handovers_may_work(c)) { return; }
    } while (!snapshot_send(sync->snapshot, c, dialled));
    c->patterns_told[node] = sync->snapshot->changes + 1;
    LIST_EACH (at, &sync->under_way) {
        op_ask(cw, op_at(at), node);
        op_look(cw, op_at(at));
    }
    snapshot_drop(cw);
    handovers_soon(c); /* another node may be waiting */
}

void interest_node_gone(struct cluster_worker *cw, uint32_t node)
{
    struct pattern_sync *sync = &cw->cluster->pattern_sync;
    cw->cluster->patterns_told[node] = 0;
    if (sync->snapshot != NULL && sync->snapshot->node == node) { snapshot_drop(cw); }
    LIST_EACH (at, &sync->under_way) {
        op_at(at)->asked[node] = (struct pattern_asked){0};
    }
    interest_look(cw);
}

/* ---- other nodes' patterns ---- */

/* Changes that one read has brought. */
struct pattern_batch {
    uint32_t count;
    struct buf names;
    struct pattern_delta delta[PATTERN_STEPS_MAX]; /* where the names are until they are made */
};

void interest_on_batch_end(struct accepted_peer *accepted)
{
    struct cluster_worker *cw = accepted->cw;
    struct pattern_batch *batch = cw->pattern_batch;
    if (batch == NULL || batch->count == 0) { return; }
    size_t at = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        batch->delta[i].name.data = batch->names.data + at;
        at += batch->delta[i].name.len;
    }
    directory_change_patterns(cw->cluster->directory, accepted->node, batch->delta, batch->count);
    batch->count = 0;
    buf_fini(&batch->names);
}

void interest_on_pattern(struct accepted_peer *accepted, const struct wire_interest *interest)
{
    struct cluster_worker *cw = accepted->cw;
    if (cw->pattern_batch == NULL) { cw->pattern_batch = mem_new0(sizeof *cw->pattern_batch); }
    struct pattern_batch *batch = cw->pattern_batch;
    batch->delta[batch->count++] =
        (struct pattern_delta){slice_of(NULL, interest->name.len), interest->change, interest->id};
    buf_append(&batch->names, interest->name);
    if (batch->count == PATTERN_STEPS_MAX) { interest_on_batch_end(accepted); }
}

/* A part of the snapshot, a group at a time. */
static void stage(struct accepted_peer *accepted, const struct wire_sync *sync)
{
    struct directory *d = accepted->cw->cluster->directory;
    struct pattern_delta delta[PATTERN_STEPS_MAX];
    uint32_t count = 0;
    for (size_t i = 0; i < sync->entry_count; i++) {
        const struct wire_sync_entry *entry = &sync->entry[i];
        int32_t wanted = entry->count < INT32_MAX ? (int32_t)entry->count : INT32_MAX;
        delta[count++] = (struct pattern_delta){.name = entry->name, .change = wanted};
        if (count == PATTERN_STEPS_MAX || i + 1 == sync->entry_count) {
            directory_stage_more_patterns(d, accepted->node, delta, count);
            count = 0;
        }
    }
}

bool interest_on_patterns(struct accepted_peer *accepted, const struct wire_sync *sync)
{
    struct directory *d = accepted->cw->cluster->directory;
    for (size_t i = 0; i < sync->entry_count; i++) {
        if (sync->entry[i].kind != TOPIC_PATTERN) { return false; }
    }
    interest_on_batch_end(accepted); /* what came before */
    if (sync->is_first) { directory_stage_patterns(d, accepted->node); }
    stage(accepted, sync);
    if (sync->is_last) { directory_take_staged_patterns(d, accepted->node); }
    return true;
}

void interest_init(struct cluster *c)
{
    struct pattern_sync *sync = &c->pattern_sync;
    list_init(&sync->waiting);
    list_init(&sync->under_way);
    list_init(&sync->done);
    list_init(&sync->drops);
    sync->task.run = on_slice;
}
