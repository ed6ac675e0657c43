/* tls: OpenSSL between a socket and the worker's buffers. Its reads come from what was just received, its writes go to what is about
 * to be sent: so it never waits for a socket, and one system call carries many records. */
#include "net/tls.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

enum { PLAIN_BYTES_MAX = 16384, WIRE_BYTES = 65536 };

struct tls_worker {
    BIO_METHOD *method;
    struct list shaking; /* the one that began first in front */
    uint64_t shaken_ns;  /* in this turn */
    struct slice in;     /* received, not yet opened */
    struct buf out;      /* sealed, not yet sent; empty between calls */
    char plain[PLAIN_BYTES_MAX];
    char wire[WIRE_BYTES];
};

struct tls {
    struct tls_server *server; /* NULL: another node's */
    struct tls_worker *worker; /* NULL: not begun */
    void *owner;
    SSL *ssl;          /* NULL: not a byte has come */
    struct buf unsent; /* sealed */
    struct list shaking;
    uint64_t since_ns;
    uint32_t unsent_plain_bytes;
    uint32_t record_count; /* since the last key */
    bool is_established;
    bool has_ended; /* the peer has said goodbye */
    bool is_broken;
};

/* ---- OpenSSL's side ---- */

static int on_bio_write(BIO *bio, const char *bytes, int len)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buf_append(&tls->worker->out, slice_of(bytes, (size_t)len));
    return len;
}

static int on_bio_read(BIO *bio, char *out, int size)
{
    struct tls *tls = BIO_get_data(bio);
    struct slice *in = &tls->worker->in;
    BIO_clear_retry_flags(bio);
    if (in->len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t len = in->len < (size_t)size ? in->len : (size_t)size;
    memcpy(out, in->data, len);
    *in = slice_of(in->data + len, in->len - len);
    return (int)len;
}

static long on_bio_control(BIO *bio, int command, long number, void *arg)
{
    (void)bio;
    (void)number;
    (void)arg;
    return command == BIO_CTRL_FLUSH; /* all else has no meaning here */
}

static int on_bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

struct tls_worker *tls_worker_new(void)
{
    struct tls_worker *worker = mem_new0(sizeof *worker);
    list_init(&worker->shaking);
    worker->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fanfare");
    CHECK(worker->method != NULL);
    CHECK(BIO_meth_set_write(worker->method, on_bio_write) == 1);
    CHECK(BIO_meth_set_read(worker->method, on_bio_read) == 1);
    CHECK(BIO_meth_set_ctrl(worker->method, on_bio_control) == 1);
    CHECK(BIO_meth_set_create(worker->method, on_bio_create) == 1);
    return worker;
}

void tls_worker_free(struct tls_worker *worker)
{
    if (worker == NULL) { return; }
    CHECK(list_is_empty(&worker->shaking));
    BIO_meth_free(worker->method);
    buf_fini(&worker->out);
    mem_free(worker);
}

void tls_worker_turn(struct tls_worker *worker)
{
    worker->shaken_ns = 0;
}

static void count_failure(const struct tls *tls)
{
    bool is_client = tls->server != NULL;
    metric_add(is_client ? METRIC_tls_failures_total : METRIC_cluster_tls_failures_total, 1);
}

void *tls_worker_take_overdue(struct tls_worker *worker, uint64_t now_ns)
{
    if (list_is_empty(&worker->shaking)) { return NULL; }
    struct tls *first = CONTAINER_OF(worker->shaking.next, struct tls, shaking);
    uint64_t max_ms = first->server != NULL ? tls_server_handshake_ms_max(first->server)
                                            : (uint32_t)TLS_HANDSHAKE_MS;
    if (now_ns <= first->since_ns + max_ms * NS_PER_MS) { return NULL; }
    list_remove(&first->shaking);
    count_failure(first);
    LOG_LIMITED(LOG_LEVEL_INFO, "TLS handshake took too long", LOG_UINT("ms_max", max_ms));
    return first->owner;
}

/* ---- begin and end ---- */

struct tls *tls_new(struct tls_server *server)
{
    struct tls *tls = mem_new0(sizeof *tls);
    tls->server = server;
    list_init(&tls->shaking);
    return tls;
}

struct tls *tls_new_of(struct ssl_st *ssl)
{
    struct tls *tls = tls_new(NULL);
    tls->ssl = ssl;
    return tls;
}

static void set_bio(struct tls *tls)
{
    BIO *bio = BIO_new(tls->worker->method);
    CHECK(bio != NULL);
    BIO_set_data(bio, tls);
    SSL_set_bio(tls->ssl, bio, bio); /* takes it */
}

void tls_free(struct tls *tls)
{
    if (tls == NULL) { return; }
    list_remove(&tls->shaking);
    SSL_free(tls->ssl);
    buf_fini(&tls->unsent);
    mem_free(tls);
}

size_t tls_unsent_bytes(const struct tls *tls)
{
    return tls->unsent.len;
}

size_t tls_unsent_plain_bytes(const struct tls *tls)
{
    return tls->unsent_plain_bytes;
}

struct ssl_st *tls_ssl(const struct tls *tls)
{
    return tls->ssl;
}

bool tls_is_established(const struct tls *tls)
{
    return tls->is_established;
}

/* ---- who the client is ---- */

static void append_name(const ASN1_STRING *name, struct buf *out)
{
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, name);
    if (len > 0 && memchr(text, '\0', (size_t)len) == NULL) {
        buf_append(out, slice_of((const char *)text, (size_t)len));
    }
    OPENSSL_free(text);
}

static bool common_name(const X509 *cert, unsigned at, struct buf *out)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int place = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at > 0 || place < 0) { return false; }
    append_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place)), out);
    return true;
}

static bool alternative_name(const X509 *cert, int type, unsigned at, struct buf *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool is_found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !is_found; i++) {
        int kind;
        const ASN1_STRING *name = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);
        if (kind != type || at-- > 0) { continue; }
        append_name(name, out);
        is_found = true;
    }
    GENERAL_NAMES_free(names);
    return is_found;
}

bool tls_client_name(const struct tls *tls, enum tls_name kind, unsigned at, struct buf *out)
{
    const X509 *cert = tls->is_established ? SSL_get0_peer_certificate(tls->ssl) : NULL;
    if (cert == NULL || SSL_get_verify_result(tls->ssl) != X509_V_OK) { return false; }
    switch (kind) {
    case TLS_NAME_CN: return common_name(cert, at, out);
    case TLS_NAME_URI: return alternative_name(cert, GEN_URI, at, out);
    case TLS_NAME_DNS: return alternative_name(cert, GEN_DNS, at, out);
    }
    return false;
}

/* ---- out ---- */

/* Send `bytes`. Gives in *sent how many the socket took; false: it is dead, errno says why. */
static bool send_some(int fd, struct slice bytes, size_t *sent)
{
    ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) { return false; }
    *sent = n > 0 ? (size_t)n : 0;
    return true;
}

static bool send_unsent(struct tls *tls, int fd)
{
    size_t sent = 0;
    if (tls->unsent.len == 0) { return true; }
    if (!send_some(fd, buf_slice(&tls->unsent), &sent)) { return false; }
    if (sent == tls->unsent.len) {
        buf_fini(&tls->unsent);
        tls->unsent_plain_bytes = 0;
    } else {
        buf_consume(&tls->unsent, sent);
    }
    return true;
}

/* What was sealed leaves, or joins what is unsent. */
static bool send_sealed(struct tls *tls, int fd)
{
    struct buf *out = &tls->worker->out;
    size_t sent = 0;
    bool is_alive = true;
    if (out->len > 0 && tls->unsent.len == 0) { is_alive = send_some(fd, buf_slice(out), &sent); }
    if (is_alive && sent < out->len) {
        buf_append(&tls->unsent, slice_of(out->data + sent, out->len - sent));
    }
    out->len = 0;
    return is_alive;
}

static bool seal(struct tls *tls, struct slice plain)
{
    if (++tls->record_count == TLS_REKEY_RECORDS && SSL_version(tls->ssl) == TLS1_3_VERSION) {
        tls->record_count = 0;
        CHECK(SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1); /* before the record */
    }
    if (SSL_write(tls->ssl, plain.data, (int)plain.len) == (int)plain.len) { return true; }
    ERR_clear_error();
    tls->is_broken = true;
    return false;
}

/* A place in what is to be sent. */
struct cursor {
    const struct iovec *iov;
    unsigned count; /* from iov on */
    size_t skip;    /* of the first */
};

/* The next record's worth: from where it lies, or gathered. Empty at the end. */
static struct slice next_record(struct cursor *at, char *gathered)
{
    size_t len = 0;
    while (at->count > 0 && len < PLAIN_BYTES_MAX) {
        const char *from = (const char *)at->iov->iov_base + at->skip;
        size_t left = at->iov->iov_len - at->skip;
        size_t take = left < PLAIN_BYTES_MAX - len ? left : PLAIN_BYTES_MAX - len;
        at->skip += take;
        if (at->skip == at->iov->iov_len) {
            at->iov++;
            at->count--;
            at->skip = 0;
        }
        bool is_whole = len == 0 && (take == PLAIN_BYTES_MAX || at->count == 0);
        if (is_whole) { return slice_of(from, take); }
        memcpy(gathered + len, from, take);
        len += take;
    }
    return slice_of(gathered, len);
}

ssize_t tls_send(struct tls *tls, int fd, const struct iovec *iov, unsigned count)
{
    struct cursor at = {iov, count, 0};
    size_t taken = 0;
    if (!send_unsent(tls, fd)) { return -1; }
    if (tls->unsent.len > 0 || !tls->is_established) {
        errno = EAGAIN;
        return -1;
    }
    while (at.count > 0 && tls->unsent.len == 0) {
        size_t batch = 0;
        while (batch < TLS_BATCH_BYTES && at.count > 0) {
            struct slice record = next_record(&at, tls->worker->plain);
            if (record.len > 0 && !seal(tls, record)) {
                tls->worker->out.len = 0;
                errno = EPROTO;
                return -1;
            }
            batch += record.len;
            taken += record.len;
        }
        if (!send_sealed(tls, fd)) { return -1; }
        tls->unsent_plain_bytes = tls->unsent.len > 0 ? (uint32_t)batch : 0;
    }
    if (tls->server != NULL) { metric_add(METRIC_tls_sealed_bytes_total, taken); }
    return (ssize_t)taken;
}

void tls_say_goodbye(struct tls *tls, int fd)
{
    if (!tls->is_established || tls->is_broken || tls->unsent.len > 0) { return; }
    (void)SSL_shutdown(tls->ssl); /* 0: the peer's is not awaited */
    ERR_clear_error();
    (void)send_sealed(tls, fd);
}

/* ---- in ---- */

/* Why it is over, for people. */
static const char *reason_of(const struct tls *tls)
{
    long verdict = SSL_get_verify_result(tls->ssl);
    unsigned long code = ERR_peek_last_error();
    if (verdict != X509_V_OK) { return X509_verify_cert_error_string(verdict); }
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    return reason != NULL ? reason : "not understood";
}

static void log_failure(const struct tls *tls, int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[64] = "?";
    char port[8] = "0";
    if (getpeername(fd, (struct sockaddr *)&address, &len) == 0) {
        (void)getnameinfo((const struct sockaddr *)&address, len, host, sizeof host, port,
                          sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    }
    const char *event = tls->is_established ? "TLS failed" : "TLS handshake failed";
    if (tls->server == NULL) { event = "TLS with another node failed"; }
    LOG_LIMITED(LOG_LEVEL_WARN, event, LOG_STR("why", reason_of(tls)), LOG_STR("host", host),
                LOG_STR("port", port));
}

/* The result of a call of OpenSSL that did not succeed. False: it merely needs more input, or has had all. */
static bool has_failed(struct tls *tls, int fd, int result)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ: return false;
    case SSL_ERROR_ZERO_RETURN: tls->has_ended = true; return false;
    default: break;
    }
    tls->is_broken = true;
    count_failure(tls);
    log_failure(tls, fd);
    ERR_clear_error();
    return true;
}

/* Go on with the handshake. True: it is done. */
static bool shake(struct tls *tls, int fd)
{
    uint64_t began_ns = clock_mono_ns();
    if (tls->ssl == NULL) {
        tls->ssl = tls_server_ssl_new(tls->server);
        set_bio(tls);
    }
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    tls->worker->shaken_ns += clock_mono_ns() - began_ns;
    if (result != 1) {
        (void)has_failed(tls, fd, result);
        return false;
    }
    tls->is_established = true;
    list_remove(&tls->shaking);
    bool is_client = tls->server != NULL;
    metric_add(is_client ? METRIC_tls_handshakes_total : METRIC_cluster_tls_handshakes_total, 1);
    return true;
}

void tls_begin(struct tls *tls, struct tls_worker *worker, void *owner, int fd)
{
    CHECK(tls->worker == NULL);
    tls->worker = worker;
    tls->owner = owner;
    tls->since_ns = clock_mono_ns();
    list_push_back(&worker->shaking, &tls->shaking);
    if (tls->ssl == NULL) { return; }
    set_bio(tls);
    if (SSL_is_server(tls->ssl)) { return; }
    CHECK(!shake(tls, fd));
    (void)send_sealed(tls, fd); /* of a dead socket the first read tells */
}

/* All of what was received, to `at`. What it holds is never larger than it was sealed, but for a record whose head came before. */
static size_t open_all(struct tls *tls, int fd, char *at, size_t room)
{
    size_t have = 0;
    for (;;) {
        CHECK(have < room);
        size_t left = room - have < INT32_MAX ? room - have : INT32_MAX;
        int n = SSL_read(tls->ssl, at + have, (int)left);
        if (n <= 0) {
            (void)has_failed(tls, fd, n);
            return have;
        }
        have += (size_t)n;
    }
}

ssize_t tls_recv(struct tls *tls, int fd, char *at, size_t room)
{
    struct tls_worker *worker = tls->worker;
    CHECK(room >= TLS_ROOM_MIN);
    if (tls->has_ended) { return 0; }
    errno = tls->is_broken ? EPROTO : EAGAIN;
    if (tls->is_broken || (!tls->is_established && worker->shaken_ns > TLS_TURN_NS)) { return -1; }
    size_t most = room - TLS_RECORD_BYTES_MAX;
    ssize_t n = recv(fd, worker->wire, most < WIRE_BYTES ? most : WIRE_BYTES, 0);
    if (n == 0 && tls->server == NULL && tls->is_established) {
        errno = ECONNRESET; /* an end that the other node has not told may be anybody's */
        return -1;
    }
    if (n <= 0) { return n; }
    worker->in = slice_of(worker->wire, (size_t)n);
    size_t have = 0;
    if (tls->is_established || shake(tls, fd)) { have = open_all(tls, fd, at, room); }
    worker->in = slice_of(NULL, 0);
    if (!send_sealed(tls, fd)) { return -1; }
    if (tls->has_ended || (have > 0 && tls->is_broken)) {
        (void)shutdown(fd, SHUT_RD); /* so that each later look finds the end, or what is wrong */
    }
    if (have > 0) { return (ssize_t)have; }
    if (tls->has_ended) { return 0; }
    errno = tls->is_broken ? EPROTO : EAGAIN;
    return -1;
}
