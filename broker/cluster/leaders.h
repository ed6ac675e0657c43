/* leaders: which node leads each partition's data, as far as the nodes have said so. One table for all workers.
 * A hint, and no more: who is asked and does not lead refuses, and is then doubted until some node says again that it
 * leads. Thread: any; no locks. */
#ifndef FANFARE_CLUSTER_LEADERS_H
#define FANFARE_CLUSTER_LEADERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "consensus/map/pmap.h"

struct leader {
    uint32_t node;
    uint64_t term; /* 0: nobody is known to lead */
};

/* Zeroed: nobody is known. */
struct leaders {
    atomic_uint_fast64_t packed[PMAP_PARTITIONS_MAX];
};

struct leader leaders_get(const struct leaders *leaders, uint32_t partition);

/* Somebody says so. False: it is known, or older than what is known. */
bool leaders_tell(struct leaders *leaders, uint32_t partition, struct leader leader);

/* It does not lead, or is not reached; if that is who was taken for the leader, nobody is now. */
void leaders_doubt(struct leaders *leaders, uint32_t partition, struct leader leader);

#endif
