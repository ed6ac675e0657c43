/* test_consensus_replicas: the control group's commands about replicas, by themselves; and where the rules of placement lead from
 * anywhere: to rest, evenly, zones apart, and never so that a group could lose its majority. */
#include "consensus/map/placement_replicas.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "consensus/map/control.h"

enum { CLUSTER_ID = 77, WANTED = 3 };

/* ---- helpers: one command each, at the next index ---- */

static bool apply(struct control *control, const struct control_command *command)
{
    struct buf bytes = {0};
    struct control_command back;
    control_encode(&bytes, command);
    cr_assert(control_decode(buf_slice(&bytes), &back));
    cr_assert_eq(back.op, command->op);
    bool is_changed = control_apply(control, control_applied(control) + 1, buf_slice(&bytes));
    buf_fini(&bytes);
    return is_changed;
}

static bool join(struct control *control, uint64_t id, const char *name, const char *zone)
{
    struct control_command command = {.op = CONTROL_JOIN, .node_id = id};
    snprintf(command.node.name, sizeof command.node.name, "%s", name);
    snprintf(command.node.zone, sizeof command.node.zone, "%s", zone);
    return apply(control, &command);
}

static const struct pmap_partition *row(const struct control *control, uint32_t partition)
{
    return &control_map(control)->partition[partition];
}

static bool about(struct control *control, enum control_op op, uint64_t id)
{
    const struct pmap *map = control_map(control);
    uint32_t index = pmap_find_id(map, id);
    return index != PMAP_NOBODY &&
           apply(control, &(struct control_command){.op = op,
                                                    .node_id = id,
                                                    .incarnation = map->node[index].incarnation});
}

static bool assign(struct control *control, uint32_t partition, uint64_t id)
{
    const struct pmap *map = control_map(control);
    uint32_t index = pmap_find_id(map, id);
    return apply(control, &(struct control_command){.op = CONTROL_ASSIGN,
                                                    .partition = partition,
                                                    .epoch = row(control, partition)->epoch,
                                                    .node_id = id,
                                                    .incarnation = map->node[index].incarnation});
}

static bool add(struct control *control, uint32_t partition, uint64_t id)
{
    return apply(control, &(struct control_command){.op = CONTROL_ADD_REPLICA,
                                                    .partition = partition,
                                                    .change = row(control, partition)->change,
                                                    .node_id = id});
}

static bool drop(struct control *control, uint32_t partition, uint64_t replica)
{
    return apply(control, &(struct control_command){.op = CONTROL_REMOVE_REPLICA,
                                                    .partition = partition,
                                                    .change = row(control, partition)->change,
                                                    .replica = replica});
}

static bool settle(struct control *control, uint32_t partition)
{
    return apply(control, &(struct control_command){.op = CONTROL_SETTLE,
                                                    .partition = partition,
                                                    .change = row(control, partition)->change});
}

static bool level(struct control *control)
{
    return apply(control, &(struct control_command){.op = CONTROL_LEVEL, .level = 1});
}

static struct control *cluster(uint32_t partitions)
{
    struct control *control = control_new();
    cr_assert(apply(control, &(struct control_command){.op = CONTROL_CREATE,
                                                       .cluster_id = CLUSTER_ID,
                                                       .partition_count = partitions}));
    return control;
}

/* Members 1 (a), 2 (b), 3 (c); level 1. */
static struct control *three_members(void)
{
    struct control *control = cluster(4);
    cr_assert(join(control, 1, "a", "") && join(control, 2, "b", "") && join(control, 3, "c", ""));
    cr_assert(level(control));
    return control;
}

/* ---- the rules ---- */

Test(consensus_replicas, nothing_is_said_of_replicas_before_all_members_understand_it)
{
    struct control *control = cluster(4);
    cr_assert(join(control, 1, "a", ""));
    cr_assert_not(add(control, 0, 1));
    struct buf old = {0}, new = {0};
    control_save(control, &old);
    cr_assert(level(control));
    cr_assert_not(level(control), "once");
    cr_assert(add(control, 0, 1));
    control_save(control, &new);
    cr_assert_gt(new.len, old.len);
    struct control *back = control_new();
    cr_assert_eq(control_load(back, buf_slice(&old)), ERR_OK);
    cr_assert_eq(control_map(back)->level, PMAP_LEVEL_OWNERS);
    buf_fini(&old);
    buf_fini(&new);
    control_free(back);
    control_free(control);
}

Test(consensus_replicas, the_first_one_founds_and_others_come_once_it_has_told)
{
    struct control *control = three_members();
    cr_assert(add(control, 0, 1));
    cr_assert_eq(row(control, 0)->replica[0].id, 1);
    cr_assert_not(row(control, 0)->is_founded);
    cr_assert_not(add(control, 0, 2), "one founds");
    cr_assert_not(drop(control, 0, 1), "it may have data");
    cr_assert(settle(control, 0));
    cr_assert(row(control, 0)->is_founded && row(control, 0)->is_settled);
    cr_assert(row(control, 0)->replica[0].is_voter);
    cr_assert_not(settle(control, 0));
    cr_assert(add(control, 0, 2));
    cr_assert_eq(row(control, 0)->replica[1].id, 2);
    cr_assert_not(row(control, 0)->is_settled);
    cr_assert_not(add(control, 0, 3), "one change at a time");
    cr_assert_not(drop(control, 0, 1), "a voter of what is not settled stays");
    cr_assert_eq(row(control, 1)->replica_count, 0);
    control_free(control);
}

Test(consensus_replicas, what_was_said_of_an_earlier_change_is_not_true_any_more)
{
    struct control *control = three_members();
    cr_assert(add(control, 0, 1) && settle(control, 0));
    struct control_command late = {.op = CONTROL_SETTLE, .partition = 0, .change = 1};
    cr_assert(add(control, 0, 2));
    cr_assert_not(apply(control, &late));
    late.op = CONTROL_REMOVE_REPLICA;
    late.replica = 2;
    cr_assert_not(apply(control, &late));
    cr_assert(drop(control, 0, 2), "it never voted");
    cr_assert(settle(control, 0));
    cr_assert(add(control, 0, 2));
    cr_assert_eq(row(control, 0)->replica[1].id, 3, "no id is given twice");
    cr_assert(settle(control, 0) && drop(control, 0, 1) && settle(control, 0));
    cr_assert_not(drop(control, 0, 3), "the last one stays");
    control_free(control);
}

Test(consensus_replicas, a_member_that_is_gone_takes_its_replicas_along)
{
    struct control *control = three_members();
    cr_assert(add(control, 0, 1) && settle(control, 0) && add(control, 0, 2) && settle(control, 0));
    cr_assert(about(control, CONTROL_DOWN, 2));
    cr_assert_eq(row(control, 0)->replica_count, 2, "down is not gone");
    cr_assert(join(control, 2, "b", ""));
    cr_assert_eq(row(control, 0)->replica_count, 2);
    cr_assert(row(control, 0)->is_settled);
    cr_assert(join(control, 22, "b", ""), "with another disk");
    cr_assert_eq(row(control, 0)->replica_count, 1);
    cr_assert_not(row(control, 0)->is_settled);
    cr_assert(settle(control, 0) && add(control, 0, 22) && settle(control, 0));
    cr_assert(about(control, CONTROL_DOWN, 1) && about(control, CONTROL_FORGET, 1));
    cr_assert_eq(row(control, 0)->replica_count, 1);
    cr_assert_eq(row(control, 0)->replica[0].id, 3);
    cr_assert(about(control, CONTROL_DOWN, 22) && about(control, CONTROL_FORGET, 22));
    cr_assert(row(control, 0)->is_founded);
    cr_assert_not(add(control, 0, 3), "what had data is not founded anew");
    cr_assert_not(settle(control, 0));
    control_free(control);
}

Test(consensus_replicas, a_founder_that_brings_data_is_the_first_replica_of_all)
{
    struct control *control = control_new();
    struct control_command create = {.op = CONTROL_CREATE,
                                     .cluster_id = CLUSTER_ID,
                                     .partition_count = 3,
                                     .level = 1,
                                     .data_of = 9,
                                     .key_layout = 1 + 6};
    cr_assert(apply(control, &create));
    cr_assert(join(control, 1, "a", ""));
    cr_assert_not(add(control, 0, 1), "somebody has data of it");
    struct buf bytes = {0};
    struct control *copy = control_new();
    control_save(control, &bytes);
    cr_assert_eq(control_load(copy, buf_slice(&bytes)), ERR_OK);
    cr_assert(join(copy, 9, "b", ""));
    cr_assert_eq(control_map(copy)->key_layout, 7, "kept by a snapshot and by each change");
    for (uint32_t p = 0; p < 3; p++) {
        cr_assert_eq(row(copy, p)->replica_count, 1);
        cr_assert_eq(row(copy, p)->replica[0].id, 1);
        cr_assert_eq(row(copy, p)->replica[0].node, 1);
        cr_assert_not(row(copy, p)->is_founded);
    }
    cr_assert(settle(copy, 0));
    cr_assert(join(copy, 9, "b", ""), "again");
    cr_assert_eq(row(copy, 1)->replica_count, 1);
    buf_fini(&bytes);
    control_free(copy);
    control_free(control);
}

Test(consensus_replicas, how_keys_are_divided_is_said_once_with_the_level)
{
    struct control *control = cluster(4);
    struct control_command to = {.op = CONTROL_LEVEL, .level = 1, .key_layout = 1 + 2};
    cr_assert(join(control, 1, "a", ""));
    cr_assert_eq(control_map(control)->key_layout, 0);
    cr_assert(apply(control, &to));
    cr_assert_eq(control_map(control)->key_layout, 3);
    to.key_layout = 1;
    cr_assert_not(apply(control, &to), "once");
    to.level = 2;
    cr_assert(apply(control, &to));
    cr_assert_eq(control_map(control)->key_layout, 3, "for ever");
    control_free(control);
}

/* ---- placement, in a cluster where things happen ---- */

struct world {
    struct control *control;
    uint64_t random;
    uint64_t seed;
    uint64_t id_last;
    uint32_t partitions;
    uint32_t wanted;
    uint32_t additions;
};

static uint64_t dice(struct world *w, uint64_t below)
{
    uint64_t *state = &w->random; /* xorshift64*: the same numbers for the same seed everywhere */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * UINT64_C(2685821657736338717) >> 32) % below;
}

static void add_node(struct world *w, uint32_t zones)
{
    char name[16];
    char zone[16] = "";
    uint64_t id = ++w->id_last;
    snprintf(name, sizeof name, "n%lu", (unsigned long)id);
    if (zones > 0) { snprintf(zone, sizeof zone, "z%lu", (unsigned long)dice(w, zones)); }
    cr_assert(join(w->control, id, name, zone));
}

static void give_owners(struct world *w)
{
    const struct pmap *map = control_map(w->control);
    for (uint32_t p = 0; p < w->partitions; p++) {
        uint32_t to = (uint32_t)dice(w, map->node_count);
        if (row(w->control, p)->owner != PMAP_NOBODY || map->node[to].id == 0) { continue; }
        if (map->node[to].is_up && !map->node[to].is_draining) {
            cr_assert(assign(w->control, p, map->node[to].id));
        }
        map = control_map(w->control);
    }
}

static uint32_t voters_up(const struct pmap *map, const struct pmap_partition *partition)
{
    uint32_t up = 0;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        up += partition->replica[i].is_voter && map->node[partition->replica[i].node].is_up;
    }
    return up;
}

static uint32_t adding(const struct pmap *map)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        uint32_t voters = 0;
        for (uint32_t i = 0; i < partition->replica_count; i++) {
            voters += partition->replica[i].is_voter;
        }
        count += partition->is_founded && voters < partition->replica_count &&
                 voters_up(map, partition) * 2 > voters;
    }
    return count;
}

/* One change, if there is one, as the leader proposes it. */
static bool step(struct world *w)
{
    const struct pmap *map = control_map(w->control);
    struct placement_change change;
    if (!placement_replicas_next(map, w->wanted, &change)) { return false; }
    const struct pmap_partition *partition = row(w->control, change.partition);
    uint32_t up = voters_up(map, partition);
    uint32_t count = partition->replica_count;
    if (change.is_removal) {
        bool votes = pmap_replica_with(partition, change.replica)->is_voter;
        bool was_up = map->node[change.node].is_up;
        cr_assert(drop(w->control, change.partition, change.replica), "seed %lu: %s",
                  (unsigned long)w->seed, change.reason);
        cr_assert(!votes || (up - was_up) * 2 > count - 1, "seed %lu: a majority is lost by %s",
                  (unsigned long)w->seed, change.reason);
    } else {
        cr_assert(map->node[change.node].is_up && !map->node[change.node].is_draining);
        cr_assert(add(w->control, change.partition, map->node[change.node].id), "seed %lu: %s",
                  (unsigned long)w->seed, change.reason);
        w->additions++;
        cr_assert_leq(adding(control_map(w->control)), PLACEMENT_ADDING_MAX);
    }
    return true;
}

/* Groups whose voters are up for the most part, and whose new replica is, do what the map says. */
static void settle_some(struct world *w, bool is_all)
{
    for (uint32_t p = 0; p < w->partitions; p++) {
        const struct pmap *map = control_map(w->control);
        const struct pmap_partition *partition = row(w->control, p);
        uint32_t voters = 0;
        bool is_up = true;
        for (uint32_t i = 0; i < partition->replica_count; i++) {
            voters += partition->replica[i].is_voter;
            is_up = is_up &&
                    (partition->replica[i].is_voter || map->node[partition->replica[i].node].is_up);
        }
        bool can = partition->replica_count > 0 && !partition->is_settled && is_up &&
                   (voters == 0 || voters_up(map, partition) * 2 > voters);
        if (can && (is_all || dice(w, 3) == 0)) { cr_assert(settle(w->control, p)); }
    }
}

static void disturb(struct world *w)
{
    const struct pmap *map = control_map(w->control);
    uint32_t index = (uint32_t)dice(w, map->node_count);
    uint64_t id = map->node[index].id;
    if (id == 0) { return; }
    struct control_command again = {.op = CONTROL_JOIN, .node_id = id, .node = map->node[index]};
    switch (dice(w, 6)) {
    case 0:
    case 1: (void)about(w->control, CONTROL_DOWN, id); break;
    case 2:
    case 3: (void)apply(w->control, &again); break;
    case 4: (void)about(w->control, CONTROL_DRAIN, id); break;
    case 5:
        if (map->node_count < 9) { add_node(w, 0); }
        break;
    }
}

static void all_up(struct world *w)
{
    for (uint32_t i = 0; i < control_map(w->control)->node_count; i++) {
        const struct pmap_node *node = &control_map(w->control)->node[i];
        if (node->id == 0 || (node->is_up && !node->is_draining)) { continue; }
        struct control_command again = {.op = CONTROL_JOIN, .node_id = node->id, .node = *node};
        cr_assert(apply(w->control, &again));
    }
    give_owners(w);
}

static void come_to_rest(struct world *w)
{
    uint32_t steps = 0;
    uint32_t bound = 40 * w->partitions * 5 + 100;
    bool goes_on = true;
    while (goes_on) {
        goes_on = step(w);
        settle_some(w, true);
        cr_assert_lt(++steps, bound, "seed %lu: it does not come to rest", (unsigned long)w->seed);
    }
}

static uint32_t zone_pairs(const struct pmap *map, const struct pmap_partition *partition)
{
    uint32_t pairs = 0;
    for (uint32_t i = 0; i < partition->replica_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            const char *a = map->node[partition->replica[i].node].zone;
            const char *b = map->node[partition->replica[k].node].zone;
            pairs += a[0] != '\0' && strcmp(a, b) == 0;
        }
    }
    return pairs;
}

static void assert_good(struct world *w, bool has_zones)
{
    const struct pmap *map = control_map(w->control);
    uint32_t held[PMAP_NODES_MAX] = {0};
    uint32_t members = 0;
    uint32_t zones = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        members += map->node[i].id != 0;
        bool is_first = map->node[i].id != 0;
        for (uint32_t k = 0; k < i; k++) {
            is_first = is_first && strcmp(map->node[i].zone, map->node[k].zone) != 0;
        }
        zones += is_first;
    }
    uint32_t wanted = w->wanted < members ? w->wanted : members;
    for (uint32_t p = 0; p < w->partitions; p++) {
        const struct pmap_partition *partition = &map->partition[p];
        cr_assert(partition->is_settled);
        cr_assert_eq(partition->replica_count, wanted, "seed %lu: partition %u has %u",
                     (unsigned long)w->seed, p, partition->replica_count);
        if (has_zones && zones >= wanted) {
            cr_assert_eq(zone_pairs(map, partition), 0, "seed %lu", (unsigned long)w->seed);
        }
        for (uint32_t i = 0; i < partition->replica_count; i++) {
            held[partition->replica[i].node]++;
        }
    }
    uint32_t most = 0, fewest = UINT32_MAX;
    for (uint32_t i = 0; i < map->node_count; i++) {
        most = held[i] > most ? held[i] : most;
        fewest = held[i] < fewest ? held[i] : fewest;
    }
    if (!has_zones) {
        cr_assert_leq(most, fewest + 1, "seed %lu: %u and %u", (unsigned long)w->seed, most,
                      fewest);
    }
}

static void begin(struct world *w, uint64_t seed, uint32_t nodes, uint32_t zones)
{
    *w = (struct world){.seed = seed, .random = seed * 2654435761U + 1, .wanted = WANTED};
    w->partitions = 1 + (uint32_t)dice(w, 40);
    w->control = cluster(w->partitions);
    cr_assert(level(w->control));
    for (uint32_t i = 0; i < nodes; i++) {
        add_node(w, zones);
    }
    give_owners(w);
    all_up(w);
}

Test(consensus_replicas, from_one_node_to_five_they_spread_evenly_and_rest)
{
    for (uint64_t seed = 1; seed < 40; seed++) {
        struct world w;
        begin(&w, seed, 1, 0);
        for (uint32_t nodes = 1; nodes <= 5; nodes++) {
            while (!placement_replicas_next(control_map(w.control), WANTED,
                                            &(struct placement_change){0}) &&
                   row(w.control, 0)->owner == PMAP_NOBODY) {
                all_up(&w);
            }
            come_to_rest(&w);
            assert_good(&w, false);
            add_node(&w, 0);
        }
        control_free(w.control);
    }
}

Test(consensus_replicas, zones_are_apart_where_there_are_enough)
{
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct world w;
        begin(&w, seed, 3 + (uint32_t)(seed % 5), 2 + (uint32_t)(seed % 3));
        for (int i = 0; i < 20; i++) {
            all_up(&w);
        }
        come_to_rest(&w);
        assert_good(&w, true);
        control_free(w.control);
    }
}

Test(consensus_replicas, through_a_storm_no_majority_is_lost_and_then_there_is_rest)
{
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct world w;
        begin(&w, seed, 1 + (uint32_t)(seed % 6), 0);
        w.wanted = 1 + (uint32_t)dice(&w, PLACEMENT_WANTED_MAX);
        for (int i = 0; i < 400; i++) {
            if (dice(&w, 4) == 0) { disturb(&w); }
            if (dice(&w, 60) == 0) { w.wanted = 1 + (uint32_t)dice(&w, PLACEMENT_WANTED_MAX); }
            give_owners(&w);
            (void)step(&w);
            settle_some(&w, false);
        }
        for (int i = 0; i < 30; i++) {
            all_up(&w);
        }
        settle_some(&w, true);
        come_to_rest(&w);
        assert_good(&w, false);
        control_free(w.control);
    }
}

Test(consensus_replicas, one_new_node_moves_no_more_than_its_share)
{
    struct world w;
    begin(&w, 7, 4, 0);
    for (int i = 0; i < 30; i++) {
        all_up(&w);
    }
    come_to_rest(&w);
    w.additions = 0;
    add_node(&w, 0);
    come_to_rest(&w);
    assert_good(&w, false);
    cr_assert_leq(w.additions, w.partitions * WANTED / 5 + 1, "%u of %u", w.additions,
                  w.partitions * WANTED);
    control_free(w.control);
}

/* The next change is of partition 0: it loses the one at the node's index, or gets one there. */
static void make_next(struct control *control, bool is_removal, uint32_t node)
{
    struct placement_change change;
    cr_assert(placement_must_wait(control_map(control), 0));
    cr_assert(placement_replicas_next(control_map(control), WANTED, &change));
    cr_assert(change.is_removal == is_removal && change.partition == 0 && change.node == node,
              "%u %u %u", change.is_removal, change.partition, change.node);
    cr_assert(is_removal ? drop(control, 0, change.replica)
                         : add(control, 0, control_map(control)->node[node].id));
    cr_assert(placement_must_wait(control_map(control), 0), "it is not settled");
    cr_assert(settle(control, 0));
}

Test(consensus_replicas,
     who_drains_sheds_its_vote_where_it_would_be_missed_and_nobody_else_is_there)
{
    struct control *control = three_members();
    for (uint64_t id = 1; id <= 3; id++) {
        cr_assert(add(control, 0, id) && settle(control, 0));
    }
    cr_assert(about(control, CONTROL_DRAIN, 2));
    cr_assert_not(placement_must_wait(control_map(control), 0), "two of three stay");
    cr_assert_not(placement_is_left_short(control_map(control), 0));
    cr_assert(about(control, CONTROL_DRAIN, 3));
    cr_assert(placement_is_left_short(control_map(control), 0));
    make_next(control, true, 1);
    make_next(control, true, 2);
    cr_assert_not(placement_must_wait(control_map(control), 0), "one alone stays");
    cr_assert_not(placement_is_left_short(control_map(control), 0));
    control_free(control);
}

Test(consensus_replicas, who_drains_waits_for_nothing_that_cannot_be_had)
{
    struct control *control = three_members();
    for (uint64_t id = 1; id <= 3; id++) {
        cr_assert(add(control, 0, id) && settle(control, 0));
    }
    cr_assert(about(control, CONTROL_DOWN, 3));
    cr_assert(about(control, CONTROL_DRAIN, 2));
    cr_assert_not(placement_must_wait(control_map(control), 0), "one of two would be left");
    cr_assert(placement_is_left_short(control_map(control), 0));
    cr_assert(about(control, CONTROL_DRAIN, 1));
    cr_assert_not(placement_must_wait(control_map(control), 0), "all go");
    control_free(control);
}

Test(consensus_replicas, two_that_drain_at_once_are_replaced_before_they_go)
{
    struct world w;
    begin(&w, 3, 5, 0);
    for (int i = 0; i < 30; i++) {
        all_up(&w);
    }
    come_to_rest(&w);
    uint32_t changes = 0;
    cr_assert(about(w.control, CONTROL_DRAIN, control_map(w.control)->node[4].id));
    cr_assert_not(step(&w), "one at a time moves nothing");
    cr_assert(about(w.control, CONTROL_DRAIN, control_map(w.control)->node[3].id));
    while (step(&w)) {
        settle_some(&w, true);
        changes++;
    }
    for (uint32_t p = 0; p < w.partitions; p++) {
        cr_assert_not(placement_must_wait(control_map(w.control), p));
        cr_assert_not(placement_is_left_short(control_map(w.control), p));
    }
    cr_assert_leq(changes, 2 * w.partitions, "an addition and a removal each");
    control_free(w.control);
}

Test(consensus_replicas, who_should_lead_is_the_owner_or_the_same_one_of_the_others)
{
    struct control *control = three_members();
    for (uint64_t id = 1; id <= 3; id++) {
        cr_assert(add(control, 0, id) && settle(control, 0));
    }
    cr_assert(assign(control, 0, 2));
    cr_assert_eq(placement_leader(control_map(control), 0), 1);
    cr_assert(about(control, CONTROL_DRAIN, 2));
    uint32_t other = placement_leader(control_map(control), 0);
    cr_assert(other == 0 || other == 2);
    cr_assert(about(control, CONTROL_DOWN, 2));
    cr_assert_eq(placement_leader(control_map(control), 0), other);
    cr_assert_eq(placement_leader(control_map(control), 1), PMAP_NOBODY);
    control_free(control);
}
