/* moves_int: what the files of the moves share. moves.c follows the map and the connections, moves_follow.c
 * tells owners elsewhere what this node wants, moves_own.c begins what this node owns. Worker 0's, unless stated. */
#ifndef FANFARE_CLUSTER_MOVES_INT_H
#define FANFARE_CLUSTER_MOVES_INT_H

#include "cluster/cluster_int.h"

/* Messages of those partitions have been lost on their way here, in front of this point of their order: whose clients
 * may have missed one is closed, on all workers, and sees nothing of what comes behind it. Any thread, also exclusive. */
void moves_missed(struct cluster *c, const bool *is_missing);
void moves_missed_one(struct cluster *c, uint32_t partition);

/* Bodies of directory_exclusive get one of these. */
struct turnover {
    struct cluster *cluster;
    bool *is_concerned; /* by partition */
    bool any;
    uint64_t members; /* up, without this node */
    bool is_reborn;   /* this node was declared down */
};

/* A partition, or what a node wants of one, may be many thousand names, and they are looked at as one. What a turn does of
 * that is bounded: when so many names have been looked at, the rest is for the next turn. */
/* False: not now, moves_progress comes again. Worker 0's, as the next. */
MUST_USE bool moves_may_work(struct cluster *c);
void moves_worked(struct cluster *c, size_t names);

struct turnover turnover_begin(struct cluster *c);
void turnover_end(struct turnover *t);

/* A member and a partition, for those bodies that concern one of each. */
struct latecomer {
    struct cluster *cluster;
    uint32_t partition;
    uint32_t node;
};

/* Has the member told this node, the owner, what it wants? Under the place's lock; worker 0's. */
static inline bool has_told(struct cluster *c, uint32_t p, uint32_t node)
{
    return handover_is_told(&c->place[p].handover, node, half_0(c)->map->node[node].incarnation);
}

/* moves_follow.c */
void follow_sync_owners(struct cluster *c);
void follow_ask_ends(struct cluster *c);

/* moves_watch.c */
void watch_tick(struct cluster *c);

/* moves_own.c */
void own_begin(struct cluster *c); /* partitions that every member has told its interest in */
void own_take_latecomers(struct cluster *c);
void own_answer_outdated(struct cluster *c);
void own_count(struct cluster *c);
/* Exclusive. */
void own_push_end(struct cluster *c, uint32_t p, uint64_t nodes, uint64_t epoch, uint64_t seq);

#endif
