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
#include "consensus/map/roster.h"

enum {
    PMAP_NODES_MAX = 64,        /* members of a cluster */
    PMAP_PARTITIONS_MAX = 1024, /* of a cluster, fixed when it is created */
    PMAP_REPLICAS_MAX = 6, /* of a partition's data: five, and one that takes another's place */
    PMAP_NAME_BYTES = 64,
    PMAP_HOST_BYTES = 256,
    PMAP_NOBODY = UINT32_MAX, /* no owner; no leader */
};

/* What the members' versions have in common; it never falls. */
enum {
    PMAP_LEVEL_OWNERS = 0,   /* who owns a partition */
    PMAP_LEVEL_REPLICAS = 1, /* and who has its data */
    PMAP_LEVEL_USERS = 2,    /* and who the cluster's users are */
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

/* One of the nodes that hold a partition's data. */
struct pmap_replica {
    uint64_t id;   /* in the partition's Raft group; never given twice there */
    uint32_t node; /* index of a member */
    bool is_voter; /* it was one when the group's leader told last how it stands */
};

/* `previous` is set while an orderly move may be unfinished, which it and the owner do together: it
 * owned the partition in the epoch before, and has been up in the same life since.
 * Who owns a partition orders its messages; its data are with the replicas, of whom one leads. The replicas are what is
 * wanted; the group's leader makes its Raft configuration so and tells: then it is settled. */
struct pmap_partition {
    uint32_t owner;        /* index, or PMAP_NOBODY */
    uint32_t previous;     /* likewise */
    uint64_t epoch;        /* one higher at each change of the owner, also to and from nobody */
    uint64_t change;       /* one higher at each change of the replicas */
    uint64_t replica_last; /* the highest id that was ever given */
    bool is_founded;       /* the group exists */
    bool is_settled; /* its voters are the replicas as of this change, and nobody else is in it */
    uint32_t replica_count;
    struct pmap_replica replica[PMAP_REPLICAS_MAX]; /* by rising id */
};

struct pmap {
    atomic_uint refs;
    uint64_t version; /* the control log's index that made it; commands of one entry share it */
    uint64_t cluster_id;
    uint64_t incarnation_last; /* the highest that was ever given to a member */
    uint32_t level;            /* of commands that all members understand: PMAP_LEVEL_... */
    uint64_t
        key_layout; /* 1 + the databases, as bits, whose keys are spread by slot; 0: nobody has said */
    uint32_t partition_count;
    uint32_t node_count; /* places in node[], holes included; the last one is none */
    struct pmap_node *node;
    struct pmap_partition *partition;
    struct roster *roster; /* a reference; NULL: the cluster has not agreed on its users yet */
};

/* Gives: a map with so many of them (nodes may be 0, partitions may not), one reference, all zero but
 * owners and previous (PMAP_NOBODY). Fill it before it is shared. */
MUST_USE struct pmap *pmap_new(uint32_t node_count, uint32_t partition_count);
/* Gives: a copy to be changed, with places for so many nodes; its version is 0. */
MUST_USE struct pmap *pmap_copy(const struct pmap *map, uint32_t node_count);
struct pmap *pmap_ref(const struct pmap *map);
void pmap_unref(const struct pmap *map); /* NULL is allowed */

/* Index of the member with that name or id, or PMAP_NOBODY. */
uint32_t pmap_find_name(const struct pmap *map, struct slice name);
uint32_t pmap_find_id(const struct pmap *map, uint64_t id);

/* A number for the member's zone, the same for all in it; one that has none is a zone of its own. */
uint32_t pmap_zone(const struct pmap *map, uint32_t index);

/* The partition's replica on that node, or with that id; NULL: there is none. */
const struct pmap_replica *pmap_replica_on(const struct pmap_partition *partition, uint32_t node);
const struct pmap_replica *pmap_replica_with(const struct pmap_partition *partition, uint64_t id);

/* The step of a replica more (with the next id) or less, in a map that is being made. */
void pmap_put_replica(struct pmap_partition *partition, uint32_t node);
void pmap_drop_replica(struct pmap_partition *partition, uint64_t id);

/* A partition's group is as the map wants it as of that change of its replicas. */
struct pmap_settled {
    uint32_t partition;
    uint64_t change;
};

#endif
