/* accept: takes connections that other nodes' workers dial to this node, and hands on what they bring. */
#ifndef FANFARE_CLUSTER_ACCEPT_H
#define FANFARE_CLUSTER_ACCEPT_H

#include "cluster/peer.h"

/* Of every worker's hub; peer_hub_opts.arg is the cluster_worker. */
extern const struct peer_in_ops accept_ops;
/* listener_opts.on_accept; arg is the cluster. Gives the socket to one of the workers. Thread: worker 0. */
void accept_fd(void *arg, int fd);

#endif
