/* sim_hunt: faults that follow one another as chance would hardly have it. */
#include "sim/sim.h"

void hunt_begin(struct sim *sim)
{
    static const enum sim_hunt hunts[] = {HUNT_NOTHING,    HUNT_CHANGES, HUNT_READS,
                                          HUNT_OVERWRITES, HUNT_NOTHING, HUNT_CHANGES,
                                          HUNT_INSTALLS,   HUNT_READS};
    sim->hunt = hunts[sim_roll(sim, COUNT_OF(hunts))];
    switch (sim->hunt) {
    case HUNT_CHANGES: sim->disk_delay_ms = 20 + sim_roll(sim, 80); break;
    case HUNT_READS: /* all but the clocks is fast, and a second leader is there at once */
        sim->delay_ms_usual = 2;
        sim->delay_ms_max = 20;
        sim->loss_per_mille = sim_roll(sim, 10);
        sim->disk_delay_ms = sim_roll(sim, 2);
        sim->sync_delay_ms = 0;
        break;
    case HUNT_INSTALLS: /* what is read is there long before what is written is durable */
        sim->disk_delay_ms = sim_roll(sim, 3);
        sim->sync_delay_ms = 20 + sim_roll(sim, 80);
        sim->opts.snapshot_log_bytes = 500 + sim_roll(sim, 1000);
        sim->opts.trailing_entries = 0;
        break;
    case HUNT_OVERWRITES: /* but for the one that is made slow */
        sim->disk_delay_ms = sim_roll(sim, 3);
        sim->sync_delay_ms = 0;
        sim->opts.entries_in_flight_max = 4;
        break;
    case HUNT_NOTHING:
    case HUNTS: break;
    }
}

uint64_t hunt_clock_ppm(struct sim *sim)
{
    bool is_extreme = sim->hunt == HUNT_READS && sim_roll(sim, 4) > 0;
    return is_extreme ? 920000 + 160000 * sim_roll(sim, 2) : 920000 + sim_roll(sim, 160001);
}

/* ---- cuts ---- */

enum cut { CUT_IN, CUT_OUT, CUT_BOTH, CUTS };

static void cut_off(const struct sim_node *node, enum cut cut)
{
    struct sim *sim = node->sim;
    int alone = (int)(node - sim->nodes);
    for (int other = 1; other <= sim->node_count; other++) {
        if (other == alone) { continue; }
        sim->blocked[other][alone] = sim->blocked[other][alone] || cut != CUT_OUT;
        sim->blocked[alone][other] = sim->blocked[alone][other] || cut != CUT_IN;
    }
}

static bool is_anybody_cut_off(const struct sim *sim)
{
    static const bool nobody[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
    return memcmp(sim->blocked, nobody, sizeof nobody) != 0;
}

/* A voter of `group`, up, and not `node`. */
static struct sim_node *any_other(const struct sim_node *node, uint64_t group)
{
    struct sim *sim = node->sim;
    struct sim_node *other = &sim->nodes[1 + sim_roll(sim, (uint64_t)sim->node_count)];
    int role;
    bool is_voter = oracle_is_member(sim, group, other->replicas[group].self, &role) &&
                    role == RAFT_VOTER && other->e != NULL;
    return other != node && is_voter ? other : NULL;
}

static void restart_soon(struct sim_node *node, bool is_power_cut)
{
    sim_crash(node, is_power_cut);
    node->up_at_ms = node->sim->now_ms + 5;
}

/* ---- strikes ---- */

static void hunt(struct sim_node *node, void (*strike)(struct sim_node *node), uint64_t at_ms)
{
    node->sim->hunted = node;
    node->sim->strike = strike;
    node->sim->next_storm_ms = at_ms;
}

static void lose_power(struct sim_node *node)
{
    sim_crash(node, true);
}

void hunt_power(struct sim_node *node, uint64_t at_ms)
{
    hunt(node, lose_power, at_ms);
}

static void die(struct sim_node *node)
{
    struct sim *sim = node->sim;
    sim_crash(node, sim->hunt != HUNT_INSTALLS || sim_roll(sim, 3) == 0);
    if (sim_roll(sim, 2)) { node->up_at_ms = sim->now_ms + 5; }
    if (sim_roll(sim, 3) == 0) { storm_partition(sim); }
}

void hunt_notice(struct sim_node *node, enum sim_hunt hunted)
{
    struct sim *sim = node->sim;
    if (sim->hunt == hunted && !sim->is_calm) { hunt(node, die, sim->now_ms + sim_roll(sim, 40)); }
}

bool hunt_strike(struct sim *sim)
{
    struct sim_node *node = sim->hunted;
    sim->hunted = NULL;
    if (node == NULL || node->e == NULL) { return false; }
    sim->strike(node);
    return true;
}

/* ---- reads ---- */

/* Its leader is cut off from it as well, and it restarts: does it remember what it owes the leader? */
static void forget_leader(struct sim_node *loyal)
{
    struct sim *sim = loyal->sim;
    cut_off(sim->partner, CUT_BOTH);
    restart_soon(loyal, false);
    sim->next_storm_ms = sim->now_ms + 300 + sim_roll(sim, 200);
}

/* All but one follower lose the leader; they campaign when that one restarts. */
static void leave_one(struct sim_node *leader)
{
    struct sim *sim = leader->sim;
    struct sim_node *loyal = sim->partner;
    int from = (int)(leader - sim->nodes);
    int to = (int)(loyal - sim->nodes);
    cut_off(leader, CUT_BOTH);
    sim->blocked[from][to] = sim->blocked[to][from] = false;
    sim->partner = leader;
    hunt(loyal, forget_leader, sim->now_ms + 230 + sim_roll(sim, 100));
}

/* Nothing is written meanwhile: their logs stay as long as each other. */
static void hush_then_leave_one(struct sim_node *leader, struct sim_node *loyal)
{
    struct sim *sim = leader->sim;
    sim->next_client_ms = sim->next_operator_ms = sim->now_ms + 400;
    sim->partner = loyal;
    hunt(leader, leave_one, sim->now_ms + 20);
}

static void isolate(struct sim_node *leader)
{
    struct sim *sim = leader->sim;
    cut_off(leader, sim_roll(sim, 2) ? CUT_BOTH : (enum cut)sim_roll(sim, CUTS));
    sim->next_storm_ms = sim->now_ms + 300 + sim_roll(sim, 400);
}

/* The leader hands over, and is cut off before it hears that another was elected. */
static void hand_over(struct sim_node *leader, const struct sim_node *heir, uint64_t group)
{
    struct sim *sim = leader->sim;
    leader->sd.now_ms = sim->now_ms;
    if (engine_transfer(leader->e, group, heir->replicas[group].self) != ERR_OK) { return; }
    sim->stats.transfers++;
    sim_settle(leader);
    hunt(leader, isolate, sim->now_ms + 1 + sim_roll(sim, 4));
}

/* Cut a leader off, sooner or later; or, if somebody is cut off, end that. */
static void hunt_reads(struct sim *sim)
{
    uint64_t group = 1 + sim_roll(sim, SIM_GROUPS);
    struct sim_node *leader = oracle_leader(sim, group);
    bool is_cut = is_anybody_cut_off(sim);
    memset(sim->blocked, 0, sizeof sim->blocked);
    sim->next_storm_ms = sim->now_ms + 100 + sim_roll(sim, 300);
    if (is_cut || leader == NULL || leader->paused_until_ms > sim->now_ms) { return; }
    struct sim_node *other = any_other(leader, group);
    uint64_t what = other != NULL ? sim_roll(sim, 3) : 0;
    switch (what) {
    case 0: isolate(leader); break;
    case 1: hush_then_leave_one(leader, other); break;
    default: hand_over(leader, other, group); break;
    }
}

/* ---- overwrites ---- */

/* What is still being written there is replaced now; it loses power before that is durable. */
static void hear_again(struct sim_node *slow)
{
    struct sim *sim = slow->sim;
    memset(sim->blocked, 0, sizeof sim->blocked);
    hunt(slow, lose_power, sim->now_ms + 100 + sim_roll(sim, 1500));
}

/* It has heard of a new term, and not yet from the leader of it. */
static void hear_nobody(struct sim_node *slow)
{
    struct sim *sim = slow->sim;
    cut_off(slow, CUT_BOTH);
    hunt(slow, hear_again, sim->now_ms + 200 + sim_roll(sim, 800));
}

/* The leader forgets what it sent, and helps to elect one that never had it. */
static void replace(struct sim_node *leader)
{
    struct sim *sim = leader->sim;
    memset(sim->blocked, 0, sizeof sim->blocked);
    leader->sd.sync_delay_ms_max = 0;
    restart_soon(leader, true);
    hunt(sim->partner, hear_nobody, sim->now_ms + 300 + sim_roll(sim, 300));
}

/* A leader and a follower have slow disks, and nobody else hears them. */
static void hunt_overwrites(struct sim *sim)
{
    uint64_t group = 1 + sim_roll(sim, SIM_GROUPS);
    struct sim_node *leader = oracle_leader(sim, group);
    struct sim_node *slow = leader != NULL ? any_other(leader, group) : NULL;
    memset(sim->blocked, 0, sizeof sim->blocked);
    sim->next_storm_ms = sim->now_ms + 50 + sim_roll(sim, 100);
    if (slow == NULL) { return; }
    int from = (int)(leader - sim->nodes);
    int to = (int)(slow - sim->nodes);
    cut_off(leader, CUT_BOTH);
    cut_off(slow, CUT_BOTH);
    sim->blocked[from][to] = sim->blocked[to][from] = false;
    leader->sd.sync_delay_ms_max = slow->sd.sync_delay_ms_max = 1500;
    leader->disk_normal_until_ms = slow->disk_normal_until_ms = sim->now_ms + 4000;
    sim->partner = slow;
    hunt(leader, replace, sim->now_ms + 50 + sim_roll(sim, 200));
}

/* ---- what the storm calls ---- */

bool hunt_step(struct sim *sim)
{
    switch (sim->hunt) {
    case HUNT_READS: hunt_reads(sim); return true;
    case HUNT_OVERWRITES: hunt_overwrites(sim); return true;
    case HUNT_INSTALLS:
        if (sim_roll(sim, 4) > 0) { return false; }
        storm_rot_snapshot(sim);
        return true;
    case HUNT_CHANGES:
    case HUNT_NOTHING:
    case HUNTS: break;
    }
    return false;
}
