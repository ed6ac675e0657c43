/* dialled: a worker's connections to one other node, which it has dialled: one for requests, one lane.
 * Thread: the worker. */
#ifndef FANFARE_CLUSTER_DIALLED_H
#define FANFARE_CLUSTER_DIALLED_H

#include "base/list.h"
#include "cluster/peer.h"
#include "cluster/requests.h"

struct cluster_worker;

struct dialled_peer {
    struct cluster_worker *cw;
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

static inline bool dialled_can_ask(const struct dialled_peer *dialled)
{
    return dialled != NULL && dialled->request_is_up && peer_out_is_up(dialled->request);
}

static inline bool dialled_has_lane(const struct dialled_peer *dialled)
{
    return dialled != NULL && dialled->lane_is_up && peer_out_is_up(dialled->lane);
}

void dialled_send(struct dialled_peer *dialled, struct peer_out *out,
                  const struct wire_frame *frame);
/* Head and body of a run. */
void dialled_send_run(struct dialled_peer *dialled, struct peer_out *out,
                      const struct wire_frame *frame, const struct span *body);
/* A frame that may be large, on the request connection (wire_put). */
void dialled_send_large(struct dialled_peer *dialled, const struct wire_frame *frame);
void dialled_flush(struct cluster_worker *cw);
/* requests_opts.connection and send; arg is the cluster_worker. */
struct flights *dialled_connection(void *arg, uint32_t node);
uint64_t dialled_send_request(struct flights *flights, const struct request *request,
                              const struct wire_frame *frame, const struct span *body);

#endif
