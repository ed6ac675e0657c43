#include "base/arena.h"

#include "base/mem.h"

enum { BLOCK_BYTES = 65536 };

struct arena_block {
    struct list link;
    _Alignas(ARENA_ALIGN) char data[];
};

void arena_init(struct arena *arena, char *first, size_t first_bytes)
{
    *arena = (struct arena){
        .data = first, .cap = first_bytes, .first = first, .first_bytes = first_bytes};
    list_init(&arena->blocks);
}

void arena_reset(struct arena *arena)
{
    while (!list_is_empty(&arena->blocks)) {
        mem_free(CONTAINER_OF(list_pop_front(&arena->blocks), struct arena_block, link));
    }
    arena->data = arena->first;
    arena->cap = arena->first_bytes;
    arena->used = 0;
}

void *arena_alloc(void *arg, size_t bytes)
{
    struct arena *arena = arg;
    bytes = (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (arena->cap - arena->used < bytes) {
        size_t cap = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        struct arena_block *block = mem_new(sizeof *block + cap);
        list_push_back(&arena->blocks, &block->link);
        arena->data = block->data;
        arena->cap = cap;
        arena->used = 0;
    }
    void *at = arena->data + arena->used;
    arena->used += bytes;
    return at;
}

void arena_ignore(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer;
}
