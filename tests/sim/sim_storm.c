/* sim_storm: everything that can go wrong. */
#include <stdio.h>

#include "consensus/group/snapshot/snapshot_int.h"
#include "sim/sim.h"

void storm_begin(struct sim *sim)
{
    static const int counts[] = {3, 3, 5, 1, 3, 2, 3, 5};
    for (int i = 0; i < 8; i++) {
        (void)sim_roll(sim, 2);
    }
    sim->initial_count = counts[sim->seed % 8];
    sim->node_count =
        sim->initial_count + 2 > SIM_NODES_MAX ? SIM_NODES_MAX : sim->initial_count + 2;
    sim->loss_per_mille = sim_roll(sim, 50);
    sim->dup_per_mille = sim_roll(sim, 100);
    sim->delay_ms_usual = 8;
    sim->delay_ms_max = 300;
    sim->disk_delay_ms = sim_roll(sim, 3) ? 4 : 10 + sim_roll(sim, 60);
    sim->sync_delay_ms = sim_roll(sim, 3) ? 0 : sim_roll(sim, 60);
    sim->stop_per_mille = 100;
    sim->applies_later = sim->seed % 3 == 1;
    sim->keeps_itself = sim->seed % 4 == 2;
    sim->next_storm_ms = sim->now_ms + 400;
    sim->next_client_ms = sim->now_ms + 50;
    sim->next_operator_ms = sim->now_ms + 600;
    sim->opts = engine_opts_default();
    sim->opts.election_ms = 300;
    sim->opts.heartbeat_ms = 50;
    sim->opts.segment_bytes = 2048 + 1024 * sim_roll(sim, 12);
    sim->opts.entry_bytes_max = 200 + sim_roll(sim, 800);
    sim->opts.append_bytes_max = 100 + sim_roll(sim, 1500);
    sim->opts.entries_in_flight_max = 1 + (unsigned)sim_roll(sim, 3);
    sim->opts.queued_bytes_max = 4000;
    sim->opts.cache_bytes = sim_roll(sim, 2) ? sim_roll(sim, 2000) : 1 << 20;
    sim->opts.snapshot_log_bytes = sim_roll(sim, 4) ? 500 + sim_roll(sim, 4000) : 1 << 20;
    sim->opts.trailing_entries = sim_roll(sim, 3) ? (unsigned)sim_roll(sim, 30) : 0;
    sim->opts.chunk_bytes = 40 + sim_roll(sim, 200);
    sim->opts.bulk_bytes_per_s = 20000;
    sim->opts.segments_max = 4;
    sim->opts.free_bytes_min = 1000;
    sim->opts.ballast_bytes = sim_roll(sim, 2) ? 20000 : 0;
    if (sim_roll(sim, 4) == 0) { sim->opts.lease_margin_percent = 100; } /* no leases */
    hunt_begin(sim);
}

/* ---- faults ---- */

void storm_partition(struct sim *sim)
{
    memset(sim->blocked, 0, sizeof sim->blocked);
    int alone = 1 + (int)sim_roll(sim, (uint64_t)sim->node_count);
    uint64_t kind = sim_roll(sim, 4);
    int other = 1 + (int)sim_roll(sim, (uint64_t)sim->node_count);
    const struct sim_node *leader = oracle_leader(sim, 1 + sim_roll(sim, SIM_GROUPS));
    if (kind == 3 && leader != NULL) { /* one follower loses the leader, the others hear both */
        alone = (int)(leader - sim->nodes);
    }
    for (int a = 1; a <= sim->node_count; a++) {
        for (int b = 1; b <= sim->node_count; b++) {
            if (kind == 0 && (a == alone || b == alone)) {
                sim->blocked[a][b] = sim_roll(sim, 5) > 0;
            } else if (kind == 1 && b == alone) {
                sim->blocked[a][b] = true; /* one way */
            } else if (kind == 2) {
                sim->blocked[a][b] = sim_roll(sim, 4) == 0;
            } else if (kind == 3) {
                sim->blocked[a][b] = (a == alone && b == other) || (a == other && b == alone);
            }
        }
    }
}

/* May this node lose its disk? Only if every group keeps a majority whose members are all there,
 * and nothing changes. */
static bool may_wipe(struct sim *sim)
{
    for (uint64_t group = 1; group <= SIM_GROUPS; group++) {
        struct sim_node *leader = oracle_leader(sim, group);
        const struct sim_truth *truth = &sim->truth[group];
        size_t voters = 0;
        for (size_t i = 0; i < truth->member_count; i++) {
            voters += truth->roles[i] == RAFT_VOTER;
        }
        if (leader == NULL || voters < 3 || operator_lost_member(sim, group) != 0) { return false; }
        const struct group *g = sim_group(leader, group);
        bool is_current = g->raft.configuration_uncommitted_index == 0 && group_owns_term(g) &&
                          g->raft.configuration_committed_index == truth->conf_index &&
                          g->promotee == 0;
        if (!is_current) { return false; }
    }
    for (int i = 1; i <= sim->node_count; i++) {
        if (sim->nodes[i].is_flipped) { return false; }
    }
    return true;
}

static void flip_in(struct sim_node *node, const char *name, uint64_t bytes)
{
    node->is_flipped = sim_disk_flip(&node->sd, name, sim_roll(node->sim, bytes));
    if (!node->is_flipped) { return; }
    snprintf(node->flipped_file, sizeof node->flipped_file, "%s", name);
    SIM_LOG(node->sim, "%s: a bit of %s flips", node->name, name);
}

/* Flip a bit of the log or of a snapshot, while the node is up or while it is down. */
static void flip(struct sim *sim, struct sim_node *node)
{
    if (!may_wipe(sim)) { return; }
    if (sim_roll(sim, 2)) { sim_crash(node, true); }
    size_t files = 0;
    LIST_EACH (at, &node->sd.files) {
        files += CONTAINER_OF(at, struct sim_file, link)->durable.len > 0;
    }
    uint64_t pick = sim_roll(sim, files > 0 ? files : 1);
    LIST_EACH (at, &node->sd.files) {
        const struct sim_file *file = CONTAINER_OF(at, struct sim_file, link);
        if (file->durable.len > 0 && pick-- == 0) {
            flip_in(node, file->name, file->durable.len);
            return;
        }
    }
}

void storm_rot_snapshot(struct sim *sim)
{
    uint64_t group = 1 + sim_roll(sim, SIM_GROUPS);
    struct sim_node *leader = oracle_leader(sim, group);
    const struct manifest *snapshot =
        leader != NULL ? wal_log_snapshot(sim_group(leader, group)->log) : NULL;
    char name[DISK_NAME_BYTES];
    if (snapshot == NULL || !may_wipe(sim)) { return; }
    snapshot_file_name(name, snapshot->file);
    flip_in(leader, name, snapshot->bytes);
}

/* What was flipped may be gone with its file. */
static void look_for_flipped(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        node->is_flipped = node->is_flipped && sim_disk_holds(&node->sd, node->flipped_file);
    }
}

static void disk_trouble(struct sim *sim, struct sim_node *node)
{
    switch (sim_roll(sim, 4)) {
    case 0: node->sd.delay_ms_max = 20 + sim_roll(sim, 60); break;
    case 1: node->sd.sync_delay_ms_max = 20 + sim_roll(sim, 400); break;
    case 2: node->sd.capacity_bytes = sim_disk_used_bytes(&node->sd) + sim_roll(sim, 3000); break;
    default: node->sd.syncs_to_fail = 1; break;
    }
    node->disk_normal_until_ms = sim->now_ms + 200 + sim_roll(sim, 1500);
}

static void end_disk_trouble(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (sim->is_calm || sim->now_ms >= node->disk_normal_until_ms) {
            node->sd.delay_ms_max = sim->is_calm ? 4 : sim->disk_delay_ms;
            node->sd.sync_delay_ms_max = sim->is_calm ? 0 : sim->sync_delay_ms;
            node->sd.capacity_bytes = 4 << 20;
            node->sd.syncs_to_fail = 0;
        }
    }
}

void storm_faults(struct sim *sim)
{
    sim->next_storm_ms = sim->now_ms + 1 + sim_roll(sim, 150);
    if (hunt_strike(sim)) { return; }
    end_disk_trouble(sim);
    look_for_flipped(sim);
    operator_give_up_damaged(sim);
    if (sim_roll(sim, 4) > 0 && hunt_step(sim)) { return; }
    struct sim_node *node = &sim->nodes[1 + sim_roll(sim, (uint64_t)sim->node_count)];
    uint64_t what = sim_roll(sim, 100);
    if (what < 14) {
        storm_partition(sim);
    } else if (what < 26) {
        memset(sim->blocked, 0, sizeof sim->blocked);
    } else if (what < 36) {
        sim_crash(node, true);
    } else if (what < 44) {
        sim_crash(node, false);
    } else if (what < 47) {
        for (int i = 1; i <= sim->node_count; i++) {
            if (sim_roll(sim, 3)) { sim_crash(&sim->nodes[i], true); }
        }
    } else if (what < 53) {
        sim->loss_per_mille = sim_roll(sim, 3) ? sim_roll(sim, 100) : 0;
        sim->dup_per_mille = sim_roll(sim, 150);
        sim->delay_ms_max = sim_roll(sim, 4) ? 300 : 1500;
    } else if (what < 60) {
        node->paused_until_ms = sim->now_ms + 50 + sim_roll(sim, 1200);
    } else if (what < 70) {
        disk_trouble(sim, node);
    } else if (what < 74) {
        flip(sim, node);
    } else if (what < 77) {
        storm_rot_snapshot(sim);
    } else if (what < 78 && may_wipe(sim)) {
        sim_wipe(node);
    } else if (what < 86 && node->e != NULL &&
               node->paused_until_ms <= sim->now_ms) { /* close and open in a live process */
        uint64_t group = 1 + sim_roll(sim, SIM_GROUPS);
        const struct group *g = sim_group(node, group);
        if (g != NULL && (g->restore == NULL || node->replicas[group].fsm.is_restored)) {
            node->sd.now_ms = sim->now_ms;
            engine_group_close(node->e, group);
            node->replicas[group].commit_seen = 0;
            node->replicas[group].checked = 0;
            sim_open(node, group);
            sim_settle(node);
        }
    }
}

void storm_calm(struct sim *sim)
{
    sim->is_calm = true;
    sim->loss_per_mille = 0;
    sim->dup_per_mille = 0;
    sim->delay_ms_max = 20;
    sim->delay_ms_usual = 8;
    sim->stop_per_mille = 0;
    memset(sim->blocked, 0, sizeof sim->blocked);
    end_disk_trouble(sim);
    look_for_flipped(sim);
    operator_give_up_damaged(sim);
    for (int i = 1; i <= sim->node_count; i++) {
        sim->nodes[i].paused_until_ms = 0;
    }
}
