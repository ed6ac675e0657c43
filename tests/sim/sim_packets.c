/* sim_packets: a binary heap. */
#include "sim/sim_packets.h"

#include "base/mem.h"

static bool is_before(const struct sim_packet *a, const struct sim_packet *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

void sim_packets_push(struct sim_packets *packets, struct sim_packet packet)
{
    if (packets->count == packets->cap) {
        packets->cap = packets->cap > 0 ? packets->cap * 2 : 256;
        packets->heap = mem_resize(packets->heap, packets->cap * sizeof *packets->heap);
    }
    packet.order = packets->next_order++;
    size_t at = packets->count++;
    while (at > 0 && is_before(&packet, &packets->heap[(at - 1) / 2])) {
        packets->heap[at] = packets->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    packets->heap[at] = packet;
}

struct sim_packet sim_packets_pop(struct sim_packets *packets)
{
    CHECK(packets->count > 0);
    struct sim_packet *heap = packets->heap;
    struct sim_packet first = heap[0];
    struct sim_packet last = heap[--packets->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= packets->count) { break; }
        if (child + 1 < packets->count && is_before(&heap[child + 1], &heap[child])) { child++; }
        if (!is_before(&heap[child], &last)) { break; }
        heap[at] = heap[child];
        at = child;
    }
    if (packets->count > 0) { heap[at] = last; }
    return first;
}

uint64_t sim_packets_due_ms(const struct sim_packets *packets)
{
    return packets->count > 0 ? packets->heap[0].due_ms : UINT64_MAX;
}

void sim_packets_free(struct sim_packets *packets)
{
    for (size_t i = 0; i < packets->count; i++) {
        buf_fini(&packets->heap[i].bytes);
    }
    mem_free(packets->heap);
    *packets = (struct sim_packets){0};
}
