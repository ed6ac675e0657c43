/* sim_client: requests. Owns: those that are open. */
#include "base/mem.h"
#include "sim/sim.h"

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
        if (p->term > truth->acked_term) {
            truth->acked_term = p->term;
            truth->is_acked = true;
        }
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

void client_propose(struct sim *sim, struct sim_node *node, uint64_t group)
{
    if (sim->value_count + 1 >= SIM_VALUES_MAX) { return; }
    struct sim_request *request = request_new(sim, node);
    request->value = ++sim->value_count;
    memset(request->data, (int)(1 + sim_roll(sim, 200)), sizeof request->data);
    memcpy(request->data, &request->value, sizeof request->value);
    request->proposal.group = group;
    request->proposal.data = slice_of(request->data, 8 + sim_roll(sim, sizeof request->data - 8));
    request->proposal.on_done = on_proposed;
    engine_propose(node->e, &request->proposal);
}

void client_read(struct sim *sim, struct sim_node *node, uint64_t group)
{
    struct sim_request *request = request_new(sim, node);
    request->acked_before = sim->truth[group].acked;
    request->read.group = group;
    request->read.on_done = on_read_point;
    engine_read(node->e, &request->read);
}

void client_step(struct sim *sim)
{
    sim->next_client_ms = sim->now_ms + 1 + sim_roll(sim, 20);
    uint64_t group = 1 + sim_roll(sim, SIM_GROUPS);
    struct sim_node *node = sim_roll(sim, 2)
                                ? oracle_leader(sim, group)
                                : &sim->nodes[1 + sim_roll(sim, (uint64_t)sim->node_count)];
    if (node == NULL || node->e == NULL || node->paused_until_ms > sim->now_ms) { return; }
    node->sd.now_ms = sim->now_ms;
    uint64_t count = 1 + sim_roll(sim, 6);
    for (uint64_t i = 0; i < count; i++) {
        if (sim_roll(sim, 3) == 0) {
            client_read(sim, node, group);
        } else {
            client_propose(sim, node, group);
        }
    }
    sim_settle(node);
}

/* ---- hunting stale reads ---- */

static bool is_there(const struct sim_node *node)
{
    return node->e != NULL && node->paused_until_ms <= node->sim->now_ms;
}

/* Whoever else believes to lead is asked, some of them just when all but the new leader hear it
 * again. */
static void ask_believers(struct sim *sim, uint64_t group)
{
    const struct sim_node *leader = oracle_leader(sim, group);
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        const struct group *g = sim_group(node, group);
        if (g == NULL || node == leader || !group_is_leader(g) || !is_there(node)) { continue; }
        bool is_heard = sim->hunt == HUNT_READS && sim_roll(sim, 2) == 0;
        for (int other = 1; other <= sim->node_count && is_heard; other++) {
            if (&sim->nodes[other] == leader) { continue; }
            sim->blocked[i][other] = sim->blocked[other][i] = false;
        }
        node->sd.now_ms = sim->now_ms;
        client_read(sim, node, group);
        sim->stats.hunted_reads++;
        sim_settle(node);
    }
}

void client_pursue(struct sim *sim)
{
    for (uint64_t group = 1; group <= SIM_GROUPS; group++) {
        struct sim_truth *truth = &sim->truth[group];
        struct sim_node *leader = truth->is_won ? oracle_leader(sim, group) : NULL;
        truth->is_won = false;
        if (leader != NULL && sim->hunt == HUNT_READS && is_there(leader)) {
            leader->sd.now_ms = sim->now_ms;
            client_propose(sim, leader, group);
            sim_settle(leader);
        }
        if (truth->is_acked) {
            truth->is_acked = false;
            ask_believers(sim, group);
        }
    }
}
