/* commands_int: what the cluster's connections and its map tell a worker's commands, and who leads what. */
#ifndef FANFARE_CLUSTER_COMMANDS_INT_H
#define FANFARE_CLUSTER_COMMANDS_INT_H

#include "cluster/wire.h"

struct cluster;
struct commands;
struct cluster_worker;
struct accepted_peer;
struct dialled_peer;
struct partition_request;

/* Something has changed for all that wait. The worker, not from inside a callback of a command. */
void commands_look(struct cluster_worker *cw);
/* The same, soon. Thread: any. */
void commands_look_all(struct cluster *cluster);
void commands_on_down(struct cluster_worker *cw, uint32_t node);
void commands_end(struct cluster_worker *cw);
/* Another node asks this one's partition; it goes there at the end of the turn. */
void commands_push(struct commands *commands, struct partition_request *request);
/* False: it makes no sense. */
MUST_USE bool commands_on_executed(struct dialled_peer *dialled,
                                   const struct wire_executed *executed);

/* partitions_ops.leads; arg is the cluster. On a store thread. */
void commands_leads(void *cluster, uint32_t partition, uint64_t term);
/* Worker 0's connection to the node is new: tell it what this one leads. */
void commands_tell_leads(struct dialled_peer *dialled);
MUST_USE bool commands_on_leads(struct cluster *cluster, uint32_t node,
                                const struct wire_leads *leads);
MUST_USE bool commands_on_ask_leads(struct accepted_peer *accepted, const struct wire_leads *asked);

#endif
