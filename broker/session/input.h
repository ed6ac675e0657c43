/* input: from bytes to requests, which the pipeline runs one by one. The seams of the connection.
 * Thread: the session's worker.
 * Bound: what one request, and what a transaction, may take: session_limits. */
#ifndef FANFARE_SESSION_INPUT_H
#define FANFARE_SESSION_INPUT_H

#include "session/session.h"

/* conn_ops.on_data, on_end, on_end_ahead. */
size_t session_on_data(struct conn *conn, struct slice input);
void session_on_end(struct conn *conn);
void session_on_end_ahead(struct conn *conn);

#endif
