/* sim_run: one seed from beginning to end. */
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"

enum { CALM_MS = 40000, CATCH_UP_MS = 10000, LOOK_MS = 500, DISK_BYTES = 4 << 20 };

static void node_init(struct sim *sim, int number)
{
    struct sim_node *node = &sim->nodes[number];
    node->sim = sim;
    node->id = (uint64_t)number;
    snprintf(node->name, sizeof node->name, "n%d", number);
    sim_disk_init(&node->sd, sim->seed * 131 + (uint64_t)number);
    node->sd.capacity_bytes = DISK_BYTES;
    node->clock_ppm = hunt_clock_ppm(sim);
    for (uint64_t g = 1; g <= SIM_GROUPS; g++) {
        node->replicas[g].fsm = (struct sim_fsm){.sim = sim, .node = node, .group = g};
    }
}

static void create_groups(struct sim *sim)
{
    struct engine_server servers[SIM_NODES_MAX];
    for (uint64_t g = 1; g <= SIM_GROUPS; g++) {
        for (int i = 1; i <= sim->initial_count; i++) {
            servers[i - 1] = (struct engine_server){(uint64_t)i, sim->nodes[i].name};
        }
        sim->truth[g].next_replica = (uint64_t)sim->initial_count + 1;
        for (int i = 1; i <= sim->initial_count; i++) {
            struct sim_node *node = &sim->nodes[i];
            node->replicas[g].self = (uint64_t)i;
            CHECK(engine_group_create(node->e, g, (uint64_t)i, sim_fsm_ops(sim),
                                      &node->replicas[g].fsm, servers,
                                      (size_t)sim->initial_count) == ERR_OK);
        }
    }
    for (int i = 1; i <= sim->initial_count;
         i++) { /* the creation itself is durable before anything breaks */
        engine_turn(sim->nodes[i].e);
        sim_disk_drain(&sim->nodes[i].sd);
        sim_settle(&sim->nodes[i]);
    }
}

/* What everybody is at, for whoever looks into a failure. */
static void dump(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count && sim->is_verbose; i++) {
        for (uint64_t id = 1; id <= SIM_GROUPS; id++) {
            const struct group *g = sim_group(&sim->nodes[i], id);
            if (g == NULL) { continue; }
            int role = -1;
            bool is_member = oracle_is_member(sim, id, g->self, &role);
            sim_print(
                sim,
                "%s group %lu replica %lu: state %d raft %d role %d (%s) term %lu vote %lu commit "
                "%lu applied %lu "
                "stored %lu log %lu..%lu voters %u installing %d restore %d fetch %d batch %lu "
                "flushed %lu full %d",
                sim->nodes[i].name, (unsigned long)id, (unsigned long)g->self, (int)g->state,
                (int)g->raft.state, role, is_member ? "member" : "not a member",
                (unsigned long)raft_current_term(&g->raft), (unsigned long)raft_voted_for(&g->raft),
                (unsigned long)group_commit_index(g), (unsigned long)g->applied,
                (unsigned long)g->raft.last_stored, (unsigned long)wal_log_first_index(g->log),
                (unsigned long)wal_log_last_index(g->log), g->raft.configuration.n,
                (int)g->is_installing, g->restore != NULL, g->fetch != NULL,
                (unsigned long)wal_batch(g->all->wal),
                (unsigned long)wal_batch_flushed(g->all->wal), (int)wal_is_full(g->all->wal));
        }
    }
}

static bool has_progressed(const struct sim *sim, uint64_t group, uint64_t before)
{
    return sim->truth[group].committed >= before + 20;
}

/* A member that has been one for long and has not got what was committed; NULL: none. */
static struct sim_node *find_laggard(struct sim *sim, uint64_t group)
{
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        const struct group *g = sim_group(node, group);
        int role;
        bool is_member = g != NULL && oracle_is_member(sim, group, g->self, &role);
        bool is_new = sim->now_ms < node->replicas[group].added_ms + CATCH_UP_MS;
        if (is_member && !is_new && g->applied + 200 < sim->truth[group].committed) { return node; }
    }
    return NULL;
}

static void fail_laggard(struct sim_node *node, const struct group *g)
{
    sim_fail(node->sim,
             "%s lags in group %lu: %lu of %lu (state %d raft %d term %lu commit %lu log %lu..%lu "
             "installing %d)",
             node->name, (unsigned long)g->id, (unsigned long)g->applied,
             (unsigned long)node->sim->truth[g->id].committed, (int)g->state, (int)g->raft.state,
             (unsigned long)raft_current_term(&g->raft), (unsigned long)group_commit_index(g),
             (unsigned long)wal_log_first_index(g->log), (unsigned long)wal_log_last_index(g->log),
             (int)g->is_installing);
}

/* Nothing is broken any more: all goes on, soon enough. Some seeds stay until the end of the time,
 * for what goes wrong later. */
static void demand_progress(struct sim *sim)
{
    uint64_t before[SIM_GROUPS + 1];
    storm_calm(sim);
    for (int g = 1; g <= SIM_GROUPS; g++) {
        before[g] = sim->truth[g].committed;
    }
    uint64_t end = sim->now_ms + CALM_MS;
    uint64_t enough = sim->seed % 16 == 0 ? end : sim->now_ms + CATCH_UP_MS / 4;
    bool is_well = false;
    while (sim->failure == NULL && sim->now_ms < end && !(is_well && sim->now_ms >= enough)) {
        uint64_t until = sim->now_ms + LOOK_MS;
        while (sim_step(sim, until)) {}
        is_well = true;
        for (uint64_t g = 1; g <= SIM_GROUPS; g++) {
            is_well = is_well && has_progressed(sim, g, before[g]) && find_laggard(sim, g) == NULL;
        }
    }
    for (uint64_t g = 1; g <= SIM_GROUPS && sim->failure == NULL; g++) {
        struct sim_node *laggard = find_laggard(sim, g);
        if (!has_progressed(sim, g, before[g])) {
            sim_fail(sim, "group %lu makes no progress: %lu after %lu", (unsigned long)g,
                     (unsigned long)sim->truth[g].committed, (unsigned long)before[g]);
        } else if (laggard != NULL) {
            fail_laggard(laggard, sim_group(laggard, g));
        }
    }
}

void sim_end(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->e != NULL) { sim_engine_free(node); }
        sim_disk_fini(&node->sd);
        for (int g = 1; g <= SIM_GROUPS; g++) {
            buf_fini(&node->replicas[g].fsm.restoring);
            promise_end(&node->replicas[g]);
        }
    }
    if (sim->requests_open > 0 && sim->failure == NULL) {
        sim_fail(sim, "%lu requests were never answered", (unsigned long)sim->requests_open);
    }
    sim_packets_free(&sim->packets);
    mem_free(sim->values);
    sim->values = NULL;
}

void sim_begin(struct sim *sim, uint64_t seed, uint32_t guards_off, bool is_verbose)
{
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    sim->random = seed * 0x9E3779B97F4A7C15ULL + 0x1234567;
    sim->guards_off = guards_off;
    sim->is_verbose = is_verbose;
    sim->now_ms = 1000;
    sim->values = mem_new0(SIM_VALUES_MAX * sizeof *sim->values);
    storm_begin(sim);
}

void sim_populate(struct sim *sim)
{
    uint64_t stop_per_mille = sim->stop_per_mille;
    sim->stop_per_mille = 0; /* it begins well */
    for (int i = 1; i <= sim->node_count; i++) {
        node_init(sim, i);
        sim_start(&sim->nodes[i]);
    }
    create_groups(sim);
    sim->stop_per_mille = stop_per_mille;
}

bool sim_run(struct sim *sim, uint64_t seed, uint64_t events, uint32_t guards_off, bool is_verbose)
{
    sim_begin(sim, seed, guards_off, is_verbose);
    sim_populate(sim);
    while (sim->stats.events < events && sim_step(sim, UINT64_MAX)) {}
    if (sim->failure == NULL) { demand_progress(sim); }
    if (sim->failure != NULL) { dump(sim); }
    sim_end(sim);
    return sim->failure == NULL;
}
