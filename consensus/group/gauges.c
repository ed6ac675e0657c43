/* gauges: what the metrics say of a node's groups: what there is now, as seen at intervals; what happens is counted
 * where it happens.
 * Owns: groups.gauges, what these groups have put into each gauge so far. Thread: the raft thread. */
#include "consensus/group/gauges.h"

#include "base/metrics.h"
#include "consensus/group/group_int.h"
#include "consensus/group/snapshot/snapshot.h"

enum { GAUGES_MS = 200 };

static void set(enum metric metric, uint64_t *have, uint64_t want)
{
    metric_add(metric, want - *have); /* modulo 2^64 */
    *have = want;
}

static void put_snapshots(struct snapshot_progress *have, const struct snapshot_progress *now)
{
    set(METRIC_raft_snapshots_taking, &have->taking, now->taking);
    set(METRIC_raft_snapshot_taking_bytes, &have->taking_bytes, now->taking_bytes);
    set(METRIC_raft_snapshots_fetching, &have->fetching, now->fetching);
    set(METRIC_raft_snapshot_fetching_bytes, &have->fetching_bytes, now->fetching_bytes);
    set(METRIC_raft_snapshot_fetching_total_bytes, &have->fetching_total_bytes,
        now->fetching_total_bytes);
    set(METRIC_raft_snapshots_restoring, &have->restoring, now->restoring);
}

static void put_all(struct groups *all, const struct gauges *now)
{
    struct gauges *have = &all->gauges;
    set(METRIC_raft_groups, &have->groups, now->groups);
    set(METRIC_raft_groups_led, &have->led, now->led);
    set(METRIC_raft_groups_stopped, &have->stopped, now->stopped);
    set(METRIC_raft_wal_segments, &have->segments, now->segments);
    set(METRIC_raft_wal_live_bytes, &have->live_bytes, now->live_bytes);
    set(METRIC_raft_disk_full, &have->full, now->full);
    set(METRIC_raft_disk_stuck, &have->stuck, now->stuck);
    put_snapshots(&have->snapshots, &now->snapshots);
}

void gauges_tick(struct groups *all, uint64_t now_ms)
{
    if (metric_cells_here == NULL || now_ms < all->gauges_ms + GAUGES_MS) { return; }
    struct gauges now = {
        .segments = wal_segment_count(all->wal),
        .full = all->space.is_low,
        .stuck = all->is_stuck,
        .live_bytes = wal_live_bytes(all->wal),
    };
    LIST_EACH (at, &all->open) {
        const struct group *g = CONTAINER_OF(at, struct group, link);
        now.groups++;
        now.led += group_is_leader(g);
        now.stopped += g->state == GROUP_STOPPED;
        snapshot_progress_group(g, &now.snapshots);
    }
    snapshot_progress_take(all, &now.snapshots);
    all->gauges_ms = now_ms;
    put_all(all, &now);
}

void gauges_end(struct groups *all)
{
    put_all(all, &(struct gauges){0});
}
