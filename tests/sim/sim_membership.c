/* sim_membership: runs seeds until one fails or the time is up.
 * usage: sim_membership [-s FIRST] [-n SEEDS] [-t SECONDS] [-d] [-v]
 * -d: the partitions have data, too.
 * A failure prints its seed; -s SEED -n 1 -v repeats it aloud. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "partition/replicas.h"
#include "sim/sim_membership_data.h"

enum {
    REST_MS_MAX = 90000, /* within so long a calm cluster is at rest */
    REST_MS = 4000,      /* and stays so */
    ROUNDS = 4,
    LATE_MS_MAX = 4000, /* for how long a packet may be on its way */
};

static uint64_t dice(struct msim *sim, uint64_t below)
{
    return sim_random(&sim->random, below);
}

static struct mnode *any_node(struct msim *sim)
{
    return &sim->nodes[1 + dice(sim, (uint64_t)sim->node_count)];
}

/* ---- calm ---- */

static void calm(struct msim *sim)
{
    MSIM_LOG(sim, "calm");
    memset(sim->blocked, 0, sizeof sim->blocked);
    sim->loss_per_mille = 0;
    sim->dup_per_mille = 0;
    sim->late_ms_max = 20;
    sim->save_fails_per_mille = 0;
    for (int i = 1; i <= sim->node_count; i++) {
        struct mnode *node = &sim->nodes[i];
        node->paused_until_ms = 0;
        if (node->is_drained) { msim_stop(node, false); } /* as one does */
    }
}

static bool come_to_rest(struct msim *sim)
{
    uint64_t until = sim->now_ms + REST_MS_MAX;
    const char *why = "";
    /* What is late may still come, and what it brings about. */
    if (!msim_run(sim, sim->now_ms + LATE_MS_MAX + 3 * sim->node_timeout_ms)) { return false; }
    while (why != NULL && sim->now_ms < until) {
        if (!msim_run(sim, sim->now_ms + 100)) { return false; }
        why = msim_unrest(sim);
    }
    if (why != NULL) {
        msim_fail(sim, "no rest: %s", why);
        return false;
    }
    uint64_t version = sim->newest->version;
    if (!msim_run(sim, sim->now_ms + REST_MS)) { return false; }
    if (sim->newest->version != version) { msim_fail(sim, "it rested, and moved again"); }
    if (sim->truth != NULL) { mdata_count_leaders(sim); }
    return !sim->has_failed;
}

static bool wait_for_rest(struct msim *sim)
{
    sim->users_pause = true;
    bool ok = come_to_rest(sim);
    sim->users_pause = false;
    return ok;
}

/* What everybody is at, for whoever looks into a failure. */
static void dump(struct msim *sim)
{
    for (int i = 1; i <= sim->node_count && sim->is_verbose; i++) {
        struct mnode *node = &sim->nodes[i];
        struct core_status status;
        if (node->core == NULL) { continue; }
        core_status(node->core, &status);
        msim_print(
            sim,
            "%s port %u map %lu incarnation %lu lease %ld unready %s replica %lx leader %lx "
            "(%s) leads %d term %lu commit %lu applied %lu last %lu",
            node->name, node->port, (unsigned long)(node->map != NULL ? node->map->version : 0),
            (unsigned long)status.incarnation, (long)(node->lease_until_ms - mnode_clock_ms(node)),
            status.unready_because != NULL ? status.unready_because : "-",
            (unsigned long)status.raft.self, (unsigned long)status.raft.leader, status.leader,
            (int)status.raft.is_leader, (unsigned long)status.raft.term,
            (unsigned long)status.raft.commit, (unsigned long)status.raft.applied,
            (unsigned long)status.raft.last);
        for (size_t k = 0; k < status.raft.server_count; k++) {
            struct pmap_address address = {.port = 0};
            bool is_known = core_address_of(node->core, status.raft.servers[k].node_name, &address);
            printf("            %s%s replica %lx role %d at %s:%u\n", is_known ? "" : "? ",
                   status.raft.servers[k].node_name, (unsigned long)status.raft.servers[k].id,
                   status.raft.servers[k].role, address.host, address.port);
        }
    }
}

/* ---- storm ---- */

/* Two parts that do not reach each other. */
static void split(struct msim *sim, uint64_t one_part)
{
    for (int a = 1; a <= sim->node_count; a++) {
        for (int b = 1; b <= sim->node_count; b++) {
            sim->blocked[a][b] = (one_part >> a & 1) != (one_part >> b & 1);
        }
    }
}

static uint64_t bit_of(const struct mnode *node)
{
    return 1ULL << (node->name[1] - '0');
}

/* The leader, and one other that still hears it, lose the rest; or the leader goes while that one
 * hears nobody. What an echo was worth shows then. */
static bool corner(struct msim *sim)
{
    struct mnode *leader = msim_leader(sim);
    struct mnode *other = any_node(sim);
    if (leader == NULL || leader == other) { return true; }
    MSIM_LOG(sim, "%s leads, %s is with it", leader->name, other->name);
    switch (dice(sim, 4)) {
    case 0: split(sim, bit_of(leader) | bit_of(other)); break;
    case 1: /* it pauses, what it leads goes on without it, and it goes on with the other alone */
        leader->paused_until_ms = sim->now_ms + 1500 + dice(sim, 3000);
        if (!msim_run(sim, sim->now_ms + dice(sim, 3000))) { return false; }
        split(sim, bit_of(leader) | bit_of(other));
        break;
    case 2: /* it hands over while one of them hears nobody */
        core_drain(leader->core);
        leader->is_drained = true;
        msim_settle(leader);
        if (!msim_run(sim, sim->now_ms + dice(sim, 300))) { return false; }
        split(sim, dice(sim, 2) ? bit_of(leader) : bit_of(other));
        break;
    case 3:
        split(sim, bit_of(other));
        msim_stop(leader, dice(sim, 2) == 0);
        break;
    }
    return msim_run(sim, sim->now_ms + 1000 + dice(sim, 6000));
}

static void block(struct msim *sim)
{
    int a = 1 + (int)dice(sim, (uint64_t)sim->node_count);
    int b = 1 + (int)dice(sim, (uint64_t)sim->node_count);
    if (dice(sim, 3) == 0) {
        split(sim, dice(sim, 256));
        return;
    }
    if (dice(sim, 3) == 0) { /* a is alone */
        for (int i = 1; i <= sim->node_count; i++) {
            sim->blocked[a][i] = i != a;
            sim->blocked[i][a] = i != a;
        }
        return;
    }
    sim->blocked[a][b] = a != b;
    if (dice(sim, 2) == 0) { sim->blocked[b][a] = a != b; }
}

/* A node says for a while that it cannot reach another. */
static void suspect(struct msim *sim, struct mnode *node)
{
    if (sim->newest == NULL || sim->newest->node_count == 0) { return; }
    uint32_t index = (uint32_t)dice(sim, sim->newest->node_count);
    uint64_t id = sim->newest->node[index].id;
    uint64_t incarnation = sim->newest->node[index].incarnation;
    int times = 1 + (int)dice(sim, 8);
    MSIM_LOG(sim, "%s suspects %s", node->name, sim->newest->node[index].name);
    for (int i = 0; i < times && node->core != NULL && id != 0 && id != node->id; i++) {
        core_suspect(node->core, id, incarnation);
        msim_settle(node);
        if (!msim_run(sim, sim->now_ms + 100)) { return; }
    }
}

static void fault(struct msim *sim)
{
    struct mnode *node = any_node(sim);
    switch (dice(sim, 14)) {
    case 0:
    case 1:
    case 2: msim_stop(node, dice(sim, 2) == 0); break;
    case 3:
    case 4:
        if (node->engine != NULL) {
            node->paused_until_ms = sim->now_ms + dice(sim, dice(sim, 2) ? 5000 : 800);
            sim->stats.pauses++;
            MSIM_LOG(sim, "%s pauses", node->name);
        }
        break;
    case 5:
    case 6: block(sim); break;
    case 7:
    case 8: memset(sim->blocked, 0, sizeof sim->blocked); break;
    case 9:
        sim->loss_per_mille = dice(sim, 3) ? 0 : dice(sim, 300);
        sim->dup_per_mille = dice(sim, 100);
        sim->late_ms_max = dice(sim, 3) ? 50 : LATE_MS_MAX;
        sim->save_fails_per_mille = dice(sim, 4) ? 0 : 300;
        break;
    case 10: /* it moves */
        msim_stop(node, false);
        node->port++;
        sim->stats.moves++;
        break;
    case 11: suspect(sim, node); break;
    case 12:
    case 13: (void)corner(sim); break;
    }
}

static bool storm(struct msim *sim, uint64_t ms)
{
    uint64_t until = sim->now_ms + ms;
    MSIM_LOG(sim, "storm");
    while (sim->now_ms < until) {
        fault(sim);
        if (!msim_run(sim, sim->now_ms + dice(sim, 1500))) { return false; }
    }
    return true;
}

/* ---- operations ---- */

static void on_forgotten(void *arg, const char *error)
{
    struct msim *sim = arg;
    sim->is_forget_over = true;
    snprintf(sim->forget_error, sizeof sim->forget_error, "%s", error != NULL ? error : "");
}

static bool forget(struct msim *sim, const char *name)
{
    struct mnode *by = any_node(sim);
    while (by->core == NULL) {
        by = any_node(sim);
    }
    sim->is_forget_over = false;
    core_forget(by->core, name, on_forgotten, sim);
    msim_settle(by);
    uint64_t until = sim->now_ms + 6000;
    while (!sim->is_forget_over && sim->now_ms < until) {
        if (!msim_run(sim, sim->now_ms + 50)) { return false; }
    }
    if (!sim->is_forget_over) { msim_fail(sim, "no answer to forget"); }
    return !sim->has_failed;
}

/* It stops for good, one way or another, is forgotten, and comes back as a new member. */
static bool forget_and_return(struct msim *sim)
{
    struct mnode *node = any_node(sim);
    bool is_clean = dice(sim, 2) == 0;
    sim->stats.forgets++;
    if (!forget(sim, node->name)) { return false; }
    if (sim->forget_error[0] == '\0') { msim_fail(sim, "a member that is up was forgotten"); }
    if (is_clean) {
        core_drain(node->core);
        msim_settle(node);
        if (!msim_run(sim, sim->now_ms + 20000)) { return false; }
        uint32_t index = pmap_find_id(node->map, node->id);
        for (uint32_t p = 0; p < node->map->partition_count; p++) {
            if (node->map->partition[p].owner == index) { msim_fail(sim, "it does not drain"); }
        }
        if (node->replicas != NULL && !replicas_are_handed_over(node->replicas)) {
            msim_fail(sim, "it does not hand its groups over");
        }
        sim->stats.drains++;
        if (dice(sim, 2) == 0) { /* forgotten while it is still there */
            if (!forget(sim, node->name)) { return false; }
            if (sim->forget_error[0] != '\0') { msim_fail(sim, "forget: %s", sim->forget_error); }
        }
        core_leave(node->core);
        msim_settle(node);
        if (!msim_run(sim, sim->now_ms + 300)) { return false; }
    }
    node->is_absent = true;
    msim_stop(node, false);
    if (!msim_run(sim, sim->now_ms + 8000)) { return false; }
    if (pmap_find_id(sim->newest, node->id) != PMAP_NOBODY) {
        if (!forget(sim, node->name)) { return false; }
        if (sim->forget_error[0] != '\0') { msim_fail(sim, "forget: %s", sim->forget_error); }
    }
    if (!msim_run(sim, sim->now_ms + dice(sim, 3000))) { return false; }
    node->is_absent = false;
    return !sim->has_failed;
}

static bool operate(struct msim *sim)
{
    struct mnode *node = any_node(sim);
    uint32_t up = 0;
    for (uint32_t i = 0; i < sim->newest->node_count; i++) {
        up += sim->newest->node[i].is_up;
    }
    if (up < 3) { return true; }
    switch (dice(sim, 3)) {
    case 0:
        MSIM_LOG(sim, "operation: %s gets an empty disk", node->name);
        msim_wipe(node);
        node->up_at_ms = sim->now_ms + dice(sim, 3000);
        return true;
    case 1: return forget_and_return(sim);
    default: /* a drain that is followed by a restart */
        core_drain(node->core);
        msim_settle(node);
        if (!msim_run(sim, sim->now_ms + dice(sim, 5000))) { return false; }
        core_leave(node->core);
        msim_settle(node);
        if (!msim_run(sim, sim->now_ms + 200)) { return false; }
        sim->stats.drains++;
        msim_stop(node, false);
        return true;
    }
}

/* ---- a run ---- */

static void begin(struct msim *sim, uint64_t seed, bool has_data, bool is_verbose)
{
    *sim = (struct msim){.seed = seed, .random = seed * 2654435761U + 1, .is_verbose = is_verbose};
    sim->partition_count = has_data ? 1 + (uint32_t)dice(sim, 6) : MSIM_PARTITIONS;
    if (has_data) { sim->truth = mem_new0(sim->partition_count * sizeof *sim->truth); }
    static const int founders[] = {1, 2, 3, 3, 3, 4, 5};
    sim->founder_count = founders[dice(sim, COUNT_OF(founders))];
    /* Fewer than twice as many as are expected: two sets of so many always share a node. */
    int more = (int)dice(sim, (uint64_t)sim->founder_count);
    sim->node_count = sim->founder_count + more;
    sim->node_count += sim->node_count < MSIM_NODES_MAX ? (int)dice(sim, 2) : 0;
    sim->node_count = sim->node_count < MSIM_NODES_MAX ? sim->node_count : MSIM_NODES_MAX;
    sim->late_ms_max = 50;
    sim->node_timeout_ms = dice(sim, 3) ? 1000 : 2500;
    for (int i = 1; i <= sim->node_count; i++) {
        struct mnode *node = &sim->nodes[i];
        msim_add(sim, i, i <= sim->founder_count + more ? (uint32_t)sim->founder_count : 0);
        node->clock_ppm = 920000 + dice(sim, 160000); /* the engine's leases allow for 20 % */
        node->up_at_ms = dice(sim, dice(sim, 2) ? 5000 : 100);
    }
}

static bool run(struct msim *sim, uint64_t seed, bool has_data, bool is_verbose)
{
    begin(sim, seed, has_data, is_verbose);
    bool ok = storm(sim, dice(sim, 20000));
    for (int round = 0; ok && round < ROUNDS; round++) {
        calm(sim);
        ok = wait_for_rest(sim) && operate(sim);
        if (ok && dice(sim, 2) == 0) { ok = wait_for_rest(sim); }
        ok = ok && storm(sim, dice(sim, 15000));
    }
    if (ok) {
        calm(sim);
        ok = wait_for_rest(sim);
    }
    if (!ok) { dump(sim); }
    msim_end(sim);
    return ok && !sim->has_failed;
}

/* ---- the program ---- */

static uint64_t seed_running;

static void on_abort(int signal_number)
{
    char text[64];
    int n = snprintf(text, sizeof text, "aborted in seed %lu (signal %d)\n",
                     (unsigned long)seed_running, signal_number);
    ssize_t ignored = write(1, text, (size_t)n);
    (void)ignored;
    _exit(3);
}

static void add_stats(struct mstats *sum, const struct mstats *one)
{
    uint64_t *to = (uint64_t *)(void *)sum;
    const uint64_t *from = (const uint64_t *)(const void *)one;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) {
        to[i] += from[i];
    }
}

int main(int argc, char **argv)
{
    uint64_t first = 1;
    uint64_t seeds = UINT64_MAX;
    uint64_t seconds = 60;
    bool has_data = false;
    bool is_verbose = false;
    int option;
    while ((option = getopt(argc, argv, "s:n:t:dv")) != -1) {
        switch (option) {
        case 's': first = strtoull(optarg, NULL, 10); break;
        case 'n': seeds = strtoull(optarg, NULL, 10); break;
        case 't': seconds = strtoull(optarg, NULL, 10); break;
        case 'd': has_data = true; break;
        case 'v': is_verbose = true; break;
        default: return 2;
        }
    }
    signal(SIGABRT, on_abort);
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* What the cores log of failures is part of the play. */
    if (!is_verbose) { (void)!freopen("/dev/null", "w", stderr); }
    log_configure(is_verbose ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    struct msim *sim = mem_new(sizeof *sim);
    struct mstats sum = {0};
    time_t stop = time(NULL) + (time_t)seconds;
    uint64_t done = 0;
    bool ok = true;
    for (; ok && done < seeds && time(NULL) < stop; done++) {
        seed_running = first + done;
        ok = run(sim, seed_running, has_data, is_verbose);
        add_stats(&sum, &sim->stats);
    }
    if (!ok) { printf("FAILED %s\n", sim->failure); }
    printf(
        "seeds %lu from %lu, events %lu, founded %lu, kills %lu, power cuts %lu, disks lost %lu, "
        "pauses %lu, moves %lu, forgets %lu, drains %lu, lease checks %lu\n",
        (unsigned long)done, (unsigned long)first, (unsigned long)sum.events,
        (unsigned long)sum.founded, (unsigned long)sum.kills, (unsigned long)sum.power_cuts,
        (unsigned long)sum.wipes, (unsigned long)sum.pauses, (unsigned long)sum.moves,
        (unsigned long)sum.forgets, (unsigned long)sum.drains, (unsigned long)sum.lease_checks);
    if (has_data) {
        printf("writes acknowledged %lu, replicas deleted %lu, lives forgotten %lu, groups led by "
               "the map's choice %lu "
               "of %lu, changes of users answered %lu\n",
               (unsigned long)sum.acked, (unsigned long)sum.deletions,
               (unsigned long)sum.forgotten_lives, (unsigned long)sum.led_by_choice,
               (unsigned long)sum.led, (unsigned long)sum.users_changed);
    }
    mem_free(sim);
    return ok ? 0 : 1;
}
