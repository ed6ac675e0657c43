/* node_rig: nodes that show certificates, for a test: in a scratch directory, each with an authority, a certificate and a key. */
#ifndef FANFARE_TESTS_NODE_RIG_H
#define FANFARE_TESTS_NODE_RIG_H

#include <ftw.h>

#include "base/mem.h"
#include "trust/identity.h"
#include "unit/tls_rig.h"
#include "unit/trust_rig.h"

enum { RIG_GRACE_MS = 300 };

struct nodes {
    char dir[32];
    char both_file[RIG_PATH_BYTES]; /* both authorities and `lone` */
    struct rig_cert authority, other_authority;
    struct rig_cert a, b, expired, foreign,
        lone; /* foreign: of the other one; lone: signed by itself */
};

static inline void rig_join(const char *path, const struct rig_cert *const *cert, unsigned count)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(PEM_write_X509(file, cert[i]->x509), 1);
    }
    fclose(file);
}

static inline struct nodes *nodes_new(void)
{
    struct nodes *n = mem_new0(sizeof *n);
    strcpy(n->dir, "/tmp/fanfare-nodes-XXXXXX");
    cr_assert_not_null(mkdtemp(n->dir));
    const long days = 20L * RIG_DAY_S;
    n->authority = rig_cert_new(n->dir, "authority", NULL, days);
    n->other_authority = rig_cert_new(n->dir, "other", NULL, days);
    n->a = rig_cert_new(n->dir, "a", &n->authority, days);
    n->b = rig_cert_new(n->dir, "b", &n->authority, days);
    n->expired = rig_cert_new(n->dir, "expired", &n->authority, -60);
    n->foreign = rig_cert_new(n->dir, "foreign", &n->other_authority, days);
    n->lone = rig_cert_new(n->dir, "lone", NULL, days);
    snprintf(n->both_file, sizeof n->both_file, "%s/both.crt", n->dir);
    rig_join(n->both_file,
             (const struct rig_cert *const[]){&n->authority, &n->other_authority, &n->lone}, 3);
    return n;
}

static inline int nodes_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline void nodes_free(struct nodes *n)
{
    struct rig_cert *const all[] = {&n->authority, &n->other_authority, &n->a,   &n->b,
                                    &n->expired,   &n->foreign,         &n->lone};
    for (unsigned i = 0; i < COUNT_OF(all); i++) {
        rig_cert_free(all[i]);
    }
    cr_expect_eq(nftw(n->dir, nodes_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
    mem_free(n);
}

/* Gives: of the node `name`, which takes what the authorities in that file have signed. */
static inline struct identity *identity_of(const char *name, const char *ca_file,
                                           const struct rig_cert *own)
{
    const struct identity_opts opts = {name, ca_file, own->cert_file, own->key_file, RIG_GRACE_MS};
    struct identity *identity = NULL;
    struct buf why = {0};
    cr_assert_eq(identity_new(&identity, &opts, &why), ERR_OK, "%.*s", (int)why.len, why.data);
    return identity;
}

/* Gives: one that asks for what it says. Takes: the identity, NULL for none. */
static inline struct trust *trust_by(struct identity *identity, enum trust_tls tls,
                                     const char *secret, bool is_secret_optional)
{
    char path[] = "/tmp/fanfare-trust-XXXXXX";
    struct trust_opts opts = {
        .identity = identity, .tls = tls, .is_secret_optional = is_secret_optional};
    if (secret != NULL) {
        int fd = mkstemp(path);
        cr_assert_eq(write(fd, secret, strlen(secret)), (ssize_t)strlen(secret));
        close(fd);
        opts.secret_file = path;
    }
    struct trust *trust = NULL;
    struct buf why = {0};
    cr_assert_eq(trust_new(&trust, &opts, &why), ERR_OK, "%.*s", (int)why.len, why.data);
    if (secret != NULL) { unlink(path); }
    return trust;
}

/* The same, of a node with that certificate, by TLS alone. */
static inline struct trust *trust_sealed(const char *name, const char *ca_file,
                                         const struct rig_cert *own)
{
    return trust_by(identity_of(name, ca_file, own), TRUST_TLS_YES, NULL, false);
}

/* What a node may know and ask for on the way from nothing to a secret, to certificates, to both. */
enum phase {
    PLAIN,
    SECRET_SOON,
    SECRET,
    TLS_SOON,
    SECRET_TLS_SOON,
    SECRET_TLS,
    TLS_OR_SECRET,
    TLS,
    PHASES
};

static inline struct trust *trust_in(const struct nodes *n, enum phase phase, const char *name)
{
    static const struct {
        enum trust_tls tls;
        const char *secret;
        bool is_optional;
    } of[PHASES] = {
        [SECRET_SOON] = {TRUST_TLS_NO, "the secret of us all", true},
        [SECRET] = {TRUST_TLS_NO, "the secret of us all", false},
        [TLS_SOON] = {TRUST_TLS_OPTIONAL, NULL, false},
        [SECRET_TLS_SOON] = {TRUST_TLS_OPTIONAL, "the secret of us all", false},
        [TLS] = {TRUST_TLS_YES, NULL, false},
        [SECRET_TLS] = {TRUST_TLS_YES, "the secret of us all", false},
        [TLS_OR_SECRET] = {TRUST_TLS_YES, "the secret of us all", true},
    };
    if (phase == PLAIN) { return NULL; }
    const struct rig_cert *own = strcmp(name, "a") == 0 ? &n->a : &n->b;
    struct identity *identity =
        of[phase].tls != TRUST_TLS_NO ? identity_of(name, n->authority.cert_file, own) : NULL;
    return trust_by(identity, of[phase].tls, of[phase].secret, of[phase].is_optional);
}

/* Its files have changed. */
static inline void rig_read_again(struct trust *trust)
{
    struct buf why = {0};
    cr_assert_eq(identity_refresh(trust_identity(trust), true, &why), IDENTITY_TAKEN);
    buf_fini(&why);
}

/* Phases of two nodes that have to hear each other. */
static const enum phase neighbours[][2] = {
    {PLAIN, SECRET_SOON},
    {SECRET_SOON, SECRET},
    {PLAIN, TLS_SOON},
    {TLS_SOON, TLS},
    {SECRET, SECRET_TLS_SOON},
    {SECRET_TLS_SOON, SECRET_TLS},
    {TLS_SOON, TLS_SOON},
    {SECRET_SOON, SECRET_SOON},
    {SECRET_TLS_SOON, SECRET_TLS_SOON},
    {SECRET_TLS, TLS_OR_SECRET},
    {TLS_OR_SECRET, TLS},
};

#endif
