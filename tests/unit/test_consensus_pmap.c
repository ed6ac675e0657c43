/* test_consensus_pmap: a map is found in, shared and freed. */
#include "consensus/map/pmap.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(consensus_pmap, a_new_map_has_no_members_and_no_owners)
{
    struct pmap *map = pmap_new(3, 5);
    cr_assert_eq(map->node_count, 3);
    cr_assert_eq(map->partition_count, 5);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(map->node[i].id, 0);
    }
    for (uint32_t p = 0; p < 5; p++) {
        cr_assert_eq(map->partition[p].owner, PMAP_NOBODY);
        cr_assert_eq(map->partition[p].previous, PMAP_NOBODY);
        cr_assert_eq(map->partition[p].epoch, 0);
    }
    pmap_unref(map);
    struct pmap *empty = pmap_new(0, 1);
    cr_assert_eq(pmap_find_id(empty, 1), PMAP_NOBODY);
    pmap_unref(empty);
    pmap_unref(NULL);
}

Test(consensus_pmap, members_are_found_by_name_and_id_and_a_free_place_is_nobody)
{
    struct pmap *map = pmap_new(3, 1);
    map->node[0].id = 70;
    snprintf(map->node[0].name, sizeof map->node[0].name, "a");
    map->node[2].id = 90;
    snprintf(map->node[2].name, sizeof map->node[2].name, "ab");
    cr_assert_eq(pmap_find_id(map, 70), 0);
    cr_assert_eq(pmap_find_id(map, 90), 2);
    cr_assert_eq(pmap_find_id(map, 80), PMAP_NOBODY);
    cr_assert_eq(pmap_find_id(map, 0), PMAP_NOBODY);
    cr_assert_eq(pmap_find_name(map, SLICE("a")), 0);
    cr_assert_eq(pmap_find_name(map, SLICE("ab")), 2);
    cr_assert_eq(pmap_find_name(map, SLICE("abc")), PMAP_NOBODY);
    cr_assert_eq(pmap_find_name(map, SLICE("")), PMAP_NOBODY);
    pmap_unref(map);
}

Test(consensus_pmap, a_map_lives_as_long_as_somebody_has_a_reference)
{
    struct pmap *map = pmap_new(1, 1);
    map->version = 42;
    struct pmap *mine = pmap_ref(map);
    pmap_unref(map);
    cr_assert_eq(mine->version, 42, "AddressSanitizer sees it if the map was freed");
    pmap_unref(mine); /* and that it is freed now */
}
