/* Certificates between two ends in memory: who is taken and who is not, files that change, and the secret's proof inside TLS. */
#include <poll.h>
#include <time.h>

#include "trust/seal.h"
#include "unit/node_rig.h"
#include "unit/wait_until.h"

static const char secret[] = "the secret of this cluster";
static const char stray[] = "what another cluster calls its own";

/* One end, and what is on its way to it. */
struct end {
    struct seal *seal;
    struct trust *trust;
    struct trust_proof proof;
    struct buf in;
    struct buf plain;
    bool is_proving;
    bool has_failed;
    enum trust_step step;
};

struct pair {
    struct end d, a;
    size_t at_once; /* bytes that are given at a time; 0: all */
};

static void pair_open(struct pair *pair, struct trust *dialler, struct trust *acceptor)
{
    pair->d.trust = dialler;
    pair->a.trust = acceptor;
    pair->d.seal = seal_new(trust_identity(dialler), true, &pair->a.in);
    pair->a.seal = seal_new(trust_identity(acceptor), false, NULL);
}

static void end_fini(struct end *end)
{
    seal_free(end->seal);
    trust_free(end->trust);
    buf_fini(&end->in);
    buf_fini(&end->plain);
}

static void pair_close(struct pair *pair)
{
    end_fini(&pair->d);
    end_fini(&pair->a);
}

static void say(struct end *end, const struct buf *plain, struct end *to)
{
    if (plain->len > 0) { cr_assert(seal_put(end->seal, buf_slice(plain), &to->in)); }
}

/* It has come up: its proof begins. */
static void begin(struct end *end, bool is_dialler, struct end *other)
{
    struct buf out = {0};
    struct ssl_st *ssl = seal_ssl(end->seal);
    end->is_proving = true;
    if (is_dialler) {
        trust_dial(&end->proof, end->trust, TRUST_RAFT, ssl);
    } else {
        end->step = trust_accept(&end->proof, end->trust, TRUST_RAFT, ssl, &out);
    }
    say(end, &out, other);
    buf_fini(&out);
}

static void go_on(struct end *end, struct end *other)
{
    struct buf out = {0};
    struct slice rest = buf_slice(&end->plain);
    for (size_t before = SIZE_MAX; end->step == TRUST_GOES_ON && rest.len < before;) {
        before = rest.len;
        end->step = trust_take(&end->proof, &rest, &out);
    }
    buf_consume(&end->plain, end->plain.len - rest.len);
    say(end, &out, other);
    buf_fini(&out);
}

static void take(struct end *end, bool is_dialler, struct end *other, size_t at_once)
{
    size_t len = at_once > 0 && at_once < end->in.len ? at_once : end->in.len;
    struct buf got = {0};
    buf_append(&got, slice_of(end->in.data, len));
    buf_consume(&end->in, len);
    bool was_up = seal_is_up(end->seal);
    if (seal_take(end->seal, buf_slice(&got), &end->plain, &other->in) != SEAL_GOES_ON) {
        end->has_failed = true;
    } else {
        if (!was_up && seal_is_up(end->seal)) { begin(end, is_dialler, other); }
        if (end->is_proving && end->step == TRUST_GOES_ON) { go_on(end, other); }
    }
    buf_fini(&got);
}

/* Until nothing is on its way, or an end has failed. Do both find the other one good? */
static bool pair_run(struct pair *pair)
{
    struct end *d = &pair->d, *a = &pair->a;
    while (d->in.len + a->in.len > 0) {
        if (a->in.len > 0 && !a->has_failed) { take(a, false, d, pair->at_once); }
        if (d->in.len > 0 && !d->has_failed) { take(d, true, a, pair->at_once); }
        if (d->has_failed || a->has_failed || d->step == TRUST_FAILED || a->step == TRUST_FAILED) {
            return false;
        }
    }
    /* A dialler that does without has said nothing of it: its first frame does. */
    if (a->step == TRUST_GOES_ON && a->is_proving && d->step == TRUST_PROVEN) {
        struct buf frame = {0};
        buf_append(&frame, slice_of("\0\0\0\0", 4));
        say(d, &frame, a);
        take(a, false, d, 0);
        buf_fini(&frame);
    }
    return d->is_proving && d->step == TRUST_PROVEN && a->step == TRUST_PROVEN;
}

static bool do_meet(struct trust *dialler, struct trust *acceptor, size_t at_once)
{
    struct pair pair = {.at_once = at_once};
    pair_open(&pair, dialler, acceptor);
    bool is_good = pair_run(&pair);
    pair_close(&pair);
    return is_good;
}

Test(identity, only_what_the_authority_has_signed_and_has_not_expired_is_taken)
{
    struct nodes *n = nodes_new();
    const struct {
        const char *name;
        const char *ca_file;
        const struct rig_cert *own;
        bool is_good;
    } one[] = {
        {"a", n->authority.cert_file, &n->a, true},
        {"a", n->both_file, &n->a, true},
        {"expired", n->authority.cert_file, &n->expired, false},
        {"foreign", n->both_file, &n->foreign, false},
        {"lone", n->both_file, &n->lone, false},
    };
    for (unsigned i = 0; i < COUNT_OF(one); i++) {
        for (int is_dialler = 0; is_dialler < 2; is_dialler++) {
            struct trust *stranger = trust_sealed(one[i].name, one[i].ca_file, one[i].own);
            struct trust *member = trust_sealed("b", n->authority.cert_file, &n->b);
            bool is_good = is_dialler ? do_meet(stranger, member, 0) : do_meet(member, stranger, 0);
            cr_expect_eq(is_good, one[i].is_good, "%s, dials %d", one[i].name, is_dialler);
        }
    }
    nodes_free(n);
}

Test(identity, a_certificate_is_of_the_node_whose_name_it_carries_and_of_no_other)
{
    struct nodes *n = nodes_new();
    struct pair pair = {.at_once = 1};
    pair_open(&pair, trust_sealed("a", n->authority.cert_file, &n->a),
              trust_sealed("b", n->authority.cert_file, &n->b));
    cr_assert(pair_run(&pair), "byte by byte");
    struct buf names = {0};
    cr_expect(identity_is_of(seal_ssl(pair.a.seal), "a"));
    cr_expect(identity_is_of(seal_ssl(pair.d.seal), "b"));
    cr_expect_not(identity_is_of(seal_ssl(pair.a.seal), "b"));
    cr_expect_not(identity_is_of(seal_ssl(pair.a.seal), "A"));
    cr_expect_not(identity_is_of(seal_ssl(pair.a.seal), ""));
    identity_print_names(seal_ssl(pair.a.seal), &names);
    cr_expect(slice_equal(buf_slice(&names), SLICE("a")));
    buf_fini(&names);
    pair_close(&pair);
    nodes_free(n);
}

Test(identity, a_wildcard_is_nobodys_name)
{
    struct nodes *n = nodes_new();
    struct rig_cert star = rig_cert_new(n->dir, "*", &n->authority, RIG_DAY_S);
    const struct identity_opts opts = {"a", n->authority.cert_file, star.cert_file, star.key_file,
                                       0};
    struct identity *identity = NULL;
    struct buf why = {0};
    cr_expect_eq(identity_new(&identity, &opts, &why), ERR_INVALID);
    cr_expect_not_null(memmem(why.data, why.len, "the node's name, a, is not", 26));
    buf_fini(&why);
    rig_cert_free(&star);
    nodes_free(n);
}

Test(identity, files_that_do_not_fit_are_refused_and_named)
{
    struct nodes *n = nodes_new();
    char nowhere[RIG_PATH_BYTES + 8];
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", n->dir);
    const struct {
        struct identity_opts opts;
        const char *says;
    } wrong[] = {
        {{"a", nowhere, n->a.cert_file, n->a.key_file, 0}, "cluster-ca-file"},
        {{"a", n->authority.cert_file, nowhere, n->a.key_file, 0}, "cluster-cert-file"},
        {{"a", n->authority.cert_file, n->a.cert_file, nowhere, 0}, "cluster-key-file"},
        {{"a", n->authority.cert_file, n->a.key_file, n->a.key_file, 0}, "cluster-cert-file"},
        {{"a", n->authority.cert_file, n->a.cert_file, n->b.key_file, 0}, "cluster-key-file"},
        {{"b", n->authority.cert_file, n->a.cert_file, n->a.key_file, 0}, "the node's name, b,"},
        {{"a", n->other_authority.cert_file, n->a.cert_file, n->a.key_file, 0},
         "unable to get local"},
    };
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        struct identity *identity = NULL;
        struct buf why = {0};
        cr_expect_eq(identity_new(&identity, &wrong[i].opts, &why), ERR_INVALID);
        cr_expect_not_null(memmem(why.data, why.len, wrong[i].says, strlen(wrong[i].says)),
                           "%u: %.*s", i, (int)why.len, why.data);
        buf_fini(&why);
    }
    nodes_free(n);
}

/* As an operator's mv does it. */
static void replace(const char *path, const char *by)
{
    char fresh[RIG_PATH_BYTES + 8];
    char command[4 * RIG_PATH_BYTES];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    snprintf(command, sizeof command, "cp '%s' '%s'", by, fresh);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(rename(fresh, path), 0);
}

static enum identity_refresh refreshed(struct identity *identity, const char *says)
{
    struct buf why = {0};
    enum identity_refresh first = identity_refresh(identity, false, &why);
    cr_expect_eq(first, IDENTITY_SAME, "it has not rested");
    enum identity_refresh result = identity_refresh(identity, false, &why);
    if (says != NULL) {
        cr_expect_not_null(memmem(why.data, why.len, says, strlen(says)), "%.*s", (int)why.len,
                           why.data);
    }
    buf_fini(&why);
    return result;
}

Test(identity, files_that_change_are_taken_once_they_rest_and_broken_ones_are_not)
{
    struct nodes *n = nodes_new();
    struct rig_cert own = rig_cert_new(n->dir, "own", &n->authority, 20L * RIG_DAY_S);
    struct rig_cert fresh = rig_cert_new(n->dir, "fresh", &n->authority, 40L * RIG_DAY_S);
    struct rig_cert late = rig_cert_new(n->dir, "late", &n->authority, -60);
    (void)fresh;
    struct identity *identity = identity_of("own", n->authority.cert_file, &own);
    int64_t expiry_s = identity_expiry_s(identity);
    cr_expect(expiry_s > time(NULL) + 19L * RIG_DAY_S);
    cr_expect_eq(refreshed(identity, NULL), IDENTITY_SAME);
    replace(own.cert_file, fresh.cert_file);
    cr_expect_eq(refreshed(identity, "cluster-key-file"), IDENTITY_REFUSED, "the key is another's");
    replace(own.key_file, fresh.key_file);
    cr_expect_eq(refreshed(identity, "the node's name, own,"), IDENTITY_REFUSED);
    cr_expect_eq(identity_expiry_s(identity), expiry_s, "the old one stays");
    cr_expect_eq(identity_number(identity), 1);
    rig_cert_free(&own);
    own = rig_cert_new(n->dir, "own", &n->authority, 40L * RIG_DAY_S); /* writes over both */
    cr_expect_eq(refreshed(identity, NULL), IDENTITY_TAKEN);
    cr_expect(identity_expiry_s(identity) > expiry_s + 19L * RIG_DAY_S);
    rig_cert_free(&own);
    own = rig_cert_new(n->dir, "own", &n->authority, -60);
    cr_expect_eq(refreshed(identity, "has expired"), IDENTITY_REFUSED);
    struct buf why = {0};
    cr_expect_eq(identity_refresh(identity, true, &why), IDENTITY_REFUSED, "asked again");
    buf_fini(&why);
    cr_expect_eq(identity_number(identity), 2);
    identity_free(identity);
    rig_cert_free(&own);
    rig_cert_free(&fresh);
    rig_cert_free(&late);
    nodes_free(n);
}

Test(identity, a_symlink_that_is_swapped_is_a_change)
{
    struct nodes *n = nodes_new();
    char link_path[RIG_PATH_BYTES], fresh_link[RIG_PATH_BYTES];
    snprintf(link_path, sizeof link_path, "%s/data", n->dir);
    snprintf(fresh_link, sizeof fresh_link, "%s/data.new", n->dir);
    cr_assert_eq(symlink(n->authority.cert_file, link_path), 0);
    struct pair pair = {0};
    struct identity *of_a = identity_of("a", link_path, &n->a);
    pair_open(&pair, trust_by(of_a, TRUST_TLS_YES, NULL, false),
              trust_sealed("b", n->authority.cert_file, &n->b));
    cr_assert(pair_run(&pair));
    cr_expect_eq(identity_judge(of_a, seal_ssl(pair.d.seal), "b"), IDENTITY_STANDS);
    cr_assert_eq(symlink(n->both_file, fresh_link), 0);
    cr_assert_eq(rename(fresh_link, link_path), 0);
    cr_expect_eq(refreshed(of_a, NULL), IDENTITY_TAKEN);
    cr_expect_eq(identity_judge(of_a, seal_ssl(pair.d.seal), "b"), IDENTITY_STANDS, "by both");
    /* The old authority goes, with a certificate of the new one. */
    struct rig_cert moved = rig_cert_new(n->dir, "a", &n->other_authority, RIG_DAY_S);
    cr_assert_eq(symlink(n->other_authority.cert_file, fresh_link), 0);
    cr_assert_eq(rename(fresh_link, link_path), 0);
    cr_expect_eq(refreshed(of_a, NULL), IDENTITY_TAKEN);
    WAIT_UNTIL(identity_judge(of_a, seal_ssl(pair.d.seal), "b") != IDENTITY_WAITS);
    cr_expect_eq(identity_judge(of_a, seal_ssl(pair.d.seal), "b"), IDENTITY_FALLS);
    identity_note(of_a, seal_ssl(pair.d.seal), identity_number(of_a)); /* as if it had come anew */
    cr_expect_eq(identity_judge(of_a, seal_ssl(pair.d.seal), "b"), IDENTITY_STANDS);
    cr_expect_eq(identity_judge(of_a, seal_ssl(pair.d.seal), "c"), IDENTITY_FALLS);
    rig_cert_free(&moved);
    pair_close(&pair);
    nodes_free(n);
}

Test(identity, only_a_node_that_asks_for_nothing_takes_anybody)
{
    static const bool takes_anybody[PHASES] = {
        [PLAIN] = true, [SECRET_SOON] = true, [TLS_SOON] = true};
    struct nodes *n = nodes_new();
    for (enum phase phase = PLAIN; phase < PHASES; phase++) {
        struct trust *trust = trust_in(n, phase, "a");
        bool may_be_open = false;
        for (unsigned attempt = 0; attempt < 3; attempt++) {
            may_be_open = may_be_open || trust_dial_way(trust, attempt) == TRUST_OPEN;
        }
        cr_expect_eq(trust_takes_anybody(trust), takes_anybody[phase], "%d", (int)phase);
        cr_expect_eq(may_be_open, takes_anybody[phase], "%d", (int)phase);
        trust_free(trust);
    }
    nodes_free(n);
}

/* What a node knows of the secret, for the matrix. */
static const struct knows {
    const char *secret;
    bool is_optional;
} knows[] = {{NULL, false}, {secret, false}, {secret, true}, {stray, false}};

static bool is_to_pass(const struct knows *d, const struct knows *a)
{
    if (d->secret != NULL && a->secret != NULL) { return strcmp(d->secret, a->secret) == 0; }
    return (d->secret == NULL || d->is_optional) && (a->secret == NULL || a->is_optional);
}

Test(identity, inside_tls_the_secret_is_proved_where_it_is_asked_for)
{
    struct nodes *n = nodes_new();
    for (unsigned d = 0; d < COUNT_OF(knows); d++) {
        for (unsigned a = 0; a < COUNT_OF(knows); a++) {
            struct trust *dialler = trust_by(identity_of("a", n->authority.cert_file, &n->a),
                                             TRUST_TLS_YES, knows[d].secret, knows[d].is_optional);
            struct trust *acceptor = trust_by(identity_of("b", n->authority.cert_file, &n->b),
                                              TRUST_TLS_YES, knows[a].secret, knows[a].is_optional);
            cr_expect_eq(do_meet(dialler, acceptor, 0), is_to_pass(&knows[d], &knows[a]), "%u %u",
                         d, a);
        }
    }
    nodes_free(n);
}

/* Who holds a certificate, but not the secret, stands between two who know it, and passes on what they say. */
Test(identity, a_proof_of_one_connection_is_none_for_another)
{
    struct nodes *n = nodes_new();
    struct pair left = {0}, right = {0};
    pair_open(&left,
              trust_by(identity_of("a", n->authority.cert_file, &n->a), TRUST_TLS_YES, secret, 0),
              trust_sealed("b", n->authority.cert_file, &n->b));
    pair_open(&right, trust_sealed("a", n->authority.cert_file, &n->a),
              trust_by(identity_of("b", n->authority.cert_file, &n->b), TRUST_TLS_YES, secret, 0));
    left.a.step = right.d.step = TRUST_PROVEN; /* the two in the middle take no part */
    for (int turn = 0; turn < 12; turn++) {
        struct pair *pair = turn % 2 == 0 ? &left : &right;
        if (pair->a.in.len > 0) { take(&pair->a, false, &pair->d, 0); }
        if (pair->d.in.len > 0) { take(&pair->d, true, &pair->a, 0); }
    }
    /* The true acceptor's nonce to the true dialler, and its answer back. */
    cr_assert(right.d.plain.len >= 36);
    struct trust_proof dialler, acceptor = right.a.proof;
    struct buf macs = {0}, out = {0};
    struct slice nonce = slice_of(right.d.plain.data, 36);
    trust_dial(&dialler, left.d.trust, TRUST_RAFT, seal_ssl(left.d.seal));
    cr_assert_eq(trust_take(&dialler, &nonce, &macs), TRUST_GOES_ON);
    struct slice answer = buf_slice(&macs);
    cr_expect_eq(trust_take(&acceptor, &answer, &out), TRUST_FAILED);
    /* The same dialler on the same connection is believed. */
    macs.len = 0;
    acceptor = right.a.proof;
    nonce = slice_of(right.d.plain.data, 36);
    trust_dial(&dialler, right.a.trust, TRUST_RAFT, seal_ssl(right.d.seal));
    cr_assert_eq(trust_take(&dialler, &nonce, &macs), TRUST_GOES_ON);
    answer = buf_slice(&macs);
    cr_expect_eq(trust_take(&acceptor, &answer, &out), TRUST_PROVEN);
    buf_fini(&macs);
    buf_fini(&out);
    pair_close(&left);
    pair_close(&right);
    nodes_free(n);
}

Test(identity, garbage_ends_a_handshake_and_what_is_too_much_does)
{
    struct nodes *n = nodes_new();
    struct identity *identity = identity_of("b", n->authority.cert_file, &n->b);
    const struct slice garbage[] = {
        SLICE("GET / HTTP/1.1\r\n\r\n"),
        slice_of("\x16\x03\x01\x40\x00\x01\xff\xff\xff", 9), /* a hello of 16 MiB */
        slice_of("\x16\x03\x01\xff\xff\x01", 6),             /* a record too large */
        slice_of("\x17\x03\x03\x00\x05hello", 10),           /* data before a hello */
    };
    for (unsigned i = 0; i < COUNT_OF(garbage); i++) {
        struct seal *seal = seal_new(identity, false, NULL);
        struct buf plain = {0}, out = {0};
        char zeros[1000] = {0};
        enum seal_step step = seal_take(seal, garbage[i], &plain, &out);
        size_t more = 0;
        for (; step == SEAL_GOES_ON && more < 2 * SEAL_HANDSHAKE_BYTES_MAX; more += sizeof zeros) {
            step = seal_take(seal, slice_of(zeros, sizeof zeros), &plain, &out);
        }
        cr_expect_eq(step, SEAL_FAILED, "%u", i);
        cr_expect_lt(more, SEAL_HANDSHAKE_BYTES_MAX + 2 * sizeof zeros);
        cr_expect_eq(plain.len, 0);
        cr_expect_lt(out.len, 64);
        cr_expect_eq(seal_take(seal, SLICE("x"), &plain, &out), SEAL_FAILED, "it stays so");
        buf_fini(&plain);
        buf_fini(&out);
        seal_free(seal);
    }
    identity_free(identity);
    nodes_free(n);
}

Test(identity, nothing_older_than_tls_13_is_spoken_and_nothing_is_resumed)
{
    struct nodes *n = nodes_new();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct identity *identity = identity_of("b", n->authority.cert_file, &n->b);
        struct seal *seal = seal_new(identity, false, NULL);
        SSL *client = rig_client_new(-1, &n->authority, &n->a, version);
        BIO *to_client = BIO_new(BIO_s_mem()), *from_client = BIO_new(BIO_s_mem());
        SSL_set_bio(client, to_client, from_client);
        struct buf plain = {0}, out = {0};
        enum seal_step step = SEAL_GOES_ON;
        for (int turn = 0; turn < 4 && step == SEAL_GOES_ON; turn++) {
            (void)SSL_do_handshake(client);
            char *bytes;
            long len = BIO_get_mem_data(from_client, &bytes);
            step = seal_take(seal, slice_of(bytes, (size_t)len), &plain, &out);
            (void)BIO_reset(from_client);
            if (out.len > 0) { BIO_write(to_client, out.data, (int)out.len); }
            out.len = 0;
        }
        char byte;
        (void)SSL_read(client, &byte, 1); /* takes tickets, if there are any */
        cr_expect_eq(seal_is_up(seal), version == TLS1_3_VERSION);
        cr_expect_eq(step, version == TLS1_3_VERSION ? SEAL_GOES_ON : SEAL_FAILED);
        if (seal_is_up(seal)) {
            cr_expect_not(SSL_SESSION_is_resumable(SSL_get_session(client)));
            cr_expect_eq(SSL_SESSION_get_max_early_data(SSL_get_session(client)), 0);
        }
        ERR_clear_error();
        SSL_free(client);
        seal_free(seal);
        buf_fini(&plain);
        buf_fini(&out);
        identity_free(identity);
    }
    nodes_free(n);
}
