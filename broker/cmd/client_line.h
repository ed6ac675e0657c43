/* client_line: one client described as CLIENT LIST and CLIENT INFO do. Thread: the session's
 * worker. */
#ifndef FANFARE_CMD_CLIENT_LINE_H
#define FANFARE_CMD_CLIENT_LINE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

struct session;

/* Append the line, its end included. */
void client_line_append(struct buf *out, const struct session *session);

/* The types that CLIENT LIST and KILL know. No client of a broker is a master or a replica. */
enum client_type {
    CLIENT_TYPE_NORMAL,
    CLIENT_TYPE_MASTER,
    CLIENT_TYPE_REPLICA,
    CLIENT_TYPE_PUBSUB,
    CLIENT_TYPES
};

/* False: no such type. */
MUST_USE bool client_type_parse(struct slice word, enum client_type *out);
enum client_type client_type_of(const struct session *session);

#endif
