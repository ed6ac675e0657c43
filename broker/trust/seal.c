/* seal: OpenSSL between two buffers. It reads from what is being taken and writes behind what is to be sent. */
#include "trust/seal.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/mem.h"

struct seal {
    SSL *ssl;
    BIO_METHOD *method;
    struct slice in; /* of the call */
    struct buf *out;
    const char *why;
    size_t handshake_bytes;
    uint32_t record_count; /* since the last key */
    bool is_up;
    bool is_broken;
};

/* ---- OpenSSL's side ---- */

static int on_write(BIO *bio, const char *bytes, int len)
{
    struct seal *seal = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buf_append(seal->out, slice_of(bytes, (size_t)len));
    return len;
}

static int on_read(BIO *bio, char *to, int size)
{
    struct seal *seal = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (seal->in.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t len = seal->in.len < (size_t)size ? seal->in.len : (size_t)size;
    memcpy(to, seal->in.data, len);
    seal->in = slice_of(seal->in.data + len, seal->in.len - len);
    return (int)len;
}

static long on_control(BIO *bio, int command, long number, void *arg)
{
    (void)bio;
    (void)number;
    (void)arg;
    return command == BIO_CTRL_FLUSH; /* all else has no meaning here */
}

static int on_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *method_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "fanfare seal");
    CHECK(method != NULL);
    CHECK(BIO_meth_set_write(method, on_write) == 1);
    CHECK(BIO_meth_set_read(method, on_read) == 1);
    CHECK(BIO_meth_set_ctrl(method, on_control) == 1);
    CHECK(BIO_meth_set_create(method, on_create) == 1);
    return method;
}

/* ---- life ---- */

/* The result of a call that did not succeed. */
static enum seal_step failed(struct seal *seal, int result)
{
    switch (SSL_get_error(seal->ssl, result)) {
    case SSL_ERROR_WANT_READ: return SEAL_GOES_ON;
    case SSL_ERROR_ZERO_RETURN: return SEAL_ENDED;
    default: break;
    }
    long verdict = SSL_get_verify_result(seal->ssl);
    unsigned long code = ERR_peek_last_error();
    seal->why = verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
                                     : ERR_reason_error_string(code);
    if (seal->why == NULL) { seal->why = "not understood"; }
    seal->is_broken = true;
    ERR_clear_error();
    return SEAL_FAILED;
}

static enum seal_step shake(struct seal *seal)
{
    ERR_clear_error();
    int result = SSL_do_handshake(seal->ssl);
    if (result != 1) { return failed(seal, result); }
    seal->is_up = true;
    return SEAL_GOES_ON;
}

struct seal *seal_new(struct identity *identity, bool is_dialler, struct buf *out)
{
    struct seal *seal = mem_new0(sizeof *seal);
    seal->ssl = identity_ssl_new(identity, is_dialler);
    seal->method = method_new();
    BIO *bio = BIO_new(seal->method);
    CHECK(bio != NULL);
    BIO_set_data(bio, seal);
    SSL_set_bio(seal->ssl, bio, bio); /* takes it */
    if (is_dialler) {
        seal->out = out;
        CHECK(shake(seal) == SEAL_GOES_ON);
    }
    return seal;
}

void seal_free(struct seal *seal)
{
    if (seal == NULL) { return; }
    SSL_free(seal->ssl);
    BIO_meth_free(seal->method);
    mem_free(seal);
}

/* ---- in ---- */

static enum seal_step open_all(struct seal *seal, struct buf *plain)
{
    for (;;) {
        int n =
            SSL_read(seal->ssl, buf_reserve(plain, SEAL_RECORD_BYTES_MAX), SEAL_RECORD_BYTES_MAX);
        if (n <= 0) { return failed(seal, n); }
        plain->len += (size_t)n;
    }
}

enum seal_step seal_take(struct seal *seal, struct slice sealed, struct buf *plain, struct buf *out)
{
    if (seal->is_broken) { return SEAL_FAILED; }
    seal->in = sealed;
    seal->out = out;
    enum seal_step step = SEAL_GOES_ON;
    if (!seal->is_up) {
        step = shake(seal);
        seal->handshake_bytes += sealed.len - seal->in.len;
        if (step == SEAL_GOES_ON && seal->handshake_bytes > SEAL_HANDSHAKE_BYTES_MAX) {
            seal->is_broken = true;
            seal->why = "a handshake too large";
            return SEAL_FAILED;
        }
    }
    return seal->is_up && step == SEAL_GOES_ON ? open_all(seal, plain) : step;
}

/* ---- out ---- */

static bool put_record(struct seal *seal, struct slice plain)
{
    if (++seal->record_count == SEAL_REKEY_RECORDS) {
        seal->record_count = 0;
        CHECK(SSL_key_update(seal->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1); /* with the next one */
    }
    int n = SSL_write(seal->ssl, plain.data, (int)plain.len);
    if (n == (int)plain.len) { return true; }
    (void)failed(seal, n);
    seal->is_broken = true;
    return false;
}

bool seal_put(struct seal *seal, struct slice plain, struct buf *out)
{
    CHECK(seal->is_up);
    seal->out = out;
    while (plain.len > 0 && !seal->is_broken) {
        size_t len = plain.len < SEAL_RECORD_BYTES_MAX ? plain.len : SEAL_RECORD_BYTES_MAX;
        if (!put_record(seal, slice_of(plain.data, len))) { return false; }
        plain = slice_of(plain.data + len, plain.len - len);
    }
    return !seal->is_broken;
}

bool seal_is_up(const struct seal *seal)
{
    return seal->is_up;
}

const char *seal_why(const struct seal *seal)
{
    return seal->why != NULL ? seal->why : "ended by the other end";
}

struct ssl_st *seal_ssl(const struct seal *seal)
{
    return seal->ssl;
}
