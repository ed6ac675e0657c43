/* The peer link with certificates: what it carries, whom it refuses, and certificates that change. */
#include "unit/peer_rig.h"

Test(peer_tls, ends_with_certificates_carry_all_that_others_do)
{
    struct nodes *n = nodes_new();
    struct fixture *f =
        set_up_by(false, PATIENCE_MS, trust_sealed("a", n->authority.cert_file, &n->a),
                  trust_sealed("b", n->authority.cert_file, &n->b));
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    for (uint64_t round = 1; round <= 20; round++) {
        run_on(f, f->dialling, send_publishes);
        WAIT_UNTIL(atomic_load(&f->answer_count) == 1000 * round);
    }
    cr_assert_eq(atomic_load(&f->frame_count), 20000);
    cr_assert_eq(atomic_load(&f->down_count), 0);
    run_on(f, f->dialling, free_out_abruptly);
    tear_down(f);
    nodes_free(n);
}

Test(peer_tls, who_shows_another_certificate_than_its_own_good_one_is_refused)
{
    struct nodes *n = nodes_new();
    const char *ca = n->authority.cert_file;
    const struct {
        const char *name;
        const char *ca_file;
        const struct rig_cert *own;
    } wrong[] = {{"expired", ca, &n->expired},
                 {"foreign", n->both_file, &n->foreign},
                 {"lone", n->both_file, &n->lone},
                 {"b", ca, &n->b}};
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        for (int dials = 0; dials < 2; dials++) {
            const struct rig_cert *other = dials ? &n->b : &n->a;
            struct trust *bad = trust_sealed(wrong[i].name, wrong[i].ca_file, wrong[i].own);
            struct trust *good = trust_sealed(dials ? "b" : "a", ca, other);
            if (wrong[i].own == &n->b && !dials) { /* b is who is expected to answer */
                trust_free(bad);
                bad = trust_sealed("a", ca, &n->a);
            }
            struct fixture *f =
                set_up_by(i % 2 == 0, SILENCE_MS, dials ? bad : good, dials ? good : bad);
            run_on(f, f->dialling, dial);
            WAIT_UNTIL(atomic_load(&f->down_count) >= 1);
            cr_expect_eq(atomic_load(&f->hello_count), 0, "%s, dials %d", wrong[i].name, dials);
            run_on(f, f->dialling, free_out_abruptly);
            tear_down(f);
        }
    }
    nodes_free(n);
}

Test(peer_tls, nodes_of_neighbouring_phases_come_together)
{
    struct nodes *n = nodes_new();
    for (unsigned i = 0; i < 2 * COUNT_OF(neighbours); i++) {
        const enum phase *phase = neighbours[i / 2];
        struct fixture *f = set_up_by(i % 4 < 2, PATIENCE_MS, trust_in(n, phase[i % 2], "a"),
                                      trust_in(n, phase[1 - i % 2], "b"));
        run_on(f, f->dialling, dial);
        WAIT_UNTIL(atomic_load(&f->hello_count) >= 1);
        run_on(f, f->dialling, free_out_abruptly);
        tear_down(f);
    }
    nodes_free(n);
}

Test(peer_tls, links_stand_while_certificates_change_and_fall_with_their_authority)
{
    struct nodes *n = nodes_new();
    char ca[RIG_PATH_BYTES];
    snprintf(ca, sizeof ca, "%s/ca.crt", n->dir);
    rig_join(ca, (const struct rig_cert *const[]){&n->authority}, 1);
    struct fixture *f =
        set_up_by(false, PATIENCE_MS, trust_sealed("a", n->authority.cert_file, &n->a),
                  trust_sealed("b", ca, &n->b));
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->hello_count) == 1);
    rig_cert_free(&n->b);
    n->b = rig_cert_new(n->dir, "b", &n->authority, RIG_DAY_S);
    rig_read_again(f->accept_trust);
    rig_read_again(f->dial_trust);
    run_on(f, f->dialling, send_publishes);
    WAIT_UNTIL(atomic_load(&f->answer_count) == 1000);
    cr_assert_eq(atomic_load(&f->down_count), 0);
    rig_join(ca, (const struct rig_cert *const[]){&n->other_authority}, 1);
    rig_cert_free(&n->b);
    n->b = rig_cert_new(n->dir, "b", &n->other_authority, RIG_DAY_S);
    rig_read_again(f->accept_trust);
    WAIT_UNTIL(atomic_load(&f->down_count) >= 1);
    run_on(f, f->dialling, free_out_abruptly);
    tear_down(f);
    nodes_free(n);
}

Test(peer_tls, a_stranger_that_speaks_no_tls_costs_its_connection_and_its_time)
{
    struct nodes *n = nodes_new();
    struct fixture *f =
        set_up_by(false, PATIENCE_MS, trust_sealed("a", n->authority.cert_file, &n->a),
                  trust_sealed("b", n->authority.cert_file, &n->b));
    int silent = bare_connect(f);
    int slow = bare_connect(f);
    int wrong = bare_connect(f);
    bare_send(slow, SLICE("\x16\x03\x01"));
    bare_send(wrong, SLICE("GET / HTTP/1.1\r\n\r\n"));
    (void)bare_wait_reset(wrong);
    (void)bare_wait_reset(slow);
    (void)bare_wait_reset(silent);
    cr_assert_eq(atomic_load(&f->hello_count), 0);
    close(silent);
    close(slow);
    close(wrong);
    tear_down(f);
    nodes_free(n);
}

Test(peer_tls, a_hundred_megabytes_arrive_sealed_before_an_orderly_end)
{
    struct nodes *n = nodes_new();
    struct fixture *f =
        set_up_by(true, PATIENCE_MS, trust_sealed("a", n->authority.cert_file, &n->a),
                  trust_sealed("b", n->authority.cert_file, &n->b));
    much_arrives(f);
    tear_down(f);
    nodes_free(n);
}

/* A lane of TLS that somebody on the way has cut, between two frames. */
Test(peer_tls, an_end_that_the_other_node_has_not_told_is_unclean)
{
    struct nodes *n = nodes_new();
    struct fixture *f =
        set_up_by(true, PATIENCE_MS, NULL, trust_sealed("b", n->authority.cert_file, &n->b));
    int fd = bare_connect(f);
    SSL *ssl = rig_client_new(fd, &n->authority, &n->a, TLS1_3_VERSION);
    char greeting[4];
    cr_assert_eq(SSL_read(ssl, greeting, sizeof greeting), sizeof greeting);
    cr_assert_arr_eq(greeting, "FFT0", sizeof greeting);
    struct buf bytes = {0};
    struct wire_frame hello = hello_frame(true);
    wire_encode(&bytes, &hello);
    cr_assert_eq(SSL_write(ssl, bytes.data, (int)bytes.len), (int)bytes.len);
    WAIT_UNTIL(atomic_load(&f->hello_count) == 1);
    close(fd);
    WAIT_UNTIL(atomic_load(&f->clean_count) + atomic_load(&f->unclean_count) > 0);
    cr_assert_eq(atomic_load(&f->clean_count), 0);
    SSL_free(ssl);
    buf_fini(&bytes);
    tear_down(f);
    nodes_free(n);
}
