/* pmap: one version of the partition map: who the members are and which of them owns each partition.
 * A frozen, counted value: built on the raft thread when the control group's state has changed, then
 * shared by all threads. Thread: any. */
#ifndef FANFARE_CONSENSUS_PMAP_H
#define FANFARE_CONSENSUS_PMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

enum {
    PMAP_NODES_MAX = 64,        /* members of a cluster */
    PMAP_PARTITIONS_MAX = 1024, /* of a cluster, fixed when it is created */
    PMAP_NAME_BYTES = 64,
    PMAP_HOST_BYTES = 256,
    PMAP_NOBODY = UINT32_MAX, /* no owner; no leader */
};

struct pmap_address {
    char host[PMAP_HOST_BYTES]; /* a name or an address; resolved at each connect */
    uint16_t port;
};

/* A member. Its place in pmap.node[] is its index: it keeps it for as long as it is a member, and a
 * later member may get it again. */
struct pmap_node {
    uint64_t id;          /* random, kept in its data directory; 0: no member has this index */
    uint64_t incarnation; /* higher each time it came up: a restart, or back after "down"; never
                             given twice in a cluster */
    char name[PMAP_NAME_BYTES];
    char zone[PMAP_NAME_BYTES];
    struct pmap_address client;
    struct pmap_address peer;
    struct pmap_address raft;
    bool is_up;
    bool is_draining;
    bool is_voter; /* of the control group */
};

/* `previous` is set while an orderly move may be unfinished, which it and the owner do together: it
 * owned the partition in the epoch before, and has been up in the same life since. */
struct pmap_partition {
    uint32_t owner;    /* index, or PMAP_NOBODY */
    uint32_t previous; /* likewise */
    uint64_t epoch;    /* one higher at each change of the owner, also to and from nobody */
};

struct pmap {
    atomic_uint refs;
    uint64_t version; /* the control log's index that made it; commands of one entry share it */
    uint64_t cluster_id;
    uint32_t partition_count;
    uint32_t node_count; /* places in node[], holes included; the last one is none */
    struct pmap_node *node;
    struct pmap_partition *partition;
};

/* Gives: a map with so many of them (nodes may be 0, partitions may not), one reference, all zero but
 * owners and previous (PMAP_NOBODY). Fill it before it is shared. */
MUST_USE struct pmap *pmap_new(uint32_t node_count, uint32_t partition_count);
struct pmap *pmap_ref(const struct pmap *map);
void pmap_unref(const struct pmap *map); /* NULL is allowed */

/* The partition of a slot: contiguous ranges, as even as they get. And a partition's first slot;
 * pmap_first_slot(count, count) is SLOT_COUNT. */
uint32_t pmap_partition_of_slot(uint32_t partition_count, uint32_t slot);
uint32_t pmap_first_slot(uint32_t partition_count, uint32_t partition);

/* Index of the member with that name or id, or PMAP_NOBODY. */
uint32_t pmap_find_name(const struct pmap *map, struct slice name);
uint32_t pmap_find_id(const struct pmap *map, uint64_t id);

#endif
