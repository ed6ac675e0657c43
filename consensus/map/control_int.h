/* control_int: the state itself, for control.c (its moves) and control_wire.c (its bytes).
 * Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_CONTROL_INT_H
#define FANFARE_CONSENSUS_CONTROL_INT_H

#include "consensus/map/control.h"

struct control {
    uint64_t applied;
    uint64_t incarnation_last; /* the highest that was ever given to a member */
    struct pmap *map;          /* NULL before CONTROL_CREATE */
};

/* Do the invariants hold? For a state from outside; after a command it is our bug if they do not. */
MUST_USE bool control_is_sound(const struct control *control);

#endif
