/* remote: what a worker's fan-out and the cluster hand to each other. A run that is ordered here goes, under its
 * channel's stripe, to the workers' inboxes and to the lane of each node with interest. */
#ifndef FANFARE_PUBSUB_REMOTE_H
#define FANFARE_PUBSUB_REMOTE_H

#include "base/block.h"
#include "base/mailbox.h"
#include "pubsub/directory.h"
#include "pubsub/orderer.h"

struct fanout;
struct interest_change;
struct shipment;

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
struct received_run {
    struct span span; /* borrowed */
    size_t prefix_bytes;
    uint32_t count; /* of its messages */
    enum topic_kind kind;
    struct orderer orderer;
};
/* To this node's subscribers, at this point of the order. Thread: any worker, with its fanout. */
void fanout_deliver(struct fanout *fanout, const struct received_run *received_run);
/* The same inside directory_exclusive. */
void fanout_deliver_exclusive(struct fanout *fanout, const struct received_run *received_run);

/* Messages of those partitions have been lost in front of this point of the order: who may have missed one is shown
 * nothing of what is behind it, and is closed (ops->interrupted) in one of the next turns. So is who was about to
 * become a subscriber. Copies: is_missing, by partition. Thread: any, also exclusive. */
void fanout_interrupt(struct fanout *fanout, const bool *is_missing);

/* Call settled and changed for what has been settled. Once a turn, outside any call of a client. */
void fanout_settle(struct fanout *fanout);

#endif
