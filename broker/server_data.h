/* server_data: the keys of a node alone: its consensus, of one member, its partitions, and each worker's way to them.
 * In a cluster all that is the cluster's.
 * Owns: the consensus and the partitions. Thread: main, unless stated. */
#ifndef FANFARE_SERVER_DATA_H
#define FANFARE_SERVER_DATA_H

#include "base/buf.h"
#include "base/err.h"
#include "cmd/broker.h"
#include "config/config.h"
#include "partition/partition.h"

struct server_data;

enum { SERVER_DATA_PATH_BYTES = 4096 };

/* The options of the partitions in `dir`, as the broker's options say, but for the consensus. What is in `path` has to stay as
 * long as they are used. Errors: ERR_SYSTEM, ERR_INVALID (the keys are laid out in another way): logged. */
MUST_USE enum err server_data_opts(struct partitions_opts *out, char path[SERVER_DATA_PATH_BYTES],
                                   struct broker *broker, struct config *config, const char *dir);

/* Open what `dir` holds, or make it; the partitions lead soon after. Enters the partitions in the broker, and every worker's
 * commands in its sessions: the workers exist and do not run yet. Borrows: broker, config.
 * Errors: ERR_SYSTEM, ERR_CORRUPT, ERR_FULL, ERR_INVALID: all logged. */
MUST_USE enum err server_data_new(struct server_data **out, struct broker *broker,
                                  struct config *config, const char *dir);

/* Do all partitions serve? Why not, static; NULL: they do, or the node keeps none here. NULL is allowed. Thread: any. */
const char *server_data_unready_because(const struct server_data *sd);

/* Before clients come: give the partitions the moment that they need, a bounded one. NULL is allowed. */
void server_data_await(const struct server_data *sd);

/* About every second. NULL is allowed. */
void server_data_tick(struct server_data *sd);

/* No client is left, the workers still run: nothing is asked any more, and what is on the way ends. NULL is allowed. */
void server_data_stop(struct server_data *sd);

/* Keys, stores and how far they are, on /metrics. Partitions NULL: there are none yet. Thread: any. */
void server_data_print_metrics(const struct broker *broker, struct partitions *partitions,
                               struct config *config, struct buf *out);

/* The workers have ended. NULL is allowed. */
void server_data_free(struct server_data *sd);

#endif
