/* listing: PUBSUB's questions about this node. */
#include "pubsub/table_int.h"

uint64_t directory_subscribers(struct directory *d, enum topic_kind kind, struct slice name)
{
    CHECK(kind != TOPIC_PATTERN);
    uint64_t hash = directory_hash(kind, name);
    struct stripe *stripe = stripe_lock(d, hash);
    const struct entry *entry = entry_find(stripe, name, hash);
    uint64_t total = entry != NULL ? entry->total + entry_remote_total(d, entry) : 0;
    stripe_unlock(stripe);
    return total;
}

/* In a cluster a channel is shown by the node that orders it. */
static bool is_shown(const struct directory *d, const struct entry *entry, enum topic_kind kind)
{
    return entry->kind == kind && entry->total + entry_remote_total(d, entry) > 0 &&
           (d->partition_count == 0 || d->partition[entry->partition].at.phase == PARTITION_OWNED);
}

static void each_pattern(struct directory *d, void (*visit)(void *arg, struct slice name),
                         void *arg)
{
    struct stripe *stripe = stripe_lock(d, 0);
    struct pattern_node *node = NULL;
    while ((node = patterns_next(d->patterns, node)) != NULL) {
        const struct pattern *pattern = CONTAINER_OF(node, struct pattern, node);
        bool is_shown = pattern->attached > 0 ||
                        node_shares_total(pattern->remote, &d->pattern_generations) > 0;
        if (is_shown) { visit(arg, node->by_text.key); }
    }
    stripe_unlock(stripe);
}

void directory_each(struct directory *d, enum topic_kind kind,
                    void (*visit)(void *arg, struct slice name), void *arg)
{
    if (kind == TOPIC_PATTERN) {
        each_pattern(d, visit, arg);
        return;
    }
    for (uint64_t i = 0; i < DIRECTORY_STRIPES; i++) {
        struct stripe *stripe = stripe_lock(d, i << 56);
        struct map_node *node = NULL;
        while ((node = map_next(&stripe->entries, node)) != NULL) {
            const struct entry *entry = CONTAINER_OF(node, struct entry, node);
            if (is_shown(d, entry, kind)) { visit(arg, node->key); }
        }
        stripe_unlock(stripe);
    }
}

static void count_one(void *arg, struct slice name)
{
    (void)name;
    ++*(uint64_t *)arg;
}

static bool any_is_staged(const struct directory *d)
{
    uint32_t staged = 0;
    for (uint32_t node = 0; node < REMOTE_NODES_MAX; node++) {
        staged |= d->pattern_generations.staged[node];
    }
    return staged != 0;
}

/* Those that are forgotten and not swept yet are still in the set, and those that are staged are already. */
static uint64_t pattern_count(struct directory *d)
{
    struct stripe *stripe = stripe_lock(d, 0);
    bool is_exact = d->pattern_sweep.forgotten == d->pattern_sweep.swept && !any_is_staged(d);
    uint64_t count = patterns_count(d->patterns);
    stripe_unlock(stripe);
    if (is_exact) { return count; }
    count = 0;
    each_pattern(d, count_one, &count);
    return count;
}

uint64_t directory_count(struct directory *d, enum topic_kind kind)
{
    if (kind == TOPIC_PATTERN) { return pattern_count(d); }
    uint64_t count = 0;
    for (uint64_t i = 0; i < DIRECTORY_STRIPES; i++) {
        struct stripe *stripe = stripe_lock(d, i << 56);
        count += stripe->live_count[kind];
        stripe_unlock(stripe);
    }
    return count;
}
