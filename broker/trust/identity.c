/* identity: files to a context of OpenSSL, names out of certificates. */
#include "trust/identity.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/file_watch.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"

enum {
    NAMES_BYTES_MAX = 256, /* that the log shows */
    NAMES_MAX = 16,        /* of one certificate that are remembered */
};

/* The order of the files in `file`. */
enum identity_file { FILE_CA, FILE_CERT, FILE_KEY, FILES };
static const char *const option_of[FILES] = {"cluster-ca-file", "cluster-cert-file",
                                             "cluster-key-file"};

/* A node, and the number of the last set by which it was let in. */
struct known {
    char name[IDENTITY_NAME_BYTES];
    uint64_t number;
};

struct identity {
    char *node_name;
    uint32_t grace_ms;
    char *file[FILES];
    pthread_mutex_t loading; /* held for a whole load */
    struct file_watch watch;
    pthread_mutex_t lock;
    SSL_CTX *present; /* guarded by `lock`, as the next three; written with `loading` held, too */
    uint64_t taken_ns;
    struct known known[IDENTITY_KNOWN_MAX];
    uint32_t known_next; /* the place of the next one that is not there */
    atomic_int_fast64_t expiry_s;
    atomic_uint_fast64_t number;
};

/* ---- names ---- */

static struct slice text_of(const GENERAL_NAME *name)
{
    const ASN1_IA5STRING *text = name->d.dNSName;
    return slice_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
}

/* Is that node's name among those of the certificate? With node_name NULL they are appended to *out. */
static bool has_name(const X509 *cert, const char *node_name, struct buf *out)
{
    bool is_found = false;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS) { continue; }
        if (node_name != NULL) {
            is_found = is_found || slice_equal(text_of(name), slice_of_str(node_name));
        } else if (out->len < NAMES_BYTES_MAX) {
            buf_append_str(out, out->len > 0 ? "," : "");
            buf_append(out, text_of(name));
        }
    }
    GENERAL_NAMES_free(names);
    return is_found;
}

bool identity_is_of(const struct ssl_st *ssl, const char *node_name)
{
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    return cert != NULL && has_name(cert, node_name, NULL);
}

void identity_print_names(const struct ssl_st *ssl, struct buf *out)
{
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert != NULL) { (void)has_name(cert, NULL, out); }
}

/* One certificate of what the other end shows is looked at: what is wrong with it is known here, and whose it says it is. */
static int on_verify(int is_good, X509_STORE_CTX *context)
{
    if (is_good == 1) { return 1; }
    struct buf names = {0};
    const X509 *cert = X509_STORE_CTX_get0_cert(context);
    if (cert != NULL) { (void)has_name(cert, NULL, &names); }
    LOG_LIMITED(LOG_LEVEL_WARN, "a node was refused for its certificate",
                LOG_SLICE("certificate_of", buf_slice(&names)),
                LOG_STR("why", X509_verify_cert_error_string(X509_STORE_CTX_get_error(context))));
    buf_fini(&names);
    return 0;
}

/* ---- files to a context ---- */

static bool refuse(const struct identity *identity, enum identity_file file, const char *reason,
                   struct buf *why)
{
    unsigned long code = ERR_get_error();
    if (reason == NULL && ERR_SYSTEM_ERROR(code)) {
        reason = strerrordesc_np(ERR_GET_REASON(code));
    } else if (reason == NULL && code != 0) {
        reason = ERR_reason_error_string(code);
    }
    buf_appendf(why, "%s %s: %s", option_of[file], identity->file[file],
                reason != NULL ? reason : "not accepted");
    ERR_clear_error();
    return false;
}

static bool read_files(const struct identity *identity, SSL_CTX *context, struct buf *why)
{
    if (SSL_CTX_load_verify_file(context, identity->file[FILE_CA]) != 1) {
        return refuse(identity, FILE_CA, NULL, why);
    }
    if (SSL_CTX_use_certificate_chain_file(context, identity->file[FILE_CERT]) != 1) {
        return refuse(identity, FILE_CERT, NULL, why);
    }
    if (SSL_CTX_use_PrivateKey_file(context, identity->file[FILE_KEY], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        return refuse(identity, FILE_KEY, NULL, why);
    }
    return true;
}

/* Is that certificate signed by the authorities of the context, and good for the use? NULL: it is; else why not. */
static const char *verdict_on(SSL_CTX *context, X509 *cert, STACK_OF(X509) * chain,
                              const char *purpose)
{
    X509_STORE_CTX *store = X509_STORE_CTX_new();
    CHECK(store != NULL &&
          X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(context), cert, chain) == 1);
    CHECK(X509_STORE_CTX_set_default(store, purpose) == 1);
    X509_STORE_CTX_set_flags(store, X509_V_FLAG_NO_CHECK_TIME);
    int result = X509_verify_cert(store);
    const char *why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    X509_STORE_CTX_free(store);
    ERR_clear_error();
    return result == 1 ? NULL : why;
}

/* A certificate that the other nodes would refuse is refused here, where it can be said why. */
static bool check_own(const struct identity *identity, SSL_CTX *context, struct buf *why)
{
    static const char *const purposes[] = {"ssl_server", "ssl_client"};
    X509 *cert = SSL_CTX_get0_certificate(context);
    STACK_OF(X509) *chain = NULL;
    SSL_CTX_get0_chain_certs(context, &chain);
    for (unsigned i = 0; i < COUNT_OF(purposes); i++) {
        const char *verdict = verdict_on(context, cert, chain, purposes[i]);
        if (verdict == NULL) { continue; }
        buf_appendf(why, "%s %s: %s by %s %s as a certificate of a %s", option_of[FILE_CERT],
                    identity->file[FILE_CERT], verdict, option_of[FILE_CA], identity->file[FILE_CA],
                    i == 0 ? "server" : "client");
        return false;
    }
    if (!has_name(cert, identity->node_name, NULL)) {
        buf_appendf(why, "%s %s: the node's name, %s, is not among its DNS names",
                    option_of[FILE_CERT], identity->file[FILE_CERT], identity->node_name);
        return false;
    }
    return true;
}

/* Gives: a context, or NULL with the reason. */
static SSL_CTX *context_new(const struct identity *identity, struct buf *why)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    CHECK(context != NULL);
    CHECK(SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1);
    CHECK(SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1);
    CHECK(SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                            "TLS_CHACHA20_POLY1305_SHA256") == 1);
    SSL_CTX_set_options(context,
                        SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    CHECK(SSL_CTX_set_num_tickets(context, 0) == 1);
    CHECK(SSL_CTX_set_max_early_data(context, 0) == 1);
    SSL_CTX_set_max_cert_list(context, IDENTITY_CHAIN_BYTES_MAX);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
    if (read_files(identity, context, why) && check_own(identity, context, why)) { return context; }
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

static bool load(struct identity *identity, struct buf *why)
{
    SSL_CTX *context = context_new(identity, why);
    if (context == NULL) { return false; }
    int64_t expiry_s = expiry_of(context);
    if (identity->present != NULL && expiry_s <= time(NULL)) {
        SSL_CTX_free(context);
        return refuse(identity, FILE_CERT, "the certificate has expired", why);
    }
    pthread_mutex_lock(&identity->lock);
    SSL_CTX *before = identity->present;
    identity->present = context;
    identity->taken_ns = clock_mono_ns();
    atomic_fetch_add(&identity->number, 1);
    pthread_mutex_unlock(&identity->lock);
    SSL_CTX_free(before); /* its connections have references of their own */
    atomic_store(&identity->expiry_s, expiry_s);
    return true;
}

enum err identity_new(struct identity **out, const struct identity_opts *opts, struct buf *why)
{
    const char *const file[FILES] = {opts->ca_file, opts->cert_file, opts->key_file};
    struct identity *identity = mem_new0(sizeof *identity);
    CHECK(pthread_mutex_init(&identity->loading, NULL) == 0);
    CHECK(pthread_mutex_init(&identity->lock, NULL) == 0);
    atomic_init(&identity->expiry_s, 0);
    atomic_init(&identity->number, 0);
    identity->grace_ms = opts->grace_ms > 0 ? opts->grace_ms : IDENTITY_GRACE_MS;
    identity->node_name = mem_copy(opts->node_name, strlen(opts->node_name) + 1);
    for (unsigned i = 0; i < FILES; i++) {
        identity->file[i] = mem_copy(file[i], strlen(file[i]) + 1);
    }
    file_watch_begin(&identity->watch, (const char *const *)identity->file, FILES);
    if (!load(identity, why)) {
        identity_free(identity);
        return ERR_INVALID;
    }
    *out = identity;
    return ERR_OK;
}

void identity_free(struct identity *identity)
{
    if (identity == NULL) { return; }
    SSL_CTX_free(identity->present);
    for (unsigned i = 0; i < FILES; i++) {
        mem_free(identity->file[i]);
    }
    mem_free(identity->node_name);
    CHECK(pthread_mutex_destroy(&identity->lock) == 0);
    CHECK(pthread_mutex_destroy(&identity->loading) == 0);
    mem_free(identity);
}

enum identity_refresh identity_refresh(struct identity *identity, bool is_asked, struct buf *why)
{
    enum identity_refresh result = IDENTITY_SAME;
    const char *const *file = (const char *const *)identity->file;
    pthread_mutex_lock(&identity->loading);
    if (is_asked) { file_watch_begin(&identity->watch, file, FILES); }
    if (is_asked || file_watch_is_due(&identity->watch, file, FILES)) {
        result = load(identity, why) ? IDENTITY_TAKEN : IDENTITY_REFUSED;
    }
    pthread_mutex_unlock(&identity->loading);
    return result;
}

int64_t identity_expiry_s(const struct identity *identity)
{
    return atomic_load(&identity->expiry_s);
}

uint64_t identity_number(const struct identity *identity)
{
    return atomic_load(&identity->number);
}

/* ---- of one connection ---- */

static SSL_CTX *present_ref(struct identity *identity)
{
    pthread_mutex_lock(&identity->lock);
    SSL_CTX *context = identity->present;
    CHECK(SSL_CTX_up_ref(context) == 1);
    pthread_mutex_unlock(&identity->lock);
    return context;
}

struct ssl_st *identity_ssl_new(struct identity *identity, bool is_dialler)
{
    SSL_CTX *context = present_ref(identity);
    SSL *ssl = SSL_new(context);
    CHECK(ssl != NULL);
    SSL_CTX_free(context);
    if (is_dialler) {
        SSL_set_connect_state(ssl);
    } else {
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

/* ---- what stands ---- */

static struct known *find_known(struct identity *identity, struct slice name)
{
    for (uint32_t i = 0; i < IDENTITY_KNOWN_MAX; i++) {
        struct known *known = &identity->known[i];
        if (slice_equal(slice_of_str(known->name), name)) { return known; }
    }
    return NULL;
}

static void note_name(struct identity *identity, struct slice name, uint64_t number)
{
    if (name.len == 0 || name.len >= IDENTITY_NAME_BYTES ||
        memchr(name.data, '\0', name.len) != NULL) {
        return;
    }
    struct known *known = find_known(identity, name);
    if (known == NULL) {
        known = &identity->known[identity->known_next++ % IDENTITY_KNOWN_MAX];
        memset(known, 0, sizeof *known);
        memcpy(known->name, name.data, name.len);
    }
    if (number > known->number) { known->number = number; }
}

void identity_note(struct identity *identity, const struct ssl_st *ssl, uint64_t number)
{
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert == NULL) { return; }
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    pthread_mutex_lock(&identity->lock);
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && i < NAMES_MAX; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS) { continue; }
        note_name(identity, text_of(name), number);
    }
    pthread_mutex_unlock(&identity->lock);
    GENERAL_NAMES_free(names);
}

/* Would the certificate of the other end be taken now? */
static bool is_trusted(struct identity *identity, const struct ssl_st *ssl)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert == NULL) { return false; }
    SSL_CTX *context = present_ref(identity);
    const char *purpose = SSL_is_server(ssl) ? "ssl_client" : "ssl_server";
    const char *verdict = verdict_on(context, cert, SSL_get_peer_cert_chain(ssl), purpose);
    SSL_CTX_free(context);
    return verdict == NULL;
}

enum identity_judgement identity_judge(struct identity *identity, const struct ssl_st *ssl,
                                       const char *node_name)
{
    pthread_mutex_lock(&identity->lock);
    const struct known *known =
        node_name[0] != '\0' ? find_known(identity, slice_of_str(node_name)) : NULL;
    bool is_known = known != NULL && known->number == atomic_load(&identity->number);
    uint64_t until_ns = identity->taken_ns + identity->grace_ms * NS_PER_MS;
    pthread_mutex_unlock(&identity->lock);
    if (is_known || is_trusted(identity, ssl)) { return IDENTITY_STANDS; }
    return clock_mono_ns() < until_ns ? IDENTITY_WAITS : IDENTITY_FALLS;
}

void identity_binding(struct ssl_st *ssl, unsigned char out[IDENTITY_BINDING_BYTES])
{
    static const char label[] = "EXPORTER-fanfare-trust";
    CHECK(SSL_export_keying_material(ssl, out, IDENTITY_BINDING_BYTES, label, sizeof label - 1,
                                     NULL, 0, 0) == 1);
}
