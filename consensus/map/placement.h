/* placement: what the control group's leader should do next about partition owners. Pure.
 * Rules, in this order: a partition without an owner gets one at once: the node that is up, is not
 * draining and owns fewest (ties: another zone than its neighbour partitions' owners, then the zone
 * that owns fewest, then lowest index); a draining node's partitions move away, one at a time; then,
 * while no move is unfinished, one partition moves from the node that owns most to the one that owns
 * fewest, if they differ by more than one. It always comes to rest. Thread: any. */
#ifndef FANFARE_CONSENSUS_PLACEMENT_H
#define FANFARE_CONSENSUS_PLACEMENT_H

#include "consensus/map/pmap.h"

struct placement_move {
    uint32_t partition;
    uint32_t to; /* node index */
};

/* The next move. `move_is_unfinished`: a new owner is still warming somewhere; only partitions without
 * an owner are then given away. False: nothing to do. */
MUST_USE bool placement_next(const struct pmap *map, bool move_is_unfinished,
                             struct placement_move *out);

#endif
