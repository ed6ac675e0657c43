/* arena: what it gives is apart, aligned, and free again at a reset. */
#include "base/arena.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

enum { FIRST_BYTES = 1024, PIECES = 2000, PIECE_BYTES_MAX = 200 };

static _Alignas(ARENA_ALIGN) char first[FIRST_BYTES];

static void fill_and_look(struct arena *arena)
{
    static unsigned char *piece[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        piece[i] = arena_alloc(arena, 1 + i % PIECE_BYTES_MAX);
        cr_assert_eq((uintptr_t)piece[i] % ARENA_ALIGN, 0);
        memset(piece[i], (int)(i % 251), 1 + i % PIECE_BYTES_MAX);
    }
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t at = 0; at < 1 + i % PIECE_BYTES_MAX; at++) {
            cr_assert_eq(piece[i][at], i % 251, "piece %zu was written over", i);
        }
    }
}

Test(base_arena, pieces_are_apart_and_aligned_also_after_a_reset)
{
    struct arena arena;
    arena_init(&arena, first, sizeof first);
    for (int round = 0; round < 3; round++) {
        fill_and_look(&arena);
        cr_assert_not(list_is_empty(&arena.blocks), "more than the first memory was needed");
        arena_reset(&arena);
        cr_assert(list_is_empty(&arena.blocks));
    }
}

Test(base_arena, the_first_memory_is_used_up_before_any_other)
{
    struct arena arena;
    arena_init(&arena, first, sizeof first);
    for (size_t at = 0; at < FIRST_BYTES; at += ARENA_ALIGN) {
        cr_assert_eq((char *)arena_alloc(&arena, 1), first + at);
    }
    cr_assert(list_is_empty(&arena.blocks));
    (void)arena_alloc(&arena, 1);
    cr_assert_not(list_is_empty(&arena.blocks));
    arena_reset(&arena);
    cr_assert_eq((char *)arena_alloc(&arena, 1), first, "a reset begins anew");
}

Test(base_arena, what_is_larger_than_a_block_has_room)
{
    struct arena arena;
    arena_init(&arena, first, sizeof first);
    size_t bytes = 1 << 20;
    memset(arena_alloc(&arena, bytes), 7, bytes);
    arena_reset(&arena);
}
