/* fanout_int: one worker's index (channels.c), its turn (fanout.c) and what it hands out (deliver.c).
 *
 * What a turn brings for a topic is a chain of deliveries, in the order of the mailbox. A subscriber
 * with a single subscription has a solo attachment: it is written straight from its topic's chain. One
 * with several has multi attachments and a list of its own, so that it sees its channels in their common
 * order. Attachments change only when the chain is flushed, so a delivery is for exactly those who were
 * attached when it was made. */
#ifndef FANFARE_PUBSUB_FANOUT_INT_H
#define FANFARE_PUBSUB_FANOUT_INT_H

#include "base/block.h"
#include "base/mailbox.h"
#include "pubsub/change.h"
#include "pubsub/change_int.h"
#include "pubsub/fanout.h"
#include "pubsub/gap_int.h"
#include "pubsub/msg.h"
#include "pubsub/remote.h"
#include "pubsub/run_int.h"
#include "pubsub/topic_int.h"

enum {
    FANOUT_ARENA_BYTES =
        65536, /* small messages of this worker's publishers share blocks of this size */
    FANOUT_LARGE_BYTES =
        16384, /* from here on a frame has a block of its own, and is referenced, not copied */
    FANOUT_BACKLOG_BYTES = 16384, /* blocks of what a topic's slow subscribers have yet to get */
    FANOUT_BATCH_DELIVERIES =
        30, /* in one send: a delivery has two parts; a send takes CONN_IOV_MAX; */
    FANOUT_BATCH_DELIVERIES_MAX =
        512, /* or so many if they are short enough to be copied together */
    FANOUT_SCRATCH_BYTES_MAX =
        8 << 20,                  /* made for the deliveries of patterns; then they are flushed */
    FANOUT_ARRAY_KEPT = 4096,     /* larger arrays are given back when they stand empty */
    FANOUT_DROPS_PER_TURN = 2048, /* subscriptions of those that leave */
    FANOUT_GATHER_DELIVERIES =
        4, /* more small deliveries than this are copied together before they are sent */
};

enum { VERSION_RESP2, VERSION_RESP3, VERSIONS };

/* Spans of a delivery's bytes that outlive the turn: the head, and the tail if there is one. */
struct kept {
    struct span span[2];
};

/* Frames for one topic. Small: all of it is `head`. Large, always one frame: `head` and, shared,
 * `tail`. */
struct delivery {
    struct topic *topic;
    const char *head[VERSIONS]; /* RESP3's is made when first needed */
    const char *tail;
    struct block
        *block; /* holds head or, if there is one, tail; NULL: head is in the turn's scratch */
    struct kept *kept[VERSIONS]; /* what batch_keep made; NULL: not yet */
    size_t head_len;
    size_t tail_len;
    size_t prefix_bytes; /* of each frame in a small head */
    uint32_t message_count;
    uint32_t next; /* in the topic's chain */
};

struct subscription {
    struct list link; /* in the subscriber's list */
    struct topic *topic;
    struct subscriber *subscriber;
    uint32_t attached_at;
    bool is_solo;
    bool is_in_transit; /* then it has no attachment */
    bool is_dropped;    /* out of the directory: its client is going away */
};

/* In the place of an attachment: a subscription to a pattern that not all owners count yet, or not all have ceased to.
 * What its subscriber is shown goes to the subscriber's own list, as from a multi attachment. It outlives its
 * subscription, so that the topic stays for as long as the directory names it. */
struct transit {
    struct transit *next; /* of the same topic */
    struct topic *topic;
    struct subscription *subscription; /* NULL: its client is gone */
    bool is_join;
    uint64_t acknowledged[REMOTE_NODES_MAX]; /* lanes of each node, a bit each */
};

/* (subscriber, topic) -> subscription: open addressing, linear probing. */
struct subscription_table {
    struct subscription **slot;
    uint32_t slot_count;
    uint32_t count;
};

/* Of tables of two sizes: a worker may have a million subscriptions, and moves to another size a few at a time.
 * Always: what is in `old` is above `old_at`, or has been pushed along over the end. */
struct subscription_set {
    struct subscription_table now;
    struct subscription_table old; /* empty, or being moved */
    uint32_t old_at;               /* slots below this one are done with */
};

static inline uint32_t subscription_set_count(const struct subscription_set *set)
{
    return set->now.count + set->old.count;
}

/* Whose publishes wait for the commit: `count` in a row of one publisher in one run. */
struct publish_record {
    void *publisher;
    uint32_t run;
    uint32_t count;
    bool is_silent;
};

/* The worker's own index change, on its way through its inbox. */
struct index_change {
    struct task task;
    struct fanout *fanout;
    struct subscription *subscription;
    bool is_join;
};

struct fanout {
    struct directory *directory;
    struct mailbox *const *mailbox;
    const struct fanout_ops *ops;
    uint32_t index;
    uint32_t worker_count;
    struct mailbox inbox;
    struct index_change change;
    struct subscription_set subscriptions;
    bool *woken; /* by worker; scratch of a commit */

    struct block *arena; /* this turn's small messages are appended here */
    struct run *run;     /* published and not yet ordered */
    uint32_t run_count;
    uint32_t run_cap;
    struct publish_record *record;
    uint32_t record_count;
    uint32_t record_cap;

    struct delivery *delivery; /* ordered and not yet flushed */
    uint32_t delivery_count;
    uint32_t delivery_cap;
    size_t taken_bytes; /* of the postings taken since the last flush */
    uint32_t
        delivery_sealed;  /* deliveries below this one do not grow: somebody has been given them */
    struct topic **dirty; /* had a chain in this turn, or dead */
    uint32_t dirty_count;
    uint32_t dirty_cap;
    struct subscriber **to_flush; /* with something pending; a slot whose subscriber left is NULL */
    uint32_t to_flush_count;
    uint32_t to_flush_cap;
    struct subscriber **leaving; /* on their way out; oldest first */
    uint32_t leaving_count;
    uint32_t leaving_cap;
    uint32_t drops_left;   /* subscriptions that may still be removed in this turn */
    struct block *scratch; /* bytes made on this worker for this turn */
    struct block **scratch_full;
    uint32_t scratch_full_count;
    uint32_t scratch_full_cap;
    size_t scratch_bytes;
    char *gathered
        [VERSIONS]; /* small deliveries of the batch that is being delivered, copied together */
    uint32_t tick_count;
    struct gap gap;

    const struct fanout_remote_ops *remote; /* NULL: not in a cluster */
    void *remote_arg;
    struct mailbox lanes;
    uint32_t change_count; /* of clients, not told yet */
    struct list changed;   /* interest_change.link: to be told */
    struct list settled;   /* shipment.link: to be told */
    struct list doubted; /* shipment.link: ordered under a lease that does not hold at the moment */
    struct shipment *spare;
};

/* channels.c */
struct subscription *subscription_find(const struct fanout *fanout,
                                       const struct subscriber *subscriber,
                                       const struct topic *topic);
/* Enlist and attach the subscription; or detach and free it. Chains that the change would falsify
 * are flushed first. */
void subscription_add(struct fanout *fanout, struct subscription *subscription);
void subscription_remove(struct fanout *fanout, struct subscription *subscription);
/* The same for one in transit: enlisted without an attachment; detached into transit; attached from there. */
void subscription_enlist(struct fanout *fanout, struct subscription *subscription);
void subscription_detach(struct fanout *fanout, struct subscription *subscription);
void subscription_attach(struct fanout *fanout, struct subscription *subscription);
/* The same for a subscriber that is to hear nothing more. */
void subscription_discard(struct fanout *fanout, struct subscription *subscription);

/* transit.c */
void transit_begin(struct interest_change *change);
void transit_end(struct interest_change *change);
/* The subscription is about to be freed. */
void transit_forget(const struct subscription *subscription);

/* deliver.c */
/* Make deliveries of what one posting brings. Borrows it. */
void posting_take(struct fanout *fanout, const struct posting *posting);
/* The topic is looked at again at the end of the turn. */
void topic_mark_dirty(struct fanout *fanout, struct topic *topic);
/* What waits for this subscriber is not to be delivered. */
void subscriber_forget_pending(struct fanout *fanout, struct subscriber *subscriber);
/* Deliver what waits for the topic's solo attachments, or for one subscriber. */
void fanout_flush_topic(struct fanout *fanout, struct topic *topic);
void fanout_flush_subscriber(struct fanout *fanout, struct subscriber *subscriber);

/* fanout.c */
/* Before run `at` of the turn is ordered: what it and those behind it need is fetched. */
void runs_foresee(struct fanout *fanout, uint32_t at);
void topic_retire_if_empty(struct fanout *fanout, struct topic *topic);
void fanout_wake(struct fanout *fanout);                    /* any thread */
void fanout_wake_others(struct fanout *fanout);             /* those who are in fanout->woken */
void fanout_push(struct fanout *fanout, struct task *task); /* into its inbox; any thread */

/* leave.c */
/* A turn's share of what those who are on their way out had. */
void fanout_leave_turn(struct fanout *fanout);
/* All of it. */
void fanout_leave_all(struct fanout *fanout);

/* shipments.c */
void shipments_init(struct fanout *fanout);
void shipments_fini(struct fanout *fanout);
void shipments_settle(struct fanout *fanout); /* tell those whose fate is known */
/* In a cluster: order all runs, answer or defer. */
void fanout_commit_remote(struct fanout *fanout);

/* changes.c */
void changes_tell(struct fanout *fanout); /* those that have ended */
/* Ask the cluster for a change. */
void fanout_change_elsewhere(struct fanout *fanout, struct subscriber *subscriber,
                             enum topic_kind kind, struct slice name, bool is_join, void *waiter);
/* Its client is going away, and is not told. */
void fanout_forget_change(struct interest_change *change);
void fanout_tell_drop(struct fanout *fanout, const struct directory_drop *drop);

/* Room for one more element in a growable array. */
#define ARRAY_GROW(array, count, cap)                                       \
    do {                                                                    \
        if ((count) == (cap)) {                                             \
            (cap) = (cap) > 0 ? (cap)*2 : 16;                               \
            (array) = mem_resize((array), (size_t)(cap) * sizeof *(array)); \
        }                                                                   \
    } while (0)

/* What a burst has made large and has left empty. */
#define ARRAY_GIVE_BACK(array, count, cap)               \
    do {                                                 \
        if ((count) == 0 && (cap) > FANOUT_ARRAY_KEPT) { \
            mem_free(array);                             \
            (array) = NULL;                              \
            (cap) = 0;                                   \
        }                                                \
    } while (0)

#endif
