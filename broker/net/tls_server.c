/* tls_server: options and files to OpenSSL's context. */
#include "net/tls_server.h"

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <time.h>

#include "base/file_watch.h"
#include "base/mem.h"
#include "base/thread.h"

/* What is read again when it changes. */
enum { WATCHED = 4 };
static const enum tls_text watched[WATCHED] = {TLS_CERT_FILE, TLS_KEY_FILE, TLS_CA_CERT_FILE,
                                               TLS_CA_CERT_DIR};

struct tls_server {
    pthread_mutex_t loading; /* held for a whole load */
    struct tls_opts opts;    /* owns the texts */
    struct file_watch watch;
    pthread_mutex_t lock;
    SSL_CTX *present; /* guarded by `lock`; written with `loading` held, too */
    atomic_int_fast64_t expiry_s;
    atomic_uint handshake_ms_max;
};

struct tls_server *tls_server_new(void)
{
    struct tls_server *server = mem_new0(sizeof *server);
    CHECK(pthread_mutex_init(&server->loading, NULL) == 0);
    CHECK(pthread_mutex_init(&server->lock, NULL) == 0);
    atomic_init(&server->expiry_s, 0);
    atomic_init(&server->handshake_ms_max, TLS_HANDSHAKE_MS);
    return server;
}

static void opts_fini(struct tls_opts *opts)
{
    for (unsigned i = 0; i < TLS_TEXTS; i++) {
        mem_free((char *)(uintptr_t)opts->text[i]);
    }
}

static struct tls_opts opts_copy(const struct tls_opts *opts)
{
    struct tls_opts copy = *opts;
    for (unsigned i = 0; i < TLS_TEXTS; i++) {
        copy.text[i] = mem_copy(opts->text[i], strlen(opts->text[i]) + 1);
    }
    return copy;
}

void tls_server_free(struct tls_server *server)
{
    if (server == NULL) { return; }
    SSL_CTX_free(server->present);
    opts_fini(&server->opts);
    CHECK(pthread_mutex_destroy(&server->lock) == 0);
    CHECK(pthread_mutex_destroy(&server->loading) == 0);
    mem_free(server);
}

/* ---- options and files to a context ---- */

static bool is_given(const struct tls_opts *opts, enum tls_text text)
{
    return opts->text[text][0] != '\0';
}

/* What OpenSSL says last is nearest to the caller, but what it says first is nearest to the cause. */
static bool refuse(struct buf *why, const char *option, const char *value)
{
    unsigned long code = ERR_get_error();
    const char *reason = NULL;
    if (ERR_SYSTEM_ERROR(code)) {
        reason = strerror(ERR_GET_REASON(code));
    } else if (code != 0) {
        reason = ERR_reason_error_string(code);
    }
    buf_appendf(why, "%s %s: %s", option, value, reason != NULL ? reason : "not accepted");
    ERR_clear_error();
    return false;
}

static bool set_protocols(SSL_CTX *context, const char *protocols, struct buf *why)
{
    bool has_12 = false;
    bool has_13 = false;
    for (const char *at = protocols; *at != '\0';) {
        size_t len = strcspn(at, " ");
        struct slice word = slice_of(at, len);
        if (slice_equal_nocase(word, SLICE("TLSv1.2"))) {
            has_12 = true;
        } else if (slice_equal_nocase(word, SLICE("TLSv1.3"))) {
            has_13 = true;
        } else if (len > 0) {
            buf_appendf(why, "tls-protocols %s: only TLSv1.2 and TLSv1.3 are spoken", protocols);
            return false;
        }
        at += len + (at[len] == ' ');
    }
    bool has_both = has_12 == has_13;
    int lowest = has_both || has_12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    int highest = has_both || has_13 ? TLS1_3_VERSION : TLS1_2_VERSION;
    return SSL_CTX_set_min_proto_version(context, lowest) == 1 &&
           SSL_CTX_set_max_proto_version(context, highest) == 1;
}

static bool set_ciphers(SSL_CTX *context, const struct tls_opts *opts, struct buf *why)
{
    const char *ciphers = opts->text[TLS_CIPHERS];
    const char *suites = opts->text[TLS_CIPHERSUITES];
    if (is_given(opts, TLS_CIPHERS) && SSL_CTX_set_cipher_list(context, ciphers) != 1) {
        return refuse(why, "tls-ciphers", ciphers);
    }
    if (is_given(opts, TLS_CIPHERSUITES) && SSL_CTX_set_ciphersuites(context, suites) != 1) {
        return refuse(why, "tls-ciphersuites", suites);
    }
    if (opts->prefers_own_ciphers) {
        SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    }
    return true;
}

static int give_password(char *out, int size, int for_writing, void *arg)
{
    (void)for_writing;
    const char *password = arg;
    int len = (int)strlen(password);
    if (len > size) { return -1; }
    memcpy(out, password, (size_t)len);
    return len;
}

static bool set_certificate(SSL_CTX *context, const struct tls_opts *opts, struct buf *why)
{
    const char *cert = opts->text[TLS_CERT_FILE];
    const char *key = opts->text[TLS_KEY_FILE];
    if (!is_given(opts, TLS_CERT_FILE) || !is_given(opts, TLS_KEY_FILE)) {
        buf_append_str(why, "a TLS address needs tls-cert-file and tls-key-file");
        return false;
    }
    SSL_CTX_set_default_passwd_cb(context, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(context,
                                           (char *)(uintptr_t)opts->text[TLS_KEY_FILE_PASS]);
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1) {
        return refuse(why, "tls-cert-file", cert);
    }
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        return refuse(why, "tls-key-file", key);
    }
    SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
    return true;
}

static bool set_authorities(SSL_CTX *context, const struct tls_opts *opts, struct buf *why)
{
    const char *file = opts->text[TLS_CA_CERT_FILE];
    const char *dir = opts->text[TLS_CA_CERT_DIR];
    bool has_file = is_given(opts, TLS_CA_CERT_FILE);
    bool has_dir = is_given(opts, TLS_CA_CERT_DIR);
    if (!has_file && !has_dir && opts->clients != TLS_CLIENTS_NO) {
        buf_append_str(why, "tls-auth-clients needs tls-ca-cert-file or tls-ca-cert-dir; "
                            "or set it to no");
        return false;
    }
    if (has_file) {
        if (SSL_CTX_load_verify_file(context, file) != 1) {
            return refuse(why, "tls-ca-cert-file", file);
        }
        SSL_CTX_set_client_CA_list(context,
                                   SSL_load_client_CA_file(file)); /* what clients choose by */
    }
    if (has_dir && SSL_CTX_load_verify_dir(context, dir) != 1) {
        return refuse(why, "tls-ca-cert-dir", dir);
    }
    static const int mode[] = {
        [TLS_CLIENTS_NO] = SSL_VERIFY_NONE,
        [TLS_CLIENTS_YES] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
        [TLS_CLIENTS_OPTIONAL] = SSL_VERIFY_PEER,
    };
    SSL_CTX_set_verify(context, mode[opts->clients], NULL);
    return true;
}

/* A ticket is the client's to keep; the cache is for TLS 1.2 clients that take none. */
static void set_sessions(SSL_CTX *context, const struct tls_opts *opts)
{
    static const unsigned char id[] = "fanfare";
    SSL_CTX_set_session_id_context(context, id, sizeof id - 1);
    if (!opts->caches_sessions) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(context, 0);
        return;
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(context, (long)opts->sessions_max);
    SSL_CTX_set_timeout(context, (long)opts->session_seconds);
    SSL_CTX_set_num_tickets(context, 1);
}

/* Gives: a context, or NULL with the reason. */
static SSL_CTX *context_new(const struct tls_opts *opts, struct buf *why)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    CHECK(context != NULL);
    SSL_CTX_set_options(context,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_SINGLE_DH_USE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* most connections are silent */
    SSL_CTX_set_dh_auto(context, 1);
    set_sessions(context, opts);
    bool is_good = set_protocols(context, opts->text[TLS_PROTOCOLS], why) &&
                   set_ciphers(context, opts, why) && set_certificate(context, opts, why) &&
                   set_authorities(context, opts, why);
    if (is_good) { return context; }
    SSL_CTX_free(context);
    return NULL;
}

static int64_t expiry_of(SSL_CTX *context)
{
    struct tm end = {0};
    CHECK(ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(context)), &end) == 1);
    return timegm(&end);
}

/* ---- the present one ---- */

static void watched_files(const struct tls_opts *opts, const char *path[WATCHED])
{
    for (unsigned i = 0; i < WATCHED; i++) {
        path[i] = is_given(opts, watched[i]) ? opts->text[watched[i]] : NULL;
    }
}

static enum err load(struct tls_server *server, const struct tls_opts *opts, struct buf *why)
{
    SSL_CTX *context = context_new(opts, why);
    if (context == NULL) { return ERR_INVALID; }
    int64_t expiry_s = expiry_of(context);
    if (server->present != NULL && expiry_s <= time(NULL)) {
        buf_appendf(why, "tls-cert-file %s: the certificate has expired",
                    opts->text[TLS_CERT_FILE]);
        SSL_CTX_free(context);
        return ERR_INVALID;
    }
    pthread_mutex_lock(&server->lock);
    SSL_CTX *before = server->present;
    server->present = context;
    pthread_mutex_unlock(&server->lock);
    SSL_CTX_free(before); /* its connections have references of their own */
    atomic_store(&server->expiry_s, expiry_s);
    return ERR_OK;
}

enum err tls_server_load(struct tls_server *server, const struct tls_opts *opts, struct buf *why)
{
    pthread_mutex_lock(&server->loading);
    const char *path[WATCHED];
    struct file_watch watch;
    watched_files(opts, path);
    file_watch_begin(&watch, path, WATCHED);
    enum err err = load(server, opts, why);
    if (err == ERR_OK) {
        struct tls_opts copy = opts_copy(opts); /* they may be the server's own */
        opts_fini(&server->opts);
        server->opts = copy;
        memcpy(&server->watch, &watch, sizeof watch); /* compared as bytes */
        atomic_store(&server->handshake_ms_max,
                     opts->handshake_ms_max > 0 ? opts->handshake_ms_max : TLS_HANDSHAKE_MS);
    }
    pthread_mutex_unlock(&server->loading);
    return err;
}

enum tls_refresh tls_server_refresh(struct tls_server *server, struct buf *why)
{
    enum tls_refresh result = TLS_SAME;
    pthread_mutex_lock(&server->loading);
    const char *path[WATCHED];
    watched_files(&server->opts, path);
    if (file_watch_is_due(&server->watch, path, WATCHED)) {
        result = load(server, &server->opts, why) == ERR_OK ? TLS_TAKEN : TLS_REFUSED;
    }
    pthread_mutex_unlock(&server->loading);
    return result;
}

int64_t tls_server_expiry_s(const struct tls_server *server)
{
    return atomic_load(&server->expiry_s);
}

uint32_t tls_server_handshake_ms_max(const struct tls_server *server)
{
    return atomic_load(&server->handshake_ms_max);
}

struct ssl_st *tls_server_ssl_new(struct tls_server *server)
{
    pthread_mutex_lock(&server->lock);
    CHECK(server->present != NULL);
    SSL *ssl = SSL_new(server->present); /* takes a reference of its own */
    pthread_mutex_unlock(&server->lock);
    CHECK(ssl != NULL);
    SSL_set_accept_state(ssl);
    return ssl;
}

struct bufferevent *tls_server_bufferevent(struct tls_server *server, struct event_base *base)
{
    SSL *ssl = tls_server_ssl_new(server);
    SSL_set_verify(ssl, SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER, NULL);
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bev != NULL);
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}
