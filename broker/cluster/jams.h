/* jams: publishes that this node orders, but not yet: a lane on which they are to go has too much on it. One
 * worker's.
 * They wait by channel, in their order, so that no other channel waits with them; channels behind one lane take
 * turns when it has room. Who publishes is slowed by the answers that do not come.
 * Owns: the shipments. Thread: the worker, but where stated; no locks.
 * Bound: what those who publish may have unanswered (cluster_is_congested); a lane without progress is broken. */
#ifndef FANFARE_CLUSTER_JAMS_H
#define FANFARE_CLUSTER_JAMS_H

#include <stdatomic.h>

#include "base/map.h"
#include "pubsub/partition.h"
#include "pubsub/shipment.h"

struct jams {
    struct map channels; /* struct jam, by kind and name */
    struct list *behind; /* struct jam, by lane and node */
    uint32_t lane_count;
    uint32_t count; /* of shipments */
    atomic_bool has_room;
    /* Ordered at last. Borrows it. */
    void (*on_ordered)(void *arg, const struct shipment *shipment);
    /* It cannot be ordered here any more; of one channel the newest comes first. Gives it. */
    void (*on_refused)(void *arg, struct shipment *shipment);
    void *arg;
};

/* The callbacks and arg are set. */
void jams_init(struct jams *jams, uint32_t lane_count);
void jams_fini(struct jams *jams); /* none is left */

/* Do earlier publishes of the channel wait? */
bool jams_have(const struct jams *jams, enum topic_kind kind, struct slice channel);

/* Order the shipment, as shipment_order does, or take it (SHIPMENT_HELD). */
MUST_USE enum shipment_result jams_order(struct jams *jams, struct shipment *shipment);

/* Some lane has got room: look at the next jams_turn. Thread: any; the caller wakes the worker. */
void jams_let_go(struct jams *jams);
void jams_turn(struct jams *jams);
/* The same without a word of any lane. */
void jams_try(struct jams *jams);

/* This node does not order the partition any more: refuse what waits for it. */
void jams_leave(struct jams *jams, uint32_t partition);
/* Refuse what has this `arg`. */
void jams_drop(struct jams *jams, const void *arg);
void jams_stop(struct jams *jams); /* refuse all */

#endif
