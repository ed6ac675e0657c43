/* sim_operator: membership changes, as a careful operator makes them. */
#include "sim/sim.h"

static bool has_stopped(struct sim_node *node)
{
    bool is_stopped = false;
    for (uint64_t group = 1; group <= SIM_GROUPS; group++) {
        const struct group *g = sim_group(node, group);
        is_stopped = is_stopped || (g != NULL && g->state == GROUP_STOPPED);
    }
    return is_stopped;
}

void operator_give_up_damaged(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->is_flipped && has_stopped(node)) {
            sim->stats.corrupt++;
            sim_wipe(node);
        }
    }
}

uint64_t operator_lost_member(struct sim *sim, uint64_t group)
{
    const struct sim_truth *truth = &sim->truth[group];
    for (size_t i = 0; i < truth->member_count; i++) {
        bool is_here = false;
        for (int n = 1; n <= sim->node_count; n++) {
            is_here = is_here || sim->nodes[n].replicas[group].self == truth->members[i];
        }
        if (!is_here) { return truth->members[i]; }
    }
    return 0;
}

static void add_replica(struct sim *sim, struct sim_node *leader, uint64_t group)
{
    struct sim_truth *truth = &sim->truth[group];
    struct sim_node *node = &sim->nodes[1 + sim_roll(sim, (uint64_t)sim->node_count)];
    if (node->e == NULL || node->replicas[group].self != 0 ||
        truth->member_count >= (size_t)sim->initial_count + 1) {
        return;
    }
    if (node->paused_until_ms > sim->now_ms || truth->next_replica + 1 >= SIM_REPLICAS_MAX) {
        return;
    }
    uint64_t id = truth->next_replica++;
    node->sd.now_ms = sim->now_ms;
    if (engine_group_create(node->e, group, id, sim_fsm_ops(sim), &node->replicas[group].fsm, NULL,
                            0) != ERR_OK) {
        return;
    }
    node->replicas[group].self = id;
    node->replicas[group].added_ms = sim->now_ms;
    node->replicas[group].checked = 0;
    node->replicas[group].commit_seen = 0;
    node->replicas[group].applied_seen = 0;
    sim_settle(node);
    if (engine_change(leader->e, group, ENGINE_ADD_STANDBY, id, node->name) != ERR_OK) {
        sim_forget(node, group);
        return;
    }
    SIM_LOG(sim, "%s adds replica %lu of group %lu on %s", leader->name, (unsigned long)id,
            (unsigned long)group, node->name);
}

static void forget_removed(struct sim *sim, uint64_t group)
{
    struct sim_node *node = &sim->nodes[1 + sim_roll(sim, (uint64_t)sim->node_count)];
    uint64_t self = node->replicas[group].self;
    int role;
    if (node->e == NULL || self == 0 || !sim->truth[group].was_member[self] ||
        oracle_is_member(sim, group, self, &role)) {
        return;
    }
    SIM_LOG(sim, "%s deletes replica %lu of group %lu", node->name, (unsigned long)self,
            (unsigned long)group);
    sim_forget(node, group);
}

/* A replica that was created and never added, its leader being gone, is deleted again. */
static void forget_orphan(struct sim *sim, uint64_t group, struct sim_node *leader)
{
    struct sim_node *node = &sim->nodes[1 + sim_roll(sim, (uint64_t)sim->node_count)];
    uint64_t self = node->replicas[group].self;
    const struct group *g = sim_group(node, group);
    const struct group *lg = sim_group(leader, group);
    if (g == NULL || sim->truth[group].was_member[self] || group_server(lg, self) != NULL ||
        !sim->is_calm) {
        return;
    }
    if (lg->raft.configuration_uncommitted_index != 0 || wal_log_last_index(g->log) > 0) { return; }
    sim_forget(node, group);
}

static void change(struct sim_node *leader, uint64_t group, enum engine_change what, uint64_t id)
{
    if (engine_change(leader->e, group, what, id, NULL) == ERR_OK) {
        hunt_notice(leader, HUNT_CHANGES);
        SIM_LOG(leader->sim, "%s changes group %lu: %d of %lu", leader->name, (unsigned long)group,
                (int)what, (unsigned long)id);
    }
}

/* A careful operator takes a healthy member away only while all is well. */
static bool all_is_well(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        if (sim->nodes[i].e == NULL || sim->nodes[i].is_flipped) { return false; }
    }
    return true;
}

void operator_step(struct sim *sim)
{
    sim->next_operator_ms =
        sim->now_ms + (sim->hunt == HUNT_CHANGES ? 3 + sim_roll(sim, 40) : 30 + sim_roll(sim, 200));
    uint64_t group = 1 + sim_roll(sim, SIM_GROUPS);
    struct sim_truth *truth = &sim->truth[group];
    operator_give_up_damaged(sim);
    forget_removed(sim, group);
    struct sim_node *leader = oracle_leader(sim, group);
    if (leader == NULL || leader->paused_until_ms > sim->now_ms || truth->member_count == 0) {
        return;
    }
    forget_orphan(sim, group, leader);
    leader->sd.now_ms = sim->now_ms;
    const struct group *g = sim_group(leader, group);
    uint64_t lost = operator_lost_member(sim, group);
    uint64_t pick = truth->members[sim_roll(sim, truth->member_count)];
    int role;
    uint64_t what = sim_roll(sim, 100);
    if (lost != 0 && lost != g->self) {
        change(leader, group, ENGINE_REMOVE, lost);
    } else if (what < 25) {
        add_replica(sim, leader, group);
    } else if (what < 60 && oracle_is_member(sim, group, pick, &role) && role != RAFT_VOTER) {
        change(leader, group, ENGINE_PROMOTE, pick);
    } else if (what < 75 && !sim->is_calm) {
        sim->stats.transfers += engine_transfer(leader->e, group, pick) == ERR_OK;
    } else if (what < 85 && !sim->is_calm && all_is_well(sim) &&
               truth->member_count > (size_t)sim->initial_count) {
        change(leader, group, ENGINE_REMOVE, pick);
    }
    sim_settle(leader);
}
