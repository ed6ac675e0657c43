/* identity: the certificate by which a node shows the other nodes who it is, its key, and the authority whose certificates it takes.
 * TLS 1.3 and nothing older, both ends show a certificate, nothing is resumed, nothing is sent before the handshake is over. Who a
 * certificate is of: the nodes whose names are among its DNS names, letter by letter (no wildcard is one).
 * Owns: the present set of the three files. It is replaced as a whole; connections that stand keep the one they began with, and
 * stand on while the certificate that was shown on them would be taken now, or the same node has shown one since that is: so
 * authorities change without a connection lost, and who has nothing by the new one is out after grace_ms.
 * Thread: any. One lock guards the pointer to the present set, another one keeps two loads apart. Calls on a connection's state
 * (struct ssl_st): whose the connection is.
 * Always: there is a present set; a load that fails changes nothing. */
#ifndef FANFARE_TRUST_IDENTITY_H
#define FANFARE_TRUST_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"

struct identity;
struct ssl_st;

struct identity_opts {
    const char *node_name; /* that the certificate has to carry */
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
    uint32_t grace_ms; /* 0: IDENTITY_GRACE_MS */
};

enum {
    IDENTITY_CHAIN_BYTES_MAX = 32 << 10, /* that the other end may show */
    IDENTITY_BINDING_BYTES = 32,
    IDENTITY_GRACE_MS = 30000,
    IDENTITY_KNOWN_MAX =
        128, /* nodes that have shown a certificate; of more the ones least lately are not known */
    IDENTITY_NAME_BYTES = 64,
};

/* Read the files; copies opts. Errors: ERR_INVALID: *why has the option, the file and the reason appended. */
MUST_USE enum err identity_new(struct identity **out, const struct identity_opts *opts,
                               struct buf *why);
void identity_free(struct identity *identity); /* NULL is allowed; its connections are gone */

/* Have the files changed since they were last read, and stayed as they are since the last look (is_asked: or not)? Then take them for
 * new connections. IDENTITY_REFUSED: *why tells, the old ones stay until the files change again. One that has expired is refused. */
enum identity_refresh { IDENTITY_SAME, IDENTITY_TAKEN, IDENTITY_REFUSED };
MUST_USE enum identity_refresh identity_refresh(struct identity *identity, bool is_asked,
                                                struct buf *why);

/* When the present certificate ends, in seconds of the wall clock. */
int64_t identity_expiry_s(const struct identity *identity);

/* Counts the sets that were taken: where it has changed, identity_judge may have. */
uint64_t identity_number(const struct identity *identity);

/* ---- of one connection ---- */

/* Gives: the state of a new connection, by the present set. */
MUST_USE struct ssl_st *identity_ssl_new(struct identity *identity, bool is_dialler);

/* The handshake of a connection that was made by the set of that number is over: who has shown a certificate has it. */
void identity_note(struct identity *identity, const struct ssl_st *ssl, uint64_t number);

/* May a connection to that node go on, which was made by an earlier set? The time of its certificate is not looked at: what stands may
 * stand. IDENTITY_WAITS: it may, and is to be asked about again. */
enum identity_judgement { IDENTITY_STANDS, IDENTITY_WAITS, IDENTITY_FALLS };
MUST_USE enum identity_judgement identity_judge(struct identity *identity, const struct ssl_st *ssl,
                                                const char *node_name);

/* Is the certificate of the other end that node's? After the handshake. */
bool identity_is_of(const struct ssl_st *ssl, const char *node_name);

/* Whose it is, for the log: names with commas between them. Also of a handshake that failed for it. */
void identity_print_names(const struct ssl_st *ssl, struct buf *out);

/* What both ends of this connection know and nobody else does, to bind other proofs to it. After the handshake. */
void identity_binding(struct ssl_st *ssl, unsigned char out[IDENTITY_BINDING_BYTES]);

#endif
