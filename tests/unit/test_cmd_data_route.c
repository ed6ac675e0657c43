/* data_route: which partition a command is for, and what is refused because it would be for two. */
#include <criterion/criterion.h>

#include "base/slot.h"
#include "cmd/data_route.h"

enum { WORDS_MAX = 16 };

static uint32_t split(const char *text, struct slice *argv)
{
    uint32_t argc = 0;
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, " ");
        cr_assert_lt(argc, WORDS_MAX);
        argv[argc++] = slice_of(at, len);
        at += len + strspn(at + len, " ");
    }
    return argc;
}

static enum data_route route(const struct broker *broker, enum command_id id, const char *text,
                             uint16_t database, struct data_place *place, struct buf *why)
{
    struct slice argv[WORDS_MAX];
    uint32_t argc = split(text, argv);
    why->len = 0;
    return data_route(broker, &command_table[id], argv, argc, database, place, why);
}

Test(cmd_data_route, a_whole_database_is_in_one_partition_whatever_the_keys)
{
    const struct broker broker = {.partition_count = 5};
    struct data_place place;
    struct buf why = {0};
    for (uint16_t database = 0; database < DATABASES; database++) {
        cr_assert_eq(route(&broker, COMMAND_mget, "mget a b c", database, &place, &why), DATA_ONE);
        cr_expect_eq(place.partition, database % 5u);
        cr_assert_eq(route(&broker, COMMAND_dbsize, "dbsize", database, &place, &why), DATA_ONE);
        cr_expect_eq(place.partition, database % 5u);
    }
    cr_expect_eq(route(&broker, COMMAND_flushall, "flushall", 3, &place, &why), DATA_ALL);
    buf_fini(&why);
}

Test(cmd_data_route, two_databases_must_be_in_one_partition)
{
    const struct broker broker = {.partition_count = 5, .sharded_databases = 1 << 5};
    struct data_place place;
    struct buf why = {0};
    cr_expect_eq(route(&broker, COMMAND_move, "move k 7", 2, &place, &why), DATA_ONE);
    cr_expect_eq(route(&broker, COMMAND_move, "move k 3", 2, &place, &why), DATA_REFUSED);
    cr_expect(why.len > 0);
    cr_expect_eq(route(&broker, COMMAND_move, "move k x", 2, &place, &why), DATA_ONE);
    cr_expect_eq(route(&broker, COMMAND_copy, "copy k l db 12", 2, &place, &why), DATA_ONE);
    cr_expect_eq(route(&broker, COMMAND_copy, "copy k l replace db 1", 2, &place, &why),
                 DATA_REFUSED);
    cr_expect_eq(route(&broker, COMMAND_copy, "copy k l", 2, &place, &why), DATA_ONE);
    cr_expect_eq(route(&broker, COMMAND_swapdb, "swapdb 1 6", 2, &place, &why), DATA_ONE);
    cr_expect_eq(place.partition, 1);
    cr_expect_eq(route(&broker, COMMAND_swapdb, "swapdb 1 2", 2, &place, &why), DATA_REFUSED);
    cr_expect_eq(route(&broker, COMMAND_swapdb, "swapdb 0 5", 2, &place, &why), DATA_REFUSED,
                 "5 is spread");
    cr_expect_eq(route(&broker, COMMAND_move, "move k 5", 0, &place, &why), DATA_REFUSED);
    buf_fini(&why);
}

Test(cmd_data_route, keys_of_a_sharded_database_must_be_in_one_slot)
{
    const struct broker broker = {.partition_count = 16, .sharded_databases = 1};
    struct data_place place;
    struct buf why = {0};
    cr_assert_eq(route(&broker, COMMAND_get, "get foo", 0, &place, &why), DATA_ONE);
    cr_expect_eq(place.slot, slot_of(SLICE("foo")));
    cr_expect_eq(place.partition, slot_partition(16, place.slot));
    cr_expect_eq(route(&broker, COMMAND_mget, "mget {a}1 {a}2", 0, &place, &why), DATA_ONE);
    cr_expect_eq(route(&broker, COMMAND_mget, "mget a b", 0, &place, &why), DATA_REFUSED);
    cr_expect(slice_starts_with(buf_slice(&why), SLICE("CROSSSLOT ")));
    cr_expect_eq(route(&broker, COMMAND_zunionstore, "zunionstore d 2 a b", 0, &place, &why),
                 DATA_REFUSED);
    cr_expect_eq(route(&broker, COMMAND_zunionstore, "zunionstore {t}d 1 {t}a", 0, &place, &why),
                 DATA_ONE);
    cr_expect_eq(route(&broker, COMMAND_sort, "sort {t}a store b", 0, &place, &why), DATA_REFUSED);
    cr_expect_eq(route(&broker, COMMAND_zunion, "zunion x a b", 0, &place, &why), DATA_ONE,
                 "the handler refuses it");
    cr_expect_eq(route(&broker, COMMAND_keys, "keys *", 0, &place, &why), DATA_ALL);
    cr_expect_eq(route(&broker, COMMAND_keys, "keys *", 1, &place, &why), DATA_ONE);
    buf_fini(&why);
}
