/* test_consensus_placement: each rule by itself; and from any state at all, rest, balanced, in few
 * moves. */
#include "consensus/map/placement.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"

/* xorshift64*: the same numbers for the same seed everywhere. */
static uint64_t random_below(uint64_t *state, uint64_t below)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * UINT64_C(2685821657736338717) >> 32) % below;
}

static void node_up(struct pmap *map, uint32_t index, const char *zone)
{
    struct pmap_node *node = &map->node[index];
    node->id = index + 1;
    node->incarnation = 1;
    node->is_up = true;
    snprintf(node->name, sizeof node->name, "n%u", index);
    snprintf(node->zone, sizeof node->zone, "%s", zone);
}

/* `zones`: one letter per node, '-' for a node without a zone. */
static struct pmap *map_new(const char *zones, uint32_t partition_count)
{
    uint32_t node_count = (uint32_t)strlen(zones);
    struct pmap *map = pmap_new(node_count, partition_count);
    for (uint32_t i = 0; i < node_count; i++) {
        char zone[2] = {zones[i] == '-' ? '\0' : zones[i], '\0'};
        node_up(map, i, zone);
    }
    return map;
}

/* `owners`: one digit per partition, '-' for nobody. */
static void set_owners(struct pmap *map, const char *owners)
{
    cr_assert_eq(strlen(owners), map->partition_count);
    for (uint32_t p = 0; p < map->partition_count; p++) {
        map->partition[p].owner = owners[p] == '-' ? PMAP_NOBODY : (uint32_t)(owners[p] - '0');
    }
}

static bool may_own(const struct pmap *map, uint32_t index)
{
    const struct pmap_node *node = &map->node[index];
    return node->id != 0 && node->is_up && !node->is_draining;
}

/* Let it come to rest; the number of moves. */
static uint32_t settle(struct pmap *map)
{
    struct placement_move move;
    uint32_t count = 0;
    while (placement_next(map, false, &move)) {
        struct pmap_partition *partition = &map->partition[move.partition];
        cr_assert_lt(move.partition, map->partition_count);
        cr_assert_lt(move.to, map->node_count);
        cr_assert(may_own(map, move.to));
        cr_assert_neq(partition->owner, move.to);
        partition->owner = move.to;
        count++;
        cr_assert_leq(count, 2 * map->partition_count);
    }
    return count;
}

static uint32_t owned(const struct pmap *map, uint32_t index)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < map->partition_count; p++) {
        count += map->partition[p].owner == index;
    }
    return count;
}

static void assert_move(const struct pmap *map, uint32_t partition, uint32_t to)
{
    struct placement_move move;
    cr_assert(placement_next(map, false, &move));
    cr_assert_eq(move.partition, partition);
    cr_assert_eq(move.to, to);
}

static void assert_rest(const struct pmap *map, bool move_is_unfinished)
{
    struct placement_move move;
    cr_assert_not(placement_next(map, move_is_unfinished, &move));
}

Test(consensus_placement, a_partition_without_an_owner_goes_to_the_node_that_owns_fewest)
{
    struct pmap *map = map_new("---", 6);
    set_owners(map, "001-10");
    assert_move(map, 3, 2);
    pmap_unref(map);
}

Test(consensus_placement, a_partition_without_an_owner_does_not_wait_for_an_unfinished_move)
{
    struct pmap *map = map_new("--", 3);
    struct placement_move move;
    set_owners(map, "00-");
    cr_assert(placement_next(map, true, &move));
    cr_assert_eq(move.partition, 2);
    cr_assert_eq(move.to, 1);
    pmap_unref(map);
}

Test(consensus_placement, ties_go_to_another_zone_than_the_neighbours_then_to_the_lowest_index)
{
    struct pmap *map = map_new("aab", 4);
    set_owners(map, "0--0");
    assert_move(map, 1, 2);
    set_owners(map, "2--2");
    assert_move(map, 1, 0);
    set_owners(map, "----");
    assert_move(map, 0, 0);
    pmap_unref(map);
}

Test(consensus_placement, two_nodes_without_a_zone_are_apart)
{
    struct pmap *map = map_new("--", 2);
    set_owners(map, "0-");
    assert_move(map, 1, 1);
    pmap_unref(map);
}

Test(consensus_placement, a_draining_nodes_partitions_move_away_unless_a_move_is_unfinished)
{
    struct pmap *map = map_new("---", 4);
    set_owners(map, "0112");
    map->node[1].is_draining = true;
    assert_rest(map, true);
    assert_move(map, 1, 2); /* node 0 owns the neighbour */
    settle(map);
    cr_assert_eq(owned(map, 1), 0);
    pmap_unref(map);
}

Test(consensus_placement, a_node_that_owns_most_gives_to_the_one_that_owns_fewest)
{
    struct pmap *map = map_new("--", 4);
    set_owners(map, "0000");
    assert_rest(map, true);
    cr_assert_eq(settle(map), 2);
    cr_assert_eq(owned(map, 0), 2);
    pmap_unref(map);
}

Test(consensus_placement, a_difference_of_one_is_at_rest)
{
    struct pmap *map = map_new("--", 3);
    set_owners(map, "001");
    assert_rest(map, false);
    pmap_unref(map);
}

Test(consensus_placement, nobody_who_may_own_means_nothing_to_do)
{
    struct pmap *map = map_new("---", 3);
    set_owners(map, "0--");
    map->node[0].is_draining = true;
    map->node[1].is_up = false;
    map->node[2] = (struct pmap_node){0};
    assert_rest(map, false);
    pmap_unref(map);
    struct pmap *empty = pmap_new(0, 2);
    assert_rest(empty, false);
    pmap_unref(empty);
}

Test(consensus_placement, a_new_cluster_with_zones_of_one_size_has_no_two_neighbours_in_one_zone)
{
    static const char *const zones[] = {"ab",     "abc",       "aabb",     "abab",      "aabbcc",
                                        "ccbbaa", "aaabbbccc", "abcdabcd", "aaaaabbbbb"};
    for (size_t i = 0; i < COUNT_OF(zones); i++) {
        for (uint32_t count = 1; count <= 100; count++) {
            struct pmap *map = map_new(zones[i], count);
            cr_assert_eq(settle(map), count, "each partition is given away once");
            for (uint32_t p = 1; p < count; p++) {
                const struct pmap_node *left = &map->node[map->partition[p - 1].owner];
                const struct pmap_node *right = &map->node[map->partition[p].owner];
                cr_assert_str_neq(left->zone, right->zone, "zones %s, partition %u of %u", zones[i],
                                  p, count);
            }
            pmap_unref(map);
        }
    }
}

Test(consensus_placement, a_node_that_joins_takes_its_share_and_no_partition_moves_for_nothing)
{
    struct pmap *map = map_new("abc", 64);
    map->node[2].is_up = false;
    settle(map);
    map->node[2].is_up = true;
    cr_assert_eq(settle(map), 21, "64 / 3");
    pmap_unref(map);
}

/* Any state that the rules allow: places without a member, members that are down, drain, have zones;
 * owners that are up. */
static struct pmap *random_map(uint64_t *random)
{
    uint32_t node_count = 1 + (uint32_t)random_below(random, random_below(random, 4) ? 9 : 64);
    uint32_t partition_count =
        1 + (uint32_t)random_below(random, random_below(random, 20) ? 80 : 1024);
    struct pmap *map = pmap_new(node_count, partition_count);
    uint32_t zone_count = 1 + (uint32_t)random_below(random, 5);
    for (uint32_t i = 0; i < node_count; i++) {
        if (random_below(random, 8) == 0) { continue; }
        char zone[2] = {(char)('a' + random_below(random, zone_count)), '\0'};
        node_up(map, i, random_below(random, 6) ? zone : "");
        map->node[i].is_up = random_below(random, 5) != 0;
        map->node[i].is_draining = random_below(random, 6) == 0;
    }
    uint32_t skew = 1 + (uint32_t)random_below(random, node_count); /* some own nothing yet */
    for (uint32_t p = 0; p < partition_count; p++) {
        uint32_t owner = (uint32_t)random_below(random, skew);
        if (map->node[owner].is_up && random_below(random, 4)) { map->partition[p].owner = owner; }
    }
    return map;
}

static void assert_balanced(const struct pmap *map, uint64_t seed)
{
    uint32_t least = UINT32_MAX, most = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (!may_own(map, i)) { continue; }
        uint32_t count = owned(map, i);
        least = count < least ? count : least;
        most = count > most ? count : most;
    }
    if (least == UINT32_MAX) { return; } /* nobody may own anything */
    cr_assert_leq(most - least, 1, "seed %lu", (unsigned long)seed);
    for (uint32_t p = 0; p < map->partition_count; p++) {
        cr_assert_neq(map->partition[p].owner, PMAP_NOBODY, "seed %lu", (unsigned long)seed);
        cr_assert(may_own(map, map->partition[p].owner), "seed %lu", (unsigned long)seed);
    }
}

Test(consensus_placement, from_any_state_it_comes_to_rest_balanced_within_two_moves_a_partition)
{
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        uint64_t random = seed;
        for (int i = 0; i < 8; i++) {
            random_below(&random, 2); /* small seeds begin alike */
        }
        struct pmap *map = random_map(&random);
        settle(map);
        assert_balanced(map, seed);
        cr_assert_eq(settle(map), 0);
        pmap_unref(map);
    }
}

Test(consensus_placement, a_map_is_left_as_it_is)
{
    uint64_t random = 99;
    for (int i = 0; i < 100; i++) {
        struct pmap *map = random_map(&random);
        size_t bytes = map->partition_count * sizeof *map->partition;
        struct pmap_partition *before = mem_copy(map->partition, bytes);
        struct placement_move first, again;
        bool has_move = placement_next(map, false, &first);
        cr_assert_eq(memcmp(before, map->partition, bytes), 0);
        cr_assert_eq(placement_next(map, false, &again), has_move);
        cr_assert(!has_move || (first.partition == again.partition && first.to == again.to));
        mem_free(before);
        pmap_unref(map);
    }
}
