/* handover_watch: the net under the handover, which trusts nothing of it: a partition that this node cannot use for longer
 * than the timeout is named, tried anew from here, and told to the leader, who gives it to another node in a new epoch.
 * All of it is worker 0's. */
#include "base/clock.h"
#include "base/log.h"
#include "cluster/handovers_int.h"

/* Can its channels be published to and subscribed to from here? */
static bool is_served(const struct remote_partition *at, const struct pmap_partition *row)
{
    return at->epoch == row->epoch &&
           (at->phase == PARTITION_OWNED || at->phase == PARTITION_READY);
}

static const char *why_not(const struct cluster_worker *cw, const struct remote_partition *at)
{
    if (at->owner == REMOTE_NOBODY) { return "it has no owner"; }
    if (at->owner == cw->self) { return "this node owns it and cannot begin"; }
    if (at->phase == PARTITION_SYNCED) { return "its owner does not say that it is ready"; }
    return "its owner cannot be told what is wanted here";
}

/* As if every connection that it may wait for had broken. Exclusive. */
static void give_up(void *arg)
{
    const struct latecomer *late = arg;
    struct cluster *c = late->cluster;
    struct cluster_partition *cp = &c->partition[late->partition];
    lock_take(&cp->lock);
    bool may_miss = handover_give_up(&cp->handover);
    lock_release(&cp->lock);
    struct remote_partition *at = directory_partition(c->directory, late->partition);
    if (at->phase == PARTITION_SYNCED) { at->phase = PARTITION_STALE; }
    if (may_miss) { handovers_missed_one(c, late->partition); }
}

static void start_over(struct cluster *c, uint32_t p)
{
    struct latecomer late = {.cluster = c, .partition = p};
    directory_exclusive(c->directory, give_up, &late);
}

static void act(struct cluster *c, uint32_t p, const struct remote_partition *at)
{
    const struct cluster_worker *cw = cluster_worker_0(c);
    const struct pmap_partition *row = &cw->map->partition[p];
    LOG_WARN("a partition cannot be used here: it starts over", LOG_UINT("partition", p),
             LOG_UINT("epoch", row->epoch),
             LOG_STR("owner", row->owner != PMAP_NOBODY ? cw->map->node[row->owner].name : "-"),
             LOG_STR("reason", why_not(cw, at)));
    start_over(c, p);
    membership_unserved(c->membership, p, row->epoch);
}

void watch_tick(struct cluster *c)
{
    const struct cluster_worker *cw = cluster_worker_0(c);
    uint64_t now_ns = clock_mono_ns();
    uint64_t grace_ns = (uint64_t)c->opts.timeout_ms * NS_PER_MS;
    uint32_t unserved = 0;
    uint32_t unserved_here = 0;
    for (uint32_t p = 0; p < c->partition_count; p++) {
        struct cluster_partition *cp = &c->partition[p];
        const struct remote_partition at = directory_partition_peek(c->directory, p);
        if (!node_is_up(cw->map, cw->self) || is_served(&at, &cw->map->partition[p])) {
            cp->unserved_since_ns = 0;
            continue;
        }
        if (cp->unserved_since_ns == 0) {
            cp->unserved_since_ns = now_ns;
            cp->acted_ns = now_ns;
        }
        if (now_ns - cp->unserved_since_ns < grace_ns) { continue; }
        unserved++;
        /* What its owner is to blame for does not take the others out of service. */
        unserved_here += at.owner == cw->self || at.phase == PARTITION_STALE;
        if (now_ns - cp->acted_ns < grace_ns || !handover_rule(RULE_START_OVER)) { continue; }
        cp->acted_ns = now_ns;
        act(c, p, &at);
    }
    atomic_store(&c->unserved, unserved);
    atomic_store(&c->unserved_here, unserved_here);
}
