/* change: a client subscribes, or ceases to, and other nodes have to count that before it is in force. */
#ifndef FANFARE_PUBSUB_CHANGE_H
#define FANFARE_PUBSUB_CHANGE_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "pubsub/interest.h"
#include "pubsub/orderer.h"

struct fanout;
struct subscriber;
struct topic;
struct transit;

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
    uint32_t worker; /* the fanout's */
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
    uint32_t gap_number; /* the last one when the client asked; its worker's */
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
/* So does `orderer`, from this point of its lane on; or, not is_counted, it does not any more: it was given a snapshot
 * without the change, and is to be asked again. The change has begun and not ended. Thread: the lane's. */
void interest_change_counted(struct interest_change *change, struct orderer orderer,
                             bool is_counted);
/* All do; or (change->err is set) a join is given up. From then on the changes are their workers'. is_void: what was
 * counted for a join must be taken back. */
void directory_end_patterns(struct directory *directory, struct pattern_step *step, uint32_t count);
/* It ends without being applied (it was given up, or `err` is ERR_OK): tell the client. Thread: its worker. */
void interest_change_end(struct interest_change *change, enum err err);
/* The same from another worker; change->err is set. */
void interest_change_give_back(struct interest_change *change);
/* Not needed any more (a drop that is told, a cancelled one). Thread: its worker. */
void interest_change_free(struct interest_change *change);

#endif
