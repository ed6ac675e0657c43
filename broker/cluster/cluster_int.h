/* cluster_int: the cluster's state, shared by its files.
 *
 * Who touches what: a struct cluster_worker is its worker's. Worker 0 drives the handovers of partitions (handovers.c): it alone
 * changes phases, inside directory_exclusive. A struct cluster_partition (what this node has of its owner's
 * stream) is under its own lock, because any worker may receive a lane. Everything else that threads share is
 * under cluster.lock, or atomic. Lock order: stripes, then a partition's lock, then cluster.lock. */
#ifndef FANFARE_CLUSTER_CLUSTER_INT_H
#define FANFARE_CLUSTER_CLUSTER_INT_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "cluster/cluster.h"
#include "cluster/jams.h"
#include "cluster/leaders.h"
#include "cluster/pattern_sync.h"
#include "cluster/peer.h"
#include "cluster/requests.h"
#include "net/listener.h"
#include "pubsub/change.h"
#include "pubsub/interest.h"
#include "pubsub/lane.h"
#include "pubsub/partition.h"
#include "pubsub/remote.h"
#include "pubsub/shipment.h"

enum {
    /* Messages kept for a crash of their owners: of all partitions together, and at least of one. */
    TAILS_BYTES_MAX = 16 << 20,
    TAIL_BYTES_MIN = 64 << 10,
    SYNC_FRAME_BYTES = 60000, /* names in one part of a Sync */
    LANES_MAX = 64,           /* workers of a node */
    PATIENCE =
        3, /* in node timeouts: whose loop does not turn, but who is no dead member, has so long */
    CHANGES_PER_TURN = 1024,  /* of interest in channels, that one worker sends or makes */
    CHANGES_SENT_MAX = 8192,  /* and that it has sent and that are not acknowledged */
    SUSPECT_NS = 2000000000,  /* a member that keeps a handover waiting for so long is suspected */
    DEAD_LANE_NS = 300000000, /* what a member that is down has sent gets so long to arrive */
};

/* What waits for a partition's owner on one worker. */
struct interest_queue {
    struct list changes;    /* struct interest_change: not sent */
    struct list sent;       /* struct interest_change: sent, and not applied yet */
    uint64_t snapshot_seen; /* remote_partition.snapshot when changes were sent last */
};

/* A worker's part of the cluster. */
struct cluster_worker {
    struct cluster *cluster;
    uint32_t index;
    struct worker *worker;
    struct fanout *fanout;
    struct peer_hub *hub;
    struct buf head; /* scratch: the frame that is being encoded */
    struct dialled_peer *dialled[PMAP_NODES_MAX];
    struct list accepted;
    struct interest_queue *interest; /* by partition */
    bool *is_due; /* partitions for which something waits that is to be looked at */
    bool any_due;
    uint64_t next_id;
    uint64_t *lane_seq;    /* by partition: the last number put on the lanes */
    uint64_t *lane_stable; /* all up to here have been taken by the sockets */
    bool lane_is_unstable; /* lane_seq is ahead of lane_stable */
    struct list askings;   /* struct asking */
    struct task map_task;
    atomic_bool map_is_posted;
    const struct pmap *map; /* a reference; NULL: none yet */
    uint32_t self;
    struct task look_task; /* phases have changed: look at everything that waits */
    atomic_bool look_is_posted;
    struct jams jams;
    struct requests requests;
    struct commands *commands; /* NULL: data is not served */
    struct task commands_task; /* commands_look */
    atomic_bool commands_task_is_posted;
    uint32_t changes_left;               /* changes of interest that this turn may still look at */
    atomic_uint changes_sent;            /* of this worker, in cluster.changes */
    struct pattern_batch *pattern_batch; /* other nodes' changes of patterns, of one read */
    bool accepted_is_paused;             /* accepted peers' requests are not read */
    struct latch *stopped;               /* to be counted down when the last connection has ended */
};

struct peer_stat {
    atomic_uint_fast64_t sent_publishes;
    atomic_uint_fast64_t sent_deliveries;
    atomic_uint_fast64_t received_publishes;
    atomic_uint_fast64_t received_deliveries;
    atomic_uint_fast64_t queued_bytes[LANES_MAX];
    atomic_uint requests_up;
    atomic_uint lanes_up;
    atomic_uint_fast64_t up_wall_ms;
};

struct cluster {
    struct cluster_opts opts;
    char peer_listen[320];
    struct directory *directory;
    uint32_t worker_count;
    uint32_t partition_count;
    size_t tail_bytes_max;                   /* of one partition */
    _Atomic(struct membership *) membership; /* NULL: not started yet */
    _Atomic(struct partitions *) partitions; /* NULL: none yet */
    _Atomic(struct replicas *) replicas;     /* the same; the raft thread's */
    struct leaders leaders;                  /* of the partitions' data */
    struct listener *listener;
    struct resolver *resolver;
    struct cluster_worker *worker[LANES_MAX];
    struct cluster_partition *partition; /* by number */

    struct lock lock;
    const struct pmap *map; /* a reference; NULL: none yet */
    uint32_t self;
    struct map changes;  /* struct change_key: sent and not acknowledged, by id */
    struct map patterns; /* struct pattern_op, by id */
    struct {
        struct accepted_peer *lane[LANES_MAX];    /* the open connections of a node to us, */
        struct accepted_peer *request[LANES_MAX]; /* by its worker */
        uint32_t worker_count;                    /* 0: not known */
    } from[PMAP_NODES_MAX];
    uint64_t lane_number; /* the last one given */

    struct task progress_task; /* worker 0: handovers_progress */
    atomic_bool progress_is_posted;
    /* Worker 0's: */
    struct pattern_sync pattern_sync;
    uint64_t work_turn_ns; /* of the turn whose work is counted, */
    size_t work_left;      /* and the names that it may still look at */
    uint64_t patterns_told
        [PMAP_NODES_MAX]; /* directory_pattern_changes + 1 at the snapshot that the node
                                               has; 0: it has none */
    /* What its earlier lives have told is forgotten: its connections may come in. Read by any thread. */
    atomic_uint_fast64_t known_incarnation[PMAP_NODES_MAX];
    atomic_uint_fast64_t own_incarnation; /* under which this node owns what it owns; 0: none */

    uint32_t next_worker;               /* for accepted connections; worker 0's */
    atomic_uint_fast64_t users_version; /* of the cluster's users that are in force here; 0: none */
    atomic_uint owned;
    atomic_uint warming;
    atomic_uint unserved;      /* partitions that cannot be used here for too long, */
    atomic_uint unserved_here; /* and those of them of which this node is the reason, or may be */
    uint64_t unled_since_ns
        [PMAP_PARTITIONS_MAX]; /* nobody leads its keys; 0: somebody does. Worker 0's, */
    uint64_t unled_told_ns;    /* like this */
    atomic_uint unled_long;    /* how many for too long, */
    atomic_uint lost;          /* and those that are lost */
    atomic_uint_fast64_t last_warmup_us;
    atomic_uint_fast64_t waiting_publishes;
    atomic_bool is_draining;
    atomic_bool is_stopping;
    struct peer_stat stat[PMAP_NODES_MAX];
};

#define LIST_FIRST(head, type, member) CONTAINER_OF((head)->next, type, member)

/* Run `run(arg...)` on a worker: a task that frees itself. */
struct event {
    struct task task;
    struct cluster_worker *cw;
    void (*run)(struct event *event);
    uint32_t node;
    uint32_t partition;
    uint64_t a;
    uint64_t b;
    bool flag;
    void *pointer;
};
void event_post(struct cluster_worker *cw, struct event event);

static inline size_t sync_frame_bytes(const struct cluster *c)
{
    return c->opts.sync_frame_bytes > 0 ? c->opts.sync_frame_bytes : SYNC_FRAME_BYTES;
}

static inline struct cluster_worker *cluster_worker_0(struct cluster *c)
{
    return c->worker[0];
}

static inline bool node_is_up(const struct pmap *map, uint32_t node)
{
    return map != NULL && node < map->node_count && map->node[node].id != 0 &&
           map->node[node].is_up;
}

/* cluster_worker.c. Its worker, but where stated. */
uint64_t cluster_worker_lease(void *cw);             /* fanout_remote_ops.lease; any thread */
void cluster_worker_look(struct cluster_worker *cw); /* any thread: something may go on */
void cluster_worker_due(struct cluster_worker *cw, uint32_t partition);
void cluster_worker_take_map(struct cluster_worker *cw); /* any thread: cluster.map is new */
void cluster_worker_on_stop(
    struct event *event); /* end the links, then count event->pointer, a latch, down */
void cluster_worker_free(struct cluster_worker *cw); /* NULL is allowed */

/* cluster_users.c */
MUST_USE enum err cluster_users_recall(struct cluster *c); /* what this node knew of them */
void cluster_users_join(struct cluster *c, struct membership_opts *opts);

/* cluster_life.c */
void cluster_look_all(struct cluster *c); /* any thread: cluster_worker_look of all */

#endif
