/* sim_world: nodes, clocks, network and the loop of events. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"

enum { CALM_MS = 40000, CATCH_UP_MS = 10000, DISK_BYTES = 4 << 20 };

void sim_print(struct sim *sim, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("[%8lu] ", (unsigned long)sim->now_ms);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    if (sim->failure != NULL) { return; }
    va_list args;
    va_start(args, format);
    int used = snprintf(sim->failure_text, sizeof sim->failure_text,
                        "seed=%lu t=%lu: ", (unsigned long)sim->seed, (unsigned long)sim->now_ms);
    vsnprintf(sim->failure_text + used, sizeof sim->failure_text - (size_t)used, format, args);
    va_end(args);
    sim->failure = sim->failure_text;
}

/* ---- clock and network ---- */

uint64_t sim_node_clock_ms(const struct sim_node *node)
{
    return node->clock_offset_ms + node->sim->now_ms * node->clock_ppm / 1000000;
}

/* The world's time at which the node's clock shows `clock_ms`. */
static uint64_t world_ms(const struct sim_node *node, uint64_t clock_ms)
{
    if (clock_ms <= node->clock_offset_ms) { return 0; }
    uint64_t since = clock_ms - node->clock_offset_ms;
    return since > UINT64_MAX / 2000000 ? UINT64_MAX
                                        : (since * 1000000 + node->clock_ppm - 1) / node->clock_ppm;
}

static uint64_t world_now(void *arg)
{
    return sim_node_clock_ms(arg);
}

static bool packet_before(const struct sim_packet *a, const struct sim_packet *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void packet_push(struct sim *sim, struct sim_packet packet)
{
    if (sim->packet_count == sim->packet_cap) {
        sim->packet_cap = sim->packet_cap > 0 ? sim->packet_cap * 2 : 256;
        sim->packets = mem_resize(sim->packets, sim->packet_cap * sizeof *sim->packets);
    }
    size_t at = sim->packet_count++;
    while (at > 0 && packet_before(&packet, &sim->packets[(at - 1) / 2])) {
        sim->packets[at] = sim->packets[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->packets[at] = packet;
}

static struct sim_packet packet_pop(struct sim *sim)
{
    struct sim_packet first = sim->packets[0];
    struct sim_packet last = sim->packets[--sim->packet_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= sim->packet_count) { break; }
        if (child + 1 < sim->packet_count &&
            packet_before(&sim->packets[child + 1], &sim->packets[child])) {
            child++;
        }
        if (!packet_before(&sim->packets[child], &last)) { break; }
        sim->packets[at] = sim->packets[child];
        at = child;
    }
    if (sim->packet_count > 0) { sim->packets[at] = last; }
    return first;
}

static void send_after(struct sim *sim, int from, int to, struct slice frame, uint64_t delay_ms)
{
    struct sim_packet packet = {
        .due_ms = sim->now_ms + delay_ms, .order = sim->packet_order++, .from = from, .to = to};
    buf_append(&packet.bytes, frame);
    packet_push(sim, packet);
}

static void on_routed(void *arg, const struct message *m)
{
    *(struct message *)arg = *m; /* what it borrows is not looked at */
}

/* A script decides what becomes of the frame, which holds one message. */
static void send_routed(struct sim *sim, int from, int to, struct slice frame)
{
    static const struct message_handler handler = {.on_message = on_routed};
    struct message m = {0};
    CHECK(message_decode(frame, &handler, &m) == ERR_OK);
    uint64_t delay_ms = sim->route(sim, from, to, &m);
    if (!sim->blocked[from][to] && delay_ms != SIM_DROP) {
        send_after(sim, from, to, frame, delay_ms);
    }
}

static void world_send(void *arg, const char *node_name, struct slice frame, bool is_bulk)
{
    struct sim_node *node = arg;
    struct sim *sim = node->sim;
    (void)is_bulk;
    int to = node_name[1] - '0';
    if (node_name[0] != 'n' || to < 1 || to > sim->node_count) {
        sim_fail(sim, "%s sends to %s", node->name, node_name);
        return;
    }
    int from = node->name[1] - '0';
    if (sim->route != NULL) {
        send_routed(sim, from, to, frame);
        return;
    }
    if (sim->blocked[from][to] || sim_random(&sim->random, 1000) < sim->loss_per_mille) { return; }
    int copies = 1 + (sim_random(&sim->random, 1000) < sim->dup_per_mille);
    for (int i = 0; i < copies; i++) {
        uint64_t delay = sim_random(&sim->random, 12) ? sim_random(&sim->random, 8)
                                                      : sim_random(&sim->random, sim->delay_ms_max);
        send_after(sim, from, to, frame, 1 + delay);
    }
}

static void world_fatal(void *arg, const char *what)
{
    struct sim_node *node = arg;
    sim_fail(node->sim, "%s: %s", node->name, what);
}

/* ---- nodes ---- */

struct group *sim_group(struct sim_node *node, uint64_t group)
{
    return node->e != NULL ? engine_group(node->e, group) : NULL;
}

void sim_settle(struct sim_node *node)
{
    if (node->e != NULL) {
        engine_turn(node->e);
        oracle_check(node);
    }
}

static void open_replicas(struct sim_node *node)
{
    bool found[SIM_GROUPS + 1] = {false};
    for (uint64_t id = engine_group_next(node->e, 0); id != 0;
         id = engine_group_next(node->e, id)) {
        struct sim_replica *replica = &node->replicas[id];
        struct engine_status status;
        CHECK(engine_status(node->e, id, &status));
        if (replica->self != status.self) { /* its deletion was not durable: it is an older one's */
            replica->fsm.applied = 0;
            replica->fsm.hash = 0;
            replica->fsm.count = 0;
        }
        replica->self = status.self;
        replica->checked = 0;
        replica->commit_seen = 0;
        found[id] = true;
        enum err err = engine_group_open(node->e, id, &sim_fsm_ops, &replica->fsm);
        if (err != ERR_OK) {
            sim_fail(node->sim, "%s group %lu does not open: %s", node->name, (unsigned long)id,
                     err_word(err));
        }
    }
    for (uint64_t id = 1; id <= SIM_GROUPS; id++) {
        if (!found[id]) {
            node->replicas[id].self = 0;
            node->replicas[id].fsm.applied = 0;
            node->replicas[id].fsm.hash = 0;
        }
    }
}

void sim_start(struct sim_node *node)
{
    struct sim *sim = node->sim;
    struct engine_opts opts = sim->opts;
    struct engine_world world = {node, &node->sd.disk, world_now, world_send, world_fatal};
    struct wal_report report;
    opts.node_name = node->name;
    opts.node_id = node->id;
    opts.random_seed = sim_random(&sim->random, UINT32_MAX);
    node->sd.now_ms = sim->now_ms;
    node->clock_offset_ms = sim_random(&sim->random, 1000000);
    enum err err = engine_open(&node->e, &opts, &world, &report);
    if (err == ERR_CORRUPT && node->is_flipped) {
        SIM_LOG(sim, "%s is damaged: %s", node->name, report.damage);
        sim->stats.corrupt++;
        node->e = NULL;
        sim_wipe(node);
        return;
    }
    if (err != ERR_OK) {
        node->e = NULL;
        sim_fail(sim, "%s does not start: %s %s", node->name, err_word(err), report.damage);
        return;
    }
    engine_guards_off(node->e, sim->guards_off);
    SIM_LOG(sim, "%s starts", node->name);
    open_replicas(node);
    sim_settle(node);
}

void sim_crash(struct sim_node *node, bool is_power_cut)
{
    struct sim *sim = node->sim;
    if (node->e == NULL) { return; }
    SIM_LOG(sim, "%s %s", node->name, is_power_cut ? "loses power" : "is killed");
    sim_disk_interrupt(&node->sd);
    engine_free(node->e);
    node->e = NULL;
    if (is_power_cut) {
        sim->stats.crashes++;
        sim_disk_crash(&node->sd);
    } else {
        sim->stats.kills++;
        sim_disk_kill(&node->sd);
    }
    for (int g = 1; g <= SIM_GROUPS; g++) {
        struct sim_fsm *fsm = &node->replicas[g].fsm;
        if (is_power_cut || fsm->restoring.len > 0) { /* a store that was not synced is rebuilt */
            sim_fsm_ops.restore_begin(fsm);
        }
    }
    node->up_at_ms =
        sim->now_ms + 20 + sim_random(&sim->random, sim_random(&sim->random, 2) ? 1500 : 100);
    node->paused_until_ms = 0;
}

void sim_wipe(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (node->e != NULL) {
        engine_free(node->e);
        node->e = NULL;
    }
    SIM_LOG(sim, "%s loses its disk", node->name);
    sim->stats.wipes++;
    sim_disk_fini(&node->sd);
    sim_disk_init(&node->sd, sim_random(&sim->random, UINT32_MAX) + 1);
    node->sd.capacity_bytes = DISK_BYTES;
    node->id += 100;
    node->is_flipped = false;
    for (int g = 1; g <= SIM_GROUPS; g++) {
        node->replicas[g].self = 0;
        sim_fsm_ops.restore_begin(&node->replicas[g].fsm);
    }
    node->up_at_ms = sim->now_ms + 10;
}

static void node_init(struct sim *sim, int number)
{
    struct sim_node *node = &sim->nodes[number];
    node->sim = sim;
    node->id = (uint64_t)number;
    snprintf(node->name, sizeof node->name, "n%d", number);
    sim_disk_init(&node->sd, sim->seed * 131 + (uint64_t)number);
    node->sd.capacity_bytes = DISK_BYTES;
    node->clock_ppm = 950000 + sim_random(&sim->random, 100000);
    for (uint64_t g = 1; g <= SIM_GROUPS; g++) {
        node->replicas[g].fsm = (struct sim_fsm){.sim = sim, .node = node, .group = g};
    }
}

/* ---- events ---- */

enum event {
    EVENT_NONE,
    EVENT_PACKET,
    EVENT_DISK,
    EVENT_TICK,
    EVENT_UP,
    EVENT_CLIENT,
    EVENT_OPERATOR,
    EVENT_STORM
};

struct next {
    uint64_t at_ms;
    enum event event;
    struct sim_node *node;
};

static void earlier(struct next *next, uint64_t at_ms, enum event event, struct sim_node *node)
{
    if (at_ms < next->at_ms) { *next = (struct next){at_ms, event, node}; }
}

static uint64_t not_before(uint64_t at_ms, uint64_t min_ms)
{
    return at_ms > min_ms ? at_ms : min_ms;
}

static struct next find_next(struct sim *sim, uint64_t until_ms)
{
    struct next next = {until_ms, EVENT_NONE, NULL};
    if (sim->packet_count > 0) { earlier(&next, sim->packets[0].due_ms, EVENT_PACKET, NULL); }
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->e == NULL) {
            earlier(&next, node->up_at_ms, EVENT_UP, node);
            continue;
        }
        uint64_t disk_ms = sim_disk_next_ms(&node->sd);
        if (disk_ms != UINT64_MAX) {
            earlier(&next, not_before(disk_ms, node->paused_until_ms), EVENT_DISK, node);
        }
        earlier(&next, not_before(world_ms(node, engine_next_ms(node->e)), node->paused_until_ms),
                EVENT_TICK, node);
    }
    earlier(&next, sim->next_client_ms, EVENT_CLIENT, NULL);
    earlier(&next, sim->next_operator_ms, EVENT_OPERATOR, NULL);
    if (!sim->is_calm) { earlier(&next, sim->next_storm_ms, EVENT_STORM, NULL); }
    return next;
}

static void deliver(struct sim *sim)
{
    struct sim_packet packet = packet_pop(sim);
    struct sim_node *node = &sim->nodes[packet.to];
    if (node->e != NULL && node->paused_until_ms > sim->now_ms) {
        packet.due_ms = node->paused_until_ms; /* it waits in a socket */
        packet.order = sim->packet_order++;
        packet_push(sim, packet);
        return;
    }
    if (node->e != NULL && !sim->blocked[packet.from][packet.to]) {
        node->sd.now_ms = sim->now_ms;
        if (engine_receive(node->e, sim->nodes[packet.from].name, buf_slice(&packet.bytes)) !=
            ERR_OK) {
            sim_fail(sim, "a frame was refused");
        }
        sim_settle(node);
    }
    buf_fini(&packet.bytes);
}

bool sim_step(struct sim *sim, uint64_t until_ms)
{
    struct next next = find_next(sim, until_ms);
    sim->now_ms = next.at_ms > sim->now_ms ? next.at_ms : sim->now_ms;
    sim->stats.events++;
    if (next.node != NULL) { next.node->sd.now_ms = sim->now_ms; }
    switch (next.event) {
    case EVENT_NONE: return false;
    case EVENT_PACKET: deliver(sim); break;
    case EVENT_DISK:
        (void)sim_disk_step(&next.node->sd, sim->now_ms);
        sim_settle(next.node);
        break;
    case EVENT_TICK:
        engine_tick(next.node->e);
        sim_settle(next.node);
        break;
    case EVENT_UP: sim_start(next.node); break;
    case EVENT_CLIENT: storm_client(sim); break;
    case EVENT_OPERATOR: storm_operator(sim); break;
    case EVENT_STORM: storm_faults(sim); break;
    }
    return sim->failure == NULL;
}

/* ---- a run ---- */

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
            CHECK(engine_group_create(node->e, g, (uint64_t)i, &sim_fsm_ops, &node->replicas[g].fsm,
                                      servers, (size_t)sim->initial_count) == ERR_OK);
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
                (unsigned long)wal_batch(g->engine->wal),
                (unsigned long)wal_batch_flushed(g->engine->wal), (int)wal_is_full(g->engine->wal));
        }
    }
}

static void demand_progress(struct sim *sim)
{
    uint64_t before[SIM_GROUPS + 1];
    storm_calm(sim);
    for (int g = 1; g <= SIM_GROUPS; g++) {
        before[g] = sim->truth[g].committed;
    }
    uint64_t until = sim->now_ms + CALM_MS;
    while (sim_step(sim, until)) {}
    for (uint64_t g = 1; g <= SIM_GROUPS && sim->failure == NULL; g++) {
        struct sim_truth *truth = &sim->truth[g];
        if (truth->committed < before[g] + 20) {
            sim_fail(sim, "group %lu makes no progress: %lu after %lu", (unsigned long)g,
                     (unsigned long)truth->committed, (unsigned long)before[g]);
        }
        for (int i = 1; i <= sim->node_count; i++) {
            struct group *group = sim_group(&sim->nodes[i], g);
            int role;
            bool is_member = group != NULL && oracle_is_member(sim, g, group->self, &role);
            bool is_new = sim->now_ms < sim->nodes[i].replicas[g].added_ms + CATCH_UP_MS;
            if (is_member && !is_new && group->applied + 200 < truth->committed) {
                sim_fail(sim,
                         "%s lags in group %lu: %lu of %lu (state %d role %d raft %d term %lu "
                         "commit %lu log %lu..%lu installing %d)",
                         sim->nodes[i].name, (unsigned long)g, (unsigned long)group->applied,
                         (unsigned long)truth->committed, (int)group->state, role,
                         (int)group->raft.state, (unsigned long)raft_current_term(&group->raft),
                         (unsigned long)group_commit_index(group),
                         (unsigned long)wal_log_first_index(group->log),
                         (unsigned long)wal_log_last_index(group->log), (int)group->is_installing);
            }
        }
    }
}

void sim_end(struct sim *sim)
{
    for (int i = 1; i <= sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        engine_free(node->e);
        sim_disk_fini(&node->sd);
        for (int g = 1; g <= SIM_GROUPS; g++) {
            buf_fini(&node->replicas[g].fsm.restoring);
        }
    }
    for (size_t i = 0; i < sim->packet_count; i++) {
        buf_fini(&sim->packets[i].bytes);
    }
    if (sim->requests_open > 0 && sim->failure == NULL) {
        sim_fail(sim, "%lu requests were never answered", (unsigned long)sim->requests_open);
    }
    mem_free(sim->packets);
    mem_free(sim->values);
    sim->packets = NULL;
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
    for (int i = 1; i <= sim->node_count; i++) {
        node_init(sim, i);
        sim_start(&sim->nodes[i]);
    }
    create_groups(sim);
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
