/* trust: the file, the two MACs, the three steps. */
#include "trust/trust.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

enum { FILE_BYTES_MAX = TRUST_SECRETS_MAX * (TRUST_SECRET_BYTES_MAX + 2) + 1, MAGIC_BYTES = 4 };

static const char magic[MAGIC_BYTES + 1] = "FFT1";

struct secret {
    unsigned char bytes[TRUST_SECRET_BYTES_MAX];
    size_t len; /* 0: there is none */
};

struct trust {
    pthread_mutex_t lock;
    struct secret secret[TRUST_SECRETS_MAX];
    char *path;
    struct stat loaded; /* of the file as it was read, and as it was seen last */
    struct stat looked;
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

static void look(const char *path, struct stat *out)
{
    if (stat(path, out) != 0) { memset(out, 0, sizeof *out); }
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

enum err trust_new(struct trust **out, const char *path, struct buf *why)
{
    struct trust *trust = mem_new0(sizeof *trust);
    CHECK(pthread_mutex_init(&trust->lock, NULL) == 0);
    trust->path = mem_copy(path, strlen(path) + 1);
    look(path, &trust->loaded);
    trust->looked = trust->loaded;
    if (!read_secrets(path, trust->secret, why)) {
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
    mem_free(trust->path);
    mem_free(trust);
}

enum trust_refresh trust_refresh(struct trust *trust, struct buf *why)
{
    struct secret fresh[TRUST_SECRETS_MAX];
    struct stat now;
    look(trust->path, &now);
    bool is_due = is_same(&now, &trust->looked) && !is_same(&now, &trust->loaded);
    trust->looked = now;
    if (!is_due) { return TRUST_SAME; }
    trust->loaded = now;
    if (!read_secrets(trust->path, fresh, why)) { return TRUST_REFUSED; }
    pthread_mutex_lock(&trust->lock);
    memcpy(trust->secret, fresh, sizeof fresh);
    pthread_mutex_unlock(&trust->lock);
    OPENSSL_cleanse(fresh, sizeof fresh);
    return TRUST_TAKEN;
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

void trust_accept(struct trust_proof *proof, struct trust *trust, enum trust_channel channel,
                  struct buf *out)
{
    *proof = (struct trust_proof){.trust = trust, .channel = channel, .state = TRUST_AWAITS_MACS};
    buf_append(out, slice_of(magic, MAGIC_BYTES));
    size_t at = out->len;
    put_random(out, TRUST_NONCE_BYTES);
    memcpy(proof->acceptor_nonce, out->data + at, TRUST_NONCE_BYTES);
}

void trust_dial(struct trust_proof *proof, struct trust *trust, enum trust_channel channel)
{
    *proof = (struct trust_proof){.trust = trust, .channel = channel, .state = TRUST_AWAITS_NONCE};
}

/* The next `bytes` of *in, at *at; false: they are not all there. */
static bool take_bytes(struct slice *in, size_t bytes, const char **at)
{
    if (in->len < bytes) { return false; }
    *at = in->data;
    *in = slice_of(in->data + bytes, in->len - bytes);
    return true;
}

/* The dialler has the acceptor's nonce: its own, and its MACs. */
static enum trust_step answer_nonce(struct trust_proof *proof, const char *at, struct buf *out)
{
    if (memcmp(at, magic, MAGIC_BYTES) != 0) { return TRUST_FAILED; }
    memcpy(proof->acceptor_nonce, at + MAGIC_BYTES, TRUST_NONCE_BYTES);
    size_t own = out->len;
    put_random(out, TRUST_NONCE_BYTES);
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

static enum trust_step answer_macs(struct trust_proof *proof, const char *at, struct buf *out)
{
    memcpy(proof->dialler_nonce, at, TRUST_NONCE_BYTES);
    const struct secret *secret =
        secret_of(proof, "dialler", at + TRUST_NONCE_BYTES, TRUST_SECRETS_MAX);
    if (secret == NULL) { return TRUST_FAILED; }
    put_mac(proof, secret, "acceptor", out);
    return TRUST_PROVEN;
}

static enum trust_step take(struct trust_proof *proof, struct slice *in, struct buf *out)
{
    static const size_t bytes[] = {
        [TRUST_AWAITS_NONCE] = MAGIC_BYTES + TRUST_NONCE_BYTES,
        [TRUST_AWAITS_MACS] = TRUST_STEP_BYTES_MAX,
        [TRUST_AWAITS_MAC] = TRUST_MAC_BYTES,
    };
    const char *at;
    if (!take_bytes(in, bytes[proof->state], &at)) { return TRUST_GOES_ON; }
    switch (proof->state) {
    case TRUST_AWAITS_NONCE: return answer_nonce(proof, at, out);
    case TRUST_AWAITS_MACS: return answer_macs(proof, at, out);
    case TRUST_AWAITS_MAC:
        return secret_of(proof, "acceptor", at, 1) != NULL ? TRUST_PROVEN : TRUST_FAILED;
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
