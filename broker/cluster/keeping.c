/* keeping: see its header.
 * Always: what others load by cluster_partitions is whole, and stays until the workers have ended. */
#include "cluster/keeping.h"

#include "base/latch.h"
#include "cluster/cluster_int.h"
#include "cluster/commands_int.h"
#include "consensus/consensus.h"
#include "partition/replicas.h"

enum {
    FORGET_FACTOR = 2
}; /* timeouts after which nobody asks for an ended life's answers any more */

/* ---- what the partitions tell ---- */

static void on_leads(void *arg, uint32_t partition, uint64_t term)
{
    commands_leads(arg, partition, term);
}

static void on_changed(void *arg, uint16_t db, struct slice key, const char *event, uint32_t class)
{
    const struct cluster *c = arg;
    c->opts.changed(c->opts.arg, db, key, event, class);
}

/* ---- the raft thread ---- */

static enum err on_consensus(void *arg, struct consensus *consensus)
{
    static const struct partitions_ops ops = {.leads = on_leads, .changed = on_changed};
    struct cluster *c = arg;
    struct partitions_opts opts = c->opts.partitions;
    struct partitions *partitions;
    opts.consensus = consensus;
    opts.ops = &ops;
    opts.arg = c;
    enum err err = partitions_new(&partitions, &opts);
    if (err != ERR_OK) { return err; }
    const struct replicas_opts replicas = {
        .partitions = partitions,
        .engine = consensus_engine(consensus),
        .partition_count = c->partition_count,
        .forget_ms = (uint64_t)FORGET_FACTOR * c->opts.timeout_ms,
    };
    c->replicas = replicas_new(&replicas);
    atomic_store(&c->partitions, partitions);
    return ERR_OK;
}

static void on_map(void *arg, const struct pmap *map, uint32_t self)
{
    replicas_on_map(((struct cluster *)arg)->replicas, map, self);
}

static uint32_t on_tick(void *arg, struct pmap_settled *out, uint32_t out_max)
{
    struct cluster *c = arg;
    return atomic_load(&c->is_stopping) ? 0 : replicas_tick(c->replicas, out, out_max);
}

struct membership_data keeping_hooks(struct cluster *c)
{
    if (c->opts.partitions.dir == NULL) { return (struct membership_data){0}; }
    return (struct membership_data){
        .arg = c, .on_consensus = on_consensus, .on_map = on_map, .on_tick = on_tick};
}

/* ---- the end ---- */

static void on_taken(struct event *event)
{
    latch_count_down(event->pointer);
}

void keeping_stop(struct cluster *c)
{
    struct latch taken;
    if (cluster_partitions(c) == NULL) { return; }
    partitions_stop(cluster_partitions(c));
    latch_init(&taken, c->worker_count);
    for (uint32_t i = 0; i < c->worker_count; i++) {
        event_post(c->half[i], (struct event){.run = on_taken, .pointer = &taken});
    }
    latch_wait(&taken);
    latch_fini(&taken);
}

void keeping_free(struct cluster *c)
{
    replicas_free(c->replicas);
    partitions_free(atomic_exchange(&c->partitions, NULL));
    c->replicas = NULL;
}

bool keeping_is_handed_over(const struct cluster *c)
{
    return c->replicas == NULL || replicas_are_handed_over(c->replicas);
}
