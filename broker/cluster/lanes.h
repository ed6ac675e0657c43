/* lanes: the owner's streams, both ends. Thread: the lane's worker, but where stated. */
#ifndef FANFARE_CLUSTER_LANES_H
#define FANFARE_CLUSTER_LANES_H

#include "base/check.h"
#include "base/mailbox.h"
#include "cluster/wire.h"

struct accepted_peer;
struct cluster;
struct cluster_worker;
struct dialled_peer;

void lanes_on_item(struct task *task);
void lanes_turn(struct cluster_worker *cw);
void lanes_on_down(struct dialled_peer *dialled);
bool lanes_on_frame(struct accepted_peer *accepted, const struct wire_frame *frame);
void lanes_on_closed(struct accepted_peer *accepted, bool is_clean);
/* How many lanes a node has to us if all of them are open; else 0. Any thread. */
uint32_t lanes_complete(struct cluster *c, uint32_t node);
/* Of the lane on which a node's stream of a partition comes; 0: it is not open. Under cluster.lock. */
uint64_t lane_number(const struct cluster *c, uint32_t node, uint32_t partition);

#endif
