/* sim_script: see sim_script.h. Owns: the cluster of one scenario. */
#include "sim/sim_script.h"

enum { STEP_MS_MAX = 5000 };

static uint64_t route(struct sim *sim, int from, int to, const struct message *m)
{
    struct script *s = sim->script;
    bool is_vote = m->kind == MESSAGE_RAFT && m->raft.type == RAFT_REQUEST_VOTE;
    if (is_vote && s->candidate != SCRIPT_ANYBODY && from != s->candidate) { return SIM_DROP; }
    return s->rule != NULL && m->group == SCRIPT_GROUP ? s->rule(s, from, to, m) : 1;
}

void script_begin(struct script *s, int voters, int nodes, uint32_t guards_off, bool is_verbose)
{
    struct sim *sim = &s->sim;
    s->candidate = SCRIPT_NOBODY;
    s->rule = NULL;
    s->noted = 0;
    sim_begin(sim, 1, guards_off, is_verbose);
    sim->initial_count = voters;
    sim->node_count = nodes;
    sim->route = route;
    sim->script = s;
    sim->applies_later = false;
    sim->keeps_itself = false;
    sim->next_client_ms = UINT64_MAX;
    sim->next_operator_ms = UINT64_MAX;
    sim->next_storm_ms = UINT64_MAX;
    struct engine_opts defaults = engine_opts_default();
    defaults.election_ms = sim->opts.election_ms;
    defaults.heartbeat_ms = sim->opts.heartbeat_ms;
    defaults.segment_bytes = 1 << 20; /* one segment, no snapshots: nothing happens by itself */
    defaults.free_bytes_min = 0;
    defaults.ballast_bytes = 0;
    sim->opts = defaults;
    sim->hunt = HUNT_NOTHING;
    sim->stop_per_mille = 0;
    sim_populate(sim);
    for (int i = 1; i <= nodes; i++) {
        sim->nodes[i].sd.delay_ms_max = 0;
    }
}

bool script_end(struct script *s)
{
    s->sim.requests_open = 0; /* those of a leader that was cut off need no answer */
    sim_end(&s->sim);
    return s->sim.failure == NULL;
}

void script_pass(struct script *s, uint64_t ms)
{
    uint64_t until = s->sim.now_ms + ms;
    while (s->sim.failure == NULL && sim_step(&s->sim, until)) {}
}

bool script_wait(struct script *s, bool (*is_true)(struct script *s, int node), int node,
                 const char *what)
{
    uint64_t until = s->sim.now_ms + STEP_MS_MAX;
    while (s->sim.failure == NULL && !is_true(s, node)) {
        if (!sim_step(&s->sim, until)) {
            sim_fail(&s->sim, "node %d: %s: it never came true", node, what);
        }
    }
    return s->sim.failure == NULL;
}

struct group *script_group(struct script *s, int node)
{
    return sim_group(&s->sim.nodes[node], SCRIPT_GROUP);
}

uint64_t script_last(struct script *s, int node)
{
    const struct group *g = script_group(s, node);
    return g != NULL ? wal_log_last_index(g->log) : 0;
}

void script_cut(struct script *s, const int *a, const int *b, bool is_cut)
{
    for (; *a != 0; a++) {
        for (const int *to = b; *to != 0; to++) {
            s->sim.blocked[*a][*to] = is_cut;
            s->sim.blocked[*to][*a] = is_cut;
        }
    }
}

/* ---- conditions ---- */

bool script_leads(struct script *s, int node)
{
    return oracle_leader(&s->sim, SCRIPT_GROUP) == &s->sim.nodes[node];
}

bool script_has_noted(struct script *s, int node)
{
    (void)node;
    return s->noted > 0;
}

bool script_runs(struct script *s, int node)
{
    const struct group *g = script_group(s, node);
    return g != NULL && g->state == GROUP_RUNNING;
}

bool script_is_quiet(struct script *s, int node)
{
    const struct group *g = script_group(s, node);
    uint64_t last = script_last(s, node);
    return g != NULL && last > 0 && group_commit_index(g) == last && g->applied == last;
}

bool script_is_acked(struct script *s, int node)
{
    (void)node;
    return s->sim.requests_open == 0;
}

/* ---- steps ---- */

void script_elect(struct script *s, int node)
{
    s->candidate = node;
    (void)script_wait(s, script_leads, node, "is elected");
}

void script_propose(struct script *s, int node)
{
    if (s->sim.failure != NULL) { return; }
    client_propose(&s->sim, &s->sim.nodes[node], SCRIPT_GROUP);
    sim_settle(&s->sim.nodes[node]);
}

void script_commit(struct script *s, int node)
{
    uint64_t before = s->sim.stats.acked;
    script_propose(s, node);
    (void)script_wait(s, script_is_acked, node, "the command is answered");
    if (s->sim.failure == NULL && s->sim.stats.acked == before) {
        sim_fail(&s->sim, "node %d refused a command", node);
    }
}

void script_read(struct script *s, int node)
{
    if (s->sim.failure != NULL) { return; }
    client_read(&s->sim, &s->sim.nodes[node], SCRIPT_GROUP);
    sim_settle(&s->sim.nodes[node]);
}

bool script_try_change(struct script *s, int leader, enum engine_change change, int id)
{
    struct sim_node *node = &s->sim.nodes[leader];
    if (s->sim.failure != NULL) { return false; }
    const char *added = change == ENGINE_ADD_STANDBY ? s->sim.nodes[id].name : NULL;
    enum err err = engine_change(node->e, SCRIPT_GROUP, change, (uint64_t)id, added);
    sim_settle(node);
    return err == ERR_OK;
}

void script_change(struct script *s, int leader, enum engine_change change, int id)
{
    if (s->sim.failure == NULL && !script_try_change(s, leader, change, id)) {
        sim_fail(&s->sim, "node %d refused to change replica %d", leader, id);
    }
}

void script_add_standby(struct script *s, int leader, int node)
{
    struct sim_node *host = &s->sim.nodes[node];
    if (s->sim.failure != NULL) { return; }
    s->sim.truth[SCRIPT_GROUP].next_replica = (uint64_t)node + 1;
    host->replicas[SCRIPT_GROUP].self = (uint64_t)node;
    CHECK(engine_group_create(host->e, SCRIPT_GROUP, (uint64_t)node, sim_fsm_ops(&s->sim),
                              &host->replicas[SCRIPT_GROUP].fsm, NULL, 0) == ERR_OK);
    sim_settle(host);
    script_change(s, leader, ENGINE_ADD_STANDBY, node);
    (void)script_wait(s, script_is_quiet, node, "the standby has everything");
}

void script_kill(struct script *s, int node, uint64_t down_ms)
{
    if (s->sim.failure != NULL) { return; }
    sim_crash(&s->sim.nodes[node], false);
    s->sim.nodes[node].up_at_ms = down_ms == UINT64_MAX ? UINT64_MAX : s->sim.now_ms + down_ms;
}

void script_heal(struct script *s)
{
    struct sim *sim = &s->sim;
    uint64_t before = sim->truth[SCRIPT_GROUP].committed;
    s->candidate = SCRIPT_ANYBODY;
    s->rule = NULL;
    memset(sim->blocked, 0, sizeof sim->blocked);
    uint64_t until = sim->now_ms + 20000;
    while (sim->failure == NULL && sim->truth[SCRIPT_GROUP].committed < before + 20) {
        struct sim_node *leader = oracle_leader(sim, SCRIPT_GROUP);
        if (leader != NULL && sim->requests_open == 0) {
            script_propose(s, (int)(leader - sim->nodes));
        }
        script_pass(s, 10);
        if (sim->now_ms >= until) { sim_fail(sim, "the healed group makes no progress"); }
    }
}
