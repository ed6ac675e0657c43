/* cluster_life: construction, what membership tells, the end. */
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/latch.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/accept.h"
#include "cluster/cluster_int.h"
#include "cluster/handovers.h"
#include "cluster/interest.h"
#include "cluster/keeping.h"

/* ---- the map ---- */

void cluster_look_all(struct cluster *c)
{
    for (uint32_t i = 0; i < c->worker_count; i++) {
        cluster_worker_look(c->worker[i]);
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

/* Raft thread. The workers take the newest map there is; worker 0, which hands partitions over, sees every change that
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
        cluster_worker_take_map(c->worker[i]);
    }
}

/* ---- life ---- */

static void partitions_init(struct cluster *c)
{
    c->partition = mem_new0(c->partition_count * sizeof *c->partition);
    for (uint32_t p = 0; p < c->partition_count; p++) {
        struct cluster_partition *cp = &c->partition[p];
        lock_init(&cp->lock);
        handover_init(&cp->handover);
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
    partitions_init(c);
    handovers_init(c);
    const struct listener_opts listen = {
        .address = c->peer_listen, .backlog = 511, .on_accept = accept_fd, .arg = c};
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
    err = cluster_users_recall(c);
    if (err != ERR_OK) {
        cluster_free(c);
        return err;
    }
    c->resolver = resolver_new();
    directory_set_partitions(c->directory, c->partition_count, opts->link_bytes_max);
    *out = c;
    return ERR_OK;
}

enum err cluster_start(struct cluster *c)
{
    struct membership_opts opts = c->opts.membership;
    opts.on_map = on_map;
    opts.arg = c;
    keeping_join(c, &opts);
    cluster_users_join(c, &opts);
    struct membership *membership = NULL;
    enum err err = membership_start(&membership, &opts);
    c->membership = membership;
    uint64_t users_version = atomic_load(&c->users_version);
    if (err == ERR_OK && users_version > 0) {
        membership_users_in_force(membership, users_version);
    }
    return err;
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
        event_post(c->worker[i], (struct event){.run = run, .pointer = &done});
    }
    latch_wait(&done);
    latch_fini(&done);
}

void cluster_stop(struct cluster *c)
{
    if (c->membership != NULL) { membership_leave(c->membership); }
    atomic_store(&c->is_stopping, true);
    on_workers(c, cluster_worker_on_stop);
    keeping_stop(c);
    on_workers(c, on_settled); /* what that has answered has been taken */
}

void cluster_free(struct cluster *c)
{
    if (c == NULL) { return; }
    membership_stop(c->membership);
    keeping_free(c);
    for (uint32_t i = 0; i < c->worker_count; i++) {
        cluster_worker_free(c->worker[i]);
    }
    for (uint32_t p = 0; p < c->partition_count; p++) {
        handover_fini(&c->partition[p].handover);
        lock_fini(&c->partition[p].lock);
    }
    mem_free(c->partition);
    listener_free(c->listener);
    resolver_free(c->resolver);
    map_fini(&c->changes);
    map_fini(&c->patterns);
    pmap_unref(c->map);
    lock_fini(&c->lock);
    mem_free(c);
}
