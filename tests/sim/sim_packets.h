/* sim_packets: what is under way in a simulated network, by the time it arrives; at one time in the order it left. */
#ifndef FANFARE_TESTS_SIM_SIM_PACKETS_H
#define FANFARE_TESTS_SIM_SIM_PACKETS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct sim_packet {
    uint64_t due_ms;
    uint64_t order; /* ties; given by the queue */
    int from;
    int to;
    struct buf bytes;
    int kind; /* the rest: only where a world has more than frames on one link */
    uint16_t to_port;
    uint64_t cluster;
};

/* Zeroed: empty. */
struct sim_packets {
    struct sim_packet *heap;
    size_t count;
    size_t cap;
    uint64_t next_order;
};

/* Takes the bytes. */
void sim_packets_push(struct sim_packets *packets, struct sim_packet packet);

/* There is one. Gives its bytes to the caller. */
struct sim_packet sim_packets_pop(struct sim_packets *packets);

/* When the first arrives; UINT64_MAX: none is under way. */
uint64_t sim_packets_due_ms(const struct sim_packets *packets);

void sim_packets_free(struct sim_packets *packets);

#endif
