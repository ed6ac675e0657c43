/* control_int: the state itself, for control.c (its moves) and control_wire.c (its bytes).
 * Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_CONTROL_INT_H
#define FANFARE_CONSENSUS_CONTROL_INT_H

#include "consensus/map/control.h"

struct control {
    uint64_t applied;
    uint64_t incarnation_last; /* the highest that was ever given to a member */
    uint64_t
        data_of; /* this node becomes the first replica of all partitions when it joins; or 0 */
    struct pmap *map; /* NULL before CONTROL_CREATE */
};

/* Do the invariants hold? For a state from outside; after a command it is our bug if they do not. */
MUST_USE bool control_is_sound(const struct control *control);

/* ---- replicas: control_replicas.c ---- */

struct pmap *control_level(struct control *control, const struct control_command *c);
struct pmap *control_add_replica(struct control *control, const struct control_command *c);
struct pmap *control_remove_replica(struct control *control, const struct control_command *c);
struct pmap *control_settle(struct control *control, const struct control_command *c);
/* The node at `index` of `next`, which is being made, is gone with its data; or has come, and brings the cluster's first. */
void control_lose_replicas(struct pmap *next, uint32_t index);
void control_bring_replicas(struct control *control, struct pmap *next, uint32_t index);
MUST_USE bool control_replicas_are_sound(const struct pmap *map,
                                         const struct pmap_partition *partition);
void control_check_replicas(const struct pmap_partition *before,
                            const struct pmap_partition *after);

#endif
