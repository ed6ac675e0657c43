/* cluster_status: what commands and the admin ask of a node in a cluster. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cluster/cluster_int.h"
#include "cluster/keeping.h"

const struct pmap *cluster_map(struct cluster *c, uint32_t *self)
{
    lock_take(&c->lock);
    const struct pmap *map = c->map != NULL ? pmap_ref(c->map) : NULL;
    *self = c->self;
    lock_release(&c->lock);
    return map;
}

bool cluster_is_congested(struct cluster *c)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < c->worker_count; i++) {
        bytes += atomic_load_explicit(&c->worker[i]->requests.bytes, memory_order_relaxed);
    }
    return bytes > c->opts.link_bytes_max;
}

struct partitions *cluster_partitions(struct cluster *c)
{
    return atomic_load(&c->partitions);
}

struct forgetting {
    struct cluster_worker *cw;
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
    event_post(f->cw, (struct event){.run = on_forgotten_here, .pointer = f});
}

void cluster_forget(struct cluster *c, uint32_t worker, struct slice name_or_id,
                    void (*on_done)(void *arg, const char *error), void *arg)
{
    struct forgetting *f = mem_new0(sizeof *f);
    *f = (struct forgetting){.cw = c->worker[worker], .on_done = on_done, .arg = arg};
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
        .lost = atomic_load(&c->lost),
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
