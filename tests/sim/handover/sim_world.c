/* sim_world: one run: the nodes, their turns, what is done to them, and what must hold when it is over. */
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/listener.h"
#include "net/resolve.h"
#include "pubsub/partition.h"
#include "sim/handover/sim_handover.h"

enum {
    FORM_MS = 300,
    REST_MS_MAX = 12000, /* all is whole so long after the last fault, at the latest */
    SERVE_MS_MAX = 4000,
    LEAVE_MS = 300,
};

struct sim *sim;

void sim_fail(const char *format, ...)
{
    if (sim->failure[0] != '\0') { return; }
    va_list args;
    va_start(args, format);
    vsnprintf(sim->failure, sizeof sim->failure, format, args);
    va_end(args);
}

void sim_say(const char *format, ...)
{
    if (!sim->is_verbose) { return; }
    va_list args;
    va_start(args, format);
    printf("%6lu ms ", (unsigned long)sim->now_ms);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

/* ---- what is under the modules: base/clock.h, the seed of hashes, net/worker.h, net/listener.h, net/resolve.h ---- */

uint64_t clock_mono_ns(void)
{
    return (sim != NULL ? sim->now_ms + 1000000 : 0) * NS_PER_MS;
}

uint64_t clock_boot_ns(void)
{
    return clock_mono_ns();
}

uint64_t clock_thread_ns(void)
{
    return clock_mono_ns();
}

uint64_t clock_wall_us(void)
{
    return clock_mono_ns() / 1000;
}

/* Walks over tables have an order that is the same in each process. */
ssize_t getrandom(void *bytes, size_t len, unsigned flags)
{
    (void)flags;
    memset(bytes, 0x5a, len);
    return (ssize_t)len;
}

struct mailbox *worker_mailbox(struct worker *worker)
{
    return &worker->mailbox;
}

/* Only the answers of commands are timed, and none are asked here. */
void worker_timer_start(struct worker *worker, struct worker_timer *timer, uint64_t delay_ms,
                        void (*on_due)(struct worker_timer *timer))
{
    (void)worker;
    (void)timer;
    (void)delay_ms;
    (void)on_due;
    CHECK(false);
}

void worker_timer_cancel(struct worker_timer *timer)
{
    (void)timer;
}

uint64_t worker_now_ns(const struct worker *worker)
{
    (void)worker;
    return clock_mono_ns();
}

struct listener {
    struct sim_node *node;
};

enum err listener_open(struct listener **out, const struct listener_opts *opts, const char **why)
{
    (void)opts;
    (void)why;
    *out = mem_new0(sizeof **out);
    return ERR_OK;
}

void listener_start(struct listener *listener, struct worker *worker)
{
    listener->node = worker->node;
    worker->node->is_listening = true;
}

void listener_stop(struct listener *listener)
{
    listener->node->is_listening = false;
}

void listener_free(struct listener *listener)
{
    mem_free(listener);
}

uint16_t listener_port(const struct listener *listener)
{
    (void)listener;
    return 1;
}

struct resolver *resolver_new(void)
{
    return NULL;
}

void resolver_free(struct resolver *resolver)
{
    (void)resolver;
}

/* ---- nodes ---- */

static void no_wake(void *arg)
{
    (void)arg; /* workers look by themselves */
}

static void node_new(struct sim_node *node, uint32_t index)
{
    node->index = index;
    node->id = 100 + index;
    node->worker_count = 1 + (uint32_t)sim_random(SIM_WORKERS_MAX);
    node->directory = directory_new(node->worker_count);
    const struct cluster_opts opts = {
        .membership = {.node_id = node->id,
                       .node_timeout_ms = SIM_TIMEOUT_MS,
                       .partition_count = SIM_PARTITIONS},
        .peer_listen = "",
        .directory = node->directory,
        .worker_count = node->worker_count,
        .timeout_ms = SIM_CLUSTER_TIMEOUT_MS,
        .link_bytes_max = 1 << 20,
        .sync_frame_bytes = sim->has_small_frames ? 1 : 0,
    };
    CHECK(cluster_new(&node->cluster, &opts) == ERR_OK);
    for (uint32_t i = 0; i < node->worker_count; i++) {
        mailbox_init(&node->worker[i].mailbox, no_wake, NULL);
        node->mailbox[i] = &node->worker[i].mailbox;
    }
    for (uint32_t i = 0; i < node->worker_count; i++) {
        struct worker *worker = &node->worker[i];
        worker->node = node;
        worker->index = i;
        worker->tick_ms = sim_random(100);
        worker->fanout =
            fanout_new(node->directory, node->mailbox, node->worker_count, i, &sim_client_ops);
        cluster_attach(node->cluster, i, worker, worker->fanout);
    }
}

bool sim_is_running(const struct sim_node *node)
{
    return sim->now_ms >= node->paused_until_ms;
}

static void turn(struct worker *worker, bool is_acting)
{
    sim_net_turn(worker);
    mailbox_run(&worker->mailbox);
    if (sim->now_ms >= worker->tick_ms) {
        worker->tick_ms = sim->now_ms + 100;
        cluster_tick(worker->node->cluster, worker->index);
    }
    if (is_acting) { sim_clients_act(worker); }
    fanout_commit(worker->fanout);
    cluster_turn(worker->node->cluster, worker->index);
    fanout_flush(worker->fanout);
}

/* A millisecond. */
static void step(bool may_move, bool is_acting)
{
    sim->now_ms++;
    sim->stats.steps++;
    sim_net_step();
    sim_control_step(may_move);
    struct worker *all[SIM_NODES_MAX * SIM_WORKERS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        for (uint32_t w = 0; w < sim->node[i].worker_count; w++) {
            all[count++] = &sim->node[i].worker[w];
        }
    }
    while (count > 0) {
        uint64_t at = sim_random(count);
        struct worker *worker = all[at];
        all[at] = all[--count];
        if (!sim_is_running(worker->node) || sim->now_ms < worker->stalled_until_ms) { continue; }
        if (sim_chance(1)) {
            worker->stalled_until_ms = sim->now_ms + sim_random(sim_chance(5) ? 80 : 8);
        }
        turn(worker, is_acting);
    }
}

/* ---- what happens to them ---- */

static void cut_group(uint64_t group)
{
    sim_say("cut: nodes %lx from the others", (unsigned long)group);
    for (uint32_t a = 0; a < sim->node_count; a++) {
        for (uint32_t b = 0; b < sim->node_count; b++) {
            sim->is_cut[a][b] |= (group >> a & 1) != (group >> b & 1);
        }
    }
    sim->stats.cuts++;
}

static void cut_groups(void)
{
    cut_group(1 + sim_random((1ULL << sim->node_count) - 2));
}

static void cut_pair(void)
{
    uint32_t a = (uint32_t)sim_random(sim->node_count);
    uint32_t b = (uint32_t)sim_random(sim->node_count);
    if (a == b) { return; }
    sim_say("cut: node %u from node %u", a, b);
    sim->is_cut[a][b] = sim->is_cut[b][a] = true;
    sim->stats.cuts++;
}

static void pause_one(void)
{
    struct sim_node *node = &sim->node[sim_random(sim->node_count)];
    uint64_t ms = sim_chance(50) ? sim_random(400) : 300 + sim_random(2700);
    sim_say("pause: node %u for %lu ms", node->index, (unsigned long)ms);
    node->paused_until_ms = sim->now_ms + ms;
    sim->stats.pauses++;
}

static void fault(void)
{
    uint64_t kind = sim_random(100);
    if (!sim->is_rough) { return; }
    if (kind < 45) {
        cut_groups();
    } else if (kind < 55) {
        cut_pair();
    } else if (kind < 70) {
        pause_one();
    } else {
        sim_net_reset_one();
        sim->stats.resets++;
    }
}

static void run_for(uint64_t ms, bool may_move, bool is_acting)
{
    for (uint64_t end = sim->now_ms + ms; sim->now_ms < end && sim->failure[0] == '\0';) {
        step(may_move, is_acting);
    }
}

/* Two of five are cut off until they are about to be declared down, or just have been, and come back together. */
static void short_cuts(void)
{
    for (uint64_t count = 6; count > 0 && sim->failure[0] == '\0'; count--) {
        uint32_t one = (uint32_t)sim_random(sim->node_count);
        uint32_t other = (uint32_t)sim_random(sim->node_count);
        cut_group(1ULL << one | 1ULL << other);
        run_for(1250 + sim_random(500), true, true);
        sim_say("heal");
        sim_net_heal();
        run_for(sim_random(1500), true, true);
    }
}

/* Connections break one by one, and nothing else does: what is lost with one is in order on the others. */
static void resets(void)
{
    for (uint64_t count = 40; count > 0 && sim->failure[0] == '\0'; count--) {
        sim_net_reset_one();
        sim->stats.resets++;
        run_for(sim_random(sim_chance(50) ? 20 : 300), false, true);
    }
}

static void faults(void)
{
    bool may_move = !sim->is_rough || sim_chance(70);
    for (uint64_t count = 2 + sim_random(6); count > 0 && sim->failure[0] == '\0'; count--) {
        fault();
        run_for(sim_chance(30) ? sim_random(300) : 300 + sim_random(2700), may_move, true);
        if (sim_chance(80)) {
            sim_say("heal");
            sim_net_heal();
            run_for(sim_random(sim_chance(50) ? 300 : 2500), may_move, true);
        }
    }
    sim_say("heal: the end of faults");
    sim_net_heal();
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim->node[i].paused_until_ms = 0;
        sim->node[i].barred_until_ms = 0;
    }
}

/* ---- rest ---- */

/* What this node cannot do with the partition, or NULL. */
static const char *unserved(const struct sim_node *node, uint32_t p)
{
    const struct remote_partition at = directory_partition_peek(node->directory, p);
    if (at.epoch != sim->control.map->partition[p].epoch) { return "does not know its epoch"; }
    switch (at.phase) {
    case PARTITION_OWNED:
    case PARTITION_READY: return NULL;
    case PARTITION_SYNCED: return "waits for its owner to be ready";
    case PARTITION_STALE: break;
    }
    return at.owner == node->index ? "owns it and does not begin" : "does not follow its owner";
}

static bool is_whole(bool is_told)
{
    bool all = true;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
            const char *why = unserved(&sim->node[i], p);
            if (why != NULL && is_told) {
                sim_fail("unserved: node %u and partition %u, owned by %u: it %s", i, p,
                         sim->control.map->partition[p].owner, why);
            }
            all = all && why == NULL;
        }
    }
    return all;
}

static void come_to_rest(void)
{
    uint64_t end = sim->now_ms + REST_MS_MAX;
    while (sim->now_ms < end && sim->failure[0] == '\0' &&
           !(sim_control_is_at_rest() && is_whole(false))) {
        step(false, true);
    }
    (void)is_whole(true);
    if (!sim_control_is_at_rest()) { sim_fail("the control group does not come to rest"); }
}

static bool all_answered(uint32_t first)
{
    for (uint32_t number = first; number < sim->message_count; number++) {
        if (sim->message[number].outcome == OUTCOME_NONE) { return false; }
    }
    for (uint32_t i = 0; i < sim->client_count; i++) {
        if (sim->client[i]->pending != NULL) { return false; }
    }
    return true;
}

static void wait_answered(uint32_t first)
{
    uint64_t end = sim->now_ms + SERVE_MS_MAX + SIM_CLUSTER_TIMEOUT_MS;
    while (!all_answered(first) && sim->now_ms < end && sim->failure[0] == '\0') {
        step(false, false);
    }
}

static uint64_t subscriptions_of(uint32_t topic)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < sim->client_count; i++) {
        const struct sim_client *client = sim->client[i];
        for (const struct sim_window *w = client->windows; w != NULL && !client->is_over;
             w = w->next) {
            bool is_in_force = w->confirmed != SIM_NEVER && w->end_confirmed == SIM_NEVER;
            count += is_in_force && sim_matches(w->topic, topic);
        }
    }
    return count;
}

/* Every node subscribes and publishes to everything, and the counts are exact. */
static void serve(void)
{
    wait_answered(0);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct worker *worker = &sim->node[i].worker[sim_random(sim->node[i].worker_count)];
        for (uint32_t topic = 0; topic < 2 * SIM_CHANNELS; topic++) {
            (void)sim_client_subscribe(sim_client_new(worker), topic);
        }
    }
    wait_answered(0);
    run_for(500, false, false); /* what clients that left had is forgotten */
    uint32_t first = sim->message_count;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        for (uint32_t topic = 0; topic < 2 * SIM_CHANNELS; topic++) {
            (void)sim_publish(&sim->node[i].worker[sim_random(sim->node[i].worker_count)], topic);
        }
    }
    wait_answered(first);
    run_for(500, false, false);
    for (uint32_t number = first; number < sim->message_count; number++) {
        const struct sim_message *m = &sim->message[number];
        uint64_t expected = subscriptions_of(m->topic);
        if (m->outcome != OUTCOME_COUNT || m->count != expected) {
            sim_say("served: node %u to %s: outcome %d, count %lu, not %lu", m->node,
                    sim->topic_name[m->topic], m->outcome, m->count, expected);
            sim_fail(
                "served: node %u publishes to %s (partition %u): outcome %d, count %lu, not %lu",
                m->node, sim->topic_name[m->topic],
                directory_partition_of(sim->node[0].directory,
                                       slice_of_str(sim->topic_name[m->topic])),
                m->outcome, m->count, expected);
        }
    }
}

/* ---- one run ---- */

static void *stop_nodes(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        cluster_stop(sim->node[i].cluster);
    }
    return NULL;
}

/* cluster_stop waits for the workers: another thread calls it while this one plays them. */
static void stop(void)
{
    sim_net_heal();
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim->node[i].paused_until_ms = 0;
    }
    for (uint32_t i = 0; i < sim->client_count; i++) {
        if (!sim->client[i]->is_over) { sim_client_leave(sim->client[i]); }
    }
    for (uint32_t i = 0; i < LEAVE_MS; i++) {
        step(false, false);
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, stop_nodes, NULL) == 0);
    while (pthread_tryjoin_np(thread, NULL) != 0) {
        step(false, false);
        sched_yield();
    }
    for (uint32_t i = 0; i < LEAVE_MS; i++) {
        step(false, false);
    }
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct sim_node *node = &sim->node[i];
        for (uint32_t w = 0; w < node->worker_count; w++) {
            fanout_free(node->worker[w].fanout);
        }
        cluster_free(node->cluster);
        directory_free(node->directory);
    }
}

bool sim_run(uint64_t seed, enum sim_plan plan, bool is_verbose)
{
    *sim = (struct sim){.rng = seed * 0x9e3779b97f4a7c15ULL + 1, .is_verbose = is_verbose};
    sim->message = mem_new0(SIM_MESSAGES_MAX * sizeof *sim->message);
    list_init(&sim->conns);
    sim->node_count = plan == SIM_SHORT_CUTS || sim_chance(50) ? 5 : 3;
    sim->has_small_frames = plan == SIM_RESETS;
    sim->is_rough = plan != SIM_ANY_FAULTS || sim_chance(80);
    sim_clients_init();
    for (uint32_t i = 0; i < sim->node_count; i++) {
        node_new(&sim->node[i], i);
    }
    sim_control_init();
    for (uint32_t i = 0; i < sim->node_count; i++) {
        CHECK(cluster_start(sim->node[i].cluster) == ERR_OK);
    }
    run_for(FORM_MS, false, true);
    switch (plan) {
    case SIM_ANY_FAULTS: faults(); break;
    case SIM_SHORT_CUTS: short_cuts(); break;
    case SIM_RESETS: resets(); break;
    }
    come_to_rest();
    if (sim->failure[0] == '\0') { serve(); }
    if (sim->failure[0] == '\0') { sim_judge(); }
    bool is_good = sim->failure[0] == '\0';
    stop();
    sim_clients_fini();
    sim_control_fini();
    mem_free(sim->message);
    return is_good;
}
