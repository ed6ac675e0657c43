/* trust: the file, the ways, the two MACs, the three steps. */
#include "trust/trust.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <unistd.h>

#include "base/file_watch.h"
#include "base/mem.h"
#include "base/thread.h"
#include "trust/identity.h"

enum { FILE_BYTES_MAX = TRUST_SECRETS_MAX * (TRUST_SECRET_BYTES_MAX + 2) + 1, MAGIC_BYTES = 4 };

enum { NONCE_BIT = 0x80 }; /* of the first byte of a dialler's nonce */
enum {
    HANDSHAKE_BYTE = 0x16
}; /* of TLS, its first; a frame's is a length's first, which is small */

/* What an acceptor says of its secret. */
static const char has_none[MAGIC_BYTES + 1] = "FFT0";
static const char asks_for_it[MAGIC_BYTES + 1] = "FFT1";
static const char can_prove_it[MAGIC_BYTES + 1] = "FFT2";

struct secret {
    unsigned char bytes[TRUST_SECRET_BYTES_MAX];
    size_t len; /* 0: there is none */
};

struct trust {
    enum trust_tls tls;
    bool has_secret;
    bool is_secret_optional;
    struct identity *identity; /* NULL: none */
    pthread_mutex_t lock;
    struct secret secret[TRUST_SECRETS_MAX];
    char *path; /* NULL: no secret */
    struct file_watch watch;
};

/* ---- the file ---- */

static bool refuse(struct buf *why, const char *path, const char *reason)
{
    buf_appendf(why, "cluster-secret-file %s: %s", path, reason);
    return false;
}

/* One line, without blanks at its ends. */
static bool take_line(struct secret *secret, unsigned *count, struct slice line, const char *path,
                      struct buf *why)
{
    while (line.len > 0 && isspace((unsigned char)line.data[line.len - 1])) {
        line.len--;
    }
    while (line.len > 0 && isspace((unsigned char)line.data[0])) {
        line = slice_of(line.data + 1, line.len - 1);
    }
    if (line.len == 0) { return true; }
    if (*count == TRUST_SECRETS_MAX) { return refuse(why, path, "more than two secrets"); }
    if (line.len < TRUST_SECRET_BYTES_MIN || line.len > TRUST_SECRET_BYTES_MAX) {
        return refuse(why, path, "a secret has 16 to 1024 bytes, one a line");
    }
    memcpy(secret[*count].bytes, line.data, line.len);
    secret[(*count)++].len = line.len;
    return true;
}

static bool take_text(struct secret *secret, struct slice text, const char *path, struct buf *why)
{
    unsigned count = 0;
    while (text.len > 0) {
        const char *end = memchr(text.data, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.data) : text.len;
        if (!take_line(secret, &count, slice_of(text.data, len), path, why)) { return false; }
        size_t used = len + (end != NULL);
        text = slice_of(text.data + used, text.len - used);
    }
    return count > 0 || refuse(why, path, "it holds no secret");
}

static bool read_secrets(const char *path, struct secret *secret, struct buf *why)
{
    char text[FILE_BYTES_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
    int error = errno;
    if (fd >= 0) { CHECK(close(fd) == 0); }
    if (n < 0) { return refuse(why, path, strerrordesc_np(error)); }
    memset(secret, 0, TRUST_SECRETS_MAX * sizeof *secret);
    bool is_good = n == FILE_BYTES_MAX ? refuse(why, path, "it is too large")
                                       : take_text(secret, slice_of(text, (size_t)n), path, why);
    OPENSSL_cleanse(text, sizeof text);
    return is_good;
}

static bool open_secret(struct trust *trust, const char *path, struct buf *why)
{
    if (path == NULL) { return true; }
    trust->has_secret = true;
    trust->path = mem_copy(path, strlen(path) + 1);
    file_watch_begin(&trust->watch, &path, 1);
    return read_secrets(path, trust->secret, why);
}

enum err trust_new(struct trust **out, const struct trust_opts *opts, struct buf *why)
{
    CHECK((opts->tls == TRUST_TLS_NO) == (opts->identity == NULL));
    struct trust *trust = mem_new0(sizeof *trust);
    CHECK(pthread_mutex_init(&trust->lock, NULL) == 0);
    trust->tls = opts->tls;
    trust->identity = opts->identity;
    trust->is_secret_optional = opts->is_secret_optional;
    if (!open_secret(trust, opts->secret_file, why)) {
        trust_free(trust);
        return ERR_INVALID;
    }
    *out = trust;
    return ERR_OK;
}

void trust_free(struct trust *trust)
{
    if (trust == NULL) { return; }
    OPENSSL_cleanse(trust->secret, sizeof trust->secret);
    CHECK(pthread_mutex_destroy(&trust->lock) == 0);
    identity_free(trust->identity);
    mem_free(trust->path);
    mem_free(trust);
}

struct identity *trust_identity(const struct trust *trust)
{
    return trust->identity;
}

enum trust_refresh trust_refresh(struct trust *trust, struct buf *why)
{
    struct secret fresh[TRUST_SECRETS_MAX];
    const char *path = trust->path;
    if (path == NULL || !file_watch_is_due(&trust->watch, &path, 1)) { return TRUST_SAME; }
    if (!read_secrets(path, fresh, why)) { return TRUST_REFUSED; }
    pthread_mutex_lock(&trust->lock);
    memcpy(trust->secret, fresh, sizeof fresh);
    pthread_mutex_unlock(&trust->lock);
    OPENSSL_cleanse(fresh, sizeof fresh);
    return TRUST_TAKEN;
}

/* ---- ways ---- */

static bool takes_secret(const struct trust *trust)
{
    return trust != NULL && trust->has_secret;
}

static bool must_prove(const struct trust *trust)
{
    return takes_secret(trust) && !trust->is_secret_optional;
}

/* Those that it may go, the best one first. */
static unsigned ways_of(const struct trust *trust, enum trust_way way[3])
{
    unsigned count = 0;
    enum trust_tls tls = trust != NULL ? trust->tls : TRUST_TLS_NO;
    if (tls != TRUST_TLS_NO) { way[count++] = TRUST_SEALED; }
    if (tls == TRUST_TLS_YES) { return count; }
    if (takes_secret(trust)) { way[count++] = TRUST_PROVED; }
    if (!must_prove(trust)) { way[count++] = TRUST_OPEN; }
    return count;
}

enum trust_way trust_dial_way(const struct trust *trust, unsigned attempt)
{
    enum trust_way way[3];
    unsigned count = ways_of(trust, way);
    return way[attempt % count];
}

bool trust_takes_anybody(const struct trust *trust)
{
    enum trust_way way[3];
    return way[ways_of(trust, way) - 1] == TRUST_OPEN;
}

bool trust_has_ways(const struct trust *trust)
{
    enum trust_way way[3];
    return ways_of(trust, way) > 1;
}

enum trust_way trust_accept_way(const struct trust *trust)
{
    enum trust_way way[3];
    return ways_of(trust, way) > 1 ? TRUST_LISTENS : way[0];
}

enum trust_way trust_accept_way_of(const struct trust *trust, unsigned char first)
{
    if (trust->tls != TRUST_TLS_NO && first == HANDSHAKE_BYTE) { return TRUST_SEALED; }
    return must_prove(trust) ? TRUST_REFUSED_WAY : TRUST_OPEN;
}

enum trust_way trust_accept_way_of_silence(const struct trust *trust)
{
    return takes_secret(trust) ? TRUST_PROVED : TRUST_LISTENS;
}

/* ---- proofs ---- */

static void put_random(struct buf *out, size_t bytes)
{
    CHECK(RAND_bytes((unsigned char *)buf_reserve(out, bytes), (int)bytes) == 1);
    out->len += bytes;
}

/* What the end `who` ("dialler", "acceptor") says by that secret. */
static void mac_of(const struct trust_proof *proof, const struct secret *secret, const char *who,
                   unsigned char out[TRUST_MAC_BYTES])
{
    struct buf text = {0};
    char channel = (char)proof->channel;
    unsigned len = 0;
    buf_appendf(&text, "fanfare %s ", who);
    buf_append(&text, slice_of(&channel, 1));
    buf_append(&text, slice_of((const char *)proof->acceptor_nonce, TRUST_NONCE_BYTES));
    buf_append(&text, slice_of((const char *)proof->dialler_nonce, TRUST_NONCE_BYTES));
    if (proof->ssl != NULL) {
        unsigned char binding[IDENTITY_BINDING_BYTES];
        identity_binding(proof->ssl, binding);
        buf_append(&text, slice_of((const char *)binding, sizeof binding));
    }
    CHECK(HMAC(EVP_sha256(), secret->bytes, (int)secret->len, (const unsigned char *)text.data,
               text.len, out, &len) != NULL);
    CHECK(len == TRUST_MAC_BYTES);
    buf_fini(&text);
}

/* The secret by which one of `count` MACs was made, by a comparison of each with each; NULL: none. */
static const struct secret *secret_of(const struct trust_proof *proof, const char *who,
                                      const char *macs, unsigned count)
{
    const struct secret *found = NULL;
    for (unsigned i = 0; i < TRUST_SECRETS_MAX; i++) {
        const struct secret *secret = &proof->trust->secret[i];
        if (secret->len == 0) { continue; }
        unsigned char mac[TRUST_MAC_BYTES];
        mac_of(proof, secret, who, mac);
        for (unsigned at = 0; at < count; at++) {
            if (CRYPTO_memcmp(mac, macs + at * TRUST_MAC_BYTES, sizeof mac) == 0) {
                found = secret;
            }
        }
    }
    return found;
}

static void put_mac(const struct trust_proof *proof, const struct secret *secret, const char *who,
                    struct buf *out)
{
    unsigned char mac[TRUST_MAC_BYTES];
    mac_of(proof, secret, who, mac);
    buf_append(out, slice_of((const char *)mac, sizeof mac));
}

enum trust_step trust_accept(struct trust_proof *proof, struct trust *trust,
                             enum trust_channel channel, struct ssl_st *ssl, struct buf *out)
{
    *proof = (struct trust_proof){
        .trust = trust, .channel = channel, .ssl = ssl, .state = TRUST_AWAITS_MACS};
    if (!trust->has_secret) {
        CHECK(ssl != NULL);
        buf_append(out, slice_of(has_none, MAGIC_BYTES));
        return TRUST_PROVEN;
    }
    bool is_asked = ssl == NULL || !trust->is_secret_optional;
    buf_append(out, slice_of(is_asked ? asks_for_it : can_prove_it, MAGIC_BYTES));
    size_t at = out->len;
    put_random(out, TRUST_NONCE_BYTES);
    memcpy(proof->acceptor_nonce, out->data + at, TRUST_NONCE_BYTES);
    return TRUST_GOES_ON;
}

void trust_dial(struct trust_proof *proof, struct trust *trust, enum trust_channel channel,
                struct ssl_st *ssl)
{
    CHECK(ssl != NULL || trust->has_secret);
    *proof = (struct trust_proof){
        .trust = trust, .channel = channel, .ssl = ssl, .state = TRUST_AWAITS_NONCE};
}

/* The next `bytes` of *in, at *at; false: they are not all there. */
static bool take_bytes(struct slice *in, size_t bytes, const char **at)
{
    if (in->len < bytes) { return false; }
    *at = in->data;
    *in = slice_of(in->data + bytes, in->len - bytes);
    return true;
}

static bool is_magic(const char *at, const char magic[MAGIC_BYTES])
{
    return memcmp(at, magic, MAGIC_BYTES) == 0;
}

/* The dialler's own nonce, and its MACs, for the acceptor's nonce at `at`. */
static enum trust_step answer_nonce(struct trust_proof *proof, const char *at, struct buf *out)
{
    memcpy(proof->acceptor_nonce, at, TRUST_NONCE_BYTES);
    size_t own = out->len;
    put_random(out, TRUST_NONCE_BYTES);
    out->data[own] = (char)(out->data[own] | NONCE_BIT);
    memcpy(proof->dialler_nonce, out->data + own, TRUST_NONCE_BYTES);
    for (unsigned i = 0; i < TRUST_SECRETS_MAX; i++) {
        const struct secret *secret = &proof->trust->secret[i];
        if (secret->len > 0) {
            put_mac(proof, secret, "dialler", out);
        } else {
            put_random(out, TRUST_MAC_BYTES);
        }
    }
    proof->state = TRUST_AWAITS_MAC;
    return TRUST_GOES_ON;
}

/* What the acceptor says first. */
static enum trust_step take_nonce(struct trust_proof *proof, struct slice *in, struct buf *out)
{
    const struct trust *trust = proof->trust;
    const char *at;
    if (in->len < MAGIC_BYTES) { return TRUST_GOES_ON; }
    if (proof->ssl != NULL && is_magic(in->data, has_none)) {
        CHECK(take_bytes(in, MAGIC_BYTES, &at));
        return must_prove(trust) ? TRUST_FAILED : TRUST_PROVEN;
    }
    bool is_optional = proof->ssl != NULL && is_magic(in->data, can_prove_it);
    if (!is_optional && !is_magic(in->data, asks_for_it)) { return TRUST_FAILED; }
    if (!trust->has_secret && !is_optional) { return TRUST_FAILED; }
    if (!take_bytes(in, MAGIC_BYTES + TRUST_NONCE_BYTES, &at)) { return TRUST_GOES_ON; }
    return trust->has_secret ? answer_nonce(proof, at + MAGIC_BYTES, out) : TRUST_PROVEN;
}

static enum trust_step take_macs(struct trust_proof *proof, struct slice *in, struct buf *out)
{
    const char *at;
    bool may_do_without = proof->ssl != NULL && proof->trust->is_secret_optional;
    if (may_do_without && in->len > 0 && (in->data[0] & NONCE_BIT) == 0) { return TRUST_PROVEN; }
    if (!take_bytes(in, TRUST_STEP_BYTES_MAX, &at)) { return TRUST_GOES_ON; }
    memcpy(proof->dialler_nonce, at, TRUST_NONCE_BYTES);
    const struct secret *secret =
        secret_of(proof, "dialler", at + TRUST_NONCE_BYTES, TRUST_SECRETS_MAX);
    if (secret == NULL) { return TRUST_FAILED; }
    put_mac(proof, secret, "acceptor", out);
    return TRUST_PROVEN;
}

static enum trust_step take_mac(struct trust_proof *proof, struct slice *in)
{
    const char *at;
    if (!take_bytes(in, TRUST_MAC_BYTES, &at)) { return TRUST_GOES_ON; }
    return secret_of(proof, "acceptor", at, 1) != NULL ? TRUST_PROVEN : TRUST_FAILED;
}

static enum trust_step take(struct trust_proof *proof, struct slice *in, struct buf *out)
{
    switch (proof->state) {
    case TRUST_AWAITS_NONCE: return take_nonce(proof, in, out);
    case TRUST_AWAITS_MACS: return take_macs(proof, in, out);
    case TRUST_AWAITS_MAC: return take_mac(proof, in);
    }
    UNREACHABLE();
}

enum trust_step trust_take(struct trust_proof *proof, struct slice *in, struct buf *out)
{
    pthread_mutex_lock(&proof->trust->lock);
    enum trust_step step = take(proof, in, out);
    pthread_mutex_unlock(&proof->trust->lock);
    return step;
}
