/* handovers: partitions change owners: what handover.h decides of each is done here. Worker 0's, unless stated. */
#ifndef FANFARE_CLUSTER_HANDOVERS_H
#define FANFARE_CLUSTER_HANDOVERS_H

#include "base/lock.h"
#include "cluster/handover.h"

struct accepted_peer;
struct cluster;

/* A partition's handover, and its lock. */
struct cluster_partition {
    struct lock lock;
    struct handover handover;
    bool
        is_followed; /* in this life of the node some owner has known our interest; worker 0's, and the next */
    uint64_t warming_since_ns;  /* of the owner; 0: not warming */
    uint64_t unserved_since_ns; /* it cannot be used here; 0: it can */
    uint64_t acted_ns;          /* and something was done about that, or it began */
};

void handovers_init(struct cluster *c);
void handovers_follow_map(struct cluster *c);
void handovers_progress(struct cluster *c);
void handovers_soon(
    struct cluster *c); /* any thread: handovers_progress, in one of the next turns */
/* Does every partition's stream come to us, and is no other one on its way? Worker 0. */
bool handovers_are_settled(struct cluster *c);
void handovers_request_lost(struct cluster *c, uint32_t node);
void handovers_lane_lost(const struct accepted_peer *accepted, uint32_t lane_count,
                         bool is_clean); /* any thread */
void handovers_on_ready(struct cluster *c, uint32_t node,
                        const struct wire_ready *ready); /* any thread */
bool handovers_on_sync(struct accepted_peer *accepted,
                       const struct wire_sync *sync); /* any thread */
bool handovers_on_ask_end(struct accepted_peer *accepted,
                          const struct wire_ask_end *ask_end); /* any thread */
void handovers_tick(struct cluster *c);

#endif
