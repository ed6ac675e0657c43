/* moves_int: what the files of the moves share. moves.c follows the map and the connections, moves_follow.c
 * tells owners elsewhere what this node wants, moves_own.c begins what this node owns. Worker 0's, unless stated. */
#ifndef FANFARE_CLUSTER_MOVES_INT_H
#define FANFARE_CLUSTER_MOVES_INT_H

#include "cluster/cluster_int.h"

/* Whose subscribers may have missed something. */
struct concern {
    struct directory *directory;
    bool everything;
    bool patterns;
    bool partition[];
};

struct concern *concern_new(const struct cluster *c);
/* Close them, on all workers. Takes: concern. Any thread. */
void concern_close(struct cluster *c, struct concern *concern);

/* Bodies of directory_exclusive get one of these. */
struct turnover {
    struct cluster *cluster;
    bool *is_concerned; /* by partition */
    bool any;
    struct picture *picture; /* by partition */
    uint64_t members;        /* up, without this node */
};

struct turnover turnover_begin(struct cluster *c);
void turnover_end(struct turnover *t);

/* A member and a partition, for those bodies that concern one of each. */
struct latecomer {
    struct cluster *cluster;
    uint32_t partition;
    uint32_t node;
};

static inline void partition_set_stale(struct remote_partition *at)
{
    at->phase = PARTITION_STALE;
    at->stale_count++;
}

/* Has the node told all it wants, to the owner of this epoch? Under the place's lock. */
static inline bool is_synced(const struct place *place, uint32_t node, uint64_t epoch)
{
    const struct staged *staged = place->staged[node];
    return staged != NULL && staged->is_done && staged->epoch == epoch;
}

/* moves_follow.c */
void follow_sync_owners(struct cluster *c);

/* moves_own.c */
void staged_free(struct place *place, uint32_t node);
void own_begin(struct cluster *c); /* partitions that every member has told its interest in */
void own_take_latecomers(struct cluster *c);
void own_answer_outdated(struct cluster *c);
void own_count(struct cluster *c);
/* Exclusive. */
void own_push_end(struct cluster *c, uint32_t p, uint64_t nodes, uint64_t epoch, uint64_t seq);

#endif
