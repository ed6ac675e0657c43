/* placement_replicas: what the control group's leader should change next about who holds partitions' data. Pure.
 * Rules, in this order:
 *  - a partition that has no group yet gets a founder: its owner;
 *  - a replica that never came to vote goes if its node is down: another node can do it;
 *  - where the voters on nodes that are up and do not drain are no majority, those that drain must not all go as they are: the
 *    partition gets one on another node first, and then loses as many of those that drain as it takes, which get a new
 *    one when they come back; where there is no other node it only loses them;
 *  - a partition that has fewer than wanted (or than there are members) gets one more, those with fewest first;
 *  - one that has more loses one: of a node that is down, else of one that drains, else of a zone that has two, else of the node that has most;
 *  - while no replica is on its way, replicas that share a zone move to another, and then from the node that has most to the one
 *    that has fewest, if they differ by more than one: it gets the new one first and loses the other after.
 * A replica of a member that is down or drains stays: it comes back. A partition whose last change is not settled is left
 * alone, and never more than PLACEMENT_ADDING_MAX are given one at once. Nothing is taken from a partition whose remaining
 * voters would not be up for the most part. It always comes to rest. Thread: any. */
#ifndef FANFARE_CONSENSUS_PLACEMENT_REPLICAS_H
#define FANFARE_CONSENSUS_PLACEMENT_REPLICAS_H

#include "consensus/map/pmap.h"

enum {
    PLACEMENT_WANTED_MAX = 5,
    PLACEMENT_ADDING_MAX = 16,    /* partitions that get a replica and can, but have not yet */
    PLACEMENT_FOUNDING_MAX = 128, /* partitions that are being founded */
};

struct placement_change {
    uint32_t partition;
    bool is_removal;
    uint32_t node;      /* index, of the new replica or the one that goes */
    uint64_t replica;   /* that goes */
    const char *reason; /* static */
};

/* The next change; `wanted`: replicas of a partition, 1 to PLACEMENT_WANTED_MAX. False: nothing to do. */
MUST_USE bool placement_replicas_next(const struct pmap *map, uint32_t wanted,
                                      struct placement_change *out);

/* Must a node that drains, and has or just had a replica of the partition, stay for now: would its going with all others that
 * drain leave the partition without a quorum, and is something done about that? */
MUST_USE bool placement_must_wait(const struct pmap *map, uint32_t partition);

/* Would it be without a quorum, as it stands, if all nodes that drain stopped now? */
MUST_USE bool placement_is_left_short(const struct pmap *map, uint32_t partition);

/* The node that should lead the partition's group: its owner, if that one has a voter and may lead, else one of those that do, the
 * same as long as they are the same; PMAP_NOBODY: none. */
uint32_t placement_leader(const struct pmap *map, uint32_t partition);

#endif
