/* node_shares_int: how much of a channel or a pattern each other node wants. */
#ifndef FANFARE_PUBSUB_NODE_SHARES_INT_H
#define FANFARE_PUBSUB_NODE_SHARES_INT_H

#include "base/check.h"
#include "pubsub/partition.h"

/* The shares of other nodes. Most channels have none: then there is no such struct. A share counts while its generation
 * is its node's: what a node wants of a partition, or of patterns, is forgotten by giving it a new generation. What it
 * is about to want instead is staged under a generation to come, name by name, and comes into force as one. */
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
    uint32_t staged[REMOTE_NODES_MAX]; /* 0: none */
    uint32_t last[REMOTE_NODES_MAX];   /* that was given */
};

/* What is staged stays. */
static inline void generations_forget(struct generations *generations, uint32_t node)
{
    generations->of[node] = ++generations->last[node];
}

static inline void generations_unstage(struct generations *generations, uint32_t node)
{
    generations->staged[node] = 0;
}

static inline void generations_stage(struct generations *generations, uint32_t node)
{
    generations->staged[node] = ++generations->last[node];
}

static inline void generations_take_staged(struct generations *generations, uint32_t node)
{
    generations->of[node] = generations->staged[node];
    generations->staged[node] = 0;
}

/* node_shares.c */
/* Add to one node's share, or take away; a share never falls below 0 (what is taken away too much has been
 * forgotten before). What is forgotten goes. */
void node_shares_change(struct node_shares **shares, const struct generations *generations,
                        uint32_t node, int64_t change);
/* Add to what is staged of the node. */
void node_shares_stage(struct node_shares **shares, const struct generations *generations,
                       uint32_t node, uint32_t count);
/* Remove what is forgotten. */
void node_shares_prune(struct node_shares **shares, const struct generations *generations);

static inline bool node_share_counts(const struct node_share *share,
                                     const struct generations *generations)
{
    return generations->of[share->node] == share->generation;
}

/* Does it count, or is it to? */
static inline bool node_share_stays(const struct node_share *share,
                                    const struct generations *generations)
{
    uint32_t staged = generations->staged[share->node];
    return node_share_counts(share, generations) || (staged != 0 && staged == share->generation);
}

static inline bool node_shares_stay(const struct node_shares *shares,
                                    const struct generations *generations)
{
    for (uint32_t i = 0; UNLIKELY(shares != NULL) && i < shares->count; i++) {
        if (node_share_stays(&shares->share[i], generations)) { return true; }
    }
    return false;
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
