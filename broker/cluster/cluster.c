/* cluster: construction, the map's way to the workers, the worker's turn, and what others ask. */
#include "cluster/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/latch.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"
#include "cluster/publishes.h"

/* ---- events between workers ---- */

static void on_event(struct task *task)
{
    struct event *event = CONTAINER_OF(task, struct event, task);
    event->run(event);
    mem_free(event);
}

void event_post(struct half *half, struct event event)
{
    struct event *own = mem_new(sizeof *own);
    *own = event;
    own->half = half;
    own->task.run = on_event;
    mailbox_post(worker_mailbox(half->worker), &own->task);
}

/* ---- looking again ---- */

void half_due(struct half *half, uint32_t partition)
{
    half->is_due[partition] = true;
    half->any_due = true;
}

static void on_look(struct task *task)
{
    struct half *half = CONTAINER_OF(task, struct half, look_task);
    atomic_store(&half->look_is_posted, false);
    for (uint32_t p = 0; p < half->cluster->partition_count; p++) {
        half_due(half, p);
    }
}

void half_look(struct half *half)
{
    bool is_stopping = atomic_load(&half->cluster->is_stopping);
    if (!is_stopping && !atomic_exchange(&half->look_is_posted, true)) {
        mailbox_post(worker_mailbox(half->worker), &half->look_task);
    }
}

void half_look_all(struct cluster *c)
{
    for (uint32_t i = 0; i < c->worker_count; i++) {
        half_look(c->half[i]);
    }
}

/* ---- the map ---- */

static void take_map(struct half *half)
{
    struct cluster *c = half->cluster;
    const struct pmap *old = half->map;
    lock_take(&c->lock);
    half->map = c->map != NULL ? pmap_ref(c->map) : NULL;
    half->self = c->self;
    lock_release(&c->lock);
    pmap_unref(old);
}

static void on_map_task(struct task *task)
{
    struct half *half = CONTAINER_OF(task, struct half, map_task);
    atomic_store(&half->map_is_posted, false);
    if (atomic_load(&half->cluster->is_stopping)) { return; }
    take_map(half);
    inlets_follow_map(half);
    outlets_follow_map(half);
    if (half->index == 0) { moves_follow_map(half->cluster); }
    commands_look(half);
    for (uint32_t p = 0; p < half->cluster->partition_count; p++) {
        half_due(half, p);
    }
}

/* Options that a cluster has once for ever: a node with others would never serve its share, or look for keys elsewhere. */
static void check_options(const struct cluster *c, const struct pmap *map)
{
    const char *reason = NULL;
    uint64_t layout = c->opts.membership.key_layout;
    if (map->partition_count != c->partition_count) {
        reason = "the option partitions is not the cluster's";
    } else if (map->key_layout != 0 && map->key_layout != layout) {
        reason = "the option sharded-databases is not the cluster's";
    }
    if (reason == NULL) { return; }
    LOG_ERROR("the process stops", LOG_STR("reason", reason),
              LOG_UINT("cluster_partitions", map->partition_count),
              LOG_UINT("option_partitions", c->partition_count),
              LOG_UINT("cluster_sharded_bits", map->key_layout != 0 ? map->key_layout - 1 : 0),
              LOG_UINT("option_sharded_bits", layout != 0 ? layout - 1 : 0));
    _Exit(EX_CONFIG);
}

/* Raft thread. The workers take the newest map there is; worker 0, which moves partitions, sees every change that
 * matters because epochs and incarnations only grow. */
static void on_map(void *arg, const struct pmap *map, uint32_t self)
{
    struct cluster *c = arg;
    if (atomic_load(&c->is_stopping)) { return; }
    check_options(c, map);
    lock_take(&c->lock);
    const struct pmap *old = c->map;
    c->map = pmap_ref(map);
    c->self = self;
    lock_release(&c->lock);
    pmap_unref(old);
    for (uint32_t i = 0; i < c->worker_count; i++) {
        struct half *half = c->half[i];
        if (!atomic_exchange(&half->map_is_posted, true)) {
            mailbox_post(worker_mailbox(half->worker), &half->map_task);
        }
    }
}

const struct pmap *cluster_map(struct cluster *c, uint32_t *self)
{
    lock_take(&c->lock);
    const struct pmap *map = c->map != NULL ? pmap_ref(c->map) : NULL;
    *self = c->self;
    lock_release(&c->lock);
    return map;
}

/* ---- life ---- */

static void places_init(struct cluster *c)
{
    c->place = mem_new0(c->partition_count * sizeof *c->place);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        struct place *place = &c->place[p];
        lock_init(&place->lock);
        handover_init(&place->handover);
    }
}

enum err cluster_new(struct cluster **out, const struct cluster_opts *opts)
{
    CHECK(opts->worker_count <= LANES_MAX);
    struct cluster *c = mem_new0(sizeof *c);
    c->opts = *opts;
    snprintf(c->peer_listen, sizeof c->peer_listen, "%s", opts->peer_listen);
    c->directory = opts->directory;
    c->worker_count = opts->worker_count;
    c->partition_count = opts->membership.partition_count;
    size_t tail_bytes = TAILS_BYTES_MAX / c->partition_count;
    c->tail_bytes_max = tail_bytes > TAIL_BYTES_MIN ? tail_bytes : TAIL_BYTES_MIN;
    c->self = PMAP_NOBODY;
    lock_init(&c->lock);
    interest_init(c);
    places_init(c);
    moves_init(c);
    const struct listener_opts listen = {
        .address = c->peer_listen, .backlog = 511, .on_accept = inlets_accept, .arg = c};
    const char *why = "";
    enum err err = listener_open(&c->listener, &listen, &why);
    if (err != ERR_OK) {
        LOG_ERROR("cannot listen for peers", LOG_STR("peer_listen", c->peer_listen),
                  LOG_STR("why", why));
        cluster_free(c);
        return err;
    }
    if (c->opts.membership.peer.port == 0) {
        c->opts.membership.peer.port = listener_port(c->listener);
    }
    c->resolver = resolver_new();
    directory_set_partitions(c->directory, c->partition_count, opts->link_bytes_max);
    *out = c;
    return ERR_OK;
}

uint64_t half_lease(void *arg)
{
    const struct half *half = arg;
    const struct membership *membership = half->cluster->membership;
    uint64_t incarnation = atomic_load(&half->cluster->own_incarnation);
    bool holds = membership != NULL && membership_has_lease(membership, incarnation);
    return holds ? incarnation : 0;
}

static void on_request_due(void *half, uint32_t partition)
{
    half_due(half, partition);
}

static void requests_start(struct half *half)
{
    struct cluster *c = half->cluster;
    const struct requests_opts opts = {
        .directory = c->directory,
        .partition_count = c->partition_count,
        .timeout_ms = c->opts.timeout_ms,
        .waiting = &c->waiting_publishes,
        .due = on_request_due,
        .connection = outlets_connection,
        .send = outlets_send_request,
        .arg = half,
    };
    requests_init(&half->requests, &opts);
}

void cluster_attach(struct cluster *c, uint32_t index, struct worker *worker, struct fanout *fanout)
{
    static const struct fanout_remote_ops remote_ops = {
        .ship = publishes_ship,
        .change = interest_change,
        .on_lane_item = lanes_on_item,
        .lease = half_lease,
        .must_wait = publishes_must_wait,
    };
    struct half *half = mem_new0(sizeof *half);
    c->half[index] = half;
    half->cluster = c;
    half->index = index;
    half->worker = worker;
    half->fanout = fanout;
    const struct peer_hub_opts hub = {
        .worker = worker,
        .resolver = c->resolver,
        .in_ops = &inlet_ops,
        .arg = half,
        .silence_ms_max = PATIENCE * c->opts.membership.node_timeout_ms,
        .dial_ms_max = c->opts.membership.node_timeout_ms,
    };
    half->hub = peer_hub_new(&hub);
    half->self = PMAP_NOBODY;
    half->map_task.run = on_map_task;
    half->look_task.run = on_look;
    list_init(&half->inlets);
    list_init(&half->askings);
    half->jams =
        (struct jams){.on_ordered = publishes_unjammed, .on_refused = publishes_unjam, .arg = half};
    jams_init(&half->jams, c->worker_count);
    requests_start(half);
    half->waiting = mem_new0(c->partition_count * sizeof *half->waiting);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        list_init(&half->waiting[p].changes);
        list_init(&half->waiting[p].sent);
    }
    half->is_due = mem_new0(c->partition_count * sizeof *half->is_due);
    half->lane_seq = mem_new0(c->partition_count * sizeof *half->lane_seq);
    half->lane_stable = mem_new0(c->partition_count * sizeof *half->lane_stable);
    fanout_set_remote(fanout, &remote_ops, half);
    if (index == 0) { listener_start(c->listener, worker); }
}

enum err cluster_start(struct cluster *c)
{
    struct membership_opts opts = c->opts.membership;
    opts.on_map = on_map;
    opts.arg = c;
    keeping_join(c, &opts);
    struct membership *membership = NULL;
    enum err err = membership_start(&membership, &opts);
    c->membership = membership;
    return err;
}

/* ---- the turn ---- */

static void flush_due(struct half *half)
{
    if (!half->any_due) { return; }
    half->any_due = false;
    half->changes_left = CHANGES_PER_TURN;
    for (uint32_t p = 0; p < half->cluster->partition_count; p++) {
        if (!half->is_due[p]) { continue; }
        half->is_due[p] = false;
        interest_flush(half, p);
        publishes_flush(half, p);
    }
}

static void stop_if_done(struct half *half);

void cluster_turn(struct cluster *c, uint32_t worker)
{
    struct half *half = c->half[worker];
    flush_due(half);
    jams_turn(&half->jams);
    mailbox_run(fanout_lanes(half->fanout));
    outlets_flush(half);
    lanes_turn(half);
    fanout_settle(half->fanout);
    ask_owners_turn(half);
    inlets_turn(half);
    if (UNLIKELY(half->stopped != NULL)) { stop_if_done(half); }
}

void cluster_tick(struct cluster *c, uint32_t worker)
{
    struct half *half = c->half[worker];
    publishes_tick(half);
    interest_tick(half);
    ask_owners_tick(half);
    inlets_tick(half);
    if (worker == 0) { moves_tick(c); }
}

bool cluster_is_congested(struct cluster *c)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < c->worker_count; i++) {
        bytes += atomic_load_explicit(&c->half[i]->requests.bytes, memory_order_relaxed);
    }
    return bytes > c->opts.link_bytes_max;
}

/* ---- the end ---- */

void cluster_drain(struct cluster *c)
{
    atomic_store(&c->is_draining, true);
    if (c->membership != NULL) { membership_drain(c->membership); }
}

/* Could those who stay not agree any more if this node, a voter, stopped now, and the others that drain as well? */
static bool is_needed_to_vote(const struct pmap *map, uint32_t self)
{
    uint32_t voters = 0;
    uint32_t others_stay = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (map->node[i].id == 0 || !map->node[i].is_voter) { continue; }
        voters++;
        others_stay += i != self && map->node[i].is_up && !map->node[i].is_draining;
    }
    return map->node[self].is_voter && others_stay * 2 <= voters;
}

bool cluster_is_drained(struct cluster *c)
{
    uint32_t self;
    const struct pmap *map = cluster_map(c, &self);
    bool is_alone = true;
    bool owns = false;
    for (uint32_t i = 0; map != NULL && i < map->node_count; i++) {
        is_alone = is_alone && (i == self || !node_is_up(map, i) || map->node[i].is_draining);
    }
    for (uint32_t p = 0; map != NULL && p < map->partition_count; p++) {
        owns = owns || map->partition[p].owner == self;
    }
    bool is_member = map != NULL && node_is_up(map, self);
    bool is_needed = is_member && is_needed_to_vote(map, self);
    pmap_unref(map);
    /* What has been handed over must be warm elsewhere before our clients go: their interest is told. */
    bool has_handed_over = !owns && atomic_load(&c->owned) == 0 && keeping_is_handed_over(c);
    return is_alone || !is_member || (has_handed_over && !is_needed);
}

static void on_stop(struct event *event)
{
    struct half *half = event->half;
    if (half->index == 0) { listener_stop(half->cluster->listener); }
    publishes_stop(half);
    commands_end(half);
    interest_stop(half);
    ask_owners_stop(half);
    peer_hub_close_accepted(half->hub, false);
    outlets_close(half, false);
    half->stopped = event->pointer;
}

/* The last connection has ended: nothing of the cluster happens on this worker any more. */
static void stop_if_done(struct half *half)
{
    if (half->stopped == NULL || peer_hub_count(half->hub) > 0) { return; }
    struct latch *stopped = half->stopped;
    half->stopped = NULL;
    latch_count_down(stopped);
}

static void on_settled(struct event *event)
{
    latch_count_down(event->pointer);
}

/* Run it on every worker, behind what is in their mailboxes, and wait until all have counted down. */
static void on_workers(struct cluster *c, void (*run)(struct event *event))
{
    struct latch done;
    latch_init(&done, c->worker_count);
    for (uint32_t i = 0; i < c->worker_count; i++) {
        event_post(c->half[i], (struct event){.run = run, .pointer = &done});
    }
    latch_wait(&done);
    latch_fini(&done);
}

void cluster_stop(struct cluster *c)
{
    if (c->membership != NULL) { membership_leave(c->membership); }
    atomic_store(&c->is_stopping, true);
    on_workers(c, on_stop);
    keeping_stop(c);
    on_workers(c, on_settled); /* what that has answered has been taken */
}

static void half_free(struct half *half)
{
    if (half == NULL) { return; }
    pmap_unref(half->map);
    peer_hub_free(half->hub);
    buf_fini(&half->head);
    jams_fini(&half->jams);
    requests_fini(&half->requests);
    mem_free(half->pattern_batch);
    mem_free(half->waiting);
    mem_free(half->is_due);
    mem_free(half->lane_seq);
    mem_free(half->lane_stable);
    mem_free(half);
}

void cluster_free(struct cluster *c)
{
    if (c == NULL) { return; }
    membership_stop(c->membership);
    keeping_free(c);
    for (uint32_t i = 0; i < c->worker_count; i++) {
        half_free(c->half[i]);
    }
    for (uint32_t p = 0; p < c->partition_count; p++) {
        handover_fini(&c->place[p].handover);
        lock_fini(&c->place[p].lock);
    }
    mem_free(c->place);
    listener_free(c->listener);
    resolver_free(c->resolver);
    map_fini(&c->changes);
    map_fini(&c->patterns);
    pmap_unref(c->map);
    lock_fini(&c->lock);
    mem_free(c);
}

/* ---- what others ask ---- */

struct partitions *cluster_partitions(struct cluster *c)
{
    return atomic_load(&c->partitions);
}

struct forgetting {
    struct half *half;
    void (*on_done)(void *arg, const char *error);
    void *arg;
    char error[128];
};

static void on_forgotten_here(struct event *event)
{
    struct forgetting *f = event->pointer;
    f->on_done(f->arg, f->error[0] != '\0' ? f->error : NULL);
    mem_free(f);
}

static void on_forgotten(void *arg, const char *error)
{
    struct forgetting *f = arg;
    snprintf(f->error, sizeof f->error, "%s", error != NULL ? error : "");
    event_post(f->half, (struct event){.run = on_forgotten_here, .pointer = f});
}

void cluster_forget(struct cluster *c, uint32_t worker, struct slice name_or_id,
                    void (*on_done)(void *arg, const char *error), void *arg)
{
    struct forgetting *f = mem_new0(sizeof *f);
    *f = (struct forgetting){.half = c->half[worker], .on_done = on_done, .arg = arg};
    char name[PMAP_NAME_BYTES];
    snprintf(name, sizeof name, "%.*s", SLICE_ARG(name_or_id));
    membership_forget(c->membership, name, on_forgotten, f);
}

static void link_status(struct cluster *c, uint32_t node, const struct pmap_node *member,
                        struct cluster_link_status *out)
{
    const struct peer_stat *stat = &c->stat[node];
    *out = (struct cluster_link_status){
        .node_id = member->id,
        .is_up = atomic_load(&stat->requests_up) > 0 && atomic_load(&stat->lanes_up) > 0,
        .since_wall_ms = atomic_load(&stat->up_wall_ms),
        .sent_publishes = atomic_load(&stat->sent_publishes),
        .sent_deliveries = atomic_load(&stat->sent_deliveries),
        .received_publishes = atomic_load(&stat->received_publishes),
        .received_deliveries = atomic_load(&stat->received_deliveries),
    };
    memcpy(out->name, member->name, sizeof out->name);
    for (uint32_t i = 0; i < c->worker_count; i++) {
        out->queued_bytes += atomic_load(&stat->queued_bytes[i]);
    }
}

void cluster_status(struct cluster *c, struct cluster_status *out)
{
    *out = (struct cluster_status){
        .owned = atomic_load(&c->owned),
        .warming = atomic_load(&c->warming),
        .unserved = atomic_load(&c->unserved),
        .last_warmup_us = atomic_load(&c->last_warmup_us),
        .waiting_publishes = atomic_load(&c->waiting_publishes),
        .unled = keeping_unled(c),
    };
    if (c->membership != NULL) { membership_status(c->membership, &out->membership); }
    uint32_t self;
    const struct pmap *map = cluster_map(c, &self);
    for (uint32_t i = 0; map != NULL && i < map->node_count; i++) {
        if (map->node[i].id != 0 && i != self) {
            link_status(c, i, &map->node[i], &out->link[out->link_count++]);
        }
    }
    pmap_unref(map);
}

bool cluster_serves(struct cluster *c, uint32_t partition, uint64_t epoch)
{
    const struct remote_partition at = directory_partition_peek(c->directory, partition);
    return at.epoch == epoch && (at.phase == PARTITION_OWNED || at.phase == PARTITION_READY);
}

const char *cluster_unready_because(struct cluster *c)
{
    if (atomic_load(&c->is_draining)) { return "draining"; }
    if (c->membership == NULL) { return "starting"; }
    struct membership_status status;
    membership_status(c->membership, &status);
    if (status.unready_because != NULL) { return status.unready_because; }
    uint32_t self;
    const struct pmap *map = cluster_map(c, &self);
    const char *why = map == NULL || self == PMAP_NOBODY ? "not a member of the cluster yet" : NULL;
    for (uint32_t i = 0; why == NULL && i < map->node_count; i++) {
        const struct peer_stat *stat = &c->stat[i];
        bool is_linked = atomic_load(&stat->requests_up) > 0 && atomic_load(&stat->lanes_up) > 0;
        if (i != self && node_is_up(map, i) && !is_linked) {
            why = "not connected to every member";
        }
    }
    pmap_unref(map);
    bool is_unserved = atomic_load(&c->unserved_here) > 0;
    return why == NULL && is_unserved ? "it cannot use some partitions" : why;
}
