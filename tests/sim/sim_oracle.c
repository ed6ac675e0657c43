/* sim_oracle: what must hold after every event, of every replica. */
#include "sim/sim.h"

static uint64_t mix(uint64_t h, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++) {
        h = (h ^ p[i]) * 1099511628211ULL;
    }
    return h;
}

bool oracle_is_member(const struct sim *sim, uint64_t group, uint64_t id, int *role)
{
    const struct sim_truth *truth = &sim->truth[group];
    for (size_t i = 0; i < truth->member_count; i++) {
        if (truth->members[i] == id) {
            *role = truth->roles[i];
            return true;
        }
    }
    return false;
}

struct sim_node *oracle_leader(struct sim *sim, uint64_t group)
{
    struct sim_node *leader = NULL;
    uint64_t term = 0;
    for (int i = 1; i <= sim->node_count; i++) {
        struct group *g = sim_group(&sim->nodes[i], group);
        if (g != NULL && group_is_leader(g) && raft_current_term(&g->raft) > term) {
            leader = &sim->nodes[i];
            term = raft_current_term(&g->raft);
        }
    }
    return leader;
}

/* Now that this one leads, nobody has a lease of an earlier term. (Votes may arrive late: somebody
 * may lead in a later one.) */
static void check_leases(const struct sim_node *leader, const struct group *lg)
{
    struct sim *sim = leader->sim;
    for (int i = 1; i <= sim->node_count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        struct engine_status status;
        if (node == leader || node->e == NULL || !engine_status(node->e, lg->id, &status)) {
            continue;
        }
        uint64_t clock_ms = sim_node_clock_ms(node);
        bool is_earlier = status.term < raft_current_term(&lg->raft);
        if (status.is_leader && is_earlier && status.lease_until_ms > clock_ms) {
            sim_fail(sim,
                     "%s has a lease of term %lu in group %lu for %lu ms more; %s leads term %lu",
                     node->name, (unsigned long)status.term, (unsigned long)lg->id,
                     (unsigned long)(status.lease_until_ms - clock_ms), leader->name,
                     (unsigned long)raft_current_term(&lg->raft));
        }
    }
}

/* One leader per term, who has all that was committed in the terms before it. */
static void check_leader(struct sim_node *node, const struct group *g)
{
    struct sim *sim = node->sim;
    struct sim_truth *truth = &sim->truth[g->id];
    uint64_t term = raft_current_term(&g->raft);
    if (!group_is_leader(g) || term >= SIM_TERM_MAX || truth->leader[term] == g->self) { return; }
    if (truth->leader[term] != 0) {
        sim_fail(sim, "two leaders in term %lu of group %lu: %lu and %lu", (unsigned long)term,
                 (unsigned long)g->id, (unsigned long)truth->leader[term], (unsigned long)g->self);
        return;
    }
    truth->leader[term] = g->self;
    uint64_t from = truth->committed > 200 ? truth->committed - 200 : 1;
    for (uint64_t i = from; i <= truth->committed; i++) {
        uint64_t base = wal_log_snapshot(g->log) != NULL ? wal_log_snapshot(g->log)->index : 0;
        if (truth->commit_term[i] < term && i >= wal_log_first_index(g->log) && i > base &&
            wal_log_term(g->log, i) != truth->term[i]) {
            sim_fail(sim, "the leader of term %lu of group %lu lacks committed entry %lu",
                     (unsigned long)term, (unsigned long)g->id, (unsigned long)i);
        }
    }
    if (wal_log_last_index(g->log) < truth->committed &&
        truth->commit_term[truth->committed] < term) {
        sim_fail(sim, "the leader of term %lu of group %lu lacks the committed end",
                 (unsigned long)term, (unsigned long)g->id);
    }
    check_leases(node, g);
}

static void note_configuration(struct sim *sim, uint64_t group, uint64_t index,
                               const struct wal_entry *entry)
{
    struct sim_truth *truth = &sim->truth[group];
    struct raft_configuration conf;
    if (!group_conf_decode(slice_of(entry->data, entry->len), &conf)) {
        sim_fail(sim, "a committed configuration is malformed");
        return;
    }
    truth->conf_index = index;
    truth->member_count = 0;
    for (unsigned i = 0; i < conf.n && i < GROUP_SERVERS_MAX; i++) {
        truth->members[truth->member_count] = conf.servers[i].id;
        truth->roles[truth->member_count++] = conf.servers[i].role;
        if (conf.servers[i].id < SIM_REPLICAS_MAX) { truth->was_member[conf.servers[i].id] = true; }
    }
    raft_configuration_close(&conf);
    sim->stats.changes++;
}

/* The same entry everywhere at a committed index. */
static void check_committed(struct sim_node *node, const struct group *g, uint64_t index)
{
    struct sim *sim = node->sim;
    struct sim_truth *truth = &sim->truth[g->id];
    const struct wal_entry *entry = wal_log_entry(g->log, index);
    if (entry == NULL || index >= SIM_INDEX_MAX) { return; }
    uint64_t hash = 0;
    if (entry->data != NULL) {
        hash = mix(1469598103934665603ULL + entry->type, entry->data, entry->len);
    }
    if (index > truth->committed) {
        if (index != truth->committed + 1) {
            sim_fail(sim, "%s commits %lu of group %lu after %lu", node->name, (unsigned long)index,
                     (unsigned long)g->id, (unsigned long)truth->committed);
        }
        truth->committed = index;
        truth->term[index] = entry->term;
        truth->commit_term[index] = raft_current_term(&g->raft);
        truth->entry_hash[index] = hash;
        if (entry->type == RAFT_CHANGE) { note_configuration(sim, g->id, index, entry); }
        return;
    }
    bool same_data = hash == 0 || truth->entry_hash[index] == 0 || truth->entry_hash[index] == hash;
    if (truth->term[index] != entry->term || !same_data) {
        sim_fail(sim, "%s committed another entry %lu of group %lu: term %lu, not %lu", node->name,
                 (unsigned long)index, (unsigned long)g->id, (unsigned long)entry->term,
                 (unsigned long)truth->term[index]);
    }
}

static void check_replica(struct sim_node *node, struct group *g)
{
    struct sim *sim = node->sim;
    struct sim_replica *replica = &node->replicas[g->id];
    if (g->state == GROUP_STOPPED) {
        if (!node->is_flipped) {
            sim_fail(sim, "%s stopped group %lu: %s", node->name, (unsigned long)g->id,
                     g->stop_reason);
        }
        return;
    }
    if (g->state != GROUP_RUNNING) { return; }
    uint64_t commit = group_commit_index(g);
    if (commit < replica->commit_seen) { sim_fail(sim, "the commit index of %s fell", node->name); }
    if (g->applied < replica->applied_seen && !g->is_installing && replica->commit_seen > 0) {
        sim_fail(sim, "the applied index of %s fell", node->name);
    }
    replica->commit_seen = commit;
    replica->applied_seen = g->is_installing ? 0 : g->applied;
    promise_note_leader(node, g);
    if (g->is_installing) {
        hunt_notice(node, HUNT_INSTALLS);
        return;
    }
    uint64_t first = wal_log_first_index(g->log);
    uint64_t from = replica->checked + 1 > first ? replica->checked + 1 : first;
    for (uint64_t i = from; i <= commit && sim->failure == NULL; i++) {
        check_committed(node, g, i);
        replica->checked = i;
    }
    check_leader(node, g);
}

void oracle_check(struct sim_node *node)
{
    for (uint64_t id = 1; id <= SIM_GROUPS; id++) {
        struct group *g = sim_group(node, id);
        if (g != NULL) { check_replica(node, g); }
    }
}

void oracle_applied(struct sim_fsm *fsm, uint64_t index, struct slice data)
{
    struct sim *sim = fsm->sim;
    uint64_t value;
    if (index <= fsm->applied) {
        sim_fail(sim, "%s applies %lu of group %lu again", fsm->node->name, (unsigned long)index,
                 (unsigned long)fsm->group);
    }
    if (data.len < sizeof value) {
        sim_fail(sim, "a command was cut");
        return;
    }
    memcpy(&value, data.data, sizeof value);
    if (value >= SIM_VALUES_MAX || sim->values[value].fate == FATE_REFUSED) {
        sim_fail(sim, "%s applies value %lu, which was refused", fsm->node->name,
                 (unsigned long)value);
        return;
    }
    sim->values[value].is_applied = true;
}

/* The state after an index is the same everywhere. */
void oracle_state(struct sim_fsm *fsm)
{
    struct sim_truth *truth = &fsm->sim->truth[fsm->group];
    if (fsm->applied >= SIM_INDEX_MAX) { return; }
    uint64_t hash = mix(fsm->hash, &fsm->count, sizeof fsm->count) | 1;
    if (truth->state_hash[fsm->applied] == 0) {
        truth->state_hash[fsm->applied] = hash;
    } else if (truth->state_hash[fsm->applied] != hash) {
        sim_fail(fsm->sim, "the state of %s after %lu of group %lu differs", fsm->node->name,
                 (unsigned long)fsm->applied, (unsigned long)fsm->group);
    }
}

void oracle_fate(struct sim *sim, uint64_t value, enum sim_fate fate)
{
    struct sim_value *v = &sim->values[value];
    if (v->fate != FATE_UNKNOWN) {
        sim_fail(sim, "value %lu was answered twice", (unsigned long)value);
    }
    v->fate = (uint8_t)fate;
    if (fate == FATE_REFUSED && v->is_applied) {
        sim_fail(sim, "value %lu was refused and is applied", (unsigned long)value);
    }
    if (fate == FATE_ACKED && !v->is_applied) {
        sim_fail(sim, "value %lu was acknowledged and is not applied", (unsigned long)value);
    }
}

/* Whoever loads the commit index and then finds the clock before the lease answers from the state
 * that holds this index: nothing newer was acknowledged anywhere. */
void oracle_views(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        for (uint64_t id = 1; id <= SIM_GROUPS && node->e != NULL; id++) {
            struct sim_fsm *fsm = &node->replicas[id].fsm;
            uint64_t commit = atomic_load(&fsm->view.commit);
            if (sim_node_clock_ms(node) >= atomic_load(&fsm->view.lease_until_ms) ||
                fsm->applied < commit) {
                continue;
            }
            sim->stats.views++;
            if (fsm->applied < sim->truth[id].acked) {
                sim_fail(sim,
                         "who looks at %s sees %lu of group %lu, but %lu was acknowledged before",
                         node->name, (unsigned long)fsm->applied, (unsigned long)id,
                         (unsigned long)sim->truth[id].acked);
            }
        }
    }
}
