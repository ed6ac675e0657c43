/* address: both ends of a client's connection, as CLIENT LIST and the log show them. Thread: its worker. */
#ifndef FANFARE_SESSION_ADDRESS_H
#define FANFARE_SESSION_ADDRESS_H

#include "session/session.h"

/* "ip:port", "[ip6]:port", "path:0" of the peer, or of our end. The text is in `out`, room for
 * SESSION_ADDRESS_BYTES. */
enum { SESSION_ADDRESS_BYTES = 128 };
struct slice session_address(const struct session *session, char *out);
struct slice session_local_address(const struct session *session, char *out);

#endif
