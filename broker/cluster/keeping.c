/* keeping: the data of the partitions that this node has replicas of: made on membership's consensus, following its map. */
#include "cluster/keeping.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"
#include "consensus/consensus.h"
#include "consensus/map/placement_replicas.h"
#include "partition/replicas.h"

enum { FORGET_TIMEOUTS = 2 }; /* nobody asks for what a former life has asked when it is this old */

static void on_changed(void *arg, uint16_t db, struct slice key, const char *event, uint32_t class)
{
    const struct partitions_opts *opts = &((struct cluster *)arg)->opts.data;
    if (opts->ops != NULL && opts->ops->changed != NULL) {
        opts->ops->changed(opts->arg, db, key, event, class);
    }
}

static enum err on_consensus(void *arg, struct consensus *consensus)
{
    static const struct partitions_ops ops = {.leads = commands_leads, .changed = on_changed};
    struct cluster *c = arg;
    struct partitions_opts opts = c->opts.data;
    opts.consensus = consensus;
    opts.node_name = c->opts.membership.name;
    opts.partition_count = c->partition_count;
    opts.worker_count = c->worker_count;
    opts.ops = &ops;
    opts.arg = c;
    struct partitions *partitions = NULL;
    enum err err = partitions_new(&partitions, &opts);
    if (err != ERR_OK) { return err; }
    const struct replicas_opts replicas = {
        .partitions = partitions,
        .engine = consensus_engine(consensus),
        .partition_count = c->partition_count,
        .forget_ms = FORGET_TIMEOUTS * (uint64_t)c->opts.timeout_ms,
    };
    atomic_store(&c->replicas, replicas_new(&replicas));
    atomic_store(&c->partitions, partitions);
    return ERR_OK;
}

static void on_map(void *arg, const struct pmap *map, uint32_t self)
{
    struct cluster *c = arg;
    replicas_on_map(atomic_load(&c->replicas), map, self);
}

static uint32_t on_tick(void *arg, struct pmap_settled *out, uint32_t out_max)
{
    struct cluster *c = arg;
    return replicas_tick(atomic_load(&c->replicas), out, out_max);
}

void keeping_join(struct cluster *c, struct membership_opts *opts)
{
    if (c->opts.data.dir == NULL) { return; }
    opts->data = (struct membership_data){
        .arg = c,
        .on_consensus = on_consensus,
        .on_map = on_map,
        .on_tick = on_tick,
        .log_bytes = c->opts.membership.data.log_bytes,
    };
}

void keeping_stop(struct cluster *c)
{
    struct partitions *partitions = atomic_load(&c->partitions);
    if (partitions != NULL) { partitions_stop(partitions); }
}

void keeping_free(struct cluster *c)
{
    replicas_free(atomic_load(&c->replicas));
    partitions_free(atomic_load(&c->partitions));
}

bool keeping_is_handed_over(struct cluster *c)
{
    const struct replicas *replicas = atomic_load(&c->replicas);
    return replicas == NULL || replicas_are_handed_over(replicas);
}

void cluster_log_left_short(struct cluster *c)
{
    char list[160] = "";
    size_t bytes = 0;
    uint32_t count = 0;
    uint32_t self;
    bool is_whole = true; /* all stop: nothing is expected of those that stay */
    const struct pmap *map = cluster_map(c, &self);
    for (uint32_t i = 0; map != NULL && i < map->node_count; i++) {
        const struct pmap_node *node = &map->node[i];
        is_whole = is_whole && (i == self || node->id == 0 || !node->is_up || node->is_draining);
    }
    for (uint32_t p = 0; !is_whole && self != PMAP_NOBODY && p < map->partition_count; p++) {
        if (pmap_replica_on(&map->partition[p], self) == NULL || !placement_is_left_short(map, p)) {
            continue;
        }
        count++;
        if (bytes + 8 > sizeof list) { continue; }
        bytes += (size_t)snprintf(list + bytes, sizeof list - bytes, bytes == 0 ? "%u" : ",%u", p);
    }
    pmap_unref(map);
    if (count == 0) { return; }
    LOG_WARN(
        "partitions are left without a quorum until this node or another one of theirs is back",
        LOG_UINT("partitions", count), LOG_STR("the_first", list));
}

/* Of the others: who is known to lead, and is connected. */
static uint32_t other_leader(struct cluster *c, uint32_t partition)
{
    const struct leader leader = leaders_get(&c->leaders, partition);
    bool can_ask = leader.term != 0 && atomic_load(&c->stat[leader.node].requests_up) > 0;
    return can_ask ? leader.node : PMAP_NOBODY;
}

static bool is_led(struct cluster *c, const struct partitions *partitions, uint32_t partition)
{
    return partition_leads(partitions, partition) != 0 || other_leader(c, partition) != PMAP_NOBODY;
}

uint32_t keeping_unled(struct cluster *c)
{
    const struct partitions *partitions = atomic_load(&c->partitions);
    uint32_t count = 0;
    for (uint32_t p = 0; partitions != NULL && p < c->partition_count; p++) {
        count += !is_led(c, partitions, p);
    }
    return count;
}

/* ---- what is not served is named ---- */

/* The first of some partitions, for the log. */
struct some {
    uint32_t count;
    size_t bytes;
    char list[160];
};

static void some_add(struct some *some, uint32_t partition)
{
    some->count++;
    if (some->bytes + 8 > sizeof some->list) { return; }
    some->bytes += (size_t)snprintf(some->list + some->bytes, sizeof some->list - some->bytes,
                                    some->bytes == 0 ? "%u" : ",%u", partition);
}

/* Its group was founded, and all who voted in it have lost their disks or are forgotten: who comes to it now has nothing. */
static bool is_lost(const struct pmap_partition *partition)
{
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        if (partition->replica[i].is_voter) { return false; }
    }
    return partition->is_founded;
}

/* Since when nobody has led it, as far as is known here, for too long? */
static bool is_unled_for_long(struct cluster *c, const struct partitions *partitions, uint32_t p,
                              uint64_t now_ns)
{
    uint64_t *since_ns = &c->unled_since_ns[p];
    if (is_led(c, partitions, p)) {
        *since_ns = 0;
    } else if (*since_ns == 0) {
        *since_ns = now_ns;
    }
    return *since_ns != 0 && now_ns - *since_ns > (uint64_t)c->opts.timeout_ms * NS_PER_MS;
}

static void tell(const struct some *lost, const struct some *unled)
{
    if (lost->count > 0) {
        LOG_ERROR("keys are lost: no node has a replica of their partition any more, and what is "
                  "asked of it "
                  "is answered CLUSTERDOWN",
                  LOG_UINT("partitions", lost->count), LOG_STR("the_first", lost->list));
    }
    if (unled->count > 0) {
        LOG_WARN(
            "nobody leads the keys of partitions: too few of those who have replicas are up, or "
            "this node does not hear them",
            LOG_UINT("partitions", unled->count), LOG_STR("the_first", unled->list));
    }
}

void keeping_tick(struct cluster *c)
{
    enum { TELL_S = 30 };
    const struct cluster_worker *cw = cluster_worker_0(c);
    const struct partitions *partitions = atomic_load(&c->partitions);
    struct some lost = {0};
    struct some unled = {0};
    if (partitions == NULL || cw->map == NULL || atomic_load(&c->is_stopping)) { return; }
    uint64_t now_ns = clock_mono_ns();
    for (uint32_t p = 0; p < c->partition_count; p++) {
        bool is_unled = is_unled_for_long(c, partitions, p, now_ns);
        if (is_lost(&cw->map->partition[p])) {
            some_add(&lost, p);
        } else if (is_unled) {
            some_add(&unled, p);
        }
    }
    bool is_news = lost.count > atomic_load(&c->lost) || unled.count > atomic_load(&c->unled_long);
    atomic_store(&c->lost, lost.count);
    atomic_store(&c->unled_long, unled.count);
    if (!is_news && now_ns - c->unled_told_ns < TELL_S * NS_PER_S) { return; }
    c->unled_told_ns = now_ns;
    tell(&lost, &unled);
}

const char *cluster_note(struct cluster *c)
{
    if (atomic_load(&c->lost) > 0) {
        return "keys of some partitions are lost: no node has a replica of them, see the log";
    }
    return atomic_load(&c->unled_long) > 0 ? "nobody leads the keys of some partitions, see the log"
                                           : NULL;
}

uint32_t cluster_leader(struct cluster *c, uint32_t partition)
{
    const struct partitions *partitions = atomic_load(&c->partitions);
    uint32_t self;
    const struct pmap *map = cluster_map(c, &self);
    pmap_unref(map);
    if (partitions != NULL && partition_leads(partitions, partition) != 0) { return self; }
    return other_leader(c, partition);
}

static bool is_single(const struct pmap_partition *partition)
{
    uint32_t voters = 0;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        voters += partition->replica[i].is_voter;
    }
    return voters < 2;
}

bool cluster_keys_are_single(struct cluster *c)
{
    uint32_t self;
    const struct pmap *map = cluster_map(c, &self);
    bool found = false;
    uint32_t up = 0;
    for (uint32_t i = 0; map != NULL && i < map->node_count; i++) {
        up += map->node[i].id != 0 && map->node[i].is_up && !map->node[i].is_draining;
    }
    bool may_be_more = up > 1 && c->opts.membership.replicas > 1;
    for (uint32_t p = 0; may_be_more && !found && p < map->partition_count; p++) {
        found = is_single(&map->partition[p]);
    }
    pmap_unref(map);
    return found;
}
