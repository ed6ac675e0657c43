/* server: builds the modules floor by floor, connects their seams, and takes them down in reverse
 * order.
 * Thread: main, for every call. */
#ifndef FANFARE_SERVER_H
#define FANFARE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "config/config.h"

struct server;

/* Gives: a server that accepts clients. Borrows: config until server_free.
 * Errors: ERR_SYSTEM, logged, if the directory, the addresses or the file limit do not allow a
 * start. */
MUST_USE enum err server_start(struct server **out, struct config *config);

/* If this node belongs to a cluster, look for it; then it is started. In any case call server_free.
 * Errors: those of cluster_start, logged. */
MUST_USE enum err server_join(struct server *server);

/* SIGHUP: read again what is no option and is read again when it changes. */
void server_reread(struct server *server);

/* Measure the rates that INFO tells; about every second. */
void server_tick(struct server *server);

/* Not ready any more; in a cluster, let other nodes take over what this one owns. Clients are still
 * served. */
void server_hand_over(struct server *server);
bool server_has_handed_over(const struct server *server); /* or cannot */
/* Say to the log what is left without a quorum when it ends now. */
void server_log_left_short(const struct server *server);

/* Stop accepting; close each client once everything queued for it has left. */
void server_drain(struct server *server);

/* Close all clients now. */
void server_abort(struct server *server);

/* Clients connected now. */
uint64_t server_client_count(const struct server *server);

/* Has everything of clients that were connected come to its end? */
bool server_is_settled(const struct server *server);

/* Has SHUTDOWN NOW been asked for? */
bool server_shutdown_is_urgent(const struct server *server);

/* No client is left, or server_abort has been called. NULL is allowed. */
void server_free(struct server *server);

#endif
