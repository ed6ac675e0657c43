/* remote: what the directory does when the node is part of a cluster (cluster/ calls it): it knows
 * which partitions are ordered here, counts the interest of other nodes, and feeds their lanes at the
 * sequence point.
 * A run that is ordered here goes, under its channel's stripe, to the workers' inboxes and to the lane of each
 * node with interest; interest changes of other nodes are counted, and acknowledged on the lane, under the
 * same lock. So a node sees in its lane exactly the messages for which it was counted, between the
 * acknowledgements of its changes. */
#ifndef FANFARE_PUBSUB_REMOTE_H
#define FANFARE_PUBSUB_REMOTE_H

#include "base/block.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/map.h"
#include "pubsub/directory.h"
#include "pubsub/fanout.h"
#include "pubsub/origin.h"

enum { REMOTE_NODES_MAX = 64, REMOTE_NOBODY = UINT32_MAX };

/* What this node may do for a partition's channels. */
enum partition_phase {
    PARTITION_STALE, /* nothing: its owner is not known, or knows nothing of our clients' interest */
    PARTITION_SYNCED, /* its owner has been sent our interest; changes from now on wait for READY */
    PARTITION_READY,  /* its owner counts our interest: changes and publishes go to it */
    PARTITION_OWNED,  /* ordered here */
};

struct remote_partition {
    enum partition_phase phase;
    uint32_t owner; /* node index, or REMOTE_NOBODY */
    uint64_t epoch;
    uint64_t seq; /* OWNED: the last number given */
    /* The number of the newest snapshot of our clients' interest: one is taken when it is told to an owner, and
     * when this node begins to order. A change belongs to the one it was sent after. */
    uint64_t snapshot;
    uint64_t
        followers; /* OWNED: nodes that follow its stream, a bit each; patterns of others do not
                             count: what is sent to them they could not place */
};

/* Something for a lane, in its order. The poster allocates, the lane's worker frees. */
enum lane_item_type { LANE_RUN, LANE_ACK, LANE_END, LANE_READY };
struct lane_item {
    struct task task;
    void *half; /* of the lane's worker: fanout_set_remote's arg */
    enum lane_item_type type;
    uint64_t nodes; /* bit per node index */
    uint32_t partition;
    uint64_t epoch;
    uint64_t snapshot; /* READY */
    uint64_t seq;      /* RUN: of the first message; END: the last one */
    uint64_t *
        ids; /* ACK: what is acknowledged; then the last numbers given before it (InterestAck.seq); the
                      item owns the array, which is one */
    uint32_t id_count;
    uint32_t seq_count;
    enum topic_kind kind;
    bool is_recovered; /* RUN */
    bool is_missed;    /* READY */
    uint32_t message_count;
    struct span span;          /* RUN: owns a reference on its block */
    struct shipment *shipment; /* RUN: settled when all lanes have taken it; NULL: nobody waits */
    uint32_t waits;            /* the lane's worker's: sockets that have not taken it yet */
};

/* ---- the partitions ---- */

/* Before the workers start: this node is part of a cluster. A lane that has more than lane_bytes_max of runs on it
 * takes no further one. */
void directory_set_partitions(struct directory *directory, uint32_t partition_count,
                              size_t lane_bytes_max);
uint32_t directory_partition_of(const struct directory *directory, struct slice channel);

/* Call `body` while no worker publishes, subscribes or reads a partition's state. It may use the functions
 * below that say "exclusive". Thread: any. */
void directory_exclusive(struct directory *directory, void (*body)(void *arg), void *arg);

/* Exclusive to write. To read on the way: directory_partition_peek, a copy, any thread. */
struct remote_partition *directory_partition(struct directory *directory, uint32_t partition);
struct remote_partition directory_partition_peek(struct directory *directory, uint32_t partition);

/* Each channel with a subscriber of this node, and how many; or each pattern: without the joins and with the
 * leaves that have begun and not ended. Exclusive. */
void directory_each_local(struct directory *directory, enum topic_kind kind,
                          void (*visit)(void *arg, uint32_t partition, enum topic_kind kind,
                                        struct slice name, uint64_t count),
                          void *arg);

/* How often a pattern has lost a subscriber here: drops of patterns carry the count after them as epoch.
 * Exclusive. */
uint64_t directory_pattern_changes(struct directory *directory);

/* From now on what the node wants of the partition is what its snapshot of that number said, and what it adds to
 * that. Exclusive. */
void directory_set_snapshot(struct directory *directory, uint32_t node, uint32_t partition,
                            uint64_t snapshot);

/* Forgetting takes no longer for many names than for few: it is removed by directory_sweep. */
/* Forget what other nodes want of the partitions for which `concerns` is true. Exclusive. */
void directory_forget_interest(struct directory *directory, const bool *concerns);
/* Forget what one node wants, of channels and patterns. Exclusive. */
void directory_forget_node(struct directory *directory, uint32_t node);
/* The node wants so much of a channel or pattern; added to what is counted. Exclusive. */
void directory_add_interest(struct directory *directory, uint32_t node, enum topic_kind kind,
                            struct slice name, uint32_t count);
/* Before a new picture of it: forget what one node wants of one partition, or of patterns. Exclusive. */
void directory_forget_node_partition(struct directory *directory, uint32_t node,
                                     uint32_t partition);
void directory_forget_node_patterns(struct directory *directory, uint32_t node);

/* Remove a part of what is forgotten: some milliseconds at most for a million names. False: there is nothing left.
 * Thread: worker 0, at its ticks. */
bool directory_sweep(struct directory *directory);

/* ---- the owner's side ---- */

/* Feed a lane: takes item. Ordered with everything else only under a lock: exclusive, or for its own. */
void directory_push_lane(struct directory *directory, struct lane_item *item);
/* Wake the lanes' workers after directory_push_lane from outside a worker's turn. */
void directory_wake_lanes(struct directory *directory);
/* So many bytes of runs that were pushed for the node have left worker `lane`'s lane, or never will. True: it was
 * full and is not any more. Thread: the lane's. */
MUST_USE bool directory_lane_taken(struct directory *directory, uint32_t lane, uint32_t node,
                                   size_t bytes);
/* Gives: an item with the partition's present epoch, the rest zero. Exclusive. */
MUST_USE struct lane_item *lane_item_new(struct directory *directory, enum lane_item_type type,
                                         uint64_t nodes, uint32_t partition);

/* A node's change of interest in a channel, +n or -n. Counted and acknowledged (id not 0) under the stripe. False:
 * the partition is not ordered here in this epoch; nothing has happened. */
struct interest_told {
    uint32_t node;
    uint32_t partition;
    uint64_t epoch;
    uint64_t snapshot; /* that it adds to; 0: any */
    enum topic_kind kind;
    struct slice name;
    int32_t change;
    uint64_t id;
};
MUST_USE bool directory_change_interest(struct directory *directory,
                                        const struct interest_told *told);

/* Patterns change while nobody publishes: in groups of at most so many. */
enum { PATTERN_STEPS_MAX = 256 };

/* A node's changes of interest in patterns, counted and acknowledged at one point of the order. */
struct pattern_delta {
    struct slice name;
    int32_t change; /* +n or -n */
    uint64_t id;    /* 0: nobody waits for an acknowledgement */
};
void directory_change_patterns(struct directory *directory, uint32_t node,
                               const struct pattern_delta *delta, uint32_t count);

/* The nodes that have interest in a channel now. For recovered runs. Exclusive. */
uint64_t directory_interested(struct directory *directory, enum topic_kind kind, struct slice name);

/* ---- messages on their way ---- */

/* A run that could not be ordered and answered at once: to be sent to its owner, or ordered here and waiting
 * until other nodes' lanes have taken it. Thread: its fanout's worker, but while it is in a lane. */
struct shipment {
    struct task task;
    struct list link; /* of whoever holds it */
    struct fanout *fanout;
    struct span span; /* owns a reference */
    size_t prefix_bytes;
    enum topic_kind kind;
    uint32_t message_count;
    uint32_t partition;
    uint64_t epoch; /* in which it is to be ordered; 0: in any */
    uint64_t since_ns;
    uint64_t id; /* the holder's, and the next three */
    struct map_node by_id;
    uint64_t sent_epoch;
    uint64_t sent_end;
    uint64_t receivers; /* once ordered, and the next */
    uint64_t lease;     /* under which it was */
    enum err err;
    /* Its fate is known; frees what hangs on it, not the shipment. On the fanout's worker. */
    void (*on_settled)(struct shipment *shipment);
    void *arg;
    void **ticket; /* of publishers, as fanout_ops.deferred gave them */
    uint32_t ticket_count;
    uint32_t ticket_cap;
};

/* Another node's run, to be ordered here: copies the data. The caller sets on_settled. */
MUST_USE struct shipment *shipment_new(struct fanout *fanout, enum topic_kind kind,
                                       struct slice data, size_t prefix_bytes, uint32_t count,
                                       uint32_t partition);

enum shipment_result {
    SHIPMENT_ORDERED, /* it will be settled */
    SHIPMENT_HELD, /* not now: the lane of its partition to *full_node has too much on it; nor before this one may
                           a later message of its channel and source be */
    SHIPMENT_ELSEWHERE, /* this node does not order the partition (any more, or its lease has ended) */
};
/* Order it here. It stays the caller's unless it was ordered. */
MUST_USE enum shipment_result shipment_order(struct shipment *shipment, uint32_t *full_node);

/* Its fate: told, and freed, at its worker's next fanout_settle. Thread: its worker. */
void shipment_settle(struct shipment *shipment, enum err err, uint64_t receivers);

/* The lanes have taken it, or their nodes are gone. Thread: the lane's worker. */
void shipment_sent(struct shipment *shipment);

/* A change of a client's subscriptions that another node must count. */
struct interest_change {
    struct task task;              /* into the worker's inbox, at its place in the order */
    struct list link;              /* of whoever holds it */
    struct interest_change *next;  /* of the same client, */
    struct interest_change **back; /* NULL: of none */
    struct fanout *fanout;
    struct subscriber *subscriber; /* NULL: gone; the worker's */
    void *waiter;
    struct topic *topic; /* set when applied */
    enum topic_kind kind;
    bool is_join;
    bool is_drop;             /* of a client that is gone: nobody waits, others count it still */
    atomic_bool is_cancelled; /* these four under the stripe (or all stripes, of a pattern) */
    bool is_begun;            /* of a pattern */
    bool is_applied;
    bool is_void;            /* when it was applied, it had been cancelled */
    struct task begin_task;  /* of a pattern */
    struct transit *transit; /* of a pattern; the worker's */
    uint32_t partition;
    uint64_t epoch;    /* of a pattern's drop: directory_pattern_changes after it */
    uint64_t snapshot; /* of a channel's drop: it is right only for who has that one */
    uint64_t id;       /* the holder's, and the next */
    bool is_sent;
    bool is_ended; /* in the fanout's list of what is to be told */
    uint64_t since_ns;
    enum err err;
    uint32_t name_len;
    char name[];
};

static inline struct slice interest_change_name(const struct interest_change *change)
{
    return slice_of(change->name, change->name_len);
}

enum change_result {
    CHANGE_APPLIED,
    CHANGE_IS_VOID, /* a join whose client is gone: what was counted for it must be taken back */
    CHANGE_IS_STALE, /* the owner does not count it (any more): it is to be sent again; nothing has happened */
};

/* A channel's has been acknowledged that was sent after that snapshot: make it true here, at this point of the order.
 * From then on, unless it is stale, it is its worker's. Thread: any. */
MUST_USE enum change_result directory_apply_change(struct directory *directory,
                                                   struct interest_change *change,
                                                   uint64_t snapshot);

/* A pattern's change has many owners, each of which counts it from a point of its own on. In between it is in
 * transit: a joining subscriber is shown what has been ordered by nodes that count it already, a leaving one what
 * has been ordered by nodes that still do.
 * Several at once, at most PATTERN_STEPS_MAX, at one point of the order. Thread: any. */
struct pattern_step {
    struct interest_change *change;
    bool is_void; /* out: its client is gone */
};
/* This node counts them when it orders, or does not any more; the others are to be asked. is_void: nothing has
 * happened. */
void directory_begin_patterns(struct directory *directory, struct pattern_step *step,
                              uint32_t count);
/* So does `origin`, from this point of its lane on. The change has begun and not ended. Thread: the lane's. */
void interest_change_acknowledged(struct interest_change *change, struct origin origin);
/* All do; or (change->err is set) a join is given up. From then on the changes are their workers'. is_void: what was
 * counted for a join must be taken back. */
void directory_end_patterns(struct directory *directory, struct pattern_step *step, uint32_t count);
/* It ends without being applied (it was given up, or `err` is ERR_OK): tell the client. Thread: its worker. */
void interest_change_end(struct interest_change *change, enum err err);
/* The same from another worker; change->err is set. */
void interest_change_give_back(struct interest_change *change);
/* Not needed any more (a drop that is told, a cancelled one). Thread: its worker. */
void interest_change_free(struct interest_change *change);

/* What a worker's fanout hands to the cluster. Thread: the worker; not to be answered from inside. */
struct fanout_remote_ops {
    void (*ship)(void *arg, struct shipment *shipment); /* takes it */
    void (*change)(void *arg,
                   struct interest_change *change); /* takes it until applied or failed */
    void (*on_lane_item)(struct task *task);
    /* The lease under which this node may order now: a number that none of its other lives has; 0: none. */
    uint64_t (*lease)(void *arg);
    /* Are earlier publishes of this worker to the channel still on their way? They go first. */
    bool (*must_wait)(void *arg, uint32_t partition, enum topic_kind kind, struct slice channel);
};
void fanout_set_remote(struct fanout *fanout, const struct fanout_remote_ops *ops, void *arg);

/* What waits for this worker's lanes: lane_items, whose tasks call on_lane_item. The cluster runs it in
 * each turn after fanout_commit. */
struct mailbox *fanout_lanes(struct fanout *fanout);

/* Gives: a copy of the bytes that may be shared, with one reference. */
struct span fanout_keep(struct fanout *fanout, struct slice bytes);

/* A run of an owner elsewhere. */
struct arrival {
    struct span span; /* borrowed */
    size_t prefix_bytes;
    uint32_t count; /* of its messages */
    enum topic_kind kind;
    struct origin origin;
};
/* To this node's subscribers, at this point of the order. Thread: any worker, with its fanout. */
void fanout_deliver(struct fanout *fanout, const struct arrival *arrival);
/* The same inside directory_exclusive. */
void fanout_deliver_exclusive(struct fanout *fanout, const struct arrival *arrival);

/* Call settled and changed for what has been settled. Once a turn, outside any call of a client. */
void fanout_settle(struct fanout *fanout);

#endif
