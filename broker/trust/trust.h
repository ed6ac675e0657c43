/* trust: the secret that the nodes of a cluster share, and how the two ends of a connection prove to each other that they know it,
 * before a byte of anything else is looked at.
 * On the wire, with the acceptor A and the dialler D; what is not exactly this ends the connection:
 *   A: "FFT1", a nonce of 32 bytes
 *   D: a nonce of 32 bytes, two MACs, of its first and its second secret (of random bytes if it has but one)
 *   A: a MAC by the secret of which it has found D's MAC
 * A MAC is HMAC-SHA-256 of which end speaks, the channel, A's nonce and D's; compared in constant time. So a stranger gets nothing
 * that depends on the secret. It proves who is there when the connection begins; it encrypts nothing.
 * Owns: the secrets, as the file had them last. Thread: trust_new, trust_free: main. The other calls of struct trust: any; one lock,
 * taken when a connection begins and when the file is looked at. A proof belongs to its connection. */
#ifndef FANFARE_TRUST_TRUST_H
#define FANFARE_TRUST_TRUST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"

struct trust;

enum {
    TRUST_SECRETS_MAX = 2, /* the present one, and the one before or after it */
    TRUST_SECRET_BYTES_MIN = 16,
    TRUST_SECRET_BYTES_MAX = 1024,
    TRUST_NONCE_BYTES = 32,
    TRUST_MAC_BYTES = 32,
    TRUST_STEP_BYTES_MAX = TRUST_NONCE_BYTES + TRUST_SECRETS_MAX * TRUST_MAC_BYTES,
};

/* Which port it is for: a proof for one is none for the other. */
enum trust_channel { TRUST_PEER = 'p', TRUST_RAFT = 'r' };

/* Read the secrets from a file: one or two lines.
 * Errors: ERR_INVALID: *why has the file and the reason appended (never a secret). */
MUST_USE enum err trust_new(struct trust **out, const char *path, struct buf *why);
void trust_free(struct trust *trust); /* NULL is allowed */

/* Has the file changed, and rested since the last look? Then take what it holds now for new connections.
 * TRUST_REFUSED: it cannot be used, *why tells, the old secrets stay. */
enum trust_refresh { TRUST_SAME, TRUST_TAKEN, TRUST_REFUSED };
MUST_USE enum trust_refresh trust_refresh(struct trust *trust, struct buf *why);

/* ---- one end of one connection ---- */

enum trust_state { TRUST_AWAITS_NONCE, TRUST_AWAITS_MACS, TRUST_AWAITS_MAC };

struct trust_proof {
    struct trust *trust;
    enum trust_channel channel;
    enum trust_state state;
    unsigned char acceptor_nonce[TRUST_NONCE_BYTES];
    unsigned char dialler_nonce[TRUST_NONCE_BYTES];
};

/* Begin; what is to be sent first is appended to *out. */
void trust_accept(struct trust_proof *proof, struct trust *trust, enum trust_channel channel,
                  struct buf *out);
void trust_dial(struct trust_proof *proof, struct trust *trust, enum trust_channel channel);

/* Take what has come off the start of *in; what is to be sent is appended to *out. TRUST_PROVEN: the other end knows the secret,
 * and what is left of *in is what it says. */
enum trust_step { TRUST_GOES_ON, TRUST_PROVEN, TRUST_FAILED };
MUST_USE enum trust_step trust_take(struct trust_proof *proof, struct slice *in, struct buf *out);

#endif
