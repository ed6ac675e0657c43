/* asking: a question of this worker to several nodes at once, whose answers make one. It is asked anew when they could not make
 * one (a connection was lost, the map is another), until `cluster-timeout`.
 * Owns: cluster_worker.askings. Thread: the worker.
 * Always: `left` nodes have an outstanding id; an answer that none of them waits for is nobody's. */
#ifndef FANFARE_CLUSTER_ASKING_H
#define FANFARE_CLUSTER_ASKING_H

#include "base/err.h"
#include "base/list.h"
#include "cluster/wire.h"
#include "consensus/map/pmap.h"

struct asking;
struct cluster_worker;
struct dialled_peer;

struct asking_ops {
    /* Can everybody who is to be asked be? */
    bool (*can_begin)(const struct cluster_worker *cw);
    /* Forget what was found, answer this node's own part, and asking_send to the others. */
    void (*begin)(struct asking *q);
    /* Take a part of a node's answer. False: the whole is to be asked anew. */
    bool (*take)(struct asking *q, uint32_t node, const struct wire_query_answer *answer);
    /* Can one who was asked not answer any more? NULL: only a lost connection says so. */
    bool (*is_stale)(const struct asking *q);
    /* Tell whoever asked, and free it. ERR_OK, or ERR_CLUSTER_DOWN. */
    void (*end)(struct asking *q, enum err err);
};

struct asking {
    struct list link;
    const struct asking_ops *ops;
    struct cluster_worker *cw;
    uint64_t since_ns;
    uint64_t id[PMAP_NODES_MAX]; /* outstanding at a node; 0: not, or answered */
    uint32_t left;
    bool is_begun;
};

/* Ask, now or as soon as all can be asked. */
void asking_start(struct asking *q, struct cluster_worker *cw, const struct asking_ops *ops);
/* From `begin`: this node, too. Gives the query its id. */
void asking_send(struct asking *q, uint32_t node, struct wire_query *query);

void askings_on_answer(struct dialled_peer *dialled, const struct wire_query_answer *answer);
void askings_on_down(struct cluster_worker *cw); /* a connection for requests is lost */
void askings_turn(struct cluster_worker *cw);
void askings_tick(struct cluster_worker *cw);
void askings_stop(struct cluster_worker *cw);

#endif
