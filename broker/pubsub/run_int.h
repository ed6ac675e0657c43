/* run_int: runs of messages of one channel: to be ordered, and as posted to a worker. */
#ifndef FANFARE_PUBSUB_RUN_INT_H
#define FANFARE_PUBSUB_RUN_INT_H

#include "base/block.h"
#include "base/mailbox.h"
#include "pubsub/directory.h"
#include "pubsub/orderer.h"

struct fanout;
struct shipment;
struct topic;

/* One run of messages of a channel, as it is posted to one worker. The poster allocates, the
 * receiver frees. Owns: one reference on `block`. */
struct posting {
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
    struct orderer orderer;
    struct topic *pattern[]; /* the receiver's own topics of the matching patterns */
};

uint64_t directory_hash(enum topic_kind kind, struct slice name);

/* The messages to post: frames of one channel, back to back. */
struct run {
    struct slice channel;
    uint64_t hash; /* directory_hash of kind and channel */
    struct block *block;
    const char *data;
    size_t len;
    size_t prefix_bytes;
    uint64_t receivers; /* set by directory_post, and the next two */
    uint64_t nodes;     /* whose lanes it goes to, a bit each */
    bool is_elsewhere;  /* this node does not order it: nothing has happened */
    bool is_lane_full;  /* nor has anything now: the lane to full_node has too much on it */
    uint32_t full_node;
    uint64_t epoch; /* it is to be ordered in this one only; 0: in any */
    uint32_t message_count;
    uint32_t partition;        /* in a cluster */
    struct shipment *shipment; /* fanout's: what its answer waits for; NULL: nothing */
    enum topic_kind kind;
    struct orderer orderer; /* directory_post sets ORDERER_SELF */
};

#endif
