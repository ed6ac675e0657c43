/* membership: a node's part in its cluster: it finds or founds the cluster, joins it, says regularly that
 * it is alive, holds the lease under which it may order messages, and, on the control group's leader,
 * decides who is up and who owns what.
 * Owns: the consensus of the node and the control group's replica. Thread: start and stop on the
 * caller's; the rest as stated. */
#ifndef FANFARE_CONSENSUS_MEMBERSHIP_H
#define FANFARE_CONSENSUS_MEMBERSHIP_H

#include "base/err.h"
#include "consensus/map/pmap.h"

/* What has become of a change of users. */
enum users_outcome {
    USERS_CHANGED = 1, /* it is in force on every node that is up */
    USERS_MADE = 2,    /* between nodes only: not yet */
    USERS_STALE =
        3, /* not made: some user is not what it was made of; that can be seen here now, so it can be made anew */
    USERS_REFUSED = 4, /* not made: the text says why, as an error reply */
    USERS_OWN = 5,     /* not made: the members do not all know of users that are the cluster's */
    USERS_INDOUBT =
        6, /* it may be made, or is, and is perhaps not in force everywhere: the text says so, as an error reply */
};
typedef void users_on_done(void *arg, enum users_outcome outcome, const char *text);

struct consensus;
struct membership;

/* What else runs on the raft thread: the groups of the partitions' data. Without it the node holds none, and the cluster that it
 * is in has none. */
struct membership_data {
    void *arg;
    /* In membership_start, before the raft thread runs. What it returns but ERR_OK ends the start. */
    enum err (*on_consensus)(void *arg, struct consensus *consensus);
    /* As membership_opts.on_map, and after it. */
    void (*on_map)(void *arg, const struct pmap *map, uint32_t self);
    /* Every 100 ms or more often, and soon after a map; on the raft thread, not from inside the engine. Gives the partitions,
     * whose groups this node leads, that are as the map wants them and that the map does not know to be so. */
    uint32_t (*on_tick)(void *arg, struct pmap_settled *out, uint32_t out_max);
    uint64_t log_bytes; /* of one group's log, until it makes a snapshot; 0: 64 MiB */
};

/* The cluster's users. Without it the node has its own, and so have all of its cluster. */
struct membership_users {
    void *arg;
    /* They are these from now on: membership_users_in_force tells when they are, on every connection. On the raft thread.
     * Borrows: roster. */
    void (*on_roster)(void *arg, const struct roster *roster);
    /* Gives: a change with that id which sets the users that this node has of its own: they are the cluster's first if this
     * node leads it. On the raft thread. */
    struct roster_change *(*own)(void *arg, uint64_t id);
};

struct membership_opts {
    const char *dir;  /* exists; the log goes to a folder in it, and the cluster's id to a file */
    uint64_t node_id; /* of the data directory */
    const char *name;
    const char *zone;                       /* "" for none */
    struct pmap_address client, peer, raft; /* as others reach this node */
    const char *raft_listen_host;           /* where the raft link listens */
    uint16_t raft_listen_port;
    struct trust *trust;             /* as link_opts.trust; of the peer links, too */
    const struct pmap_address *join; /* raft addresses of possible members */
    uint32_t join_count;
    uint32_t
        expect; /* a new cluster is founded when so many empty nodes see each other; 0: never */
    uint32_t partition_count; /* of a cluster that is founded */
    uint64_t key_layout;      /* of one that gets keys: pmap.key_layout */
    /* Of a partition's data, 1 to 5; 0: 3. That of the control group's leader counts: so it is changed by restarting the
     * nodes one after the other, without a command of its own. */
    uint32_t replicas;
    struct membership_data data;
    uint64_t disk_reserve_bytes; /* with less than this free a node leads nothing */
    uint32_t election_ms, heartbeat_ms;
    uint32_t node_timeout_ms; /* a node that is silent for so long is down */
    /* A new map, on the raft thread, in order; of a burst only the last. Borrowed: take a reference.
     * `self`: this node's index in it, PMAP_NOBODY if it is no member any more. The first one comes
     * when this process has become a member: what an earlier life of the node owned is not shown.
     * If it makes this node the owner of something, call membership_set_warming before it returns:
     * the leader takes a node that has the map for done with what it does not mention. */
    void (*on_map)(void *arg, const struct pmap *map, uint32_t self);
    void *arg;
    struct membership_users users;
};

/* Gives: what the node whose directory this is knew of its cluster's users, in *out: in force until on_roster is called; NULL:
 * nothing. Errors: ERR_SYSTEM, ERR_CORRUPT (logged). */
MUST_USE enum err membership_known_users(const char *dir, struct roster **out);

/* Start; returns at once, the cluster is found or founded in the background. Errors: ERR_CORRUPT,
 * ERR_SYSTEM (logged). */
MUST_USE enum err membership_start(struct membership **out, const struct membership_opts *opts);
void membership_stop(struct membership *m); /* NULL is allowed; joins the thread */

/* May this node order messages of the partitions that a map gives it in which it has this incarnation?
 * Its lease: granted by the control group's leader for a time during which the leader does not declare
 * it down; measured on CLOCK_BOOTTIME, so that a process that was paused finds it expired. It is of one
 * incarnation: who still holds an older map has none. Thread: any; cheap. */
bool membership_has_lease(const struct membership *m, uint64_t incarnation);

/* Partitions that this node owns and has not begun to order yet: told to the leader, who makes one
 * move at a time. Thread: any. */
void membership_set_warming(struct membership *m, uint32_t partition_count);

/* Ask to be rid of all partitions and, at the end, to be taken for down at once; on_map tells when it
 * owns nothing. Leadership of the control group is handed over, too. Thread: any; idempotent. */
void membership_drain(struct membership *m);
/* Everything handed over: tell the leader that this node stops. Returns soon; the word may be lost.
 * Thread: any. */
void membership_leave(struct membership *m);

/* CLUSTER FORGET. on_done(arg, NULL), or why not: "ERR Unknown node x" and the like. Thread: any;
 * on_done: the raft thread. */
void membership_forget(struct membership *m, const char *name,
                       void (*on_done)(void *arg, const char *error), void *arg);
/* This node cannot reach member `id` although it is up: the leader may declare one of the two down, so
 * that the others do not wait for them. To be said again every 100 ms or so while it is true. Thread:
 * any. */
void membership_suspect(struct membership *m, uint64_t id, uint64_t incarnation);

/* This node cannot use the partition in that epoch for longer than it should take: the leader may give it to another
 * node. To be said again while it is true. Thread: any. */
void membership_unserved(struct membership *m, uint32_t partition, uint64_t epoch);

/* Change the cluster's users. Some 64 at a time: USERS_REFUSED beyond. The outcome is USERS_STALE where `change` was made of users who are others by now, and those can
 * be seen here. Takes: change. Thread: any; on_done: the raft thread. */
void membership_change_users(struct membership *m, struct roster_change *change,
                             uint32_t timeout_ms, users_on_done *on_done, void *arg);
/* The roster of that version is in force on every connection of this node. Thread: any. */
void membership_users_in_force(struct membership *m, uint64_t version);

/* For INFO, metrics, /readyz. Thread: any. */
struct membership_status {
    const char *unready_because; /* static; NULL: this node is an up member and knows a leader */
    uint64_t cluster_id;         /* 0: none yet */
    uint64_t term, commit, applied, last;
    char leader[PMAP_NAME_BYTES]; /* "" if unknown */
    bool is_leader;
    bool has_lease;
};
void membership_status(struct membership *m, struct membership_status *out);

#endif
