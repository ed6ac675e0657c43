/* directory_table_int: the directory's tables, for directory.c (subscribers and publishes of this node) and
 * remote.c (what a cluster adds). */
#ifndef FANFARE_PUBSUB_DIRECTORY_TABLE_INT_H
#define FANFARE_PUBSUB_DIRECTORY_TABLE_INT_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "pubsub/directory_int.h"
#include "pubsub/patterns.h"
#include "pubsub/remote.h"

enum { DIRECTORY_STRIPES = 256 };

/* One worker's share of a channel or pattern. */
struct share {
    struct topic *topic; /* the worker's own; NULL exactly when count is 0 */
    uint64_t count;
};

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

/* Always: seated >= total + leaving; the rest are joins whose clients are gone. */
struct pattern {
    struct pattern_node node;
    uint64_t seated;  /* the sum of the workers' shares */
    uint64_t total;   /* those of them that this node counts when it orders */
    uint64_t joining; /* those of the total that others are being asked to count */
    uint64_t leaving; /* not of the total, but others are still being asked not to count them */
    struct node_shares *remote;
    struct share share[]; /* by worker; the text follows */
};

struct entry {
    struct map_node node;
    struct list remembered; /* in the stripe's list while it has no share at all */
    uint64_t total;         /* of the workers' shares */
    struct node_shares *remote;
    struct pattern **match; /* what matches this channel, valid while match_version is the set's */
    uint64_t match_version;
    uint32_t match_count;
    uint16_t partition;
    uint8_t kind;
    struct share share[]; /* by worker; the name follows */
};

struct stripe {
    _Alignas(64) struct lock lock;
    struct map entries;
    struct list remembered; /* oldest first */
    uint32_t remembered_count;
    uint64_t live_count[TOPIC_KINDS]; /* entries with a subscriber of this node */
};

struct member {
    struct fanout *fanout;
    struct mailbox *inbox;
    struct mailbox *lanes;
    void (*on_delivery)(struct task *task);
    atomic_size_t inbox_bytes; /* posted and not yet delivered */
    atomic_bool is_awaited;    /* somebody waits for inbox_bytes to fall */
};

struct partition {
    struct lock lock; /* inside a stripe's: numbers are given and lanes fed in one step */
    struct remote_partition at;
    uint64_t
        snapshot[REMOTE_NODES_MAX]; /* in force, of each node; 0: none. Written under all stripes */
    struct generations generations; /* written under all stripes */
};

/* What is forgotten has still to be removed: of channels, or of patterns. `forgotten` is written under all stripes. */
struct sweep {
    uint64_t forgotten; /* so many times something was */
    uint64_t
        swept; /* and so many times it had been when the last round began that has ended; under all stripes */
    uint64_t round; /* when this one began; the sweeper's, and the next */
    size_t at;      /* stripe, or bucket */
    size_t buckets; /* of the map when the round was there */
};

struct directory {
    struct stripe stripe[DIRECTORY_STRIPES];
    struct patterns *patterns; /* written under all stripes, read under any */
    uint64_t pattern_version;  /* likewise; starts at 1 so that 0 means "never matched" */
    struct member *member;
    uint32_t worker_count;
    uint64_t
        pattern_changes; /* so many times a pattern's local share has gone; under all stripes */
    struct generations pattern_generations; /* written under all stripes */
    struct sweep channel_sweep;
    struct sweep pattern_sweep;
    uint32_t partition_count;    /* 0: this node is no part of a cluster */
    struct partition *partition; /* phase, owner and epoch: written under all stripes */
    size_t lane_bytes_max;       /* a lane with more on it takes no further run */
    atomic_size_t *lane_bytes;   /* by worker and node: of runs, pushed and not taken */
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

/* Of the entry's partition. The node is in a cluster, if the entry has shares of others. */
static inline const struct generations *entry_generations(const struct directory *d,
                                                          const struct entry *entry)
{
    return &d->partition[entry->partition].generations;
}

static inline uint64_t entry_remote_total(const struct directory *d, const struct entry *entry)
{
    if (LIKELY(entry->remote == NULL)) { return 0; }
    return node_shares_total(entry->remote, entry_generations(d, entry));
}

/* Does nobody want it, here or elsewhere? */
static inline bool entry_is_unheard(const struct directory *d, const struct entry *entry)
{
    return entry->total == 0 && entry_remote_total(d, entry) == 0;
}

static inline bool pattern_is_unheard(const struct directory *d, const struct pattern *pattern)
{
    return pattern->seated == 0 && node_shares_total(pattern->remote, &d->pattern_generations) == 0;
}

/* forget.c */
/* Before the directory is freed: nobody else uses it any more. */
void directory_forget_all(struct directory *d);

uint64_t directory_hash(enum topic_kind kind, struct slice name);
struct stripe *stripe_lock(struct directory *d, uint64_t hash);
void stripe_unlock(struct stripe *stripe);
void directory_lock_all(struct directory *d);
void directory_unlock_all(struct directory *d);
/* What a change of subscriptions to the name needs: its stripe, or all of them for a pattern (then
 * the result is NULL, which name_unlock takes). */
struct stripe *name_lock(struct directory *d, enum topic_kind kind, uint64_t hash);
void name_unlock(struct directory *d, struct stripe *stripe);

/* Under the name's lock: */
struct entry *entry_find(struct stripe *stripe, struct slice name, uint64_t hash);
struct entry *entry_ensure(struct directory *d, struct stripe *stripe, enum topic_kind kind,
                           struct slice name, uint64_t hash);
/* The entry or pattern has lost a share: free it if that was the last of all. */
void entry_release(struct directory *d, struct stripe *stripe, struct entry *entry);
struct pattern *pattern_find(struct directory *d, struct slice text);
struct pattern *pattern_ensure(struct directory *d, struct slice text);
void pattern_release(struct directory *d, struct pattern *pattern);
/* A worker's share of a pattern loses a subscriber that is not in the pattern's total any more. */
void pattern_share_leave(struct directory *d, struct pattern *pattern, uint32_t worker);
/* The worker's own topic, or NULL. Of a pattern any stripe is enough. */
struct topic *local_topic(struct directory *d, struct stripe *stripe, uint32_t worker,
                          enum topic_kind kind, struct slice name, uint64_t hash);
void local_join(struct directory *d, struct stripe *stripe, uint32_t worker, enum topic_kind kind,
                struct slice name, uint64_t hash, struct topic *topic);
void local_leave(struct directory *d, struct stripe *stripe, uint32_t worker, enum topic_kind kind,
                 struct slice name, uint64_t hash);

/* The channel's entry with its pattern matches up to date; NULL if nobody can be interested. Under the
 * stripe. */
struct entry *entry_for_publish(struct directory *d, struct stripe *stripe, const struct run *run,
                                uint64_t hash);

/* Does this node order the run's partition, in the run's epoch? Under the stripe. */
MUST_USE bool remote_orders(const struct directory *d, const struct run *run);
/* May the run go on the lanes of run->nodes? Else sets run->is_held and full_node. */
MUST_USE bool remote_has_room(const struct directory *d, struct run *run);
/* Number the run and put it on the lanes of run->nodes. Under the stripe. */
void remote_push_run(struct directory *d, const struct run *run, struct shipment *shipment,
                     bool *woken);
/* Who must be told of a drop, and what becomes of its pending change. Under the name's lock. True: the
 * subscriber still has its share, which is to go. */
MUST_USE bool remote_note_drop(struct directory *d, struct directory_drop *drop);

#endif
