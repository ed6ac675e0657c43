/* interest: what other nodes want, counted for when this node orders; and what this node's clients want, for others.
 * A node's changes are counted, and acknowledged on its lane, under the lock under which messages are ordered: so it
 * sees in its lane exactly the messages for which it was counted, between the acknowledgements of its changes. */
#ifndef FANFARE_PUBSUB_INTEREST_H
#define FANFARE_PUBSUB_INTEREST_H

#include "pubsub/partition.h"

/* A name that clients of this node are subscribed to, and how often. */
typedef void local_visit(void *arg, enum topic_kind kind, struct slice name, uint64_t count);
/* Each channel and shard channel of the partition. Time: their number. Exclusive. */
void directory_each_local(struct directory *directory, uint32_t partition, local_visit *visit,
                          void *arg);
/* Each pattern: without the joins and with the leaves that have begun and not ended. Exclusive. */
void directory_each_local_pattern(struct directory *directory, local_visit *visit, void *arg);

/* How often a pattern has lost a subscriber here: drops of patterns carry the count after them as epoch.
 * Exclusive. */
uint64_t directory_pattern_changes(struct directory *directory);

/* Forgetting takes no longer for many names than for few: it is removed by directory_sweep. */
/* Forget what other nodes want of the partitions for which `is_affected` is true; what is staged stays. Exclusive. */
void directory_forget_interest(struct directory *directory, const bool *is_affected);
/* Forget what one node wants, of channels and patterns. Exclusive. */
void directory_forget_node(struct directory *directory, uint32_t node);
/* A node's new snapshot of what it wants of a partition's channels comes in parts, and is kept apart: until it is taken, the
 * old one counts. Stage: what was staged before is void. Exclusive, but for more. */
void directory_stage_interest(struct directory *directory, uint32_t node, uint32_t partition);
/* One name of it; nothing, if what was staged is void. Thread: any. */
void directory_stage_more_interest(struct directory *directory, uint32_t node, enum topic_kind kind,
                                   struct slice name, uint32_t count);
void directory_unstage_interest(struct directory *directory, uint32_t node, uint32_t partition);
/* It is in force from here on, under that number (directory_set_snapshot), and the old one is void. */
void directory_take_staged_interest(struct directory *directory, uint32_t node, uint32_t partition,
                                    uint64_t snapshot);

/* Remove a part of what is forgotten: some milliseconds at most for a million names. False: there is nothing left.
 * Thread: worker 0, at its ticks. */
bool directory_sweep(struct directory *directory);

/* A node's change of interest in a channel, +n or -n. Counted and acknowledged (id not 0) under the stripe. False:
 * the partition is not ordered here in this epoch; nothing has happened. */
struct interest_told {
    uint32_t node;
    uint32_t partition;
    uint64_t epoch;
    uint64_t snapshot; /* that it adds to; 0: any */
    enum topic_kind kind;
    struct slice name;
    int32_t change;
    uint64_t id;
};
MUST_USE bool directory_change_interest(struct directory *directory,
                                        const struct interest_told *told);

/* From now on what the node wants of the partition is what its snapshot of that number said, and what it adds to
 * that. Exclusive. */
void directory_set_snapshot(struct directory *directory, uint32_t node, uint32_t partition,
                            uint64_t snapshot);

/* Patterns change while nobody publishes: in groups of at most so many. */
enum { PATTERN_STEPS_MAX = 256 };

/* A node's changes of interest in patterns, counted and acknowledged at one point of the order. */
struct pattern_delta {
    struct slice name;
    int32_t change; /* +n or -n */
    uint64_t id;    /* 0: nobody waits for an acknowledgement */
};
void directory_change_patterns(struct directory *directory, uint32_t node,
                               const struct pattern_delta *delta, uint32_t count);

/* A node's new snapshot of its patterns, likewise. Thread: any, not exclusive. */
void directory_stage_patterns(struct directory *directory, uint32_t node);
/* Nothing, if what was staged has been forgotten with the node. */
void directory_stage_more_patterns(struct directory *directory, uint32_t node,
                                   const struct pattern_delta *delta, uint32_t count);
/* All of it is in force, as one: what is ordered before meets the old one. On each of the node's lanes goes an
 * acknowledgement without an id: what is in front of it counted the node's changes that were acknowledged before, what is
 * behind it does not. */
void directory_take_staged_patterns(struct directory *directory, uint32_t node);

/* The nodes that have interest in a channel now. For recovered runs. Exclusive. */
uint64_t directory_interested(struct directory *directory, enum topic_kind kind, struct slice name);

#endif
