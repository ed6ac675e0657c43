/* forget: what other nodes want is void, at once; and removed later, a slice at a time. A node may want a million
 * channels, so nothing here looks at all of them under a lock. */
#include "pubsub/interest.h"
#include "pubsub/table_int.h"

enum {
    STRIPES_PER_SWEEP = 4,
    BUCKETS_PER_SWEEP = 1024,
    PATTERNS_PER_SWEEP = 256, /* removed under all stripes */
};

/* ---- at once, exclusive ---- */

static void forget_share(struct partition *partition, uint32_t node)
{
    generations_forget(&partition->generations, node);
    partition->snapshot[node] = 0;
}

static void forget_partition(struct directory *d, uint32_t partition)
{
    for (uint32_t node = 0; node < REMOTE_NODES_MAX; node++) {
        forget_share(&d->partition[partition], node);
    }
}

void directory_forget_interest(struct directory *d, const bool *is_affected)
{
    for (uint32_t p = 0; p < d->partition_count; p++) {
        if (is_affected[p]) {
            forget_partition(d, p);
            d->channel_sweep.forgotten++;
        }
    }
}

static void forget_patterns(struct directory *d, uint32_t node)
{
    generations_forget(&d->pattern_generations, node);
    generations_unstage(&d->pattern_generations, node);
    d->pattern_sweep.forgotten++;
}

void directory_forget_node(struct directory *d, uint32_t node)
{
    for (uint32_t p = 0; p < d->partition_count; p++) {
        forget_share(&d->partition[p], node);
        generations_unstage(&d->partition[p].generations, node);
        d->channel_sweep.forgotten++;
        d->partition[p].at.followers &= ~(1ULL << node);
    }
    forget_patterns(d, node);
}

/* ---- later ---- */

static void sweep_channel(struct directory *d, struct entry *entry, struct list *unheard)
{
    if (entry->remote == NULL) { return; }
    node_shares_prune(&entry->remote, entry_generations(d, entry));
    bool is_kept = !entry_is_unheard(d, entry) || list_is_linked(&entry->link);
    if (!is_kept) { list_push_back(unheard, &entry->link); }
}

/* The map may shrink when the first entry goes: they go when all have been looked at. */
static void sweep_stripe(struct directory *d, struct stripe *stripe)
{
    struct list unheard;
    list_init(&unheard);
    for (struct map_node *at = map_next(&stripe->entries, NULL); at != NULL;
         at = map_next(&stripe->entries, at)) {
        sweep_channel(d, CONTAINER_OF(at, struct entry, node), &unheard);
    }
    LIST_EACH (at, &unheard) {
        list_remove(at);
        entry_release(d, stripe, CONTAINER_OF(at, struct entry, link));
    }
}

static bool begin_round(struct sweep *sweep, uint64_t forgotten)
{
    if (sweep->at == 0) { sweep->round = forgotten; }
    return sweep->swept != sweep->round;
}

static bool sweep_channels(struct directory *d)
{
    struct sweep *sweep = &d->channel_sweep;
    for (unsigned i = 0; i < STRIPES_PER_SWEEP; i++) {
        struct stripe *stripe = &d->stripe[sweep->at];
        lock_take(&stripe->lock);
        bool is_needed = begin_round(sweep, sweep->forgotten);
        if (is_needed) { sweep_stripe(d, stripe); }
        stripe_unlock(stripe);
        if (!is_needed) { return false; }
        sweep->at = (sweep->at + 1) % DIRECTORY_STRIPES;
        if (sweep->at == 0) { sweep->swept = sweep->round; }
    }
    return true;
}

/* Look at some buckets of the set, until there is enough to remove. is_last: there are no more. */
static uint32_t look_at_patterns(struct directory *d, struct pattern **unheard, bool *is_last)
{
    struct sweep *sweep = &d->pattern_sweep;
    const struct map *set = patterns_by_text(d->patterns);
    if (set->bucket_count < sweep->buckets) { sweep->at = 0; } /* what is ahead has moved behind */
    sweep->buckets = set->bucket_count;
    *is_last = false;
    uint32_t count = 0;
    size_t end = sweep->at + BUCKETS_PER_SWEEP;
    for (; sweep->at < set->bucket_count && sweep->at < end; sweep->at++) {
        for (struct map_node *at = set->bucket[sweep->at]; at != NULL; at = at->next) {
            struct pattern *pattern = CONTAINER_OF(at, struct pattern, node.by_text);
            node_shares_prune(&pattern->remote, &d->pattern_generations);
            if (!pattern_is_unheard(d, pattern)) { continue; }
            if (count == PATTERNS_PER_SWEEP) { return count; } /* this bucket once more */
            unheard[count++] = pattern;
        }
    }
    *is_last = sweep->at >= set->bucket_count;
    return count;
}

static bool sweep_patterns(struct directory *d)
{
    struct sweep *sweep = &d->pattern_sweep;
    struct stripe *stripe = stripe_lock(d, 0);
    bool is_needed = begin_round(sweep, sweep->forgotten);
    stripe_unlock(stripe);
    if (!is_needed) { return false; }
    struct pattern *unheard[PATTERNS_PER_SWEEP];
    directory_lock_all(d);
    bool is_last;
    uint32_t count = look_at_patterns(d, unheard, &is_last);
    for (uint32_t i = 0; i < count; i++) {
        pattern_release(d, unheard[i]);
    }
    if (is_last) {
        sweep->at = 0;
        sweep->swept = sweep->round;
    }
    directory_unlock_all(d);
    return true;
}

bool directory_sweep(struct directory *d)
{
    if (d->partition_count == 0) { return false; }
    bool goes_on = sweep_channels(d);
    return sweep_patterns(d) || goes_on;
}

void directory_forget_all(struct directory *d)
{
    for (uint32_t node = 0; d->partition_count > 0 && node < REMOTE_NODES_MAX; node++) {
        directory_forget_node(d, node);
    }
    while (directory_sweep(d)) {}
}
