/* node_shares_int: how much of a channel or a pattern each other node wants. */
#ifndef FANFARE_PUBSUB_NODE_SHARES_INT_H
#define FANFARE_PUBSUB_NODE_SHARES_INT_H

#include "base/check.h"
#include "pubsub/partition.h"

/* The shares of other nodes. Most channels have none: then there is no such struct. A share counts while its generation
 * is its node's: what a node wants of a partition, or of patterns, is forgotten by giving it a new generation. */
struct node_shares {
    uint32_t count; /* of share[] */
    uint32_t cap;
    struct node_share {
        uint32_t node;
        uint32_t generation;
        uint32_t count; /* never 0 */
    } share[];
};

/* By node. */
struct generations {
    uint32_t of[REMOTE_NODES_MAX];
};

/* node_shares.c */
/* Add to one node's share, or take away; a share never falls below 0 (what is taken away too much has been
 * forgotten before). What is forgotten goes. */
void node_shares_change(struct node_shares **shares, const struct generations *generations,
                        uint32_t node, int64_t change);
/* Remove what is forgotten. */
void node_shares_prune(struct node_shares **shares, const struct generations *generations);

static inline bool node_share_counts(const struct node_share *share,
                                     const struct generations *generations)
{
    return generations->of[share->node] == share->generation;
}

/* The sum of those that count. */
static inline uint64_t node_shares_total(const struct node_shares *shares,
                                         const struct generations *generations)
{
    uint64_t total = 0;
    for (uint32_t i = 0; UNLIKELY(shares != NULL) && i < shares->count; i++) {
        bool counts = node_share_counts(&shares->share[i], generations);
        total += counts ? shares->share[i].count : 0;
    }
    return total;
}

#endif
