/* interest: changes of this node's clients' subscriptions on their way to those who have to count them, and other
 * nodes' changes that are counted here; of channels (interest_channels.c) and of patterns (interest_patterns.c).
 * Thread: the worker, but where stated. */
#ifndef FANFARE_CLUSTER_INTEREST_H
#define FANFARE_CLUSTER_INTEREST_H

#include "base/check.h"
#include "cluster/wire.h"

struct accepted_peer;
struct cluster;
struct cluster_worker;
struct interest_change;

void interest_change(void *arg, struct interest_change *change);
void interest_flush(struct cluster_worker *cw, uint32_t partition);
void interest_stale(struct cluster_worker *cw, uint32_t partition); /* what was sent may be lost */
/* Some of the partition's stream was lost: who had been asked to count a join may have done so in that. It is refused. */
void interest_missed(struct cluster_worker *cw, uint32_t partition);
void interest_tick(struct cluster_worker *cw);
void interest_stop(struct cluster_worker *cw);
bool interest_on_request(struct accepted_peer *accepted, const struct wire_interest *interest);
void interest_on_batch_end(struct accepted_peer *accepted); /* after the requests of one read */
void interest_on_ack(struct accepted_peer *accepted, const struct wire_interest_ack *ack);
void interest_init(struct cluster *c);
/* Worker 0: the node is not known to have all patterns: tell it them, or the next of them. It is gone, or its request
 * link is another one: it is not waited for any more, and has to be told anew. */
void interest_tell_patterns(struct cluster_worker *cw, uint32_t node);
void interest_node_gone(struct cluster_worker *cw, uint32_t node);
void interest_look(struct cluster_worker *cw); /* streams have begun or ended */
bool interest_on_patterns(struct accepted_peer *accepted, const struct wire_sync *sync);

#endif
