/* Shared blocks. That the last reference frees, LeakSanitizer and AddressSanitizer see. */
#include "base/block.h"

#include <criterion/criterion.h>

Test(base_block, a_new_block_is_empty_and_has_the_room_asked_for)
{
    struct block *block = block_new(100);
    cr_assert_eq(block->len, 0);
    cr_assert_eq(block->cap, 100);
    memset(block->data, 'x', 100);
    block_unref(block);
    block_unref(NULL);
}

Test(base_block, bytes_live_until_the_last_reference_is_dropped)
{
    struct block *block = block_new(5);
    memcpy(block->data, "hello", 5);
    struct span span = {block_ref(block), block->data + 1, 3};
    block_unref(block);
    cr_assert_eq(memcmp(span.data, "ell", span.len), 0);
    block_unref(span.block);
}

Test(base_block, room_is_taken_from_the_block_while_it_lasts)
{
    struct block *block = NULL;
    struct block *first = block_room(&block, 10, 16);
    cr_assert_eq(first, block);
    cr_assert_eq(first->cap, 16);
    first->len = 10;
    cr_assert_eq(block_room(&block, 6, 16), first);
    first->len = 16;
    cr_assert_eq(block_room(&block, 0, 16), first);
    block_unref(block);
}

Test(base_block, a_full_block_is_replaced_and_lives_on_for_those_who_share_it)
{
    struct block *block = NULL;
    struct block *first = block_room(&block, 4, 16);
    memcpy(first->data, "abcd", 4);
    first->len = 4;
    struct span span = {block_ref(first), first->data, 4};
    struct block *second = block_room(&block, 13, 16);
    cr_assert_neq(second, first);
    cr_assert_eq(block, second);
    cr_assert_eq(second->len, 0);
    cr_assert_eq(memcmp(span.data, "abcd", 4), 0);
    cr_assert_eq(atomic_load(&first->refs), 1);
    block_unref(span.block);
    struct block *large = block_room(&block, 1000, 16);
    cr_assert_eq(large->cap, 1000);
    block_unref(block);
}
