/* cluster_int: the cluster's state, shared by its files.
 *
 * Who touches what: a struct half is its worker's. Worker 0 drives the moves of partitions (moves.c): it alone
 * changes phases, inside directory_exclusive. The struct place of a partition (what this node has of its owner's
 * stream) is under its own lock, because any worker may receive a lane. Everything else that threads share is
 * under cluster.lock, or atomic. Lock order: stripes, then a place's lock, then cluster.lock. */
#ifndef FANFARE_CLUSTER_CLUSTER_INT_H
#define FANFARE_CLUSTER_CLUSTER_INT_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/map.h"
#include "cluster/cluster.h"
#include "cluster/handover.h"
#include "cluster/jams.h"
#include "cluster/leaders.h"
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
    SUSPECT_NS = 2000000000,  /* a member that keeps a move waiting for so long is suspected */
    DEAD_LANE_NS = 300000000, /* what a member that is down has sent gets so long to arrive */
};

/* A partition's handover, and its lock. */
struct place {
    struct lock lock;
    struct handover handover;
    bool
        is_followed; /* in this life of the node some owner has known our interest; worker 0's, and the next */
    uint64_t warming_since_ns;  /* of the owner; 0: not warming */
    uint64_t unserved_since_ns; /* it cannot be used here; 0: it can */
    uint64_t acted_ns;          /* and something was done about that, or it began */
};

/* An accepted connection's object. Its worker's. */
struct inlet {
    struct list link; /* in half.inlets */
    struct half *half;
    struct peer_in *in; /* NULL: closed; freed when nothing is outstanding */
    uint32_t node;
    uint64_t node_id;
    uint64_t incarnation;
    bool is_lane;
    uint64_t number;  /* of a lane: no other one of this process has it */
    bool is_ended;    /* a lane from which nothing more comes; under cluster.lock */
    uint32_t worker;  /* the dialler's */
    uint64_t gone_ns; /* when its node was first seen not to be that member any more; 0: it is */
    uint32_t outstanding; /* shipments, queries and guests to be answered on it */
    struct list guests;   /* struct guest: commands that are asked here */
};

/* A worker's connections to one other node. */
struct outlet {
    struct half *half;
    uint32_t node;
    uint64_t node_id;
    uint64_t incarnation;
    uint64_t own_incarnation; /* of this node, as the hello told it */
    struct peer_out *request;
    struct peer_out *lane;
    bool request_is_up;
    bool lane_is_up;
    struct flights flights; /* requests: sent and not answered */
    struct list on_lane;    /* struct lane_wait: sent on lane and not taken by the socket */
    size_t lane_bytes; /* of runs: sent on lane, and directory_lane_taken is still to be told */
};

/* A lane item that waits until the socket has taken it, on one lane. */
struct lane_wait {
    struct list link;
    uint64_t end; /* peer_out_sent of the lane must reach this */
    struct lane_item *item;
};

/* What waits for a partition's owner on one worker. */
struct waiting {
    struct list changes;    /* struct interest_change: not sent */
    struct list sent;       /* struct interest_change: sent, and not applied yet */
    uint64_t snapshot_seen; /* remote_partition.snapshot when changes were sent last */
};

/* A worker's half. */
struct half {
    struct cluster *cluster;
    uint32_t index;
    struct worker *worker;
    struct fanout *fanout;
    struct peer_hub *hub;
    struct buf head; /* scratch: the frame that is being encoded */
    struct outlet *outlet[PMAP_NODES_MAX];
    struct list inlets;
    struct waiting *waiting; /* by partition */
    bool *is_due;            /* partitions whose waiting is to be looked at */
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
    atomic_uint changes_sent;            /* of this half, in cluster.changes */
    struct pattern_batch *pattern_batch; /* other nodes' changes of patterns, of one read */
    bool is_held;                        /* inlets with requests are not read */
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

/* A pattern change that every member has to count. Worker 0's, but what lanes read under cluster.lock. */
struct pattern_op {
    struct list link;      /* in pattern_sync.under_way */
    struct list done_link; /* in pattern_sync.done */
    struct map_node by_id; /* in cluster.patterns, as long as it is under way */
    uint64_t id;
    struct interest_change *change;
    uint64_t awaited; /* members that have not acknowledged it, a bit each */
    bool is_given_up; /* nobody is waited for any longer */
    struct pattern_asked {
        uint64_t id; /* 0: not asked; else the op's, and in the low byte how often it was asked */
        uint32_t remaining; /* acknowledgements of that to come, one per lane of the node */
    } asked[PMAP_NODES_MAX];
    uint8_t asked_count; /* how often anybody was; it may start over */
};

/* This node's changes of patterns. Worker 0's. */
struct pattern_sync {
    struct list waiting;   /* struct interest_change: not begun */
    struct list under_way; /* struct pattern_op */
    struct list done;      /* struct pattern_op: those that may end */
    uint32_t under_way_count;
    struct picture *picture; /* of all patterns, on its way to one node; NULL: there is none */
    struct list drops;       /* struct interest_change: to be told behind it */
    struct task task;        /* a slice of the work in each turn */
    bool is_posted;
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
    struct half *half[LANES_MAX];
    struct place *place; /* by partition */

    struct lock lock;
    const struct pmap *map; /* a reference; NULL: none yet */
    uint32_t self;
    struct map changes;  /* struct change_key: sent and not acknowledged, by id */
    struct map patterns; /* struct pattern_op, by id */
    struct {
        struct inlet *lane[LANES_MAX];    /* the open connections of a node to us, */
        struct inlet *request[LANES_MAX]; /* by its worker */
        uint32_t worker_count;            /* 0: not known */
    } from[PMAP_NODES_MAX];
    uint64_t lane_number; /* the last one given */

    struct task progress_task; /* worker 0: moves_progress */
    atomic_bool progress_is_posted;
    /* Worker 0's: */
    struct pattern_sync pattern_sync;
    uint64_t work_turn_ns; /* of the turn whose work is counted, */
    size_t work_left;      /* and the names that it may still look at */
    uint64_t
        patterns_told[PMAP_NODES_MAX]; /* directory_pattern_changes + 1 at the picture that the node
                                               has; 0: it has none */
    /* What its earlier lives have told is forgotten: its connections may come in. Read by any thread. */
    atomic_uint_fast64_t known_incarnation[PMAP_NODES_MAX];
    atomic_uint_fast64_t own_incarnation; /* under which this node owns what it owns; 0: none */

    uint32_t next_worker; /* for accepted connections; worker 0's */
    atomic_uint owned;
    atomic_uint warming;
    atomic_uint unserved;      /* partitions that cannot be used here for too long, */
    atomic_uint unserved_here; /* and those of them of which this node is the reason, or may be */
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
    struct half *half;
    void (*run)(struct event *event);
    uint32_t node;
    uint32_t partition;
    uint64_t a;
    uint64_t b;
    bool flag;
    void *pointer;
};
void event_post(struct half *half, struct event event);

static inline size_t sync_frame_bytes(const struct cluster *c)
{
    return c->opts.sync_frame_bytes > 0 ? c->opts.sync_frame_bytes : SYNC_FRAME_BYTES;
}

static inline struct half *half_0(struct cluster *c)
{
    return c->half[0];
}

static inline bool node_is_up(const struct pmap *map, uint32_t node)
{
    return map != NULL && node < map->node_count && map->node[node].id != 0 &&
           map->node[node].is_up;
}

/* cluster.c */
uint64_t half_lease(void *half);   /* fanout_remote_ops.lease; any thread */
void half_look(struct half *half); /* any thread: something may go on */
void half_look_all(struct cluster *c);
void half_due(struct half *half, uint32_t partition); /* its worker */

/* outlets.c: dialled connections */
static inline bool outlet_can_ask(const struct outlet *outlet)
{
    return outlet != NULL && outlet->request_is_up && peer_out_is_up(outlet->request);
}

static inline bool outlet_has_lane(const struct outlet *outlet)
{
    return outlet != NULL && outlet->lane_is_up && peer_out_is_up(outlet->lane);
}

void outlets_follow_map(struct half *half);
void outlets_close(struct half *half, bool is_abrupt);
void outlet_send(struct outlet *outlet, struct peer_out *out, const struct wire_frame *frame);
/* Head and body of a run. */
void outlet_send_run(struct outlet *outlet, struct peer_out *out, const struct wire_frame *frame,
                     const struct span *body);
/* A frame that may be large, on the request connection (wire_put). */
void outlet_send_large(struct outlet *outlet, const struct wire_frame *frame);
void outlets_flush(struct half *half);
/* requests_opts.connection and send; arg is the half. */
struct flights *outlets_connection(void *arg, uint32_t node);
uint64_t outlets_send_request(struct flights *flights, const struct request *request,
                              const struct wire_frame *frame, const struct span *body);

/* inlets.c: accepted connections */
extern const struct peer_in_ops inlet_ops;
void inlets_accept(void *arg, int fd);
void inlets_follow_map(struct half *half);
void inlet_answer(struct inlet *inlet, const struct wire_frame *frame);
void inlet_answer_large(struct inlet *inlet, const struct wire_frame *frame);
void inlet_release(struct inlet *inlet); /* one outstanding less */
void inlets_turn(struct half *half);
void inlets_tick(struct half *half);

/* lanes.c: the owner's streams, both ends */
void lanes_on_item(struct task *task);
void lanes_turn(struct half *half);
void lanes_on_down(struct outlet *outlet);
bool lanes_on_frame(struct inlet *inlet, const struct wire_frame *frame);
void lanes_on_closed(struct inlet *inlet, bool is_clean);
/* How many lanes a node has to us if all of them are open; else 0. Any thread. */
uint32_t lanes_complete(struct cluster *c, uint32_t node);
/* Of the lane on which a node's stream of a partition comes; 0: it is not open. Under cluster.lock. */
uint64_t lane_number(const struct cluster *c, uint32_t node, uint32_t partition);

/* interest_channels.c, interest_patterns.c: changes of our clients' subscriptions, and of other nodes' */
void interest_change(void *arg, struct interest_change *change);
void interest_flush(struct half *half, uint32_t partition);
void interest_stale(struct half *half, uint32_t partition); /* what was sent may be lost */
/* Some of the partition's stream was lost: who had been asked to count a join may have done so in that. It is refused. */
void interest_missed(struct half *half, uint32_t partition);
void interest_tick(struct half *half);
void interest_stop(struct half *half);
bool interest_on_request(struct inlet *inlet, const struct wire_interest *interest);
void interest_on_batch_end(struct inlet *inlet); /* after the requests of one read */
void interest_on_ack(struct inlet *inlet, const struct wire_interest_ack *ack);
void interest_init(struct cluster *c);
/* Worker 0: the node is not known to have all patterns: tell it them, or the next of them. It is gone, or its request
 * link is another one: it is not waited for any more, and has to be told anew. */
void interest_tell_patterns(struct half *half, uint32_t node);
void interest_node_gone(struct half *half, uint32_t node);
void interest_look(struct half *half); /* streams have begun or ended */
bool interest_on_patterns(struct inlet *inlet, const struct wire_sync *sync);

/* moves.c: owners come and go. Worker 0, unless stated */
void moves_init(struct cluster *c);
void moves_follow_map(struct cluster *c);
void moves_progress(struct cluster *c);
void moves_soon(struct cluster *c); /* any thread: moves_progress, in one of the next turns */
/* Does every partition's stream come to us, and is no other one on its way? Worker 0. */
bool moves_are_settled(struct cluster *c);
void moves_request_lost(struct cluster *c, uint32_t node);
void moves_lane_lost(const struct inlet *inlet, uint32_t lane_count,
                     bool is_clean); /* any thread */
void moves_on_ready(struct cluster *c, uint32_t node,
                    const struct wire_ready *ready);                            /* any thread */
bool moves_on_sync(struct inlet *inlet, const struct wire_sync *sync);          /* any thread */
bool moves_on_ask_end(struct inlet *inlet, const struct wire_ask_end *ask_end); /* any thread */
void moves_tick(struct cluster *c);

/* keeping.c: the partitions' data on this node */
/* What membership calls, where the cluster's options say that there is data. Before membership_start. */
void keeping_join(struct cluster *c, struct membership_opts *opts);
/* Nobody asks any more: what was asked ends. The consensus runs still. */
void keeping_stop(struct cluster *c);
void keeping_free(struct cluster *c); /* the consensus has stopped */
/* Does this node, which drains, lead no data that another one could lead? Any thread. */
bool keeping_is_handed_over(struct cluster *c);
/* Of how many partitions is it not known who leads their data? Any thread. */
uint32_t keeping_unled(struct cluster *c);

/* ask_owners.c */
bool ask_owners_on_query(struct inlet *inlet, const struct wire_ask *ask);
void ask_owners_on_answer(struct outlet *outlet, const struct wire_answer *answer);
void ask_owners_on_down(struct half *half);
void ask_owners_tick(struct half *half);
void ask_owners_turn(struct half *half);
void ask_owners_stop(struct half *half);

#endif
