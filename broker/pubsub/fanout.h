/* fanout: one worker's part of publish and subscribe.
 *
 * A publish is encoded once and joins the turn's log. fanout_commit walks the log: under its
 * channel's directory stripe each run of messages is posted to the mailbox of every worker that has
 * receivers, this worker's own included. That post is the sequence point: it fixes the order of the
 * channel (P3) and the receivers (P2, P4). Subscribing and unsubscribing are posts of the same
 * kind: the worker's own index changes where its mailbox says so, so exactly the clients that a
 * publish counted receive it.
 * Owns: this worker's channels, patterns and subscriptions. Thread: its worker, for every call; no
 * locks.
 *
 * The words of this module, each with one meaning:
 *   topic         a channel, shard channel or pattern as one worker's clients have subscribed to it
 *   entry         the same channel as the whole node knows it, in a stripe of the table; a pattern's is a pattern
 *   share         how many subscribers a worker, or another node, has in an entry or pattern
 *   run           messages of one channel, back to back, that are ordered together
 *   posting       a run on its way to one worker
 *   delivery      what that worker has made of it for one topic
 *   batch         deliveries that go to a subscriber in one send
 *   attachment    what a subscription has in its topic from attach to detach; in transit it has none
 *   transit       between a change's beginning and its end, while some owners count it and others do not
 *   interest      what a node's clients want, as counted by who orders
 *   change        a subscription begins or ends; pending until all who have to count it do, then it is ended
 *   drop          a subscription ends because its client has gone: nobody waits for that
 *   partition     of channels: one node, its owner, orders it at a time
 *   orderer       the node and lane that a run was ordered by
 *   lane          an owner's stream to one other node
 *   shipment      a run of publishes whose fate is not known yet
 *   gap           messages of a partition that have been lost on their way here; who may miss one of them is cut
 *   to forget     to void what others have told; to sweep: to remove it
 */
#ifndef FANFARE_PUBSUB_FANOUT_H
#define FANFARE_PUBSUB_FANOUT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/block.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/slice.h"
#include "pubsub/directory.h"

struct fanout;
struct interest_change;
struct subscriber;
struct batch;

/* Seams, implemented in session/. */
struct fanout_ops {
    /* Write the batch to the subscriber's connection, or queue what does not fit (batch_keep). It
     * must not subscribe, unsubscribe or free any subscriber before it returns: closing waits for
     * the end of the turn. */
    void (*deliver)(struct subscriber *subscriber, struct batch *batch);
    /* `count` consecutive publishes of `publisher` (as given to fanout_publish) reached `receivers`
     * clients each. Called by fanout_commit, in the order of the publishes. */
    void (*published)(void *publisher, uint64_t receivers, uint32_t count);
    /* In a cluster: the fate of `count` consecutive publishes of `publisher` is decided later.
     * Called by fanout_commit, in one order with `published`. Gives: what `settled` is to be called
     * with, exactly once, also if the publisher has gone away meanwhile. is_silent: it wants no
     * answer (fanout_publish_silent), but is to be bounded by what is on its way. */
    void *(*deferred)(void *publisher, uint32_t count, bool is_silent);
    /* ERR_OK: they reached `receivers` clients each. ERR_CLUSTER_DOWN: certainly not executed.
     * ERR_INDOUBT. Not from inside fanout_publish or fanout_commit. */
    void (*settled)(void *ticket, enum err err, uint64_t receivers);
    /* The change that was FANOUT_PENDING is in force, or (ERR_CLUSTER_DOWN) was given up and is not.
     * Not from inside fanout_subscribe or fanout_unsubscribe. */
    void (*changed)(void *waiter, enum err err);
    /* The last subscription of a subscriber that fanout_drop could not remove at once is gone. */
    void (*dropped)(struct subscriber *subscriber);
    /* In a cluster: it may have missed a message: close it. Called by fanout_flush. */
    void (*interrupted)(struct subscriber *subscriber);
};

/* What became of a change of subscriptions. */
enum fanout_change {
    FANOUT_DONE,    /* in force */
    FANOUT_NOTHING, /* there was nothing to change: it is subscribed already, or is not */
    FANOUT_PENDING, /* in a cluster: ops->changed will tell */
};

/* What a subscriber is to receive at one flush: `iov` is valid for the call of deliver only;
 * batch_keep makes spans of the same bytes that may be referenced for as long as needed. */
struct batch {
    const struct iovec *iov;
    unsigned iov_count;
    size_t bytes;
    uint32_t messages;
    struct batch_source *source;
};

/* Gives: a view of the batch's bytes whose blocks stay for whoever takes references; shared by all
 * receivers of the batch. Valid for the call of deliver. */
const struct span *batch_keep(struct batch *batch, unsigned *count);

/* A client as this module sees it; embedded in the session. Zeroed plus subscriber_init is ready.
 */
struct subscriber {
    struct list subscriptions; /* struct subscription, in the order of subscribing */
    uint32_t *pending; /* deliveries of this turn in order, for one with several subscriptions */
    uint32_t pending_count;
    uint32_t pending_cap;
    uint32_t to_flush_at; /* place in the fanout's list of those with something pending, plus one */
    uint32_t count[TOPIC_KINDS]; /* subscriptions by kind */
    uint8_t resp_version;
    uint32_t cut_at;                 /* 0: it may be shown what comes; else see gap_int.h */
    struct interest_change *changes; /* in a cluster: its own, not told yet; NULL: none */
};

void subscriber_init(struct subscriber *subscriber, uint8_t resp_version);

/* Subscriptions of all kinds. */
static inline uint32_t subscriber_total(const struct subscriber *s)
{
    return s->count[TOPIC_CHANNEL] + s->count[TOPIC_PATTERN] + s->count[TOPIC_SHARD];
}

/* An estimate of the memory that its subscriptions take, names apart: those are shared. */
size_t subscriber_bytes(const struct subscriber *subscriber);

/* RESP version for what is delivered from now on; what waits goes out in the old one first. */
void subscriber_set_version(struct fanout *fanout, struct subscriber *subscriber,
                            uint8_t resp_version);

/* Gives: the worker's fan-out; `mailbox[i]` is worker i's, mailbox[index] this worker's own. Borrows
 * directory, mailboxes. */
MUST_USE struct fanout *fanout_new(struct directory *directory, struct mailbox *const *mailbox,
                                   uint32_t mailbox_count, uint32_t index,
                                   const struct fanout_ops *ops);

/* No subscriber has a subscription any more, and every mailbox has been run. NULL is allowed. */
void fanout_free(struct fanout *fanout);

/* Add a subscription. From the return on, or from ops->changed(waiter) on, the client receives what
 * is ordered; in a cluster deliveries of a pending one may come before ops->changed. The same name
 * must not be changed again by this subscriber while a change is pending. */
enum fanout_change fanout_subscribe(struct fanout *fanout, struct subscriber *subscriber,
                                    enum topic_kind kind, struct slice name, void *waiter);

/* Remove one. FANOUT_DONE: everything ordered before has been handed to deliver. */
enum fanout_change fanout_unsubscribe(struct fanout *fanout, struct subscriber *subscriber,
                                      enum topic_kind kind, struct slice name, void *waiter);

/* Call visit for each subscription of that kind, in the order in which they were made. The names are
 * valid until the next fanout_flush, also if visit removes the subscription. */
void fanout_each_subscription(struct subscriber *subscriber, enum topic_kind kind,
                              void (*visit)(void *arg, struct slice name), void *arg);

/* Remove them all, of a connection that is going away: no pending change is told any more, and what is still
 * handed to deliver goes nowhere. Many are removed in slices, at the ends of turns: false then. The subscriber stays
 * where it is until ops->dropped(subscriber), which comes from fanout_flush or fanout_free. */
MUST_USE bool fanout_drop(struct fanout *fanout, struct subscriber *subscriber);

/* A connection is being closed, fanout_drop follows: what it has, as far as one turn allows, is counted no more. */
void fanout_leave_ahead(struct fanout *fanout, struct subscriber *subscriber);

/* Remove them all, of a client that stays, as many as one turn allows. False: some are left, for a later turn. True:
 * nothing more is delivered. */
MUST_USE bool fanout_clear(struct fanout *fanout, struct subscriber *subscriber);

/* Publish to a TOPIC_CHANNEL or TOPIC_SHARD. The order and the receivers are decided, and
 * ops->published called, at the next fanout_commit. Borrows channel and payload for the call.
 * `publisher` stays alive until then, or fanout_forget. */
void fanout_publish(struct fanout *fanout, enum topic_kind kind, struct slice channel,
                    struct slice payload, void *publisher);

/* The same for one that wants no answer: ops->published is not called, ops->deferred is. */
void fanout_publish_silent(struct fanout *fanout, enum topic_kind kind, struct slice channel,
                           struct slice payload, void *publisher);

/* Order everything published so far. */
void fanout_commit(struct fanout *fanout);

/* The publisher is going away: its publishes happen, its answers do not. */
void fanout_forget(struct fanout *fanout, void *publisher);

/* Deliver everything gathered in this turn to the subscribers: once at the end of each turn, after
 * fanout_commit and the publishers' replies. */
void fanout_flush(struct fanout *fanout);

/* Some ten times a second: give back what a burst has made large. */
void fanout_tick(struct fanout *fanout);

/* Has another worker more to deliver than it keeps up with? Then publishers are not to be read until
 * this is false; the worker is woken when it may be. */
bool fanout_is_congested(struct fanout *fanout);

/* Is there something to commit or to flush? */
bool fanout_is_idle(const struct fanout *fanout);

#endif
