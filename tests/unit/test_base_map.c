/* The intrusive hash map, beside a plain array as its model. */
#include "base/map.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

enum { ENTRIES = 3000 };

struct entry {
    struct map_node node;
    char name[24];
    bool is_in;
    unsigned visits;
};

static struct entry entry[ENTRIES];

static void entries_init(void)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        int len = snprintf(entry[i].name, sizeof entry[i].name, "channel:%u", i);
        entry[i].node.key = slice_of(entry[i].name, (size_t)len);
    }
}

static struct entry *find(const struct map *map, struct slice key)
{
    struct map_node *node = map_find(map, key, slice_hash(key));
    return node != NULL ? CONTAINER_OF(node, struct entry, node) : NULL;
}

static void toggle(struct map *map, struct entry *e)
{
    if (e->is_in) {
        map_remove(map, &e->node);
    } else {
        map_insert(map, &e->node, slice_hash(e->node.key));
    }
    e->is_in = !e->is_in;
}

/* Every entry is found exactly if it is in, and a walk visits each of those once. */
static void check_against_model(const struct map *map)
{
    size_t count = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        cr_assert_eq(find(map, entry[i].node.key), entry[i].is_in ? &entry[i] : NULL, "%u", i);
        count += entry[i].is_in;
        entry[i].visits = 0;
    }
    cr_assert_eq(map->count, count);
    for (struct map_node *n = map_next(map, NULL); n != NULL; n = map_next(map, n)) {
        CONTAINER_OF(n, struct entry, node)->visits++;
    }
    for (unsigned i = 0; i < ENTRIES; i++) {
        cr_assert_eq(entry[i].visits, entry[i].is_in ? 1 : 0, "%u", i);
    }
}

Test(base_map, a_zeroed_struct_is_empty_and_may_be_freed)
{
    struct map map = {0};
    cr_assert_null(find(&map, SLICE("news")));
    cr_assert_null(map_next(&map, NULL));
    map_fini(&map);
    map_fini(&map);
}

Test(base_map, random_inserts_and_removals_agree_with_a_model)
{
    struct map map = {0};
    const char *given = getenv("TEST_SEED");
    unsigned seed = given != NULL ? (unsigned)atoi(given) : (unsigned)clock_wall_us();
    seed &= INT32_MAX;
    printf("TEST_SEED=%u\n", seed);
    srand(seed);
    entries_init();
    for (unsigned round = 0; round < 40; round++) {
        unsigned reach = 1 + (unsigned)rand() % ENTRIES;
        for (unsigned i = 0; i < 2000; i++) {
            toggle(&map, &entry[(unsigned)rand() % reach]);
        }
        check_against_model(&map);
    }
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (entry[i].is_in) { toggle(&map, &entry[i]); }
    }
    check_against_model(&map);
    map_fini(&map);
}

Test(base_map, keys_are_compared_even_if_their_hashes_are_equal)
{
    struct map map = {0};
    entries_init();
    for (unsigned i = 0; i < 20; i++) {
        map_insert(&map, &entry[i].node, 7);
    }
    for (unsigned i = 0; i < 20; i++) {
        cr_assert_eq(map_find(&map, entry[i].node.key, 7), &entry[i].node);
    }
    cr_assert_null(map_find(&map, SLICE("other"), 7));
    map_remove(&map, &entry[10].node);
    cr_assert_null(map_find(&map, entry[10].node.key, 7));
    cr_assert_eq(map_find(&map, entry[11].node.key, 7), &entry[11].node);
    map_fini(&map);
}

Test(base_map, buckets_follow_the_count_up_and_down)
{
    struct map map = {0};
    entries_init();
    for (unsigned i = 0; i < ENTRIES; i++) {
        toggle(&map, &entry[i]);
        cr_assert(map.bucket_count >= map.count);
        cr_assert_eq(map.bucket_count & (map.bucket_count - 1), 0);
    }
    cr_assert(map.bucket_count < 4 * (size_t)ENTRIES);
    for (unsigned i = 0; i < ENTRIES; i++) {
        toggle(&map, &entry[i]);
        cr_assert(map.bucket_count <= 8 || map.bucket_count <= 16 * map.count);
    }
    cr_assert_eq(map.bucket_count, 0);
    cr_assert_null(map.bucket);
}

Test(base_map, binary_and_empty_keys_are_keys)
{
    struct map map = {0};
    struct map_node empty = {.key = SLICE("")};
    struct map_node binary = {.key = SLICE("a\0b")};
    map_insert(&map, &empty, slice_hash(empty.key));
    map_insert(&map, &binary, slice_hash(binary.key));
    cr_assert_eq(map_find(&map, slice_of(NULL, 0), slice_hash(SLICE(""))), &empty);
    cr_assert_eq(map_find(&map, SLICE("a\0b"), slice_hash(SLICE("a\0b"))), &binary);
    cr_assert_null(map_find(&map, SLICE("a\0c"), slice_hash(SLICE("a\0c"))));
    map_fini(&map);
}
