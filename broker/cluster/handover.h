/* handover: one partition at one node, as it passes from owner to owner: whose stream this node follows, what it has of
 * it, and, for when it is the owner, what the members have told it. It decides and does nothing: no socket, no directory, no
 * clock. handovers.c and handover_*.c do what it says.
 *
 *   stream     the messages of one owner in one epoch, as they come to this node on one lane
 *   tail       messages that may not be everywhere yet, kept in case their owner dies
 *   staging    a member's snapshot of its clients' interest, on its way into force; the names are in the directory
 *
 * A stream begins when its owner is told our snapshot. From then on it may order for us, so its end is waited for before
 * the next owner is told: END, or the end of the very lane on which it would come. Both are certain to happen: who has to
 * wait asks for END until it is said, and who is asked for a stream that it does not have says it, too.
 * Owns: tail and stagings. Thread: under the lock of who holds it. */
#ifndef FANFARE_CLUSTER_HANDOVER_H
#define FANFARE_CLUSTER_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/block.h"
#include "base/buf.h"
#include "base/list.h"
#include "cluster/wire.h"
#include "consensus/map/pmap.h"
#include "pubsub/partition.h"

enum { TAIL_RUNS_MAX = 8192 }; /* of one partition */

/* One message run that may not be everywhere yet. */
struct tail_run {
    struct list link;
    uint64_t seq;
    enum topic_kind kind;
    uint32_t count;
    struct span span; /* owns a reference */
};

struct tail {
    struct list runs; /* struct tail_run, in the order of their numbers */
    uint64_t
        from; /* 0: everything that is not stable is here; else what is below this has been lost */
    size_t bytes;
    uint32_t count;
};

enum stream_state {
    STREAM_NONE,  /* its owner has not been told our snapshot, or the lane has ended since */
    STREAM_ASKED, /* it has been sent to it: it may know it, or not */
    STREAM_OPEN,  /* it has said that it does */
    STREAM_ENDED, /* it orders no more */
};

struct stream {
    enum stream_state state;
    uint32_t node; /* its owner; REMOTE_NOBODY: there is no such stream */
    uint64_t epoch;
    uint64_t lane;        /* number of the connection; 0: none */
    uint64_t incarnation; /* of the owner when it was asked */
    bool is_changing;     /* what adds to our snapshot may be on its way to the owner, or back */
    uint64_t fence;       /* the number of the fence that it has been asked for; 0: of none */
};

struct staging {
    uint64_t epoch;
    uint64_t snapshot;
    uint64_t incarnation; /* of who tells it */
    bool is_done;         /* all of it has come */
    bool is_taken;        /* it is in force, or answered */
    uint64_t seq;         /* the highest number that it has seen, */
    struct tail tail;     /* and what it has kept */
};

struct handover {
    uint64_t epoch;
    bool is_own;
    struct stream stream;   /* of the present owner, if that is another node */
    struct stream previous; /* is to end before the present owner is told */
    uint64_t seq;           /* the highest number seen */
    uint64_t stable;        /* all up to here are where they are to be */
    uint64_t
        ordered_epoch; /* in which this node ordered last, and the last number that it gave; 0: it never did */
    uint64_t ordered_seq;
    struct tail tail;
    bool is_broken; /* a stream has ended without END: some of it may come again, recovered */
    struct staging *staging[PMAP_NODES_MAX];
};

/* What the mutations of tests/sim/handover switch off, to show what happens without it. */
enum handover_rule {
    RULE_ASK_END = 1, /* who waits for END asks for it */
    RULE_SNAPSHOT,    /* READY and changes of interest name the snapshot that they are about */
    RULE_FORGET_SELF, /* who was declared down knows nothing of any stream */
    RULE_SEND_END,    /* an owner that was says END to all */
    RULE_START_OVER,  /* what does not become whole is started over */
    RULE_FENCE, /* what is on its way is known to be counted or not before a snapshot is taken anew */
    RULE_PATTERN_SNAPSHOT, /* a new snapshot of patterns ends what was acknowledged before */
    RULE_LAST
};
bool handover_rule(enum handover_rule rule);
void handover_switch_off(enum handover_rule rule); /* tests */

void handover_init(struct handover *h);
void handover_fini(struct handover *h);

/* ---- following ---- */

/* The map's row has changed. `seq`: the last number that this node has given, if it ordered the stream that ends; else 0. */
void handover_take_row(struct handover *h, uint32_t owner, uint64_t epoch, uint64_t seq,
                       bool is_own);
/* This node was declared down: what it has seen is nobody's concern any more. */
void handover_forget_self(struct handover *h);

/* Has every stream before the present owner's ended, so that it may be told? */
bool handover_may_tell(const struct handover *h);
/* It is: the stream begins, on that lane. */
void handover_tell(struct handover *h, const struct stream *on);
/* Our snapshot is in force: what adds to it may be told. */
void handover_change(struct handover *h);
/* A snapshot that is taken anew has to have in it all that was counted, and nothing else may be counted on top of it. So
 * the owner is asked for a fence first, if it may know of changes that are not acknowledged. When the fence has come on the
 * stream, all that was counted has been acknowledged, and nothing else will be. */
bool handover_needs_fence(const struct handover *h);
void handover_ask_fence(struct handover *h, uint64_t number);
void handover_forget_fence(struct handover *h); /* asked for, and lost */
/* False: of another stream, or not asked for. */
bool handover_on_fence(struct handover *h, uint32_t node, const struct wire_ready *ready);
/* Whose END is waited for; NULL: nobody's. */
const struct stream *handover_awaits_end(const struct handover *h);

/* False: of another stream. */
bool handover_on_ready(struct handover *h, uint32_t node, const struct wire_ready *ready);
void handover_on_end(struct handover *h, uint32_t node, const struct wire_end *end);
/* The lane has ended. True: there was something of the partition's stream on it, of which the last part may be
 * missing. */
bool handover_lane_ended(struct handover *h, uint32_t node, uint64_t lane);
/* It takes too long: what is waited for, or was asked for, is taken for lost, as above. */
bool handover_give_up(struct handover *h);
/* For the END of this node's own stream in that epoch: the last number, if it is known. */
uint64_t handover_end_seq(const struct handover *h, uint64_t epoch);
/* Do we follow that stream, or is it to end yet? */
bool handover_has_stream(const struct handover *h, uint32_t node, uint64_t epoch);

/* All numbers up to here have been seen, or were given before anybody here wanted them. */
void handover_note_seq(struct handover *h, uint32_t node, uint64_t seq);
/* A run has come. True: it is to be delivered here; its number is taken, and it is kept for the others. */
bool handover_take_run(struct handover *h, uint32_t node, const struct wire_run *run,
                       const struct span *span, size_t tail_bytes_max);
/* Does the stream come to us, from the owner in that life, and is no other one on its way? */
bool handover_is_settled(const struct handover *h, uint64_t owner_incarnation);

/* ---- owning ---- */

/* All have told: this node orders from now on, behind that number. */
void handover_begin(struct handover *h, uint64_t seq);

/* A part of a member's snapshot: its names are staged. The first one: handover_unstage has been called. */
void handover_stage(struct handover *h, uint32_t node, uint64_t incarnation,
                    const struct wire_sync *sync);
void handover_unstage(struct handover *h, uint32_t node);
/* The entries are in force. */
void staging_take(struct staging *staging);

/* Has the node, in that life, told the owner of the present epoch all it wants? */
bool handover_is_told(const struct handover *h, uint32_t node, uint64_t incarnation);
/* The same, and it is not in force yet. */
bool handover_has_news(const struct handover *h, uint32_t node, uint64_t incarnation);
/* It has told an owner that was. */
bool handover_is_outdated(const struct handover *h, uint32_t node);

/* The numbers from which some member's tail is not whole, and the highest that any has seen. */
void handover_survey(const struct handover *h, uint64_t members, uint64_t *floor, uint64_t *seq);
/* A walk over what is kept here and by the members, in the order of the numbers, each run once. */
struct tail_walk {
    const struct list *head[PMAP_NODES_MAX + 1];
    const struct list *at[PMAP_NODES_MAX + 1];
    uint32_t count;
    uint64_t after;
};
void tail_walk_begin(struct tail_walk *walk, const struct handover *h, uint64_t members);
const struct tail_run *tail_walk_next(struct tail_walk *walk); /* NULL: that was all */

void tail_clear(struct tail *tail);

#endif
