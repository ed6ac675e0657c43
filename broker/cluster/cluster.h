/* cluster: a node among others, as the commands and the admin see it: the map, the questions that need
 * other nodes, the state of the links.
 * Owns: the membership and every worker's part (links, requests, changes that wait). Thread: as stated.
 *
 * The words of this module, each with one meaning (those of the fan-out: pubsub/fanout.h):
 *   cluster worker    what one worker has of the cluster; only that worker touches it
 *   accepted peer     a connection that a worker of another node has dialled to this node
 *   dialled peer      one worker's two connections to another node: one for requests, one lane
 *   lane              an owner's stream to one other node: runs, acknowledgements, READY, END, in their order
 *   request           runs of publishes on their way to their partition's owner, in order, sent again if refused
 *   flight            a request that was sent and is not answered
 *   jam               publishes to a channel that this node orders, but not before a full lane has room
 *   command, errand   what a client asks of a partition's data; the same on its way to who leads that
 *   guest             a command of another node's client, asked here
 *   owner             the node that orders a partition's channels, in an epoch; leader: of a partition's data, in a term
 *   interest          what a node's clients are subscribed to, as owners count it
 *   interest snapshot all of it at one moment, by number; Sync tells it, and changes say on which they are based
 *   follow            to have an owner's stream: it was told our snapshot
 *   handover          a partition's way from owner to owner: the old stream ends, the new owner is told, it begins
 *   staging           a member's snapshot at an owner, on its way into force
 *   tail              messages that may not be everywhere yet, kept in case their owner dies
 *   fence             a mark in a stream: what was counted before it has been acknowledged
 *   recovered         delivered by the next owner out of the tails, since the one who ordered it has died
 *   ask owners        what PUBSUB has to know of all owners (ask workers: of all workers of this node)
 *   ask members       what ACL LOG has to know of all members that are up
 */
#ifndef FANFARE_CLUSTER_CLUSTER_H
#define FANFARE_CLUSTER_CLUSTER_H

#include "base/buf.h"
#include "base/err.h"
#include "consensus/membership/membership.h"
#include "consensus/map/pmap.h"
#include "net/worker.h"
#include "partition/partition.h"
#include "pubsub/directory.h"
#include "pubsub/fanout.h"

struct cluster;

/* What was refused to whom on some node, as ACL LOG tells it. */
struct cluster_refusal {
    uint64_t id; /* on its node */
    uint64_t count;
    uint64_t reason;
    uint64_t created_ms; /* that node's wall clock */
    uint64_t updated_ms;
    struct slice context;
    struct slice object;
    struct slice user;
    struct slice client;
    char node[PMAP_NAME_BYTES]; /* its name; set here */
};

/* This node's own. Thread: any worker. */
struct cluster_refusals_ops {
    void *arg;
    /* The last ones, at most so many: call take(to, refusal) for each; it borrows. */
    void (*tell)(void *arg, uint32_t limit,
                 void (*take)(void *to, const struct cluster_refusal *refusal), void *to);
    void (*forget)(void *arg);
};

struct cluster_opts {
    struct membership_opts
        membership; /* but on_map and arg, which are the cluster's. What this node knew of the cluster's
                                          users is told in cluster_new */
    const char *peer_listen; /* "host:port", as listener_opts.address */
    struct directory *directory;
    uint32_t worker_count;
    /* The partitions' data on this node: dir (NULL: it keeps none), thread_count, map_bytes, sharded_databases, and
     * ops->changed with arg; the rest is the cluster's. */
    struct partitions_opts data;
    uint32_t timeout_ms; /* how long a publish or a change of subscriptions may wait for an owner */
    /* Publishes whose owner has not answered: above it those who wait for an answer are not read. Messages on a
     * lane to another node: above it further ones for that node are not ordered yet. */
    uint64_t link_bytes_max;
    struct cluster_refusals_ops refusals;
    size_t sync_frame_bytes; /* names in one part of a Sync; 0: the usual, SYNC_FRAME_BYTES */
};

/* Thread: main, before the workers start. Errors: ERR_SYSTEM, ERR_INVALID, ERR_CORRUPT (logged). */
MUST_USE enum err cluster_new(struct cluster **out, const struct cluster_opts *opts);
/* Worker `index`'s part, before it starts. */
void cluster_attach(struct cluster *cluster, uint32_t index, struct worker *worker,
                    struct fanout *fanout);
/* The workers run: find or found the cluster, accept peers. Errors: ERR_SYSTEM, ERR_CORRUPT. */
MUST_USE enum err cluster_start(struct cluster *cluster);
/* The parts of a worker's turn (service.c calls them): after fanout_commit: send what is for other nodes; and
 * tell what has come true. Thread: the worker. */
void cluster_turn(struct cluster *cluster, uint32_t worker);
void cluster_tick(struct cluster *cluster, uint32_t worker); /* about every 100 ms */
/* Are there too many bytes of publishes without an answer? Then those who have some among them are not to be read, nor
 * those who want no answers. Thread: any worker. */
bool cluster_is_congested(struct cluster *cluster);

/* Hand everything over to the others. cluster_is_drained: done, or the cluster cannot. Thread: any. */
void cluster_drain(struct cluster *cluster);
bool cluster_is_drained(struct cluster *cluster);
/* Say to the log of which partitions the data cannot be used once this node, and all others that drain, are gone. */
void cluster_log_left_short(struct cluster *cluster);
/* The workers still run: end the links (cleanly, if drained), leave. Thread: main. */
void cluster_stop(struct cluster *cluster);
void cluster_free(struct cluster *cluster); /* NULL is allowed */

/* The data of the partitions on this node; NULL: not yet. Thread: any. */
struct partitions *cluster_partitions(struct cluster *cluster);

/* ---- what commands ask; `cluster` may be NULL where it says so: then the node is alone ---- */

/* Gives: the present map with a reference (pmap_unref), or NULL: none yet. *self: this node's index or
 * PMAP_NOBODY. Thread: any. */
const struct pmap *cluster_map(struct cluster *cluster, uint32_t *self);

enum {
    CLUSTER_MESSAGE_BYTES_MAX = 512 << 20, /* of a channel's name and a message together */
    CLUSTER_ASK_NAMES_MAX = 32768,
};

/* A question to all owners (PUBSUB CHANNELS, NUMSUB and so on). The asker owns it and what it points to until
 * on_done. Thread: the worker that asks, also for on_done, which is not called from inside cluster_ask_owners. */
struct cluster_ask {
    enum topic_kind
        kind;         /* TOPIC_CHANNEL or TOPIC_SHARD; of no name, any: can the owners be asked? */
    bool wants_names; /* names of channels with a subscriber; else counts of name[] */
    bool has_pattern;
    struct slice pattern;
    const struct slice *name;
    uint32_t name_count;
    struct buf names;     /* out: each one as 4 bytes of length, native order, then the bytes */
    uint64_t names_found; /* out */
    uint64_t *count;      /* out: of name[]; the asker's array */
    enum err err;         /* out: ERR_OK or ERR_CLUSTER_DOWN */
    void (*on_done)(struct cluster_ask *asked);
    void *inner; /* the cluster's */
};
void cluster_ask_owners(struct cluster *cluster, uint32_t worker, struct cluster_ask *asked);

/* A question to all members that are up, this one included: the last `limit` refusals of each, or to forget them. Of members that do not all
 * know of users that are the cluster's only this one is asked. The asker owns it until on_done. Thread: as cluster_ask. */
struct cluster_log_ask {
    bool forgets;
    uint32_t limit;
    struct cluster_refusal *refusal; /* out: in no order; cluster_log_ask_fini frees them */
    uint32_t count;
    uint32_t cap;
    enum err err; /* out: ERR_OK or ERR_CLUSTER_DOWN */
    void (*on_done)(struct cluster_log_ask *asked);
};
void cluster_ask_log(struct cluster *cluster, uint32_t worker, struct cluster_log_ask *asked);
void cluster_log_ask_fini(struct cluster_log_ask *asked);

/* CLUSTER FORGET name or id. on_done(arg, NULL) or with an error reply's text; on that worker. */
void cluster_forget(struct cluster *cluster, uint32_t worker, struct slice name_or_id,
                    void (*on_done)(void *arg, const char *error), void *arg);

/* Change the cluster's users; on_done on that worker, not from inside: membership_change_users says what it tells. Takes: change. */
void cluster_change_users(struct cluster *cluster, uint32_t worker, struct roster_change *change,
                          uint32_t timeout_ms, users_on_done *on_done, void *arg);
/* The roster of that version is in force on every worker: changes are answered once every node has said so. Thread: any. */
void cluster_users_in_force(struct cluster *cluster, uint64_t version);

/* For INFO, CLUSTER LINKS, metrics: one row per member but this node; counters since the start. Thread: any. */
struct cluster_link_status {
    char name[PMAP_NAME_BYTES];
    uint64_t node_id;
    bool is_up;             /* some request link and lane is connected */
    uint64_t since_wall_ms; /* of the present connection */
    uint64_t queued_bytes;
    uint64_t sent_publishes;  /* forwarded to it as owner */
    uint64_t sent_deliveries; /* messages delivered to it as owner */
    uint64_t received_publishes;
    uint64_t received_deliveries;
};
struct cluster_status {
    struct membership_status membership;
    uint32_t owned; /* partitions, and how many of them are not ready yet */
    uint32_t warming;
    uint32_t
        unserved; /* partitions, of any owner, that cannot be used here for longer than the timeout */
    uint32_t unled; /* partitions of whose keys no leader is known here that can be asked */
    uint32_t lost;  /* those that nobody has a replica of any more */
    uint64_t last_warmup_us;    /* how long the last one took */
    uint64_t waiting_publishes; /* for an owner, or for a lane with too much on it */
    uint32_t link_count;
    struct cluster_link_status link[PMAP_NODES_MAX];
};
void cluster_status(struct cluster *cluster, struct cluster_status *out);

/* The node that leads the partition's keys, as far as this one knows and can ask it: its index, or PMAP_NOBODY. Thread: any. */
uint32_t cluster_leader(struct cluster *cluster, uint32_t partition);

/* Does this node know the partition's owner in that epoch, and can use it? Thread: any. */
bool cluster_serves(struct cluster *cluster, uint32_t partition, uint64_t epoch);

/* Are the keys of some partition on one node only, although there are several? So it is in the first moments of a cluster.
 * Thread: any. */
bool cluster_keys_are_single(struct cluster *cluster);

/* Why this node is not ready to serve, static; NULL: it is. Thread: any. */
const char *cluster_unready_because(struct cluster *cluster);
/* What is wrong with it all the same, static; NULL: nothing. Thread: any. */
const char *cluster_note(struct cluster *cluster);

#endif
