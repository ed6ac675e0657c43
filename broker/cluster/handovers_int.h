/* handovers_int: what the files of the handovers share. handovers.c follows the map and the connections, handover_follow.c
 * tells owners elsewhere what this node wants, handover_own.c begins what this node owns. Worker 0's, unless stated. */
#ifndef FANFARE_CLUSTER_HANDOVERS_INT_H
#define FANFARE_CLUSTER_HANDOVERS_INT_H

#include "cluster/cluster_int.h"
#include "cluster/handovers.h"

/* Messages of those partitions have been lost on their way here, in front of this point of their order: whose clients
 * may have missed one is closed, on all workers, and sees nothing of what comes behind it. Any thread, also exclusive. */
void handovers_missed(struct cluster *c, const bool *is_missing);
void handovers_missed_one(struct cluster *c, uint32_t partition);

/* Bodies of directory_exclusive get one of these. */
struct turnover {
    struct cluster *cluster;
    bool *is_affected; /* by partition */
    bool any;
    uint64_t members; /* up, without this node */
    bool is_reborn;   /* this node was declared down */
};

/* A partition, or what a node wants of one, may be many thousand names, and they are looked at as one. What a turn does of
 * that is bounded: when so many names have been looked at, the rest is for the next turn. */
/* False: not now, handovers_progress comes again. Worker 0's, as the next. */
MUST_USE bool handovers_may_work(struct cluster *c);
void handovers_worked(struct cluster *c, size_t names);

struct turnover turnover_begin(struct cluster *c);
void turnover_end(struct turnover *t);

/* A member and a partition, for those bodies that concern one of each. */
struct latecomer {
    struct cluster *cluster;
    uint32_t partition;
    uint32_t node;
};

/* Has the member told this node, the owner, what it wants? Under the partition's lock; worker 0's. */
static inline bool has_told(struct cluster *c, uint32_t p, uint32_t node)
{
    return handover_is_told(&c->partition[p].handover, node,
                            cluster_worker_0(c)->map->node[node].incarnation);
}

/* handover_follow.c */
void follow_sync_owners(struct cluster *c);
void follow_ask_ends(struct cluster *c);

/* handover_watch.c */
void watch_tick(struct cluster *c);

/* handover_own.c */
void own_begin(struct cluster *c); /* partitions that every member has told its interest in */
void own_take_latecomers(struct cluster *c);
void own_answer_outdated(struct cluster *c);
void own_count(struct cluster *c);
/* Exclusive. */
void own_push_end(struct cluster *c, uint32_t p, uint64_t nodes, uint64_t epoch, uint64_t seq);

#endif
