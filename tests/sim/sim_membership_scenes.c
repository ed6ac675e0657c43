/* sim_membership_scenes: what members must do in situations that have one order of events, each
 * played with the last of them at many moments, since it takes one of a few.
 * usage: sim_membership_scenes NAME [-v]; without a name all of them. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "sim/sim_membership.h"

enum {
    NODES = 3,
    MOMENTS = 40,
    MOMENT_MS = 25,
    REST_MS_MAX = 30000,
    FORGET_MS_MAX = 6000,
    LEASE_MS = 900, /* longer than a leader's lease, shorter than it takes to step down */
};

struct cast {
    struct msim sim;
    uint64_t moment_ms;
    struct mnode *leader;
    struct mnode *other;
    struct mnode *left;
};

/* ---- steps ---- */

static bool pass(struct cast *c, uint64_t ms)
{
    return msim_run(&c->sim, c->sim.now_ms + ms);
}

static bool rest(struct cast *c, const char *when)
{
    uint64_t until_ms = c->sim.now_ms + REST_MS_MAX;
    const char *why = "";
    while (why != NULL && c->sim.now_ms < until_ms) {
        if (!pass(c, 100)) { return false; }
        why = msim_unrest(&c->sim);
    }
    if (why != NULL) { msim_fail(&c->sim, "%s: no rest: %s", when, why); }
    return !c->sim.has_failed;
}

/* Three members, all vote. */
static bool begin(struct cast *c)
{
    struct msim *sim = &c->sim;
    sim->node_count = NODES;
    sim->founder_count = NODES;
    sim->late_ms_max = 5;
    sim->node_timeout_ms = 1000;
    sim->partition_count = MSIM_PARTITIONS;
    for (int i = 1; i <= NODES; i++) {
        msim_add(sim, i, NODES);
    }
    if (!rest(c, "founding") || !pass(c, 5000)) { return false; }
    c->leader = msim_leader(sim);
    for (int i = 1; i <= NODES; i++) {
        struct mnode *node = &sim->nodes[i];
        if (node == c->leader) { continue; }
        c->other = c->left;
        c->left = node;
    }
    return true;
}

static void die(struct mnode *node)
{
    node->is_absent = true;
    msim_stop(node, false);
}

static void come_back(struct mnode *node)
{
    node->is_absent = false;
    node->up_at_ms = node->sim->now_ms;
}

static void on_forgotten(void *arg, const char *error)
{
    struct msim *sim = arg;
    sim->is_forget_over = true;
    snprintf(sim->forget_error, sizeof sim->forget_error, "%s", error != NULL ? error : "");
}

static void ask_to_forget(struct mnode *by, const struct mnode *node)
{
    by->sim->is_forget_over = false;
    core_forget(by->core, node->name, on_forgotten, by->sim);
    msim_settle(by);
}

/* The answer is an error, and it is as the answer says. */
static void expect_refusal(struct cast *c, const struct mnode *node)
{
    uint64_t until_ms = c->sim.now_ms + FORGET_MS_MAX;
    while (!c->sim.is_forget_over && c->sim.now_ms < until_ms) {
        if (!pass(c, 100)) { return; }
    }
    if (!c->sim.is_forget_over) { msim_fail(&c->sim, "no answer to forget"); }
    if (c->sim.forget_error[0] == '\0' || pmap_find_id(c->sim.newest, node->id) == PMAP_NOBODY) {
        msim_fail(&c->sim, "%s was forgotten", node->name);
    }
}

/* ---- scenes ---- */

/* Two of three die. The third is asked to forget one of them, which then comes back: with it there is
 * a majority again, that must not give it away. The map still says that the other dead one is up. */
static void one_that_brings_the_majority_back_is_not_forgotten(struct cast *c)
{
    die(c->leader);
    die(c->other);
    if (!pass(c, 2000)) { return; }
    ask_to_forget(c->left, c->leader);
    if (!pass(c, 2000 + c->moment_ms)) { return; }
    come_back(c->leader);
    if (!rest(c, "two of three are up")) { return; }
    expect_refusal(c, c->leader);
    come_back(c->other);
    (void)rest(c, "all are up");
}

/* A leader that a majority has not answered lately, and that has not stepped down yet, is asked to
 * forget one that is down. It is not done later, when there is a majority again. */
static void what_a_leader_alone_is_asked_is_not_done_later(struct cast *c)
{
    int leader = c->leader->name[1] - '0';
    int left = c->left->name[1] - '0';
    die(c->other);
    if (!pass(c, 4000)) { return; }
    c->sim.blocked[leader][left] = true;
    c->sim.blocked[left][leader] = true;
    if (!pass(c, LEASE_MS + c->moment_ms)) { return; }
    ask_to_forget(c->leader, c->other);
    expect_refusal(c, c->other);
    memset(c->sim.blocked, 0, sizeof c->sim.blocked);
    if (!rest(c, "two of three are up")) { return; }
    expect_refusal(c, c->other);
    come_back(c->other);
    (void)rest(c, "all are up");
}

static const struct scene {
    const char *name;
    void (*play)(struct cast *c);
} scenes[] = {
    {"majority_back", one_that_brings_the_majority_back_is_not_forgotten},
    {"leader_alone", what_a_leader_alone_is_asked_is_not_done_later},
};

/* ---- the program ---- */

static bool play(const struct scene *scene, uint64_t moment, bool is_verbose)
{
    struct cast *c = mem_new0(sizeof *c);
    c->sim.seed = moment + 1;
    c->sim.random = c->sim.seed * 2654435761U + 1;
    c->sim.is_verbose = is_verbose;
    c->moment_ms = moment * MOMENT_MS;
    if (begin(c)) { scene->play(c); }
    bool is_well = !c->sim.has_failed;
    if (!is_well) { printf("%s, moment %lu: %s\n", scene->name, moment, c->sim.failure); }
    msim_end(&c->sim);
    mem_free(c);
    return is_well;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    bool is_verbose = argc > 2 && strcmp(argv[2], "-v") == 0;
    size_t failed = 0;
    size_t played = 0;
    log_configure(is_verbose ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    for (size_t i = 0; i < COUNT_OF(scenes); i++) {
        if (name != NULL && strcmp(name, scenes[i].name) != 0) { continue; }
        size_t wrong = 0;
        for (uint64_t moment = 0; moment < MOMENTS; moment++) {
            wrong += !play(&scenes[i], moment, is_verbose);
        }
        played++;
        failed += wrong;
        printf("%s: %zu of %d moments went wrong\n", scenes[i].name, wrong, (int)MOMENTS);
    }
    return played > 0 && failed == 0 ? 0 : 1;
}
