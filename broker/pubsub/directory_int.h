/* directory_int: what the directory and the workers' fanouts share. */
#ifndef FANFARE_PUBSUB_DIRECTORY_INT_H
#define FANFARE_PUBSUB_DIRECTORY_INT_H

#include "base/block.h"
#include "base/mailbox.h"
#include "pubsub/directory.h"
#include "pubsub/origin.h"

struct fanout;
struct interest_change;
struct shipment;
struct topic;

/* One run of messages of a channel, as it is posted to one worker. The poster allocates, the
 * receiver frees. Owns: one reference on `block`. */
struct delivery {
    struct task task;
    struct fanout *fanout; /* the receiver's */
    struct topic *channel; /* the receiver's own topic, or NULL if only patterns match there */
    struct block *block;
    const char *data;
    size_t len;
    size_t prefix_bytes; /* of each frame */
    uint32_t message_count;
    uint32_t pattern_count;
    enum topic_kind kind;
    struct origin origin;
    struct topic *pattern[]; /* the receiver's own topics of the matching patterns */
};

/* The messages to post: frames of one channel, back to back. */
struct run {
    struct slice channel;
    struct block *block;
    const char *data;
    size_t len;
    size_t prefix_bytes;
    uint64_t receivers; /* set by directory_post, and the next two */
    uint64_t nodes;     /* whose lanes it goes to, a bit each */
    bool is_elsewhere;  /* this node does not order it: nothing has happened */
    bool is_held;       /* nor has anything now: the lane to full_node has too much on it */
    uint32_t full_node;
    uint64_t epoch; /* it is to be ordered in this one only; 0: in any */
    uint32_t message_count;
    uint32_t partition;        /* in a cluster */
    struct shipment *shipment; /* fanout's: what its answer waits for; NULL: nothing */
    enum topic_kind kind;
    struct origin origin; /* directory_post sets ORIGIN_SELF */
};

/* A worker's place in the directory. `inbox` takes its deliveries and its own index changes;
 * whoever pushes to it wakes the worker afterwards. Set once before the workers start. */
void directory_attach(struct directory *directory, uint32_t worker, struct fanout *fanout,
                      struct mailbox *inbox, struct mailbox *lanes,
                      void (*on_delivery)(struct task *task));

/* This worker's topic for the name, or NULL. Valid until the worker itself removes its last
 * subscriber. */
struct topic *directory_topic(struct directory *directory, uint32_t worker, enum topic_kind kind,
                              struct slice name);

/* One subscriber more on `worker`, whose topic for the name is `topic` from now on. Under the lock
 * `change` is pushed to the worker's own inbox: what is in front of it was ordered without this
 * subscriber, what is behind it with it. False: this node does not order the channel (or it is a
 * pattern, in a cluster); nothing has happened. */
MUST_USE bool directory_join(struct directory *directory, uint32_t worker, enum topic_kind kind,
                             struct slice name, struct topic *topic, struct task *change);

/* One subscriber less. With the last one of the worker its topic leaves the directory. */
MUST_USE bool directory_leave(struct directory *directory, uint32_t worker, enum topic_kind kind,
                              struct slice name, struct task *change);

/* A subscriber that is not to hear any more is gone. */
struct directory_drop {
    enum topic_kind kind; /* of all in one call: patterns, or none of them is one */
    struct slice name;
    struct interest_change *pending; /* its unsubscribing, if that is under way */
    bool is_to_be_told;              /* out: others count it */
    uint32_t partition;              /* out, and the next: see struct interest_change */
    uint64_t epoch;
    uint64_t snapshot;
};
/* Several patterns at once: they cost all stripes, taken once. */
void directory_drop(struct directory *directory, uint32_t worker, struct directory_drop *drop,
                    uint32_t count);

/* A pending change's client is going away: what is not in force yet will never be. */
void directory_cancel_change(struct directory *directory, struct interest_change *change);

/* More bytes than this in a worker's inbox and publishers elsewhere have to wait. */
enum { DIRECTORY_INBOX_BYTES = 8 << 20 };

/* Has a worker other than `worker` more than that? If so, it will call for the others when it has
 * caught up (directory_taken). */
bool directory_is_congested(struct directory *directory, uint32_t worker);

/* `worker` has delivered `bytes` of what was posted to it. True: others wait for that and are to be
 * woken. */
MUST_USE bool directory_taken(struct directory *directory, uint32_t worker, size_t bytes);

/* Order a run: count its receivers, post it to each worker that has some. `woken[w]` is set for
 * those. */
void directory_post(struct directory *directory, struct run *run, bool *woken);

/* The same for a run whose answer waits until `shipment` has left on the lanes. */
void directory_post_shipment(struct directory *directory, struct run *run,
                             struct shipment *shipment, bool *woken);

/* A run of another node, which has ordered it: to this node's subscribers only. */
void directory_deliver(struct directory *directory, struct run *run, bool *woken);
void directory_deliver_exclusive(struct directory *directory, struct run *run, bool *woken);

#endif
