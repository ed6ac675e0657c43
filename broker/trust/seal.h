/* seal: TLS of one connection between nodes, as bytes to bytes, for a loop that reads and writes by itself.
 * Owns: OpenSSL's state. Not: the socket, nor any bytes between calls but what OpenSSL keeps of an unfinished record (at most one).
 * Bounds: what the other end sends before the handshake is over, SEAL_HANDSHAKE_BYTES_MAX; its time is the caller's to count.
 * Always: after SEAL_REKEY_RECORDS records under one key there is another one.
 * Thread: the connection's. */
#ifndef FANFARE_TRUST_SEAL_H
#define FANFARE_TRUST_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "trust/identity.h"

enum {
    SEAL_RECORD_BYTES_MAX = 16384,
    SEAL_HANDSHAKE_BYTES_MAX = 64 << 10,
    SEAL_REKEY_RECORDS = 1 << 22, /* RFC 8446, 5.5, allows 24 million */
};

struct seal;

/* A dialler's first bytes are appended to *out. */
MUST_USE struct seal *seal_new(struct identity *identity, bool is_dialler, struct buf *out);
void seal_free(struct seal *seal); /* NULL is allowed */

/* Take what came, all of it: what it holds is appended to *plain, what is to be answered to *out, also where it fails.
 * SEAL_ENDED: the other end says nothing more. SEAL_FAILED: seal_why tells; the connection is to be closed. */
enum seal_step { SEAL_GOES_ON, SEAL_ENDED, SEAL_FAILED };
MUST_USE enum seal_step seal_take(struct seal *seal, struct slice sealed, struct buf *plain,
                                  struct buf *out);

/* Is the handshake over? */
bool seal_is_up(const struct seal *seal);

/* Append `plain`, sealed, to *out. After the handshake. False: it has failed. */
MUST_USE bool seal_put(struct seal *seal, struct slice plain, struct buf *out);

/* For people; static. */
const char *seal_why(const struct seal *seal);

/* For trust_dial, trust_accept and identity.h. Borrowed. */
struct ssl_st *seal_ssl(const struct seal *seal);

#endif
