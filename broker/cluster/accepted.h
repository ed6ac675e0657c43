/* accepted: a connection that another node's worker has dialled to this one, and what came in on it.
 * Thread: the connection's worker. */
#ifndef FANFARE_CLUSTER_ACCEPTED_H
#define FANFARE_CLUSTER_ACCEPTED_H

#include "base/check.h"
#include "base/list.h"
#include "cluster/wire.h"

struct cluster_worker;
struct peer_in;

struct accepted_peer {
    struct list link; /* in cluster_worker.accepted */
    struct cluster_worker *cw;
    struct peer_in *in; /* NULL: closed; freed when nothing is outstanding */
    uint32_t node;
    uint64_t node_id;
    uint64_t incarnation;
    bool is_lane;
    uint64_t number;  /* of a lane: no other one of this process has it */
    bool is_ended;    /* a lane from which nothing more comes; under cluster.lock */
    uint32_t worker;  /* the dialler's */
    uint64_t gone_ns; /* when its node was first seen not to be that member any more; 0: it is */
    uint32_t outstanding;       /* shipments, queries and guests to be answered on it */
    struct list guests;         /* struct guest: commands that are asked here */
    struct partition_owed owed; /* bytes of their answers */
};

/* Of all of the worker: the map is new; the end of a turn; about every 100 ms. */
void accepted_follow_map(struct cluster_worker *cw);
void accepted_turn(struct cluster_worker *cw);
void accepted_tick(struct cluster_worker *cw);

/* Queue a frame; one that may be large. Nothing happens if the connection is closed. */
void accepted_answer(struct accepted_peer *accepted, const struct wire_frame *frame);
void accepted_answer_large(struct accepted_peer *accepted, const struct wire_frame *frame);
void accepted_release(struct accepted_peer *accepted); /* one outstanding less */
void accepted_free_if_done(
    struct accepted_peer *accepted); /* it is closed, or one outstanding less */

#endif
