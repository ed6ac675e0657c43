/* trust: how the two ends of a connection between nodes know that the other one is a node: by a secret that the nodes share, by
 * certificates (identity.h), or by both; and what is taken while a cluster goes over from one to the other.
 *
 * The secret. Both ends prove to each other that they know it, before a byte of anything else is looked at.
 * On the wire, with the acceptor A and the dialler D; what is not exactly this ends the connection:
 *   A: "FFT1", a nonce of 32 bytes
 *   D: a nonce of 32 bytes, two MACs, of its first and its second secret (of random bytes if it has but one)
 *   A: a MAC by the secret of which it has found D's MAC
 * A MAC is HMAC-SHA-256 of which end speaks, the channel, A's nonce and D's, and inside TLS of what only the two ends of that
 * connection know; compared in constant time. So a stranger gets nothing that depends on the secret, and who stands between two ends
 * proves nothing to either. It proves who is there when the connection begins; it encrypts nothing.
 * Inside TLS A says first, also without a secret, that it has taken D's certificate: "FFT0": it has no secret; "FFT2" and the rest as
 * above: it has, and takes D without one (then D's nonce has its first bit set, which a frame has not).
 *
 * Going over. With `is_secret_optional`, or TRUST_TLS_OPTIONAL, a node knows more than it asks for. Its acceptor waits for D's first
 * byte, or for TRUST_LISTEN_MS in which a D that waits for a nonce says nothing. Its dialler tries the best way first, and after an
 * attempt that failed the next one (trust_dial_way): so it finds the way of a node that does not know as much yet.
 *
 * Owns: the secrets, as the file had them last; the identity. Thread: trust_new, trust_free: main. The other calls of struct trust:
 * any; one lock, taken when a connection begins and when the file is looked at. A proof belongs to its connection. */
#ifndef FANFARE_TRUST_TRUST_H
#define FANFARE_TRUST_TRUST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"

struct identity;
struct ssl_st;
struct trust;

enum {
    TRUST_SECRETS_MAX = 2, /* the present one, and the one before or after it */
    TRUST_SECRET_BYTES_MIN = 16,
    TRUST_SECRET_BYTES_MAX = 1024,
    TRUST_NONCE_BYTES = 32,
    TRUST_MAC_BYTES = 32,
    TRUST_STEP_BYTES_MAX = TRUST_NONCE_BYTES + TRUST_SECRETS_MAX * TRUST_MAC_BYTES,
    TRUST_LISTEN_MS = 300,
    TRUST_NONCE_WAIT_MS = 300, /* a dialler that may do without a proof waits so long for a nonce */
};

/* Which port it is for: a proof for one is none for the other. */
enum trust_channel { TRUST_PEER = 'p', TRUST_RAFT = 'r' };

/* The order is that of the option's words. */
enum trust_tls { TRUST_TLS_NO, TRUST_TLS_YES, TRUST_TLS_OPTIONAL };

struct trust_opts {
    const char *secret_file; /* one or two lines; NULL: none */
    bool is_secret_optional;
    enum trust_tls tls;
    struct identity *identity; /* with tls: not NULL */
};

/* Read the secrets. Takes: the identity, also where it fails.
 * Errors: ERR_INVALID: *why has the file and the reason appended (never a secret). */
MUST_USE enum err trust_new(struct trust **out, const struct trust_opts *opts, struct buf *why);
void trust_free(struct trust *trust); /* NULL is allowed */

/* NULL: there is none. */
struct identity *trust_identity(const struct trust *trust);

/* Would whoever comes be taken for a node? `trust` may be NULL. */
bool trust_takes_anybody(const struct trust *trust);

/* Has the file changed, and rested since the last look? Then take what it holds now for new connections.
 * TRUST_REFUSED: it cannot be used, *why tells, the old secrets stay. */
enum trust_refresh { TRUST_SAME, TRUST_TAKEN, TRUST_REFUSED };
MUST_USE enum trust_refresh trust_refresh(struct trust *trust, struct buf *why);

/* ---- which way ---- */

enum trust_way {
    TRUST_SEALED,  /* TLS, and what follows inside it */
    TRUST_PROVED,  /* in the open, by the secret */
    TRUST_OPEN,    /* in the open, by nothing */
    TRUST_LISTENS, /* acceptors: not known yet, wait for the first byte */
    TRUST_REFUSED_WAY,
};

/* A dialler's, at the attempt with this number since it was last successful; a `trust` of NULL asks for nothing. */
enum trust_way trust_dial_way(const struct trust *trust, unsigned attempt);
/* May it go another way if this one fails? */
bool trust_has_ways(const struct trust *trust);

/* An acceptor's: before anything has come; when the first byte is there; after TRUST_LISTEN_MS without one. */
enum trust_way trust_accept_way(const struct trust *trust);
enum trust_way trust_accept_way_of(const struct trust *trust, unsigned char first);
enum trust_way trust_accept_way_of_silence(const struct trust *trust);

/* ---- one end of one connection ---- */

enum trust_state { TRUST_AWAITS_NONCE, TRUST_AWAITS_MACS, TRUST_AWAITS_MAC };

struct trust_proof {
    struct trust *trust;
    struct ssl_st *ssl; /* NULL: in the open */
    enum trust_channel channel;
    enum trust_state state;
    unsigned char acceptor_nonce[TRUST_NONCE_BYTES];
    unsigned char dialler_nonce[TRUST_NONCE_BYTES];
};

/* TRUST_PROVEN: the other end knows the secret, or need not; what is left of *in is what it says. */
enum trust_step { TRUST_GOES_ON, TRUST_PROVEN, TRUST_FAILED };

/* Begin, in the open (TRUST_PROVED) or with the state of TLS (TRUST_SEALED), which is borrowed; what is to be sent first is appended
 * to *out. Of an acceptor that asks for no proof: TRUST_PROVEN. */
MUST_USE enum trust_step trust_accept(struct trust_proof *proof, struct trust *trust,
                                      enum trust_channel channel, struct ssl_st *ssl,
                                      struct buf *out);
void trust_dial(struct trust_proof *proof, struct trust *trust, enum trust_channel channel,
                struct ssl_st *ssl);

/* Take what has come off the start of *in; what is to be sent is appended to *out. With TLS: after its handshake. */
MUST_USE enum trust_step trust_take(struct trust_proof *proof, struct slice *in, struct buf *out);

#endif
