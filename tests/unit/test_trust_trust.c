/* The proof of a secret between two ends, in every combination of what they know, byte by byte, and with faults in each place. */
#include "trust/trust.h"

#include "unit/trust_rig.h"

static const char one[] = "the first secret of this cluster";
static const char two[] = "and the second one, which follows";
static const char six[] = "what another cluster calls its own";

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    fclose(file);
}

static struct trust *trust_with(const char *first, const char *second)
{
    char text[200];
    snprintf(text, sizeof text, "%s\n%s\n", first, second != NULL ? second : "");
    return trust_of(text);
}

/* One end, and what is on its way to it. */
struct end {
    struct trust_proof proof;
    struct buf in;
    enum trust_step step;
};

/* Give the end what has come, `at_once` bytes at a time. */
static void run(struct end *end, struct buf *out, size_t at_once)
{
    size_t given = 0;
    while (end->step == TRUST_GOES_ON && given < end->in.len) {
        given = given + at_once < end->in.len ? given + at_once : end->in.len;
        struct slice rest = slice_of(end->in.data, given);
        end->step = trust_take(&end->proof, &rest, out);
        buf_consume(&end->in, given - rest.len);
        given = rest.len;
    }
}

/* Do both ends prove it? A fault: that byte of all that is sent, counted from 1, is another one. */
static bool prove(struct trust *dialler, struct trust *acceptor, size_t at_once, size_t fault)
{
    struct end d = {0};
    struct end a = {0};
    size_t sent = 0;
    trust_dial(&d.proof, dialler, TRUST_PEER, NULL);
    cr_assert_eq(trust_accept(&a.proof, acceptor, TRUST_PEER, NULL, &d.in), TRUST_GOES_ON);
    for (int turn = 0; turn < 3; turn++) {
        struct end *reader = turn % 2 == 0 ? &d : &a;
        struct end *other = turn % 2 == 0 ? &a : &d;
        size_t at = fault - sent - 1;
        if (fault > sent && at < reader->in.len) { reader->in.data[at] ^= 1; }
        sent += reader->in.len;
        run(reader, &other->in, at_once);
    }
    bool is_proven = d.step == TRUST_PROVEN && a.step == TRUST_PROVEN;
    cr_expect(d.step != TRUST_PROVEN || a.step == TRUST_PROVEN, "the acceptor is first to know");
    buf_fini(&d.in);
    buf_fini(&a.in);
    cr_expect(!is_proven || sent == 36 + 96 + 32);
    return is_proven;
}

Test(trust, two_ends_that_share_a_secret_prove_it_and_others_do_not)
{
    struct trust *const known[] = {trust_with(one, NULL), trust_with(one, two),
                                   trust_with(two, one), trust_with(two, NULL),
                                   trust_with(six, NULL)};
    static const bool expected[5][5] = {{true, true, true, false, false},
                                        {true, true, true, true, false},
                                        {true, true, true, true, false},
                                        {false, true, true, true, false},
                                        {false, false, false, false, true}};
    static const size_t at_once[] = {1, 7, 1000};
    for (unsigned d = 0; d < 5; d++) {
        for (unsigned a = 0; a < 5; a++) {
            for (unsigned i = 0; i < COUNT_OF(at_once); i++) {
                cr_expect_eq(prove(known[d], known[a], at_once[i], 0), expected[d][a], "%u %u", d,
                             a);
            }
        }
    }
    for (unsigned i = 0; i < COUNT_OF(known); i++) {
        trust_free(known[i]);
    }
}

Test(trust, any_byte_that_is_another_one_spoils_it)
{
    struct trust *trust = trust_with(one, two);
    struct trust *single = trust_with(one, NULL);
    for (size_t fault = 1; fault <= 36 + 96 + 32; fault++) {
        bool is_spare = fault > 36 + 32 + 32 && fault <= 36 + 96; /* the MAC of a second secret */
        cr_expect_eq(prove(single, trust, 1000, fault), is_spare, "byte %zu", fault);
    }
    trust_free(trust);
    trust_free(single);
}

Test(trust, a_proof_for_one_channel_or_from_one_end_is_none_for_the_other)
{
    struct trust *trust = trust_with(one, NULL);
    struct end d = {0};
    struct end a = {0};
    struct buf out = {0};
    trust_dial(&d.proof, trust, TRUST_RAFT, NULL);
    cr_assert_eq(trust_accept(&a.proof, trust, TRUST_PEER, NULL, &d.in), TRUST_GOES_ON);
    run(&d, &a.in, 1000);
    run(&a, &out, 1000);
    cr_expect_eq(a.step, TRUST_FAILED);
    cr_expect_eq(out.len, 0, "a stranger gets nothing that depends on the secret");

    /* What the acceptor has said, said back to it. */
    struct trust_proof mirrored;
    struct slice all;
    out.len = 0;
    cr_assert_eq(trust_accept(&mirrored, trust, TRUST_PEER, NULL, &out), TRUST_GOES_ON);
    char reply[96] = {0};
    memcpy(reply, out.data + 4, 32);
    all = slice_of(reply, sizeof reply);
    struct buf none = {0};
    cr_expect_eq(trust_take(&mirrored, &all, &none), TRUST_FAILED);
    cr_expect_eq(none.len, 0);
    buf_fini(&d.in);
    buf_fini(&a.in);
    buf_fini(&out);
    trust_free(trust);
}

Test(trust, what_follows_a_proof_is_left_alone)
{
    struct trust *trust = trust_with(one, NULL);
    struct end d = {0};
    struct end a = {0};
    struct buf out = {0};
    trust_dial(&d.proof, trust, TRUST_RAFT, NULL);
    cr_assert_eq(trust_accept(&a.proof, trust, TRUST_RAFT, NULL, &d.in), TRUST_GOES_ON);
    run(&d, &a.in, 1000);
    buf_append_str(&a.in, "hello");
    run(&a, &out, 1000);
    cr_expect_eq(a.step, TRUST_PROVEN);
    cr_expect(slice_equal(buf_slice(&a.in), SLICE("hello")));
    buf_fini(&d.in);
    buf_fini(&a.in);
    buf_fini(&out);
    trust_free(trust);
}

Test(trust, files_that_hold_no_secret_are_refused_and_never_shown)
{
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {{"", "it holds no secret"},
                 {"\n \n", "it holds no secret"},
                 {"fifteen bytes..\n", "a secret has 16 to 1024 bytes"},
                 {"sixteen bytes...\nsixteen bytes...\nsixteen bytes...", "more than two secrets"}};
    char path[] = "/tmp/fanfare-trust-XXXXXX";
    close(mkstemp(path));
    for (unsigned i = 0; i <= COUNT_OF(cases); i++) {
        struct trust *trust = NULL;
        struct buf why = {0};
        if (i < COUNT_OF(cases)) { write_text(path, cases[i].text); }
        if (i == COUNT_OF(cases)) { unlink(path); }
        const char *expected = i < COUNT_OF(cases) ? cases[i].why : "No such file or directory";
        cr_expect_eq(trust_new(&trust, &(struct trust_opts){.secret_file = path}, &why),
                     ERR_INVALID);
        buf_append(&why, slice_of("", 1));
        cr_expect_not_null(strstr(why.data, expected), "%s", why.data);
        cr_expect_not_null(strstr(why.data, path));
        cr_expect_null(strstr(why.data, "teen bytes."));
        buf_fini(&why);
    }
}

Test(trust, a_file_that_changes_is_taken_once_it_rests)
{
    char path[] = "/tmp/fanfare-trust-XXXXXX";
    close(mkstemp(path));
    write_text(path, one);
    struct trust *trust = NULL;
    struct trust *other = trust_with(two, NULL);
    struct buf why = {0};
    cr_assert_eq(trust_new(&trust, &(struct trust_opts){.secret_file = path}, &why), ERR_OK);
    cr_expect_eq(trust_refresh(trust, &why), TRUST_SAME);
    cr_expect_not(prove(trust, other, 1000, 1000));
    write_text(path, two);
    cr_expect_eq(trust_refresh(trust, &why), TRUST_SAME);
    cr_expect_eq(trust_refresh(trust, &why), TRUST_TAKEN);
    cr_expect(prove(trust, other, 1000, 0));
    write_text(path, "short");
    cr_expect_eq(trust_refresh(trust, &why), TRUST_SAME);
    cr_expect_eq(trust_refresh(trust, &why), TRUST_REFUSED);
    cr_expect_eq(trust_refresh(trust, &why), TRUST_SAME);
    cr_expect(prove(trust, other, 1000, 0), "the old one stays");
    unlink(path);
    buf_fini(&why);
    trust_free(trust);
    trust_free(other);
}
