/* cluster_worker: a worker's part of the cluster: what comes to it from others, the newest map, its turn. */
#include "base/latch.h"
#include "base/mem.h"
#include "cluster/accept.h"
#include "cluster/accepted.h"
#include "cluster/asking.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"
#include "cluster/dial.h"
#include "cluster/dialled.h"
#include "cluster/handovers.h"
#include "cluster/interest.h"
#include "cluster/keeping.h"
#include "cluster/lanes.h"
#include "cluster/publishes.h"

/* ---- events between workers ---- */

static void on_event(struct task *task)
{
    struct event *event = CONTAINER_OF(task, struct event, task);
    event->run(event);
    mem_free(event);
}

void event_post(struct cluster_worker *cw, struct event event)
{
    struct event *own = mem_new(sizeof *own);
    *own = event;
    own->cw = cw;
    own->task.run = on_event;
    mailbox_post(worker_mailbox(cw->worker), &own->task);
}

/* ---- looking again ---- */

void cluster_worker_due(struct cluster_worker *cw, uint32_t partition)
{
    cw->is_due[partition] = true;
    cw->any_due = true;
}

static void on_look(struct task *task)
{
    struct cluster_worker *cw = CONTAINER_OF(task, struct cluster_worker, look_task);
    atomic_store(&cw->look_is_posted, false);
    for (uint32_t p = 0; p < cw->cluster->partition_count; p++) {
        cluster_worker_due(cw, p);
    }
}

void cluster_worker_look(struct cluster_worker *cw)
{
    bool is_stopping = atomic_load(&cw->cluster->is_stopping);
    if (!is_stopping && !atomic_exchange(&cw->look_is_posted, true)) {
        mailbox_post(worker_mailbox(cw->worker), &cw->look_task);
    }
}

/* ---- the map ---- */

static void take_map(struct cluster_worker *cw)
{
    struct cluster *c = cw->cluster;
    const struct pmap *old = cw->map;
    lock_take(&c->lock);
    cw->map = c->map != NULL ? pmap_ref(c->map) : NULL;
    cw->self = c->self;
    lock_release(&c->lock);
    pmap_unref(old);
}

static void on_map_task(struct task *task)
{
    struct cluster_worker *cw = CONTAINER_OF(task, struct cluster_worker, map_task);
    atomic_store(&cw->map_is_posted, false);
    if (atomic_load(&cw->cluster->is_stopping)) { return; }
    take_map(cw);
    accepted_follow_map(cw);
    dial_follow_map(cw);
    if (cw->index == 0) { handovers_follow_map(cw->cluster); }
    commands_look(cw);
    for (uint32_t p = 0; p < cw->cluster->partition_count; p++) {
        cluster_worker_due(cw, p);
    }
}

void cluster_worker_take_map(struct cluster_worker *cw)
{
    if (!atomic_exchange(&cw->map_is_posted, true)) {
        mailbox_post(worker_mailbox(cw->worker), &cw->map_task);
    }
}

/* ---- the turn ---- */

static void flush_due(struct cluster_worker *cw)
{
    if (!cw->any_due) { return; }
    cw->any_due = false;
    cw->changes_left = CHANGES_PER_TURN;
    for (uint32_t p = 0; p < cw->cluster->partition_count; p++) {
        if (!cw->is_due[p]) { continue; }
        cw->is_due[p] = false;
        interest_flush(cw, p);
        publishes_flush(cw, p);
    }
}

/* The last connection has ended: nothing of the cluster happens on this worker any more. */
static void stop_if_done(struct cluster_worker *cw)
{
    if (cw->stopped == NULL || peer_hub_count(cw->hub) > 0) { return; }
    struct latch *stopped = cw->stopped;
    cw->stopped = NULL;
    latch_count_down(stopped);
}

void cluster_turn(struct cluster *c, uint32_t worker)
{
    struct cluster_worker *cw = c->worker[worker];
    flush_due(cw);
    jams_turn(&cw->jams);
    mailbox_run(fanout_lanes(cw->fanout));
    dialled_flush(cw);
    lanes_turn(cw);
    fanout_settle(cw->fanout);
    askings_turn(cw);
    accepted_turn(cw);
    if (UNLIKELY(cw->stopped != NULL)) { stop_if_done(cw); }
}

void cluster_tick(struct cluster *c, uint32_t worker)
{
    struct cluster_worker *cw = c->worker[worker];
    publishes_tick(cw);
    interest_tick(cw);
    askings_tick(cw);
    accepted_tick(cw);
    if (worker == 0) {
        handovers_tick(c);
        keeping_tick(c);
    }
}

/* ---- life ---- */

uint64_t cluster_worker_lease(void *arg)
{
    const struct cluster_worker *cw = arg;
    const struct membership *membership = cw->cluster->membership;
    uint64_t incarnation = atomic_load(&cw->cluster->own_incarnation);
    bool holds = membership != NULL && membership_has_lease(membership, incarnation);
    return holds ? incarnation : 0;
}

static void on_request_due(void *cw, uint32_t partition)
{
    cluster_worker_due(cw, partition);
}

static void requests_start(struct cluster_worker *cw)
{
    struct cluster *c = cw->cluster;
    const struct requests_opts opts = {
        .directory = c->directory,
        .partition_count = c->partition_count,
        .timeout_ms = c->opts.timeout_ms,
        .waiting = &c->waiting_publishes,
        .due = on_request_due,
        .connection = dialled_connection,
        .send = dialled_send_request,
        .arg = cw,
    };
    requests_init(&cw->requests, &opts);
}

void cluster_attach(struct cluster *c, uint32_t index, struct worker *worker, struct fanout *fanout)
{
    static const struct fanout_remote_ops remote_ops = {
        .ship = publishes_ship,
        .change = interest_change,
        .on_lane_item = lanes_on_item,
        .lease = cluster_worker_lease,
        .must_wait = publishes_must_wait,
    };
    struct cluster_worker *cw = mem_new0(sizeof *cw);
    c->worker[index] = cw;
    cw->cluster = c;
    cw->index = index;
    cw->worker = worker;
    cw->fanout = fanout;
    const struct peer_hub_opts hub = {
        .worker = worker,
        .resolver = c->resolver,
        .in_ops = &accept_ops,
        .arg = cw,
        .silence_ms_max = PATIENCE * c->opts.membership.node_timeout_ms,
        .dial_ms_max = c->opts.membership.node_timeout_ms,
        .trust = c->opts.membership.trust,
    };
    cw->hub = peer_hub_new(&hub);
    cw->self = PMAP_NOBODY;
    cw->map_task.run = on_map_task;
    cw->look_task.run = on_look;
    list_init(&cw->accepted);
    list_init(&cw->askings);
    cw->jams =
        (struct jams){.on_ordered = publishes_unjammed, .on_refused = publishes_unjam, .arg = cw};
    jams_init(&cw->jams, c->worker_count);
    requests_start(cw);
    cw->interest = mem_new0(c->partition_count * sizeof *cw->interest);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        list_init(&cw->interest[p].changes);
        list_init(&cw->interest[p].sent);
    }
    cw->is_due = mem_new0(c->partition_count * sizeof *cw->is_due);
    cw->lane_seq = mem_new0(c->partition_count * sizeof *cw->lane_seq);
    cw->lane_stable = mem_new0(c->partition_count * sizeof *cw->lane_stable);
    fanout_set_remote(fanout, &remote_ops, cw);
    if (index == 0) { listener_start(c->listener, worker); }
}

void cluster_worker_on_stop(struct event *event)
{
    struct cluster_worker *cw = event->cw;
    if (cw->index == 0) { listener_stop(cw->cluster->listener); }
    publishes_stop(cw);
    commands_end(cw);
    interest_stop(cw);
    askings_stop(cw);
    peer_hub_close_accepted(cw->hub, false);
    dial_close_all(cw, false);
    cw->stopped = event->pointer;
}

void cluster_worker_free(struct cluster_worker *cw)
{
    if (cw == NULL) { return; }
    pmap_unref(cw->map);
    peer_hub_free(cw->hub);
    buf_fini(&cw->head);
    jams_fini(&cw->jams);
    requests_fini(&cw->requests);
    mem_free(cw->pattern_batch);
    mem_free(cw->interest);
    mem_free(cw->is_due);
    mem_free(cw->lane_seq);
    mem_free(cw->lane_stable);
    mem_free(cw);
}
