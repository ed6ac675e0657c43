/* server_tls: what the encrypted addresses of this process show, from the options and files to net's tls_server: at the start, when
 * options are set or read again, and when the files change. Thread: main, unless stated. */
#ifndef FANFARE_SERVER_TLS_H
#define FANFARE_SERVER_TLS_H

#include "base/check.h"
#include "base/err.h"
#include "config/config.h"
#include "net/tls_server.h"

/* Gives: a loaded tls_server, or NULL if no address is encrypted. It follows the options from here on.
 * Errors: ERR_SYSTEM, logged: what the addresses need cannot be had. */
MUST_USE enum err server_tls_open(struct tls_server **out, struct config *config);

/* Look whether the files have changed; about every second. */
void server_tls_tick(struct tls_server *tls);

/* Append the metrics. Thread: admin. */
void server_tls_print_metrics(const struct tls_server *tls, struct buf *out);

/* The words before an encrypted address of `listen` and of `http-listen`. */
#define SERVER_TLS_SCHEME SLICE("tls://")
#define SERVER_TLS_HTTP_SCHEME SLICE("https://")

#endif
