/* sim_world: nodes, clocks, network and the loop of events. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"

enum { DISK_BYTES = 4 << 20, STILL_EVENTS = 20000 };

uint64_t sim_roll(struct sim *sim, uint64_t below)
{
    return sim_random(&sim->random, below);
}

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

static void send_after(struct sim *sim, int from, int to, struct slice frame, uint64_t delay_ms)
{
    struct sim_packet packet = {.due_ms = sim->now_ms + delay_ms, .from = from, .to = to};
    buf_append(&packet.bytes, frame);
    sim_packets_push(&sim->packets, packet);
}

struct routing {
    struct sim *sim;
    int from;
    int to;
};

static void on_routed(void *arg, const struct message *m)
{
    struct routing *r = arg;
    struct buf frame = {0};
    uint64_t delay_ms = r->sim->route(r->sim, r->from, r->to, m);
    message_encode(&frame, m);
    if (!r->sim->blocked[r->from][r->to] && delay_ms != SIM_DROP) {
        send_after(r->sim, r->from, r->to, buf_slice(&frame), delay_ms);
    }
    buf_fini(&frame);
}

/* A script decides what becomes of each message of the frame. */
static void send_routed(struct sim *sim, int from, int to, struct slice frame)
{
    static const struct message_handler handler = {.on_message = on_routed};
    struct routing routing = {sim, from, to};
    CHECK(message_decode(frame, &handler, &routing) == ERR_OK);
}

static void world_send(void *arg, const char *node_name, struct slice frame, bool is_bulk)
{
    struct sim_node *node = arg;
    struct sim *sim = node->sim;
    if (!is_bulk) { promise_note(node, frame); } /* snapshot data promises nothing */
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
        uint64_t delay = sim_roll(sim, sim_roll(sim, 12) ? sim->delay_ms_usual : sim->delay_ms_max);
        send_after(sim, from, to, frame, 1 + delay);
    }
}

static void world_fatal(void *arg, const char *what)
{
    struct sim_node *node = arg;
    node->has_failed = true;
    if (!node->sd.is_broken) { sim_fail(node->sim, "%s: %s", node->name, what); }
}

/* ---- nodes ---- */

struct group *sim_group(struct sim_node *node, uint64_t group)
{
    return node->e != NULL ? groups_find(&node->e->groups, group) : NULL;
}

/* Whoever may campaign does so hardly later than it may; each at its own time. */
static void campaign_early(struct sim_node *node)
{
    for (uint64_t id = 1; id <= SIM_GROUPS; id++) {
        struct group *g = sim_group(node, id);
        if (g == NULL || g->state != GROUP_RUNNING) { continue; }
        uint64_t spread = (node->id * 37 + raft_current_term(&g->raft) * 13) % 60;
        unsigned timeout = node->sim->opts.election_ms + (unsigned)spread;
        if (g->raft.state == RAFT_FOLLOWER) {
            g->raft.follower_state.randomized_election_timeout = timeout;
        } else if (g->raft.state == RAFT_CANDIDATE) {
            g->raft.candidate_state.randomized_election_timeout = timeout;
        }
    }
}

void sim_open(struct sim_node *node, uint64_t group)
{
    struct sim_fsm *fsm = &node->replicas[group].fsm;
    enum err err = engine_group_open(node->e, group, sim_fsm_ops(node->sim), fsm);
    if (err == ERR_SLOW && sim_fsm_is_busy(fsm)) {
        fsm->reopen_is_due = true;
    } else if (err != ERR_OK) {
        sim_fail(node->sim, "%s group %lu does not open: %s", node->name, (unsigned long)group,
                 err_word(err));
    }
}

void sim_engine_free(struct sim_node *node)
{
    for (int g = 1; g <= SIM_GROUPS; g++) {
        sim_fsm_drop(&node->replicas[g].fsm);
    }
    engine_free(node->e);
    node->e = NULL;
    for (int g = 1; g <= SIM_GROUPS; g++) {
        node->replicas[g].fsm.reset_is_due = false;
    }
}

/* Every open group is shown to who looks. */
static void show_groups(struct sim_node *node)
{
    for (uint64_t id = 1; id <= SIM_GROUPS; id++) {
        struct group *g = sim_group(node, id);
        if (g != NULL && g->view == NULL) {
            engine_group_show(node->e, id, &node->replicas[id].fsm.view);
        }
    }
}

void sim_settle(struct sim_node *node)
{
    if (node->e == NULL) { return; }
    if (node->sim->hunt == HUNT_READS && !node->sim->is_calm) { campaign_early(node); }
    show_groups(node);
    engine_turn(node->e);
    oracle_check(node);
}

static void open_replicas(struct sim_node *node)
{
    bool found[SIM_GROUPS + 1] = {false};
    uint64_t next;
    for (uint64_t id = engine_group_next(node->e, 0); id != 0; id = next) {
        struct sim_replica *replica = &node->replicas[id];
        struct engine_status status;
        next = engine_group_next(node->e, id);
        CHECK(engine_status(node->e, id, &status));
        if (replica->self != status.self) { /* its deletion was not durable: it is an older one's */
            sim_fsm_empty(&replica->fsm);
            if (node->sim->keeps_itself) { /* and what its log rests on has gone */
                engine_group_delete(node->e, id);
                continue;
            }
        }
        replica->self = status.self;
        replica->checked = 0;
        replica->commit_seen = 0;
        found[id] = true;
        sim_open(node, id);
    }
    for (uint64_t id = 1; id <= SIM_GROUPS; id++) {
        if (!found[id]) {
            node->replicas[id].self = 0;
            sim_fsm_empty(&node->replicas[id].fsm);
        }
    }
}

/* The process has ended: what is left of its files and of its state machines' stores? */
static void process_ended(struct sim_node *node, bool is_power_cut)
{
    struct sim *sim = node->sim;
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
            sim_fsm_reload(fsm);
        }
    }
    node->has_failed = false;
    node->paused_until_ms = 0;
    node->up_at_ms = sim->now_ms + 20 + sim_roll(sim, sim_roll(sim, 2) ? 1500 : 100);
}

/* The log could not be opened. */
static void start_failed(struct sim_node *node, enum err err, const struct wal_report *report)
{
    struct sim *sim = node->sim;
    node->e = NULL;
    if (node->sd.is_stopped || node->sd.is_broken) {
        SIM_LOG(sim, "%s dies in recovery", node->name);
        sim->stats.stopped++;
        process_ended(node, sim_roll(sim, 2) == 0);
    } else if (err == ERR_CORRUPT && node->is_flipped) {
        SIM_LOG(sim, "%s is damaged: %s", node->name, report->damage);
        sim->stats.corrupt++;
        sim_wipe(node);
    } else {
        sim_fail(sim, "%s does not start: %s %s", node->name, err_word(err), report->damage);
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
    if (sim_roll(sim, 3) == 0) { sim_disk_evict(&node->sd); }
    if (sim_roll(sim, 1000) < sim->stop_per_mille) { node->sd.stop_in = 1 + sim_roll(sim, 8); }
    if (sim_roll(sim, 4000) < sim->stop_per_mille) { node->sd.syncs_to_fail = 1; }
    enum err err = engine_open(&node->e, &opts, &world, &report);
    if (err != ERR_OK) {
        start_failed(node, err, &report);
        return;
    }
    node->sd.stop_in = 0;
    node->sd.syncs_to_fail = 0;
    engine_guards_off(node->e, sim->guards_off);
    SIM_LOG(sim, "%s starts", node->name);
    promise_check(node);
    open_replicas(node);
    sim_settle(node);
}

void sim_crash(struct sim_node *node, bool is_power_cut)
{
    struct sim *sim = node->sim;
    if (node->e == NULL) { return; }
    SIM_LOG(sim, "%s %s", node->name, is_power_cut ? "loses power" : "is killed");
    sim_disk_interrupt(&node->sd);
    sim_engine_free(node);
    process_ended(node, is_power_cut);
}

/* The engine has stopped over a flush that failed; the supervisor starts it again, and the power
 * may fail soon. */
static void end_failed(struct sim_node *node)
{
    struct sim *sim = node->sim;
    SIM_LOG(sim, "%s stops over its disk", node->name);
    sim->stats.broken++;
    sim_crash(node, false);
    if (!sim->is_calm && sim_roll(sim, 2)) {
        hunt_power(node, node->up_at_ms + sim_roll(sim, 200));
    }
}

void sim_forget(struct sim_node *node, uint64_t group)
{
    struct sim_replica *replica = &node->replicas[group];
    replica->fsm.reset_is_due = true;
    replica->fsm.reopen_is_due = false;
    engine_group_delete(node->e, group);
    promise_end(replica);
    replica->self = 0;
    node->sd.now_ms = node->sim->now_ms;
    sim_settle(node);
}

void sim_wipe(struct sim_node *node)
{
    struct sim *sim = node->sim;
    if (node->e != NULL) { sim_engine_free(node); }
    SIM_LOG(sim, "%s loses its disk", node->name);
    sim->stats.wipes++;
    sim_disk_fini(&node->sd);
    sim_disk_init(&node->sd, sim_random(&sim->random, UINT32_MAX) + 1);
    node->sd.capacity_bytes = DISK_BYTES;
    node->id += 100;
    node->is_flipped = false;
    for (int g = 1; g <= SIM_GROUPS; g++) {
        node->replicas[g].self = 0;
        promise_end(&node->replicas[g]);
        sim_fsm_empty(&node->replicas[g].fsm);
    }
    node->has_failed = false;
    node->up_at_ms = sim->now_ms + 10;
}

/* ---- events ---- */

enum event {
    EVENT_NONE,
    EVENT_PACKET,
    EVENT_DISK,
    EVENT_TICK,
    EVENT_STORE,
    EVENT_UP,
    EVENT_CLIENT,
    EVENT_OPERATOR,
    EVENT_STORM
};

struct next {
    uint64_t at_ms;
    enum event event;
    struct sim_node *node;
    struct sim_fsm *fsm;
};

static void earlier(struct next *next, uint64_t at_ms, enum event event, struct sim_node *node)
{
    if (at_ms < next->at_ms) { *next = (struct next){at_ms, event, node, NULL}; }
}

static uint64_t not_before(uint64_t at_ms, uint64_t min_ms)
{
    return at_ms > min_ms ? at_ms : min_ms;
}

static void earlier_store(struct next *next, struct sim_node *node)
{
    for (int g = 1; g <= SIM_GROUPS; g++) {
        struct sim_fsm *fsm = &node->replicas[g].fsm;
        uint64_t due_ms = sim_fsm_next_ms(fsm);
        if (due_ms == UINT64_MAX) { continue; }
        due_ms = not_before(due_ms, node->paused_until_ms);
        if (due_ms < next->at_ms) { *next = (struct next){due_ms, EVENT_STORE, node, fsm}; }
    }
}

static struct next find_next(struct sim *sim, uint64_t until_ms)
{
    struct next next = {until_ms, EVENT_NONE, NULL, NULL};
    earlier(&next, sim_packets_due_ms(&sim->packets), EVENT_PACKET, NULL);
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
        earlier_store(&next, node);
    }
    earlier(&next, sim->next_client_ms, EVENT_CLIENT, NULL);
    earlier(&next, sim->next_operator_ms, EVENT_OPERATOR, NULL);
    if (!sim->is_calm) { earlier(&next, sim->next_storm_ms, EVENT_STORM, NULL); }
    return next;
}

static void deliver(struct sim *sim)
{
    struct sim_packet packet = sim_packets_pop(&sim->packets);
    struct sim_node *node = &sim->nodes[packet.to];
    if (node->e != NULL && node->paused_until_ms > sim->now_ms) {
        packet.due_ms = node->paused_until_ms; /* it waits in a socket */
        sim_packets_push(&sim->packets, packet);
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
    sim->now_events = next.at_ms > sim->now_ms ? 0 : sim->now_events + 1;
    if (sim->now_events == STILL_EVENTS) { sim_fail(sim, "time stands still"); }
    sim->now_ms = next.at_ms > sim->now_ms ? next.at_ms : sim->now_ms;
    sim->stats.events++;
    if (next.node != NULL) { next.node->sd.now_ms = sim->now_ms; }
    switch (next.event) {
    case EVENT_NONE: return false;
    case EVENT_PACKET: deliver(sim); break;
    case EVENT_DISK:
        (void)sim_disk_step(&next.node->sd, sim->now_ms);
        if (next.node->has_failed) {
            end_failed(next.node);
        } else {
            sim_settle(next.node);
        }
        break;
    case EVENT_TICK:
        engine_tick(next.node->e);
        sim_settle(next.node);
        break;
    case EVENT_STORE:
        sim_fsm_step(next.fsm);
        sim_settle(next.node);
        break;
    case EVENT_UP: sim_start(next.node); break;
    case EVENT_CLIENT: client_step(sim); break;
    case EVENT_OPERATOR: operator_step(sim); break;
    case EVENT_STORM: storm_faults(sim); break;
    }
    oracle_views(sim);
    if (sim->route == NULL) { client_pursue(sim); } /* a script leaves nothing to itself */
    return sim->failure == NULL;
}
