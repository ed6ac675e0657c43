/* tls_rig: authorities and certificates for a test, in files of a scratch directory, and a client's end of OpenSSL. */
#ifndef FANFARE_TESTS_TLS_RIG_H
#define FANFARE_TESTS_TLS_RIG_H

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

enum { RIG_PATH_BYTES = 96, RIG_DAY_S = 24 * 60 * 60 };

struct rig_cert {
    X509 *x509;
    EVP_PKEY *key;
    char cert_file[RIG_PATH_BYTES];
    char key_file[RIG_PATH_BYTES];
};

static inline void rig_write(const struct rig_cert *cert)
{
    FILE *file = fopen(cert->cert_file, "w");
    cr_assert(file != NULL && PEM_write_X509(file, cert->x509) == 1);
    fclose(file);
    file = fopen(cert->key_file, "w");
    cr_assert(file != NULL &&
              PEM_write_PrivateKey(file, cert->key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
}

/* A certificate of `name`, also as its DNS name, that holds from a day ago until `seconds` from now, signed by `by`, or by itself if that is NULL; written to
 * DIR/name.crt and DIR/name.key. */
static inline struct rig_cert rig_cert_new(const char *dir, const char *name,
                                           const struct rig_cert *by, long seconds)
{
    struct rig_cert cert = {.x509 = X509_new(), .key = EVP_EC_gen("P-256")};
    static long serial;
    cr_assert(cert.x509 != NULL && cert.key != NULL);
    X509_set_version(cert.x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert.x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert.x509), -2L * RIG_DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(cert.x509), seconds);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert.x509), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert.x509, X509_get_subject_name(by != NULL ? by->x509 : cert.x509));
    X509_set_pubkey(cert.x509, cert.key);
    X509_EXTENSION *authority =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, by == NULL ? "CA:TRUE" : "CA:FALSE");
    X509_add_ext(cert.x509, authority, -1);
    X509_EXTENSION_free(authority);
    char names[RIG_PATH_BYTES];
    snprintf(names, sizeof names, "DNS:%s", name);
    X509_EXTENSION *named = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    X509_add_ext(cert.x509, named, -1);
    X509_EXTENSION_free(named);
    cr_assert_gt(X509_sign(cert.x509, by != NULL ? by->key : cert.key, EVP_sha256()), 0);
    snprintf(cert.cert_file, sizeof cert.cert_file, "%s/%s.crt", dir, name);
    snprintf(cert.key_file, sizeof cert.key_file, "%s/%s.key", dir, name);
    rig_write(&cert);
    return cert;
}

static inline void rig_cert_free(struct rig_cert *cert)
{
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
}

/* A client's end on `fd`; `own` may be NULL. */
static inline SSL *rig_client_new(int fd, const struct rig_cert *authority,
                                  const struct rig_cert *own, int version_max)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, version_max);
    cr_assert_eq(SSL_CTX_load_verify_file(context, authority->cert_file), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (own != NULL) {
        cr_assert_eq(SSL_CTX_use_certificate(context, own->x509), 1);
        cr_assert_eq(SSL_CTX_use_PrivateKey(context, own->key), 1);
    }
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    return ssl;
}

#endif
