/* errands: one worker's commands on their way to whoever leads their partition, and back: numbered, asked, asked again,
 * answered. It knows no connections: where a partition is led, and how one asks there, is behind its options.
 *
 * Those of a partition go in the order in which they were given. What was refused, or lost with a connection, goes again
 * before everything that came after it, and not while a later one is still on its way: else that could be first. (Who
 * leads refuses of a lane what comes behind a number that it has refused: partition.h.) Once a newer leader is known, what
 * is on its way to an older one on another node is not waited for: the number tells the new one whether it was executed.
 * Parked ones have no order among them; each goes again on its own.
 *
 * Owns: the errands; of their requests nothing. Thread: the worker; no locks.
 * Bound: COMMANDS_IN_FLIGHT_MAX numbers of a partition, from the first unanswered one on. */
#ifndef FANFARE_CLUSTER_ERRANDS_H
#define FANFARE_CLUSTER_ERRANDS_H

#include "base/list.h"
#include "base/map.h"
#include "consensus/map/pmap.h"
#include "partition/partition.h"

enum errand_where { ERRAND_NOWHERE, ERRAND_HERE, ERRAND_THERE };

/* Where a partition is led, as far as is known. */
struct errand_leader {
    enum errand_where where;
    uint32_t node; /* there */
    uint64_t term;
};

/* A request that is under way. */
struct errand {
    struct partition_request request; /* as it is asked, here or there */
    struct partition_request *asked;  /* the asker's; NULL: it only confirms */
    struct errand_lane *lane;
    struct list link;      /* in a list of the lane's, or in errands.ended; else it is asked here */
    struct list in_seq;    /* it has a number */
    struct map_node by_id; /* it is asked there */
    uint64_t id;           /* of that asking */
    uint64_t since_ns;
    size_t bytes;
    uint32_t word_count;
    struct errand_leader at; /* where it was asked last */
    uint64_t *acked;         /* request.acked */
    uint64_t acked_end;      /* once executed, it has confirmed the lane's up to here */
    bool is_asked;           /* and not answered yet */
    bool is_doubtful;        /* it may have been executed */
    bool is_unwanted;        /* parking: taken back */
    bool is_useless;         /* and nobody asks how it ended: unless it may have been executed */
    bool is_ended;
};

/* Of one partition. */
struct errand_lane {
    struct errands *errands;
    uint32_t partition;
    struct list in_busy;
    uint32_t count; /* of its errands */
    /* Those that do not park. */
    struct list waiting;     /* never asked */
    struct list refused;     /* to be asked again, before those; by number */
    struct list there;       /* asked on another node; by number */
    uint32_t here_count;     /* asked on this one */
    struct errand_leader at; /* where they are asked */
    struct list numbered;    /* by number */
    uint64_t seq;            /* the last number */
    /* Those that park. */
    struct list to_park;
    struct list parked_there;
    struct list parking_numbered;
    uint64_t parking_seq;
    uint32_t unwanted_count;
    uint64_t *
        acked; /* numbers that were answered, oldest first; what confirms them may not have been applied */
    uint32_t acked_count;
    uint32_t acked_cap;
    uint64_t acked_base; /* how many were confirmed before them */
    uint64_t *lent;      /* numbers that were answered, and are not to be confirmed yet */
    uint32_t lent_count;
    uint32_t lent_cap;
    bool is_confirming; /* an errand for nothing else is under way */
    bool
        is_backing_off; /* refused here, or for a passing reason: not before a tick, or an answer */
};

struct errands_opts {
    uint32_t worker;
    struct mailbox *mailbox; /* the worker's */
    uint32_t timeout_ms;
    uint64_t node_id;
    uint64_t (*incarnation)(void *arg); /* 0: this node cannot ask at present */
    struct errand_leader (*find)(void *arg, uint32_t partition);
    /* As partition_ask and partition_unpark. */
    void (*ask_here)(void *arg, struct partition_request *request);
    void (*unpark_here)(void *arg, const struct partition_request *request);
    /* On the connection to errand->at.node, which find has told. */
    void (*ask_there)(void *arg, const struct errand *errand);
    void (*unpark_there)(void *arg, const struct errand *errand);
    /* Who was asked there does not lead. */
    void (*on_refused)(void *arg, uint32_t partition, const struct errand_leader *at);
    /* At a tick: something waits, and find does not know for whom. */
    void (*on_lost)(void *arg, uint32_t partition);
    void *arg;
};

struct errands {
    struct errands_opts opts;
    struct errand_lane *lane[PMAP_PARTITIONS_MAX]; /* made when first used */
    struct list busy;                              /* lanes that have errands */
    struct list ended;                             /* their askers are to be told */
    struct task end_task;
    bool is_posted;
    struct map by_id; /* those that are asked there */
    uint64_t last_id;
    uint64_t incarnation;
    uint32_t waiting_count; /* never asked */
    uint32_t count;
    uint32_t parking_count; /* of these */
    uint32_t confirming_count;
    size_t bytes;
    uint64_t again_count; /* ever: asked again */
    struct errands_seen { /* what the metrics have been told */
        uint64_t count, parking, waiting, again;
    } seen;
    bool is_stopping;
};

void errands_init(struct errands *errands, const struct errands_opts *opts);
void errands_fini(struct errands *errands); /* none is left */

/* As commands.h says. */
void errands_ask(struct errands *errands, struct partition_request *request);
void errands_unpark(struct errands *errands, struct partition_request *request, bool is_asked);
void errands_confirm(struct errands *errands, uint32_t partition,
                     const struct partition_origin *origin);
void errands_tick(struct errands *errands);
void errands_stop(struct errands *errands);

/* Leaders have changed, connections have come up, or this node's incarnation is another one. */
void errands_look(struct errands *errands);

/* Another node has answered `id`. Gives: its errand, or NULL: nobody waits for it any more. The caller sets in its request
 * what partition.h calls the answer, and calls errands_answered. */
MUST_USE struct errand *errands_find(struct errands *errands, uint64_t id);
void errands_answered(struct errand *errand);

/* The connection to the node is gone: what was asked there may have been executed. */
void errands_on_down(struct errands *errands, uint32_t node);

#endif
