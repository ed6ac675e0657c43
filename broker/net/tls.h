/* tls: one encrypted connection, in the place of recv and sendmsg on its descriptor.
 * Owns: OpenSSL's state of it, of a client made when its first bytes arrive; the sealed bytes that the socket has not taken. Not: the descriptor.
 * What is offered is sealed and sent at once, or not taken at all: nothing that the caller keeps is referred to between calls, and
 * what a socket leaves over is at most TLS_BATCH_BYTES and a little.
 * Bounds: a handshake has tls_opts.handshake_ms_max from the connection on; those of one turn of a worker get TLS_TURN_NS together,
 * then the others wait for the next turn, so that many of them do not hold up the clients that stand.
 * Thread: the worker, for every call; no locks. tls_new: any. */
#ifndef FANFARE_NET_TLS_H
#define FANFARE_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/check.h"
#include "net/tls_server.h"

struct tls;
struct tls_worker;

enum {
    TLS_RECORD_BYTES_MAX = 16384 + 512, /* sealed */
    TLS_ROOM_MIN = 2 * TLS_RECORD_BYTES_MAX,
    TLS_BATCH_BYTES = 65536, /* sealed at once, then offered to the socket */
    TLS_TURN_NS = 4000000,
    TLS_REKEY_RECORDS = 1 << 22, /* of TLS 1.3, under one key: RFC 8446, 5.5, allows 24 million */
};

/* What the connections of a worker share: room to seal and open in, and who is still shaking hands. */
MUST_USE struct tls_worker *tls_worker_new(void);
void tls_worker_free(struct tls_worker *worker); /* NULL is allowed; its connections are gone */
void tls_worker_turn(struct tls_worker *worker); /* a new turn begins */

/* Gives: the owner of a connection whose handshake has taken too long, each once; NULL: there is none. */
MUST_USE void *tls_worker_take_overdue(struct tls_worker *worker, uint64_t now_ns);

MUST_USE struct tls *tls_new(struct tls_server *server); /* a client's */

/* Of another node. Takes: ssl, that knows what it shows and asks for, and which end it is. */
MUST_USE struct tls *tls_new_of(struct ssl_st *ssl);

/* Before the first of the following. Borrows: worker and owner until tls_free. What a dialler says first leaves. */
void tls_begin(struct tls *tls, struct tls_worker *worker, void *owner, int fd);

/* As recv: bytes put at `at` (`room`, at least TLS_ROOM_MIN), 0 at the end, -1 with errno: EAGAIN also when what came was no data,
 * EPROTO (logged) when it was no TLS or the other end is not who it should be. ECONNRESET: another node's stream has ended without
 * its saying so. What is to be answered leaves. */
MUST_USE ssize_t tls_recv(struct tls *tls, int fd, char *at, size_t room);

/* As sendmsg: what was left over goes first, then as much of `iov` as the socket takes and a batch more. EAGAIN also before the
 * handshake is done. `count` may be 0. */
MUST_USE ssize_t tls_send(struct tls *tls, int fd, const struct iovec *iov, unsigned count);

/* Sealed bytes that the socket has not taken; and how many bytes of `iov` are in records of which it has not taken all. */
size_t tls_unsent_bytes(const struct tls *tls);
size_t tls_unsent_plain_bytes(const struct tls *tls);

/* Is the handshake done? */
bool tls_is_established(const struct tls *tls);

/* Borrowed; NULL: none yet. */
struct ssl_st *tls_ssl(const struct tls *tls);

/* Append a name from the certificate that the client has shown and that its authority has signed: number `at` of this kind. False:
 * there are no more. A name with a zero byte in it is empty: it is nobody's. */
enum tls_name { TLS_NAME_CN, TLS_NAME_URI, TLS_NAME_DNS };
MUST_USE bool tls_client_name(const struct tls *tls, enum tls_name kind, unsigned at,
                              struct buf *out);

/* Tell the peer that nothing more comes, if the socket takes that now. */
void tls_say_goodbye(struct tls *tls, int fd);

void tls_free(struct tls *tls); /* NULL is allowed; begun or not */

#endif
