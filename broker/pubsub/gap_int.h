/* gap_int: messages of some partitions were lost in front of a point of the order. A worker learns of it in its inbox,
 * at that point. Whoever was attached to a topic of theirs then, or in a pattern, is cut: it is shown nothing more, and is closed.
 * A topic is looked at before anything of the partition is delivered to it and before anybody is attached or detached; the
 * others are looked for a slice in each turn, as there may be a million.
 * Owns: who is cut and not closed yet. Thread: its worker, but for fanout_interrupt. */
#ifndef FANFARE_PUBSUB_GAP_INT_H
#define FANFARE_PUBSUB_GAP_INT_H

#include "base/check.h"
#include "pubsub/run_int.h"
#include "pubsub/topic_int.h"

struct fanout;
struct subscriber;

enum { CUT_NEVER = UINT32_MAX }; /* subscriber.cut_at: it is going away */

struct gap {
    uint32_t number;     /* of the last one */
    uint32_t *partition; /* number of its last one; 0: none. NULL: there never was one */
    uint32_t
        since;    /* of the first one for which there may be topics that have not been looked at */
    bool is_open; /* there may be */
    unsigned stripe;         /* those below have been; when all have, patterns are next: */
    size_t bucket;           /* those below, */
    size_t bucket_count;     /* when the set had so many */
    struct subscriber **cut; /* to be closed; NULL: it went by itself */
    uint32_t cut_count;
    uint32_t cut_cap;
    uint32_t closed_count; /* the first so many have been dealt with */
    uint64_t interrupted;  /* and so many of them were closed */
};

/* Something is about to be delivered to the topics of the posting. */
void gap_look_posting(struct fanout *fanout, const struct posting *posting);
/* Somebody is about to be attached to the topic, or detached. */
void gap_look_topic(struct fanout *fanout, struct topic *topic);
/* Has the partition had a gap since that number? */
bool gap_is_since(const struct fanout *fanout, uint32_t partition, uint32_t number);
/* It is to be shown nothing more, and is closed. */
void gap_cut(struct fanout *fanout, struct subscriber *subscriber);
/* The subscriber goes away: it is not to be closed. */
void gap_forget(struct fanout *fanout, struct subscriber *subscriber);
/* A turn's share of looking and closing. */
void gap_turn(struct fanout *fanout);
bool gap_is_over(const struct fanout *fanout);
void gap_fini(struct fanout *fanout);

#endif
