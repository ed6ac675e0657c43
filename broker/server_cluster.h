/* server_cluster: this node's part in a cluster, made from its options; what /metrics says about it.
 * Owns: the cluster and the texts that it was made from. Thread: main, unless stated. */
#ifndef FANFARE_SERVER_CLUSTER_H
#define FANFARE_SERVER_CLUSTER_H

#include "base/buf.h"
#include "base/err.h"
#include "cluster/cluster.h"
#include "cmd/broker.h"
#include "config/config.h"

struct server_cluster;

/* If the options, or what `dir` holds, say that this node belongs to a cluster: enter it in
 * broker->cluster, attach every worker's half, and set broker->host. The workers exist and do not run
 * yet. Else *out is NULL. Borrows: broker, config.
 * Errors: those of cluster_new, logged. */
MUST_USE enum err server_cluster_new(struct server_cluster **out, struct broker *broker,
                                     struct config *config, const char *dir);

/* Stop it, also if its start has failed: the workers still run. NULL is allowed. */
void server_cluster_stop(struct server_cluster *sc);

/* Look whether the files of secret and certificate have changed; about every second. NULL is allowed. */
void server_cluster_tick(struct server_cluster *sc);
/* Read the certificate again, as asked by an operator. NULL is allowed. */
void server_cluster_reread(struct server_cluster *sc);
/* Append the certificate's metric, if there is one. Thread: admin. NULL is allowed. */
void server_cluster_print_trust(const struct server_cluster *sc, struct buf *out);

/* The workers have ended, and their fan-outs are still there. NULL is allowed. */
void server_cluster_free(struct server_cluster *sc);

/* Find or found the cluster. NULL is allowed. Errors: those of cluster_start, logged. */
MUST_USE enum err server_cluster_start(struct server_cluster *sc);

/* Append the cluster's families. Thread: admin. */
void server_cluster_print_metrics(struct cluster *cluster, struct buf *out);

#endif
