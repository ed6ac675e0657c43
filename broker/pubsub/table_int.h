/* table_int: the directory's tables: channels in stripes, the pattern set, each with what workers and other nodes
 * want of it. */
#ifndef FANFARE_PUBSUB_TABLE_INT_H
#define FANFARE_PUBSUB_TABLE_INT_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/mailbox.h"
#include "base/map.h"
#include "pubsub/directory.h"
#include "pubsub/node_shares_int.h"
#include "pubsub/partition.h"
#include "pubsub/patterns.h"
#include "pubsub/run_int.h"

/* A worker, as the directory knows it. Whoever pushes to its inbox or its lanes wakes it afterwards. */
struct directory_member {
    struct fanout *fanout;
    struct mailbox *inbox;   /* takes its postings and its own index changes */
    struct mailbox *lanes;   /* in a cluster: takes what is for other nodes */
    struct mailbox *sleeper; /* wakes it */
    void (*on_posting)(struct task *task);
};
/* Before the workers start. Copies: member. */
void directory_attach(struct directory *directory, uint32_t worker,
                      const struct directory_member *member);
/* What the items of this worker's lanes call, and with which `remote_arg`. Likewise. */
void directory_feed_lanes(struct directory *directory, uint32_t worker,
                          void (*on_lane_item)(struct task *task), void *remote_arg);

enum { DIRECTORY_STRIPES = 256 };

/* One worker's share of a channel or pattern. */
struct share {
    struct topic *topic; /* the worker's own; NULL exactly when count is 0 */
    uint64_t count;
};

/* Always: attached >= total + leaving; the rest are joins whose clients are gone. */
struct pattern {
    struct pattern_node node;
    uint64_t attached; /* the sum of the workers' shares */
    uint64_t total;    /* those of them that this node counts when it orders */
    uint64_t joining;  /* those of the total that others are being asked to count */
    uint64_t leaving;  /* not of the total, but others are still being asked not to count them */
    struct node_shares *remote;
    struct share share[]; /* by worker; the text follows */
};

struct entry {
    struct map_node node;
    struct list link; /* in a list of the stripe: of what is local, or of what is remembered */
    uint64_t total;   /* of the workers' shares */
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
    struct list remembered; /* entries without any share; oldest first */
    uint32_t remembered_count;
    struct list *local; /* in a cluster, by partition: entries with a subscriber of this node */
    uint64_t live_count[TOPIC_KINDS]; /* entries with a subscriber of this node */
};

struct member {
    struct directory_member is;
    void (*on_lane_item)(
        struct task *task); /* in a cluster, and the next: as directory_feed_lanes says */
    void *remote_arg;
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

/* Does nobody want it, here or elsewhere, nor is about to? */
static inline bool entry_is_unheard(const struct directory *d, const struct entry *entry)
{
    if (LIKELY(entry->remote == NULL)) { return entry->total == 0; }
    return entry->total == 0 && !node_shares_stay(entry->remote, entry_generations(d, entry));
}

static inline bool pattern_is_unheard(const struct directory *d, const struct pattern *pattern)
{
    return pattern->attached == 0 && !node_shares_stay(pattern->remote, &d->pattern_generations);
}

/* forget.c */
/* Before the directory is freed: nobody else uses it any more. */
void directory_forget_all(struct directory *d);

static inline void member_wake(struct directory *d, uint32_t worker)
{
    mailbox_wake(d->member[worker].is.sleeper);
}

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
struct entry *entry_for_publish(struct directory *d, struct stripe *stripe, const struct run *run);

#endif
