/* membership_core: the part of membership that decides, without a thread, a socket or a file, so
 * that it runs in simulation as it runs in a broker. membership.c drives it in a broker,
 * tests/sim/sim_membership.c in virtual time. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_MEMBERSHIP_CORE_H
#define FANFARE_CONSENSUS_MEMBERSHIP_CORE_H

#include "consensus/map/control.h"
#include "consensus/engine.h"
#include "consensus/membership/membership.h"
#include "consensus/membership/membership_file.h"
#include "consensus/membership/membership_note.h"

enum {
    CONTROL_GROUP = 1,    /* the Raft group's number */
    CORE_NODES_MAX = 128, /* members and strangers that are kept in mind */
    CORE_VOTERS_MAX = 5,
};

/* Outlives the core. */
struct core_world {
    void *arg;
    uint64_t (*now_ms)(void *arg); /* CLOCK_BOOTTIME */
    uint64_t (*random)(void *arg);
    /* Notes; each may be lost. Borrow all. */
    void (*send)(void *arg, const char *name, struct slice note); /* to a member, by its name */
    void (*send_to)(void *arg, const struct pmap_address *to, struct slice note);
    void (*send_join)(void *arg, struct slice note); /* to every address in the join list */
    uint32_t (*join_count)(void *arg); /* such addresses, as far as its names are resolved */
    void (*redial)(void *arg, const char *name); /* core_address_of gives another answer now */
    void (*set_cluster)(void *arg, uint64_t cluster_id); /* of the Raft link */
    /* ERR_OK: it is durable. ERR_SLOW: it will be; ask again. ERR_FULL: it was not written. */
    enum err (*save)(void *arg, const struct cluster_file *file);
    /* Returns how many partitions the node owns by this map and does not order yet. */
    uint32_t (*on_map)(void *arg, const struct pmap *map, uint32_t self);
    /* The cluster's users are these from now on; core_users_in_force is told when they are, on every connection of this node and
     * after a restart. Borrows: roster. NULL: this node has no users. */
    void (*on_roster)(void *arg, const struct roster *roster);
    /* Gives: a change with that id which sets the users that this node has of its own. NULL as the one before. */
    struct roster_change *(*own_users)(void *arg, uint64_t id);
    void (*soon)(void *arg); /* core_tick is to be called soon, from the outside */
    /* This node, in that life, may order until then. 0: it may not. */
    void (*set_lease)(void *arg, uint64_t until_ms, uint64_t incarnation);
};

struct core_opts {
    uint64_t node_id;
    const char *name;
    const char *zone;
    struct pmap_address client, peer, raft;
    bool has_join; /* the join list is not empty */
    uint32_t expect;
    uint32_t partition_count;
    uint64_t key_layout; /* of a cluster that gets keys: pmap.key_layout */
    bool has_data;       /* this node can hold replicas of partitions' data */
    bool has_users;      /* and takes part in what the cluster's users are */
    uint32_t replicas;   /* of a partition, where this node leads the control group */
    uint32_t heartbeat_ms;
    uint32_t node_timeout_ms;
};

struct core;

/* Open the control group's replica, if there is one. Borrows: engine, until core_free; the strings
 * of opts; takes a copy of the rest. Errors: ERR_CORRUPT (logged). */
MUST_USE enum err core_new(struct core **out, const struct core_opts *opts,
                           const struct core_world *world, struct engine *engine,
                           const struct cluster_file *file);
/* After the engine's groups were closed. */
void core_free(struct core *core); /* NULL is allowed */

void core_tick(struct core *core); /* every core_tick_ms */
uint64_t core_tick_ms(const struct core *core);
void core_note(struct core *core, const char *from_name, struct slice note); /* NULL: a contact */
/* Where is the Raft link of that node? */
MUST_USE bool core_address_of(const struct core *core, const char *name, struct pmap_address *out);

void core_set_warming(struct core *core, uint32_t partition_count);
void core_drain(struct core *core);
void core_leave(struct core *core);
/* This node leads those partitions' groups, and they are as the map wants them. To be said again until the map says so. */
void core_settled(struct core *core, const struct pmap_settled *settled, uint32_t count);
void core_suspect(struct core *core, uint64_t id, uint64_t incarnation);
void core_unserved(struct core *core, uint32_t partition, uint64_t epoch);
void core_forget(struct core *core, const char *name, void (*on_done)(void *arg, const char *error),
                 void *arg);

/* Borrows: change. */
void core_change_users(struct core *core, const struct roster_change *change, uint64_t timeout_ms,
                       users_on_done *on_done, void *arg);
/* The users of that version are in force on this node. */
void core_users_in_force(struct core *core, uint64_t version);

struct core_status {
    const char *unready_because;
    uint64_t cluster_id;
    uint64_t incarnation;
    struct engine_status raft;
    char leader[PMAP_NAME_BYTES];
    const struct pmap *map; /* as published last; borrowed; may be NULL */
};
void core_status(const struct core *core, struct core_status *out);

#endif
