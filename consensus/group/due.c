/* due: the groups by when they want a tick: a heap, so that a tick looks at those that are
 * due and at no other.
 * Owns: groups.due. Thread: the raft thread.
 * Always: no group wants a tick before the time under which it is filed; it may want one later, which
 * is found out when that time has come. */
#include "consensus/group/due.h"

#include "base/mem.h"
#include "consensus/group/group.h"
#include "consensus/group/group_int.h"

static void put(struct due_heap *heap, size_t at, struct group *g)
{
    heap->groups[at] = g;
    g->due_at = at;
}

static void sift_up(struct due_heap *heap, size_t at)
{
    struct group *g = heap->groups[at];
    for (; at > 0; at = (at - 1) / 2) {
        struct group *parent = heap->groups[(at - 1) / 2];
        if (parent->due_ms <= g->due_ms) { break; }
        put(heap, at, parent);
    }
    put(heap, at, g);
}

static void sift_down(struct due_heap *heap, size_t at)
{
    struct group *g = heap->groups[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count) { break; }
        if (child + 1 < heap->count &&
            heap->groups[child + 1]->due_ms < heap->groups[child]->due_ms) {
            child++;
        }
        if (heap->groups[child]->due_ms >= g->due_ms) { break; }
        put(heap, at, heap->groups[child]);
        at = child;
    }
    put(heap, at, g);
}

/* A follower that hears its leader wants its tick later and later: it is looked at when the node is awake
 * for its heartbeats anyway, before that time, and only if there is no such moment left, at it. */
static uint64_t look_ms(const struct groups *all, const struct group *g, uint64_t now_ms)
{
    uint64_t due_ms = group_next_ms(g);
    uint64_t before_ms = due_ms / all->opts.heartbeat_ms * all->opts.heartbeat_ms;
    return due_ms != UINT64_MAX && before_ms > now_ms ? before_ms : due_ms;
}

void due_add(struct groups *all, struct group *g)
{
    struct due_heap *heap = &all->due;
    if (heap->count == heap->cap) {
        heap->cap = heap->cap > 0 ? heap->cap * 2 : 16;
        heap->groups = mem_resize(heap->groups, heap->cap * sizeof(struct group *));
    }
    g->due_ms = group_next_ms(g);
    put(heap, heap->count++, g);
    sift_up(heap, heap->count - 1);
}

void due_remove(struct groups *all, struct group *g)
{
    struct due_heap *heap = &all->due;
    size_t at = g->due_at;
    struct group *last = heap->groups[--heap->count];
    if (last == g) { return; }
    put(heap, at, last);
    sift_up(heap, at);
    sift_down(heap, last->due_at);
}

void due_note(struct groups *all, struct group *g)
{
    uint64_t due_ms = group_next_ms(g);
    if (due_ms >= g->due_ms) { return; }
    g->due_ms = due_ms;
    sift_up(&all->due, g->due_at);
}

uint64_t due_next_ms(const struct groups *all)
{
    return all->due.count > 0 ? all->due.groups[0]->due_ms : UINT64_MAX;
}

void due_tick(struct groups *all, uint64_t now_ms)
{
    while (due_next_ms(all) <= now_ms) {
        struct group *g = all->due.groups[0];
        group_tick(g, now_ms);
        g->due_ms = look_ms(all, g, now_ms);
        CHECK(g->due_ms > now_ms); /* ticks of a group are spaced */
        sift_down(&all->due, 0);
    }
}

void due_fini(struct groups *all)
{
    mem_free(all->due.groups);
}
