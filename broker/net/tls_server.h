/* tls_server: what TLS listeners show and ask for: certificate, key, authorities, versions, ciphers. The present set is replaced as
 * a whole; connections that stand keep the one that they began with.
 * Owns: the present set, and the options it was read by. Not: connections (tls.h).
 * Thread: any. One lock guards the pointer to the present set, which each new connection reads once; another one keeps two loads apart.
 * Always: once a load has succeeded there is a present set; a load that fails changes nothing. */
#ifndef FANFARE_NET_TLS_SERVER_H
#define FANFARE_NET_TLS_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"

struct bufferevent;
struct event_base;
struct ssl_st;
struct tls_server;

/* Must a client show a certificate? The order is that of the option's words. */
enum tls_clients { TLS_CLIENTS_NO, TLS_CLIENTS_YES, TLS_CLIENTS_OPTIONAL };

enum tls_text {
    TLS_CERT_FILE,
    TLS_KEY_FILE,
    TLS_KEY_FILE_PASS,
    TLS_CA_CERT_FILE,
    TLS_CA_CERT_DIR,
    TLS_PROTOCOLS,    /* "TLSv1.2 TLSv1.3", or one of them; empty: both */
    TLS_CIPHERS,      /* of TLS 1.2, in OpenSSL's words; empty: its choice */
    TLS_CIPHERSUITES, /* of TLS 1.3 */
    TLS_TEXTS
};

struct tls_opts {
    const char *text[TLS_TEXTS]; /* "": not given */
    enum tls_clients clients;
    bool prefers_own_ciphers;
    bool caches_sessions;
    uint32_t sessions_max;     /* that a client may resume; 0: any number */
    uint32_t session_seconds;  /* how long it may */
    uint32_t handshake_ms_max; /* 0: TLS_HANDSHAKE_MS */
};

enum { TLS_HANDSHAKE_MS = 10000 };

MUST_USE struct tls_server *tls_server_new(void);
void tls_server_free(struct tls_server *server); /* NULL is allowed; its connections are gone */

/* Read the files and take them for new connections. Copies opts.
 * Errors: ERR_INVALID: *why has the option, the file and the reason appended; what was there before stays. A certificate that has
 * expired is refused where there is another one. */
MUST_USE enum err tls_server_load(struct tls_server *server, const struct tls_opts *opts,
                                  struct buf *why);

/* Have the files changed since they were last read, and stayed as they are since the last look? Then load them by the same options.
 * TLS_REFUSED: as a failed load; they are read again when they change again. */
enum tls_refresh { TLS_SAME, TLS_TAKEN, TLS_REFUSED };
MUST_USE enum tls_refresh tls_server_refresh(struct tls_server *server, struct buf *why);

/* When the present certificate ends, in seconds of the wall clock; 0 before the first load. */
int64_t tls_server_expiry_s(const struct tls_server *server);

uint32_t tls_server_handshake_ms_max(const struct tls_server *server);

/* Gives: the state of a new connection, by the present set. */
MUST_USE struct ssl_st *tls_server_ssl_new(struct tls_server *server);

/* Gives: a server's end for a connection that is about to be accepted on `base`, for HTTP. A client's certificate is looked at if
 * there is one and never demanded: health probes have none. */
MUST_USE struct bufferevent *tls_server_bufferevent(struct tls_server *server,
                                                    struct event_base *base);

#endif
