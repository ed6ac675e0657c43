/* shipment: a run of publishes whose fate is not known yet. */
#ifndef FANFARE_PUBSUB_SHIPMENT_H
#define FANFARE_PUBSUB_SHIPMENT_H

#include "base/block.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "pubsub/directory.h"

struct fanout;

enum { SHIPMENT_ROOM_BYTES = 128 };

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
    uint64_t id;        /* the holder's */
    uint64_t receivers; /* once ordered, and the next */
    uint64_t lease;     /* under which it was */
    enum err err;
    /* Its fate is known; frees what hangs on it, not the shipment. On the fanout's worker. */
    void (*on_settled)(struct shipment *shipment);
    void *arg;
    /* Of publishers, as fanout_ops.deferred gave them: mostly it is one. */
    union {
        void *one;
        void **many;
    } ticket;
    uint32_t ticket_count;
    uint32_t ticket_cap;                        /* of `many`; 0: `one` is in use */
    _Alignas(8) char room[SHIPMENT_ROOM_BYTES]; /* the holder's, for what it has to know of it */
};

/* Another node's run, to be ordered here: copies the data. The caller sets on_settled. */
MUST_USE struct shipment *shipment_new(struct fanout *fanout, enum topic_kind kind,
                                       struct slice data, size_t prefix_bytes, uint32_t count,
                                       uint32_t partition);

enum shipment_result {
    SHIPMENT_ORDERED, /* it will be settled */
    SHIPMENT_LANE_FULL, /* not now: the lane of its partition to *full_node has too much on it; nor before this one may
                           a later message of its channel and source be */
    SHIPMENT_ELSEWHERE, /* this node does not order the partition (any more, or its lease has ended) */
};
/* Order it here. It stays the caller's unless it was ordered. */
MUST_USE enum shipment_result shipment_order(struct shipment *shipment, uint32_t *full_node);

/* Its fate: told, and freed, at its worker's next fanout_settle. Thread: its worker. */
void shipment_settle(struct shipment *shipment, enum err err, uint64_t receivers);

/* The lanes have taken it, or their nodes are gone. `fanout` is that of the lane's worker, whose thread this is: if it is
 * the shipment's own, the next fanout_settle knows of it. */
void shipment_sent(struct shipment *shipment, const struct fanout *fanout);

#endif
