/* sim_storm: requests, membership changes, and everything that can go wrong. */
#include "base/mem.h"
#include "sim/sim.h"

static uint64_t roll(struct sim *sim, uint64_t below)
{
    return sim_random(&sim->random, below);
}

void storm_begin(struct sim *sim)
{
    static const int counts[] = {3, 3, 5, 1, 3, 2, 3, 5};
    for (int i = 0; i < 8; i++) {
        (void)roll(sim, 2);
    }
    sim->initial_count = counts[sim->seed % 8];
    sim->node_count =
        sim->initial_count + 2 > SIM_NODES_MAX ? SIM_NODES_MAX : sim->initial_count + 2;
    sim->loss_per_mille = roll(sim, 50);
    sim->dup_per_mille = roll(sim, 100);
    sim->delay_ms_max = 300;
    sim->disk_delay_ms = roll(sim, 3) ? 4 : 10 + roll(sim, 60);
    sim->hunts_changes = roll(sim, 4) == 0;
    if (sim->hunts_changes) { sim->disk_delay_ms = 20 + roll(sim, 80); }
    sim->next_storm_ms = sim->now_ms + 400;
    sim->next_client_ms = sim->now_ms + 50;
    sim->next_operator_ms = sim->now_ms + 600;
    sim->opts = engine_opts_default();
    sim->opts.election_ms = 300;
    sim->opts.heartbeat_ms = 50;
    sim->opts.segment_bytes = 2048 + 1024 * roll(sim, 12);
    sim->opts.entry_bytes_max = 200 + roll(sim, 800);
    sim->opts.append_bytes_max = 100 + roll(sim, 1500);
    sim->opts.entries_in_flight_max = 1 + (unsigned)roll(sim, 3);
    sim->opts.queued_bytes_max = 4000;
    sim->opts.cache_bytes = roll(sim, 2) ? roll(sim, 2000) : 1 << 20;
    sim->opts.snapshot_log_bytes = roll(sim, 4) ? 500 + roll(sim, 4000) : 1 << 20;
    sim->opts.trailing_entries = roll(sim, 3) ? (unsigned)roll(sim, 30) : 0;
    sim->opts.chunk_bytes = 40 + roll(sim, 200);
    sim->opts.bulk_bytes_per_s = 20000;
    sim->opts.segments_max = 4;
    sim->opts.free_bytes_min = 1000;
    sim->opts.ballast_bytes = roll(sim, 2) ? 20000 : 0;
}

/* ---- requests ---- */

struct sim_request {
    struct proposal proposal;
    struct read_request read;
    struct sim *sim;
    struct sim_node *node;
    uint64_t value;
    uint64_t acked_before; /* a read must see at least this */
    char data[64];
};

static void on_proposed(struct proposal *p, enum err err)
{
    struct sim_request *request = CONTAINER_OF(p, struct sim_request, proposal);
    struct sim *sim = request->sim;
    struct sim_truth *truth = &sim->truth[p->group];
    if (err == ERR_OK) {
        oracle_fate(sim, request->value, FATE_ACKED);
        truth->acked = p->index > truth->acked ? p->index : truth->acked;
        sim->stats.acked++;
    } else if (err != ERR_INDOUBT) {
        oracle_fate(sim, request->value, FATE_REFUSED);
    }
    sim->requests_open--;
    mem_free(request);
}

static void on_read_point(struct read_request *read, enum err err)
{
    struct sim_request *request = CONTAINER_OF(read, struct sim_request, read);
    struct sim *sim = request->sim;
    struct sim_truth *truth = &sim->truth[read->group];
    if (err == ERR_OK) {
        uint64_t sees = request->node->replicas[read->group].fsm.applied;
        if (sees < request->acked_before) {
            sim_fail(sim, "a read on %s of group %lu sees %lu, but %lu was acknowledged before",
                     request->node->name, (unsigned long)read->group, (unsigned long)sees,
                     (unsigned long)request->acked_before);
        }
        truth->acked = read->index > truth->acked ? read->index : truth->acked;
        sim->stats.reads++;
        sim->stats.lease_reads += read->round == 0;
    }
    sim->requests_open--;
    mem_free(request);
}

static struct sim_request *request_new(struct sim *sim, struct sim_node *node)
{
    struct sim_request *request = mem_new0(sizeof *request);
    request->sim = sim;
    request->node = node;
    sim->requests_open++;
    return request;
}

void storm_propose(struct sim *sim, struct sim_node *node, uint64_t group)
{
    if (sim->value_count + 1 >= SIM_VALUES_MAX) { return; }
    struct sim_request *request = request_new(sim, node);
    request->value = ++sim->value_count;
    memset(request->data, (int)(1 + roll(sim, 200)), sizeof request->data);
    memcpy(request->data, &request->value, sizeof request->value);
    request->proposal.group = group;
    request->proposal.data = slice_of(request->data, 8 + roll(sim, sizeof request->data - 8));
    request->proposal.on_done = on_proposed;
    engine_propose(node->e, &request->proposal);
}

void storm_read(struct sim *sim, struct sim_node *node, uint64_t group)
{
    struct sim_request *request = request_new(sim, node);
    request->acked_before = sim->truth[group].acked;
    request->read.group = group;
    request->read.on_done = on_read_point;
    engine_read(node->e, &request->read);
}

void storm_client(struct sim *sim)
{
    sim->next_client_ms = sim->now_ms + 1 + roll(sim, 20);
    uint64_t group = 1 + roll(sim, SIM_GROUPS);
    struct sim_node *node = roll(sim, 2) ? oracle_leader(sim, group)
                                         : &sim->nodes[1 + roll(sim, (uint64_t)sim->node_count)];
    if (node == NULL || node->e == NULL || node->paused_until_ms > sim->now_ms) { return; }
    node->sd.now_ms = sim->now_ms;
    uint64_t count = 1 + roll(sim, 6);
    for (uint64_t i = 0; i < count; i++) {
        if (roll(sim, 3) == 0) {
            storm_read(sim, node, group);
        } else {
            storm_propose(sim, node, group);
        }
    }
    sim_settle(node);
}

/* ---- membership ---- */

/* A replica that stopped over a flipped bit is given up, as an operator would. */
static void give_up_damaged(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        for (uint64_t group = 1; group <= SIM_GROUPS; group++) {
            const struct group *g = sim_group(node, group);
            if (g != NULL && g->state == GROUP_STOPPED && node->is_flipped) {
                sim->stats.corrupt++;
                sim_wipe(node);
                break;
            }
        }
    }
}

/* A member that no node has any more. */
static uint64_t lost_member(struct sim *sim, uint64_t group)
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
    struct sim_node *node = &sim->nodes[1 + roll(sim, (uint64_t)sim->node_count)];
    if (node->e == NULL || node->replicas[group].self != 0 ||
        truth->member_count >= (size_t)sim->initial_count + 1) {
        return;
    }
    if (node->paused_until_ms > sim->now_ms || truth->next_replica + 1 >= SIM_REPLICAS_MAX) {
        return;
    }
    uint64_t id = truth->next_replica++;
    node->sd.now_ms = sim->now_ms;
    if (engine_group_create(node->e, group, id, &sim_fsm_ops, &node->replicas[group].fsm, NULL,
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
        engine_group_delete(node->e, group);
        node->replicas[group].self = 0;
        sim_settle(node);
        return;
    }
    SIM_LOG(sim, "%s adds replica %lu of group %lu on %s", leader->name, (unsigned long)id,
            (unsigned long)group, node->name);
}

static void forget_removed(struct sim *sim, uint64_t group)
{
    struct sim_node *node = &sim->nodes[1 + roll(sim, (uint64_t)sim->node_count)];
    uint64_t self = node->replicas[group].self;
    int role;
    if (node->e == NULL || self == 0 || !sim->truth[group].was_member[self] ||
        oracle_is_member(sim, group, self, &role)) {
        return;
    }
    SIM_LOG(sim, "%s deletes replica %lu of group %lu", node->name, (unsigned long)self,
            (unsigned long)group);
    engine_group_delete(node->e, group);
    node->replicas[group].self = 0;
    node->replicas[group].fsm.applied = 0;
    node->replicas[group].fsm.hash = 0;
    node->replicas[group].fsm.count = 0;
    node->sd.now_ms = sim->now_ms;
    sim_settle(node);
}

/* A replica that was created and never added, its leader being gone, is deleted again. */
static void forget_orphan(struct sim *sim, uint64_t group, struct sim_node *leader)
{
    struct sim_node *node = &sim->nodes[1 + roll(sim, (uint64_t)sim->node_count)];
    uint64_t self = node->replicas[group].self;
    const struct group *g = sim_group(node, group);
    const struct group *lg = sim_group(leader, group);
    if (g == NULL || sim->truth[group].was_member[self] || group_server(lg, self) != NULL ||
        !sim->is_calm) {
        return;
    }
    if (lg->raft.configuration_uncommitted_index != 0 || wal_log_last_index(g->log) > 0) { return; }
    engine_group_delete(node->e, group);
    node->replicas[group].self = 0;
    node->sd.now_ms = sim->now_ms;
    sim_settle(node);
}

/* This leader has just appended a change: the next fault, while its disk is still busy, is for it. */
static void hunt(struct sim_node *leader)
{
    struct sim *sim = leader->sim;
    if (!sim->hunts_changes || sim->is_calm) { return; }
    sim->hunted = leader;
    sim->next_storm_ms = sim->now_ms + roll(sim, 40);
}

static void change(struct sim_node *leader, uint64_t group, enum engine_change what, uint64_t id)
{
    if (engine_change(leader->e, group, what, id, NULL) == ERR_OK) {
        hunt(leader);
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

void storm_operator(struct sim *sim)
{
    sim->next_operator_ms =
        sim->now_ms + (sim->hunts_changes ? 3 + roll(sim, 40) : 30 + roll(sim, 200));
    uint64_t group = 1 + roll(sim, SIM_GROUPS);
    struct sim_truth *truth = &sim->truth[group];
    give_up_damaged(sim);
    forget_removed(sim, group);
    struct sim_node *leader = oracle_leader(sim, group);
    if (leader == NULL || leader->paused_until_ms > sim->now_ms || truth->member_count == 0) {
        return;
    }
    forget_orphan(sim, group, leader);
    leader->sd.now_ms = sim->now_ms;
    const struct group *g = sim_group(leader, group);
    uint64_t lost = lost_member(sim, group);
    uint64_t pick = truth->members[roll(sim, truth->member_count)];
    int role;
    uint64_t what = roll(sim, 100);
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

/* ---- faults ---- */

static void partition(struct sim *sim)
{
    memset(sim->blocked, 0, sizeof sim->blocked);
    int alone = 1 + (int)roll(sim, (uint64_t)sim->node_count);
    uint64_t kind = roll(sim, 4);
    int other = 1 + (int)roll(sim, (uint64_t)sim->node_count);
    const struct sim_node *leader = oracle_leader(sim, 1 + roll(sim, SIM_GROUPS));
    if (kind == 3 && leader != NULL) { /* one follower loses the leader, the others hear both */
        alone = (int)(leader - sim->nodes);
    }
    for (int a = 1; a <= sim->node_count; a++) {
        for (int b = 1; b <= sim->node_count; b++) {
            if (kind == 0 && (a == alone || b == alone)) {
                sim->blocked[a][b] = roll(sim, 5) > 0;
            } else if (kind == 1 && b == alone) {
                sim->blocked[a][b] = true; /* one way */
            } else if (kind == 2) {
                sim->blocked[a][b] = roll(sim, 4) == 0;
            } else if (kind == 3) {
                sim->blocked[a][b] = (a == alone && b == other) || (a == other && b == alone);
            }
        }
    }
}

/* May this node lose its disk? Only if every group keeps a majority whose members are all there,
 * and nothing changes. */
static bool may_wipe(struct sim *sim, const struct sim_node *node)
{
    for (uint64_t group = 1; group <= SIM_GROUPS; group++) {
        struct sim_node *leader = oracle_leader(sim, group);
        const struct sim_truth *truth = &sim->truth[group];
        size_t voters = 0;
        for (size_t i = 0; i < truth->member_count; i++) {
            voters += truth->roles[i] == RAFT_VOTER;
        }
        if (leader == NULL || voters < 3 || lost_member(sim, group) != 0) { return false; }
        const struct group *g = sim_group(leader, group);
        bool is_current = g->raft.configuration_uncommitted_index == 0 && group_owns_term(g) &&
                          g->raft.configuration_committed_index == truth->conf_index &&
                          g->promotee == 0;
        if (!is_current || leader == node) { return false; }
    }
    for (int i = 1; i <= sim->node_count; i++) {
        if (sim->nodes[i].is_flipped) { return false; }
    }
    return true;
}

/* Flip a bit of the log or of a snapshot while the node is down. */
static void flip(struct sim *sim, struct sim_node *node)
{
    if (!may_wipe(sim, node)) { return; }
    sim_crash(node, true);
    size_t files = 0;
    LIST_EACH (at, &node->sd.files) {
        files += CONTAINER_OF(at, struct sim_file, link)->durable.len > 0;
    }
    uint64_t pick = roll(sim, files > 0 ? files : 1);
    LIST_EACH (at, &node->sd.files) {
        struct sim_file *file = CONTAINER_OF(at, struct sim_file, link);
        if (file->durable.len > 0 && pick-- == 0) {
            node->is_flipped = sim_disk_flip(&node->sd, file->name, roll(sim, file->durable.len));
            return;
        }
    }
}

static void disk_trouble(struct sim *sim, struct sim_node *node)
{
    if (roll(sim, 2)) {
        node->sd.delay_ms_max = 20 + roll(sim, 60);
    } else {
        node->sd.capacity_bytes = sim_disk_used_bytes(&node->sd) + roll(sim, 3000);
    }
    node->disk_normal_until_ms = sim->now_ms + 200 + roll(sim, 1500);
}

static void end_disk_trouble(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (sim->is_calm || sim->now_ms >= node->disk_normal_until_ms) {
            node->sd.delay_ms_max = sim->is_calm ? 4 : sim->disk_delay_ms;
            node->sd.capacity_bytes = 4 << 20;
        }
    }
}

static void strike_hunted(struct sim *sim)
{
    struct sim_node *node = sim->hunted;
    sim->hunted = NULL;
    sim_crash(node, true);
    if (roll(sim, 2)) { node->up_at_ms = sim->now_ms + 5; }
    if (roll(sim, 3) == 0) { partition(sim); }
}

void storm_faults(struct sim *sim)
{
    sim->next_storm_ms = sim->now_ms + 1 + roll(sim, 150);
    if (sim->hunted != NULL) {
        strike_hunted(sim);
        return;
    }
    end_disk_trouble(sim);
    give_up_damaged(sim);
    struct sim_node *node = &sim->nodes[1 + roll(sim, (uint64_t)sim->node_count)];
    uint64_t what = roll(sim, 100);
    if (what < 14) {
        partition(sim);
    } else if (what < 26) {
        memset(sim->blocked, 0, sizeof sim->blocked);
    } else if (what < 36) {
        sim_crash(node, true);
    } else if (what < 44) {
        sim_crash(node, false);
    } else if (what < 47) {
        for (int i = 1; i <= sim->node_count; i++) {
            if (roll(sim, 3)) { sim_crash(&sim->nodes[i], true); }
        }
    } else if (what < 53) {
        sim->loss_per_mille = roll(sim, 3) ? roll(sim, 100) : 0;
        sim->dup_per_mille = roll(sim, 150);
        sim->delay_ms_max = roll(sim, 4) ? 300 : 1500;
    } else if (what < 60) {
        node->paused_until_ms = sim->now_ms + 50 + roll(sim, 1200);
    } else if (what < 70) {
        disk_trouble(sim, node);
    } else if (what < 73) {
        flip(sim, node);
    } else if (what < 74 && may_wipe(sim, node)) {
        sim_wipe(node);
    } else if (what < 84 && node->e != NULL &&
               node->paused_until_ms <= sim->now_ms) { /* close and open in a live process */
        uint64_t group = 1 + roll(sim, SIM_GROUPS);
        if (sim_group(node, group) != NULL && sim_group(node, group)->restore == NULL) {
            node->sd.now_ms = sim->now_ms;
            engine_group_close(node->e, group);
            node->replicas[group].commit_seen = 0;
            node->replicas[group].checked = 0;
            if (engine_group_open(node->e, group, &sim_fsm_ops, &node->replicas[group].fsm) !=
                ERR_OK) {
                sim_fail(sim, "%s cannot open a group again", node->name);
            }
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
    memset(sim->blocked, 0, sizeof sim->blocked);
    give_up_damaged(sim);
    end_disk_trouble(sim);
    for (int i = 1; i <= sim->node_count; i++) {
        sim->nodes[i].paused_until_ms = 0;
    }
}
