/* The proof of the cluster's secret, on bytes of any kind and any cut: both ends take them, in the open and inside TLS, with a secret
 * that is asked for, one that is not, and none; none is proved that is asked for, nothing but a nonce and MACs comes back. The first
 * byte says how many come at once. And what a TLS handshake makes of them. */
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#include "trust/seal.h"
#include "trust/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATH_BYTES = 32 };

/* All that is made once. */
static struct world {
    struct trust *asking; /* for the secret; in the open and inside TLS */
    struct trust *optional;
    struct trust *bare; /* without a secret */
    struct identity *identity;
    struct seal *dialler; /* a connection that is up */
    struct seal *acceptor;
} world;

static void save(const char *path, X509 *cert, EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(cert != NULL ? PEM_write_X509(file, cert)
                       : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    CHECK(fclose(file) == 0);
}

/* A node's certificate that is its own authority. */
static struct identity *identity_new_lone(void)
{
    char cert_file[PATH_BYTES] = "/tmp/fanfare-cert-XXXXXX";
    char key_file[PATH_BYTES] = "/tmp/fanfare-key-XXXXXX";
    CHECK(close(mkstemp(cert_file)) == 0 && close(mkstemp(key_file)) == 0);
    X509 *cert = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -100);
    X509_gmtime_adj(X509_getm_notAfter(cert), 1000000);
    X509_EXTENSION *name = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:n");
    CHECK(X509_add_ext(cert, name, -1) == 1);
    X509_EXTENSION_free(name);
    CHECK(X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0);
    save(cert_file, cert, NULL);
    save(key_file, NULL, key);
    X509_free(cert);
    EVP_PKEY_free(key);
    const struct identity_opts opts = {"n", cert_file, cert_file, key_file, 0};
    struct identity *identity = NULL;
    struct buf why = {0};
    CHECK(identity_new(&identity, &opts, &why) == ERR_OK);
    CHECK(unlink(cert_file) == 0 && unlink(key_file) == 0);
    return identity;
}

static struct trust *trust_make(bool has_secret, bool is_optional)
{
    char path[] = "/tmp/fanfare-trust-XXXXXX";
    int fd = mkstemp(path);
    struct buf why = {0};
    struct trust *trust = NULL;
    CHECK(write(fd, "a secret of sixteen bytes\n", 26) == 26);
    CHECK(close(fd) == 0);
    const struct trust_opts opts = {.secret_file = has_secret ? path : NULL,
                                    .is_secret_optional = is_optional};
    CHECK(trust_new(&trust, &opts, &why) == ERR_OK);
    CHECK(unlink(path) == 0);
    return trust;
}

static void make_world(void)
{
    if (world.asking != NULL) { return; }
    world.asking = trust_make(true, false);
    world.optional = trust_make(true, true);
    world.bare = trust_make(false, false);
    world.identity = identity_new_lone();
    struct buf to[2] = {0}, plain = {0};
    world.acceptor = seal_new(world.identity, false, NULL);
    world.dialler = seal_new(world.identity, true, &to[0]);
    for (unsigned turn = 0; to[turn % 2].len > 0; turn++) {
        struct seal *end = turn % 2 == 0 ? world.acceptor : world.dialler;
        CHECK(seal_take(end, buf_slice(&to[turn % 2]), &plain, &to[1 - turn % 2]) == SEAL_GOES_ON);
        to[turn % 2].len = 0;
    }
    buf_fini(&plain);
    buf_fini(&to[0]);
    buf_fini(&to[1]);
}

/* may_pass: it may be content without a proof. */
static void feed(struct trust_proof *proof, struct slice bytes, size_t at_once, bool may_pass)
{
    struct buf in = {0};
    struct buf out = {0};
    enum trust_step step = TRUST_GOES_ON;
    while (step == TRUST_GOES_ON && bytes.len > 0) {
        size_t len = at_once < bytes.len ? at_once : bytes.len;
        buf_append(&in, slice_of(bytes.data, len));
        bytes = slice_of(bytes.data + len, bytes.len - len);
        struct slice rest = buf_slice(&in);
        step = trust_take(proof, &rest, &out);
        CHECK(rest.len <= in.len);
        buf_consume(&in, in.len - rest.len);
    }
    CHECK(step != TRUST_PROVEN || may_pass); /* else it would have guessed 256 bits */
    CHECK(out.len <= TRUST_STEP_BYTES_MAX);
    buf_fini(&in);
    buf_fini(&out);
}

static void accept_and_dial(struct trust *trust, bool is_sealed, bool may_pass, struct slice bytes,
                            size_t at_once)
{
    struct trust_proof proof;
    struct buf out = {0};
    struct ssl_st *acceptor = is_sealed ? seal_ssl(world.acceptor) : NULL;
    if (trust_accept(&proof, trust, TRUST_PEER, acceptor, &out) == TRUST_GOES_ON) {
        feed(&proof, bytes, at_once, may_pass);
    }
    trust_dial(&proof, trust, TRUST_RAFT, is_sealed ? seal_ssl(world.dialler) : NULL);
    feed(&proof, bytes, at_once, may_pass);
    buf_fini(&out);
}

static void shake(bool is_dialler, struct slice bytes, size_t at_once)
{
    struct buf out = {0}, plain = {0};
    struct seal *seal = seal_new(world.identity, is_dialler, &out);
    enum seal_step step = SEAL_GOES_ON;
    while (step == SEAL_GOES_ON && bytes.len > 0) {
        size_t len = at_once < bytes.len ? at_once : bytes.len;
        step = seal_take(seal, slice_of(bytes.data, len), &plain, &out);
        bytes = slice_of(bytes.data + len, bytes.len - len);
    }
    CHECK(plain.len == 0 && !seal_is_up(seal)); /* it would need a key */
    buf_fini(&out);
    buf_fini(&plain);
    seal_free(seal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) { return 0; }
    make_world();
    struct slice bytes = slice_of((const char *)data + 1, size - 1);
    size_t at_once = (size_t)data[0] + 1;
    accept_and_dial(world.asking, false, false, bytes, at_once);
    accept_and_dial(world.asking, true, false, bytes, at_once);
    accept_and_dial(world.optional, true, true, bytes, at_once);
    accept_and_dial(world.bare, true, true, bytes, at_once);
    shake(false, bytes, at_once);
    shake(true, bytes, at_once);
    return 0;
}
