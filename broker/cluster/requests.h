/* requests: what is asked of partitions' owners, in order, whoever the owner is at the time. One worker's.
 * A request waits until its partition has an owner that can take it; is sent to it, or run here if that is this node;
 * and is answered. One that was refused, or not sent whole when the connection ended, goes again, before everything
 * that came after it; nothing of a partition goes to a new owner, or to the same one in a new epoch, while something is on its way in the old
 * one.
 * Owns: the requests that were given to it. Not: what they mean (request_ops). Thread: the worker; no locks.
 * Bound: what clients may have unanswered (cluster_is_congested), and `timeout_ms` for one that waits. */
#ifndef FANFARE_CLUSTER_REQUESTS_H
#define FANFARE_CLUSTER_REQUESTS_H

#include <stdatomic.h>

#include "base/block.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "cluster/wire.h"

struct directory;
struct flights;
struct request;

struct request_ops {
    /* The frame that asks for it, with request->id and sent_epoch. Returns the bytes that go behind its head, or NULL:
     * it is whole. */
    const struct span *(*encode)(const struct request *request, struct wire_frame *frame);
    /* This node is the owner: begin it here; takes it. False: not now (it goes on waiting, first of all). */
    bool (*run)(struct request *request);
    /* Its fate; takes it. ERR_OK: `answer` is the frame that told it. ERR_CLUSTER_DOWN: certainly not executed.
     * ERR_INDOUBT. */
    void (*settle)(struct request *request, enum err err, const struct wire_frame *answer);
};

/* Embedded in what a kind of request needs. The first four are its maker's. */
struct request {
    const struct request_ops *ops;
    uint32_t partition;
    uint32_t count; /* of clients' commands in it: for the books */
    size_t bytes;   /* and what it weighs */
    const void
        *guest; /* of another node, that has asked here; NULL: it is a client's of this node */
    uint64_t since_ns;
    struct list link;
    struct map_node by_id; /* in flight */
    uint64_t id;
    uint64_t sent_epoch;
    uint64_t sent_end; /* peer_out_queued behind it */
};

/* Those of one partition that are not in flight. */
struct request_queue {
    struct list refused; /* were sent, and go before those that */
    struct list waiting; /* were not */
    uint32_t guest_count;
    uint32_t in_flight;
    uint32_t in_flight_to; /* node, in this epoch */
    uint64_t in_flight_epoch;
    uint64_t refused_epoch;
};

/* In flight on one connection; embedded in what sends on it. */
struct flights {
    struct list in_order;
    struct map by_id;
};

struct requests_opts {
    struct directory *directory; /* which knows the owners */
    uint32_t partition_count;
    uint32_t timeout_ms;
    atomic_uint_fast64_t *waiting; /* how many of clients' commands wait, on all workers */
    /* The partition is to be flushed in this turn. */
    void (*due)(void *arg, uint32_t partition);
    /* The connection on which a node can be asked now; NULL: there is none. */
    struct flights *(*connection)(void *arg, uint32_t node);
    /* Queue the frame of a request, and the bytes behind it (or NULL). Returns peer_out_queued behind them. */
    uint64_t (*send)(struct flights *flights, const struct request *request,
                     const struct wire_frame *frame, const struct span *body);
    void *arg;
};

struct requests {
    struct requests_opts opts;
    struct request_queue *queue; /* by partition */
    uint64_t last_id;
    atomic_size_t bytes; /* of all requests of this node's clients; read by any thread */
};

void requests_init(struct requests *requests, const struct requests_opts *opts);
void requests_fini(struct requests *requests); /* none is left */

/* Takes: request, its first fields set. */
void requests_add(struct requests *requests, struct request *request);
/* The same for one that was run here and could not be finished: before all that wait. */
void requests_put_back(struct requests *requests, struct request *request);
/* Does something of the partition wait, or is it in flight? What comes now has to go behind it. */
bool requests_are_before(const struct requests *requests, uint32_t partition);

/* Send or run what can be. */
void requests_flush(struct requests *requests, uint32_t partition);
void requests_tick(struct requests *requests);
/* Settle what waits for another node's sake: it is gone, and may ask again elsewhere. */
void requests_drop(struct requests *requests, const void *guest);
void requests_stop(struct requests *requests);

void flights_init(struct flights *flights);
void flights_fini(struct flights *flights); /* none is left */
/* The owner has answered; an id that is not in flight is ignored. */
void requests_on_answer(struct requests *requests, struct flights *flights, uint64_t id,
                        enum wire_status status, const struct wire_frame *answer);
/* The connection is gone; bytes from `unsent_from` on were never sent. */
void requests_on_down(struct requests *requests, struct flights *flights, uint64_t unsent_from);

#endif
