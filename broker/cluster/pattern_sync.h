/* pattern_sync: this node's changes of patterns that are under way (interest_patterns.c). */
#ifndef FANFARE_CLUSTER_PATTERN_SYNC_H
#define FANFARE_CLUSTER_PATTERN_SYNC_H

#include "base/list.h"
#include "base/mailbox.h"
#include "base/map.h"
#include "consensus/map/pmap.h"

struct interest_change;
struct pattern_snapshot;

/* A pattern change that every member has to count. Worker 0's, but what lanes read under cluster.lock. */
struct pattern_op {
    struct list link;      /* in pattern_sync.under_way */
    struct list done_link; /* in pattern_sync.done */
    struct map_node by_id; /* in cluster.patterns, as long as it is under way */
    uint64_t id;
    struct interest_change *change;
    uint64_t awaited; /* members that have not acknowledged it, a bit each */
    bool is_given_up; /* nobody is waited for any longer */
    struct pattern_asked {
        uint64_t id; /* 0: not asked; else the op's, and in the low byte how often it was asked */
        uint32_t remaining; /* acknowledgements of that to come, one per lane of the node */
    } asked[PMAP_NODES_MAX];
    uint8_t asked_count; /* how often anybody was; it may start over */
};

/* This node's changes of patterns. Worker 0's. */
struct pattern_sync {
    struct list waiting;   /* struct interest_change: not begun */
    struct list under_way; /* struct pattern_op */
    struct list done;      /* struct pattern_op: those that may end */
    uint32_t under_way_count;
    struct pattern_snapshot
        *snapshot;     /* of all patterns, on its way to one node; NULL: there is none */
    struct list drops; /* struct interest_change: to be told behind it */
    struct task task;  /* a slice of the work in each turn */
    bool is_posted;
};

#endif
