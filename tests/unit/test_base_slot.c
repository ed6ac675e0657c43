/* Hash slots; the expected ones are answers of redis-server's CLUSTER KEYSLOT. */
#include "base/slot.h"

#include <criterion/criterion.h>

static const struct {
    struct slice key;
    uint16_t slot;
} known[] = {
    {SLICE(""), 0},
    {SLICE("foo"), 12182},
    {SLICE("bar"), 5061},
    {SLICE("hello"), 866},
    {SLICE("somekey"), 11058},
    {SLICE("news"), 5161},
    {SLICE("{user1000}.following"), 3443},
    {SLICE("user1000"), 3443},
    {SLICE("foo{}{bar}"), 8363},
    {SLICE("foo{{bar}}zap"), 4015},
    {SLICE("foo{bar}{zap}"), 5061},
    {SLICE("foo{bar"), 15278},
    {SLICE("foo}bar{x}"), 16287},
    {SLICE("{}"), 15257},
    {SLICE("{"), 4092},
    {SLICE("}{"), 12793},
    {SLICE("a{b}"), 3300},
    {SLICE("channel:42"), 3599},
    {SLICE("\xff\x80\x01"), 1242},
};

Test(base_slot, slots_are_those_of_redis_cluster)
{
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        uint16_t slot = slot_of(known[i].key);
        cr_assert_eq(slot, known[i].slot, "'%.*s': %u", SLICE_ARG(known[i].key), slot);
    }
}

Test(base_slot, the_check_value_of_crc16_xmodem_holds)
{
    cr_assert_eq(slot_of(SLICE("123456789")), 0x31c3 % SLOT_COUNT);
}

Test(base_slot, only_the_first_tag_counts_and_only_if_it_is_not_empty)
{
    cr_assert_eq(slot_of(SLICE("{user1000}.following")), slot_of(SLICE("user1000")));
    cr_assert_eq(slot_of(SLICE("x{user1000}y{z}")), slot_of(SLICE("user1000")));
    cr_assert_eq(slot_of(SLICE("foo{{bar}}zap")), slot_of(SLICE("{bar")));
    cr_assert_neq(slot_of(SLICE("foo{}{bar}")), slot_of(SLICE("bar")));
    cr_assert_neq(slot_of(SLICE("foo{bar")), slot_of(SLICE("bar")));
    cr_assert_eq(slot_of(slice_of(NULL, 0)), 0);
}

Test(base_slot, partitions_are_contiguous_ranges_of_slots_as_even_as_they_get)
{
    for (uint32_t count = 1; count <= 1024; count++) {
        uint32_t least = SLOT_COUNT / count;
        cr_assert_eq(slot_partition_begin(count, 0), 0);
        cr_assert_eq(slot_partition_begin(count, count), SLOT_COUNT);
        for (uint32_t p = 0; p < count; p++) {
            uint32_t begin = slot_partition_begin(count, p);
            uint32_t end = slot_partition_begin(count, p + 1);
            cr_assert(end - begin == least || end - begin == least + 1);
            cr_assert_eq(slot_partition(count, begin), p);
            cr_assert_eq(slot_partition(count, end - 1), p);
        }
    }
}
