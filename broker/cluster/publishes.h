/* publishes: the one kind of request there is so far: runs of messages on their way to the owner of their partition,
 * and other nodes' on their way into the order of this one. Where a lane is full they wait in jams.
 * Thread: the worker. */
#ifndef FANFARE_CLUSTER_PUBLISHES_H
#define FANFARE_CLUSTER_PUBLISHES_H

#include "cluster/wire.h"
#include "pubsub/shipment.h"

struct cluster_worker;
struct accepted_peer;
struct dialled_peer;

/* fanout_remote_ops.ship and must_wait; arg is the cluster_worker. */
void publishes_ship(void *arg, struct shipment *shipment);
bool publishes_must_wait(void *arg, uint32_t partition, enum topic_kind kind, struct slice channel);

/* jams.on_ordered and on_refused; arg is the cluster_worker. */
void publishes_unjammed(void *arg, const struct shipment *shipment);
void publishes_unjam(void *arg, struct shipment *shipment);

/* The partition's owner has changed, or something else has that lets publishes go on. */
void publishes_flush(struct cluster_worker *cw, uint32_t partition);
void publishes_tick(struct cluster_worker *cw);
void publishes_stop(struct cluster_worker *cw);

void publishes_on_answer(struct dialled_peer *dialled, const struct wire_frame *answer);

/* Another node's. False: it makes no sense. */
MUST_USE bool publishes_on_request(struct accepted_peer *accepted, const struct wire_run *run);
/* The connection is gone: what it has brought and was not ordered is void. */
void publishes_on_closed(struct accepted_peer *accepted);

#endif
