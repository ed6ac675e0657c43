/* node_shares: how much of a channel or a pattern each other node wants. */
#include "base/mem.h"
#include "pubsub/node_shares_int.h"

static struct node_share *share_find(struct node_shares *shares, uint32_t node, uint32_t generation)
{
    for (uint32_t i = 0; shares != NULL && i < shares->count; i++) {
        struct node_share *share = &shares->share[i];
        if (share->node == node && share->generation == generation) { return share; }
    }
    return NULL;
}

static struct node_share *share_new(struct node_shares **shares, uint32_t node, uint32_t generation)
{
    struct node_shares *old = *shares;
    if (old == NULL || old->count == old->cap) {
        uint32_t cap = old != NULL ? old->cap * 2 : 1;
        *shares = mem_resize(old, sizeof **shares + cap * sizeof(struct node_share));
        if (old == NULL) { **shares = (struct node_shares){0}; }
        (*shares)->cap = cap;
    }
    struct node_share *share = &(*shares)->share[(*shares)->count++];
    *share = (struct node_share){node, generation, 0};
    return share;
}

static void free_if_empty(struct node_shares **shares)
{
    if ((*shares)->count == 0) {
        mem_free(*shares);
        *shares = NULL;
    }
}

void node_shares_prune(struct node_shares **shares, const struct generations *generations)
{
    if (*shares == NULL) { return; }
    for (uint32_t i = (*shares)->count; i-- > 0;) {
        struct node_share *share = &(*shares)->share[i];
        if (!node_share_stays(share, generations)) {
            *share = (*shares)->share[--(*shares)->count];
        }
    }
    free_if_empty(shares);
}

static void change_share(struct node_shares **shares, uint32_t node, uint32_t generation,
                         int64_t change)
{
    struct node_share *share = share_find(*shares, node, generation);
    if (share == NULL && change <= 0) { return; }
    if (share == NULL) { share = share_new(shares, node, generation); }
    int64_t count = (int64_t)share->count + change;
    if (count < 0) { count = 0; }
    if (count > UINT32_MAX) { count = UINT32_MAX; }
    share->count = (uint32_t)count;
    if (count == 0) {
        *share = (*shares)->share[--(*shares)->count];
        free_if_empty(shares);
    }
}

void node_shares_change(struct node_shares **shares, const struct generations *generations,
                        uint32_t node, int64_t change)
{
    node_shares_prune(shares, generations);
    change_share(shares, node, generations->of[node], change);
}

void node_shares_stage(struct node_shares **shares, const struct generations *generations,
                       uint32_t node, uint32_t count)
{
    node_shares_prune(shares, generations);
    change_share(shares, node, generations->staged[node], count);
}
