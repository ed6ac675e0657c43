/* change_int: one worker's subscriptions in the directory. */
#ifndef FANFARE_PUBSUB_CHANGE_INT_H
#define FANFARE_PUBSUB_CHANGE_INT_H

#include "base/mailbox.h"
#include "pubsub/directory.h"

struct interest_change;
struct topic;

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

#endif
