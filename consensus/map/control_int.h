/* control_int: the state itself, for control.c (its moves) and control_wire.c (its bytes).
 * Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_CONTROL_INT_H
#define FANFARE_CONSENSUS_CONTROL_INT_H

#include "consensus/map/control.h"
#include "proto/control.pb-c.h"

struct control {
    uint64_t applied;
    uint64_t incarnation_last; /* the highest that was ever given to a member */
    uint64_t
        data_of; /* this node becomes the first replica of all partitions when it joins; or 0 */
    struct pmap *map; /* NULL before CONTROL_CREATE */
};

/* Do the invariants hold? For a state from outside; after a command it is our bug if they do not. */
MUST_USE bool control_is_sound(const struct control *control);

/* ---- users: control_users.c ---- */

void control_fill_change(Fanfare__Control__ChangeUsers *wire, const struct roster_change *change);
void control_free_change(Fanfare__Control__ChangeUsers *wire);
/* Gives: the change; NULL: it is over a limit, or out of order. */
MUST_USE struct roster_change *control_take_change(const Fanfare__Control__ChangeUsers *wire);
void control_fill_roster(Fanfare__Control__State *wire, const struct roster *roster);
void control_free_roster(Fanfare__Control__State *wire);
/* False: they cannot be what a cluster has. Gives: *out, NULL if there are none yet. */
MUST_USE bool control_take_roster(struct roster **out, const Fanfare__Control__State *wire);

struct pmap *control_change_users(struct control *control, const struct control_command *c);

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
