/* topic_int: a channel or pattern as one worker's clients have subscribed to it. Its attachments are filled in channels.c,
 * its chain of deliveries in deliver.c. */
#ifndef FANFARE_PUBSUB_TOPIC_INT_H
#define FANFARE_PUBSUB_TOPIC_INT_H

#include "base/block.h"
#include "pubsub/directory.h"

struct subscriber;
struct subscription;
struct transit;

enum { DELIVERY_NONE = UINT32_MAX };

struct attachment {
    struct subscriber *subscriber;
    struct subscription *subscription;
};

/* Most channels have one subscriber on a worker: it is in the struct itself. */
struct attachments {
    union {
        struct attachment one;
        struct attachment *many;
    };
    uint32_t count;
    uint32_t cap; /* of `many`; 0: `one` is in use */
};

static inline struct attachment *attachments_begin(struct attachments *attachments)
{
    return attachments->cap > 0 ? attachments->many : &attachments->one;
}

/* A channel or pattern that this worker's clients have subscribed to. */
struct topic {
    struct attachments solo;
    struct attachments multi;
    struct block
        *backlog; /* where slow subscribers' small messages are kept: one copy for all of them */
    uint32_t delivery_first; /* the chain; DELIVERY_NONE: empty */
    uint32_t delivery_last;
    uint32_t delivery_count;
    uint32_t name_len;
    uint32_t gap_seen;        /* the number of the last gap that it was looked at for */
    struct transit *transits; /* of a pattern in a cluster; NULL: none */
    uint8_t kind;
    bool is_dirty; /* in the fanout's dirty list */
    bool is_dead;  /* out of the directory; freed at the end of the turn */
    char name[];
};

static inline struct slice topic_name(const struct topic *topic)
{
    return slice_of(topic->name, topic->name_len);
}

/* Gives: without attachments. */
struct topic *topic_new(enum topic_kind kind, struct slice name);
/* Nobody is attached to it any more. */
void topic_free(struct topic *topic);

#endif
