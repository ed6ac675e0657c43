/* sim_replicas_scenes: what becomes of partitions' data in situations that operators bring about, each played many times with other
 * delays, under writes all the time: a node with data that grows into a cluster, disks that are lost, versions that are upgraded,
 * nodes that must not be forgotten or let in.
 * usage: sim_replicas_scenes NAME [SEED]; without a name all of them. With a seed: only that, aloud. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "consensus/map/placement_replicas.h"
#include "partition/replicas.h"
#include "sim/sim_membership_data.h"

enum { SEEDS = 20, PARTITIONS = 8, REST_MS_MAX = 60000, FORGET_MS_MAX = 6000 };

/* ---- steps ---- */

static bool pass(struct msim *sim, uint64_t ms)
{
    return msim_run(sim, sim->now_ms + ms);
}

static bool rest(struct msim *sim, const char *when)
{
    uint64_t until_ms = sim->now_ms + REST_MS_MAX;
    const char *why = "";
    sim->users_pause = true;
    while (why != NULL && sim->now_ms < until_ms) {
        if (!pass(sim, 100)) { return false; }
        why = msim_unrest(sim);
    }
    sim->users_pause = false;
    if (why != NULL) { msim_fail(sim, "%s: no rest: %s", when, why); }
    return !sim->has_failed;
}

static void come(struct msim *sim, int number, uint32_t expect)
{
    msim_add(sim, number, expect);
    sim->nodes[number].up_at_ms = sim->now_ms + sim_random(&sim->random, 2000);
    if (number > sim->node_count) { sim->node_count = number; }
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

static uint64_t acked_count(const struct msim *sim)
{
    uint64_t count = 0;
    for (uint32_t p = 0; p < sim->partition_count; p++) {
        for (uint32_t n = 0; n < sim->truth[p].next; n++) {
            count += sim->truth[p].is_acked[n];
        }
    }
    return count;
}

static void on_forgotten(void *arg, const char *error)
{
    struct msim *sim = arg;
    sim->is_forget_over = true;
    snprintf(sim->forget_error, sizeof sim->forget_error, "%s", error != NULL ? error : "");
}

/* The answer begins so; "": it is done. */
static void forget(struct msim *sim, int by, int number, const char *answer)
{
    uint64_t until_ms = sim->now_ms + FORGET_MS_MAX;
    sim->is_forget_over = false;
    core_forget(sim->nodes[by].core, sim->nodes[number].name, on_forgotten, sim);
    msim_settle(&sim->nodes[by]);
    while (!sim->is_forget_over && sim->now_ms < until_ms) {
        if (!pass(sim, 100)) { return; }
    }
    bool is_so = answer[0] == '\0' ? sim->forget_error[0] == '\0'
                                   : strncmp(sim->forget_error, answer, strlen(answer)) == 0;
    if (!sim->is_forget_over || !is_so) {
        msim_fail(sim, "forget %d: %s", number, sim->forget_error);
    }
}

static bool found_alone_with_data(struct msim *sim)
{
    msim_add(sim, 1, 1);
    sim->node_count = 1;
    msim_live_alone(&sim->nodes[1]);
    sim->nodes[1].up_at_ms = sim->now_ms;
    if (acked_count(sim) < 100) { msim_fail(sim, "it has no data"); }
    return rest(sim, "alone");
}

static bool found(struct msim *sim, int count)
{
    for (int i = 1; i <= count; i++) {
        come(sim, i, (uint32_t)count);
    }
    return rest(sim, "founding");
}

/* ---- scenes ---- */

static void a_node_with_data_grows_to_three_and_five(struct msim *sim)
{
    if (!found_alone_with_data(sim)) { return; }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (sim->newest->partition[p].replica[0].id != 1) { msim_fail(sim, "not the founder"); }
    }
    come(sim, 2, 0);
    come(sim, 3, 0);
    if (!rest(sim, "three")) { return; }
    come(sim, 4, 0);
    come(sim, 5, 0);
    if (!rest(sim, "five")) { return; }
    uint64_t before = acked_count(sim);
    die(&sim->nodes[1]);
    if (!pass(sim, 10000)) { return; }
    if (acked_count(sim) < before + 20) { msim_fail(sim, "nobody writes without the first"); }
    come_back(&sim->nodes[1]);
    (void)rest(sim, "all are back");
}

static void disks_are_lost_one_after_the_other(struct msim *sim)
{
    if (!found(sim, 3)) { return; }
    for (int round = 0; round < 2; round++) {
        for (int i = 1; i <= 3; i++) {
            msim_wipe(&sim->nodes[i]);
            if (!pass(sim, 500) || !rest(sim, "a disk was lost")) { return; }
        }
    }
}

static void an_old_cluster_gets_data_once_all_are_upgraded(struct msim *sim)
{
    for (int i = 1; i <= 3; i++) {
        come(sim, i, 3);
        sim->nodes[i].is_old = true;
    }
    if (!pass(sim, 20000)) { return; }
    for (int i = 1; i <= 3; i++) {
        if (sim->newest == NULL || sim->newest->level != PMAP_LEVEL_OWNERS) {
            msim_fail(sim, "the level was raised before the last was upgraded");
        }
        sim->nodes[i].is_old = false;
        msim_stop(&sim->nodes[i], false);
        sim->nodes[i].up_at_ms = sim->now_ms + 100;
        if (i < 3 && !pass(sim, 8000)) { return; }
    }
    if (!rest(sim, "upgraded")) { return; }
    come(sim, 4, 0);
    sim->nodes[4].is_old = true;
    if (!pass(sim, 15000)) { return; }
    if (pmap_find_id(sim->newest, 4) != PMAP_NOBODY) { msim_fail(sim, "an old one was let in"); }
    sim->nodes[4].is_old = false;
    msim_stop(&sim->nodes[4], false);
    (void)rest(sim, "all are new");
}

static void users_are_the_clusters_once_all_are_upgraded(struct msim *sim)
{
    for (int i = 1; i <= 3; i++) {
        come(sim, i, 3);
        sim->nodes[i].knows_no_users = true;
    }
    if (!pass(sim, 20000)) { return; }
    for (int i = 1; i <= 3; i++) {
        bool is_old = sim->newest != NULL && sim->newest->level == PMAP_LEVEL_REPLICAS;
        if (!is_old || sim->newest->roster != NULL) {
            msim_fail(sim, "the level was raised before the last was upgraded");
        }
        sim->nodes[i].knows_no_users = false;
        msim_stop(&sim->nodes[i], false);
        sim->nodes[i].up_at_ms = sim->now_ms + 100;
        if (i < 3 && !pass(sim, 8000)) { return; }
    }
    if (!rest(sim, "upgraded")) { return; }
    if (sim->newest->level != PMAP_LEVEL_USERS) { msim_fail(sim, "the level was not raised"); }
    come(sim, 4, 0);
    sim->nodes[4].knows_no_users = true;
    if (!pass(sim, 15000)) { return; }
    if (pmap_find_id(sim->newest, 4) != PMAP_NOBODY) { msim_fail(sim, "an old one was let in"); }
    sim->nodes[4].knows_no_users = false;
    msim_stop(&sim->nodes[4], false);
    (void)rest(sim, "all are new");
}

static void who_has_data_of_its_own_does_not_join(struct msim *sim)
{
    struct core_status status;
    msim_add(sim, 4, 0);
    sim->node_count = 4;
    sim->nodes[4].is_absent = true;
    msim_live_alone(&sim->nodes[4]);
    memset(sim->truth, 0, PARTITIONS * sizeof *sim->truth); /* of the others */
    memset(sim->founded, 0, sizeof sim->founded);
    if (!found(sim, 3)) { return; }
    come_back(&sim->nodes[4]);
    if (!pass(sim, 15000)) { return; }
    core_status(sim->nodes[4].core, &status);
    bool says_why =
        status.unready_because != NULL && strstr(status.unready_because, "data") != NULL;
    if (pmap_find_id(sim->newest, 4) != PMAP_NOBODY || !says_why) {
        msim_fail(sim, "it joined, or does not say why not");
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (mdata_replica(&sim->nodes[4], p) != 1) { msim_fail(sim, "its data are gone"); }
    }
    die(&sim->nodes[4]);
    (void)rest(sim, "three without it");
}

static void who_is_needed_is_not_forgotten(struct msim *sim)
{
    if (!found(sim, 3)) { return; }
    come(sim, 4, 0);
    if (!rest(sim, "four")) { return; }
    die(&sim->nodes[3]);
    if (!pass(sim, 5000)) { return; }
    forget(sim, 1, 3, ""); /* two of three are up everywhere */
    if (!pass(sim, 200) || !rest(sim, "three")) { return; }
    die(&sim->nodes[4]);
    if (!pass(sim, 5000)) { return; }
    core_drain(sim->nodes[2].core);
    sim->nodes[2].is_drained = true;
    msim_settle(&sim->nodes[2]);
    if (!pass(sim, 8000)) { return; }
    forget(sim, 1, 2, "ERR "); /* one of two would be up */
    come_back(&sim->nodes[4]);
    msim_stop(&sim->nodes[2], false);
    come_back(&sim->nodes[2]);
    (void)rest(sim, "all are back");
}

static void who_drains_leads_nothing_soon(struct msim *sim)
{
    if (!found(sim, 3)) { return; }
    for (int i = 1; i <= 3; i++) {
        struct mnode *node = &sim->nodes[i];
        core_drain(node->core);
        msim_settle(node);
        uint64_t until_ms = sim->now_ms + 5000;
        while (!replicas_are_handed_over(node->replicas)) {
            if (!pass(sim, 50)) { return; }
            if (sim->now_ms > until_ms) { msim_fail(sim, "it leads for longer"); }
        }
        msim_stop(node, false);
        if (!rest(sim, "it is back")) { return; }
    }
}

/* Could the control group not agree without it? */
static bool is_needed_to_vote(const struct pmap *map, uint32_t index)
{
    uint32_t voters = 0;
    uint32_t others_stay = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (map->node[i].id == 0 || !map->node[i].is_voter) { continue; }
        voters++;
        others_stay += i != index && map->node[i].is_up && !map->node[i].is_draining;
    }
    return map->node[index].is_voter && others_stay * 2 <= voters;
}

/* Does it own nothing, lead nothing, and would nobody miss its votes? */
static bool is_free_to_go(const struct msim *sim, const struct mnode *node)
{
    const struct pmap *map = sim->newest;
    uint32_t index = pmap_find_id(map, node->id);
    bool is_free = replicas_are_handed_over(node->replicas) && !is_needed_to_vote(map, index);
    for (uint32_t p = 0; p < map->partition_count; p++) {
        is_free = is_free && map->partition[p].owner != index;
    }
    return is_free;
}

static void two_shrink_to_one_and_grow_again(struct msim *sim)
{
    if (!found_alone_with_data(sim)) { return; }
    come(sim, 2, 0);
    if (!rest(sim, "two")) { return; }
    for (int leaver = 2; leaver >= 1; leaver--) { /* the founder, too */
        struct mnode *node = &sim->nodes[leaver];
        uint64_t until_ms = sim->now_ms + 10000;
        core_drain(node->core);
        msim_settle(node);
        while (!is_free_to_go(sim, node)) { /* as the broker waits */
            if (!pass(sim, 50)) { return; }
            if (sim->now_ms > until_ms) {
                msim_fail(sim, "it does not hand over");
                return;
            }
        }
        core_leave(node->core);
        msim_settle(node);
        if (!pass(sim, 200)) { return; }
        die(node);
        if (!pass(sim, 3000)) { return; }
        uint64_t before = acked_count(sim);
        if (!pass(sim, 5000)) { return; }
        if (acked_count(sim) < before + 20) { msim_fail(sim, "one alone does not write"); }
        forget(sim, 3 - leaver, leaver, "");
        come_back(node);
        if (!rest(sim, "two again")) { return; }
    }
}

/* Each goes as soon as it may, as the broker does. */
static bool go_at_once(struct msim *sim, int first, int last)
{
    uint64_t until_ms = sim->now_ms + 10000;
    int left = last - first + 1;
    bool is_gone[MSIM_NODES_MAX + 1] = {false};
    for (int i = first; i <= last; i++) {
        core_drain(sim->nodes[i].core);
        msim_settle(&sim->nodes[i]);
        if (!pass(sim, sim_random(&sim->random, 150))) { return false; }
    }
    while (left > 0) {
        if (!pass(sim, 20)) { return false; }
        if (sim->now_ms > until_ms) {
            msim_fail(sim, "they do not hand over");
            return false;
        }
        for (int i = first; i <= last; i++) {
            struct mnode *node = &sim->nodes[i];
            if (is_gone[i] || !is_free_to_go(sim, node)) { continue; }
            is_gone[i] = true;
            left--;
            core_leave(node->core);
            msim_settle(node);
            if (!pass(sim, 200)) { return false; }
            die(node);
        }
    }
    return pass(sim, 3000);
}

static void five_shrink_to_three_at_once(struct msim *sim)
{
    if (!found(sim, 5) || !go_at_once(sim, 4, 5)) { return; }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (placement_is_left_short(sim->newest, p)) { msim_fail(sim, "no quorum is left"); }
    }
    uint64_t before = acked_count(sim);
    if (!pass(sim, 5000)) { return; }
    if (acked_count(sim) < before + 20) { msim_fail(sim, "three do not write"); }
    forget(sim, 1, 5, "");
    if (!pass(sim, 200)) { return; }
    forget(sim, 2, 4, "");
    (void)rest(sim, "three");
}

static void three_shrink_to_one_at_once(struct msim *sim)
{
    if (!found(sim, 3) || !go_at_once(sim, 2, 3)) { return; }
    uint64_t before = acked_count(sim);
    if (!pass(sim, 5000)) { return; }
    if (acked_count(sim) < before + 20) { msim_fail(sim, "one alone does not write"); }
    forget(sim, 1, 2, "");
    forget(sim, 1, 3, "");
    come_back(&sim->nodes[2]);
    come_back(&sim->nodes[3]);
    (void)rest(sim, "three again");
}

/* One after the other, as soon as the one before is back: who has what stays as it is. */
static void a_rolling_restart_moves_no_replica(struct msim *sim)
{
    uint64_t change[PARTITIONS];
    if (!found(sim, 5) || !pass(sim, 2000)) { return; }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        change[p] = sim->newest->partition[p].change;
    }
    for (int i = 1; i <= 5; i++) {
        if (!go_at_once(sim, i, i)) { return; }
        come_back(&sim->nodes[i]);
        if (!rest(sim, "it is back")) { return; }
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (change[p] != sim->newest->partition[p].change) { msim_fail(sim, "%u has moved", p); }
    }
}

static const struct scene {
    const char *name;
    void (*play)(struct msim *sim);
} scenes[] = {
    {"grows", a_node_with_data_grows_to_three_and_five},
    {"disks", disks_are_lost_one_after_the_other},
    {"upgrade", an_old_cluster_gets_data_once_all_are_upgraded},
    {"users", users_are_the_clusters_once_all_are_upgraded},
    {"own_data", who_has_data_of_its_own_does_not_join},
    {"needed", who_is_needed_is_not_forgotten},
    {"drains", who_drains_leads_nothing_soon},
    {"shrinks", two_shrink_to_one_and_grow_again},
    {"shrinks_at_once", five_shrink_to_three_at_once},
    {"shrinks_to_one", three_shrink_to_one_at_once},
    {"rolls", a_rolling_restart_moves_no_replica},
};

/* ---- the program ---- */

static bool play(const struct scene *scene, uint64_t seed, bool is_verbose)
{
    struct msim *sim = mem_new0(sizeof *sim);
    sim->seed = seed;
    sim->random = seed * 2654435761U + 1;
    sim->is_verbose = is_verbose;
    sim->late_ms_max = 20;
    sim->node_timeout_ms = 1000;
    sim->partition_count = PARTITIONS;
    sim->truth = mem_new0(PARTITIONS * sizeof *sim->truth);
    scene->play(sim);
    bool is_well = !sim->has_failed;
    if (!is_well) { printf("%s: %s\n", scene->name, sim->failure); }
    msim_end(sim);
    mem_free(sim);
    return is_well;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    uint64_t only = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    size_t failed = 0;
    size_t played = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (only == 0) { (void)!freopen("/dev/null", "w", stderr); } /* failures are part of the play */
    log_configure(only != 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    for (size_t i = 0; i < COUNT_OF(scenes); i++) {
        if (name != NULL && strcmp(name, scenes[i].name) != 0) { continue; }
        size_t wrong = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            if (only == 0 || seed == only) { wrong += !play(&scenes[i], seed, only != 0); }
        }
        played++;
        failed += wrong;
        printf("%s: %zu of %d went wrong\n", scenes[i].name, wrong, (int)SEEDS);
    }
    return played > 0 && failed == 0 ? 0 : 1;
}
