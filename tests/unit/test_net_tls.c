/* A conn that is encrypted, over a socket pair: bytes both ways, bounds of a handshake, who is let in, and certificates that change. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/conn.h"
#include "unit/tls_rig.h"
#include "unit/wait_until.h"

enum { LINE_BYTES = 3 << 20 };

/* Echoes whole lines. */
struct echo {
    struct conn conn;
    struct task task;
    struct fixture *fixture;
    int fd;
    atomic_bool is_closed;
    atomic_size_t backlog_max;
};

struct fixture {
    char dir[32];
    struct rig_cert authority, other_authority, server, client;
    struct tls_server *tls;
    struct worker *worker;
    struct echo echo;
    int peer;
};

static size_t on_data(struct conn *conn, struct slice input)
{
    struct echo *echo = CONTAINER_OF(conn, struct echo, conn);
    const char *end = memrchr(input.data, '\n', input.len);
    if (end == NULL) {
        conn_expect(conn, LINE_BYTES);
        return 0;
    }
    size_t used = (size_t)(end + 1 - input.data);
    buf_append(conn_reply_begin(conn), slice_of(input.data, used));
    conn_reply_end(conn);
    size_t backlog = conn_backlog_bytes(conn);
    if (backlog > atomic_load(&echo->backlog_max)) { atomic_store(&echo->backlog_max, backlog); }
    return used;
}

static void on_close(struct conn *conn)
{
    cr_expect_eq(conn_backlog_bytes(conn), 0);
    atomic_store(&CONTAINER_OF(conn, struct echo, conn)->is_closed, true);
}

static void on_end(struct conn *conn)
{
    buf_append(conn_reply_begin(conn), SLICE("bye\n"));
    conn_reply_end(conn);
    conn_close_after_flush(conn);
}

static const struct conn_ops echo_ops = {
    .on_data = on_data, .on_close = on_close, .on_end = on_end};

static void on_turn_end(void *arg)
{
    worker_flush_replies(*(struct worker **)arg);
}

static void on_open_task(struct task *task)
{
    struct echo *echo = CONTAINER_OF(task, struct echo, task);
    conn_open(&echo->conn, echo->fixture->worker, echo->fd, &echo_ops, tls_new(echo->fixture->tls));
}

static void on_close_task(struct task *task)
{
    conn_close(&CONTAINER_OF(task, struct echo, task)->conn);
}

static void post(struct fixture *f, void (*run)(struct task *task))
{
    f->echo.task.run = run;
    mailbox_post(worker_mailbox(f->worker), &f->echo.task);
}

static struct tls_opts opts_of(const struct fixture *f)
{
    return (struct tls_opts){
        .text = {[TLS_CERT_FILE] = f->server.cert_file,
                 [TLS_KEY_FILE] = f->server.key_file,
                 [TLS_KEY_FILE_PASS] = "",
                 [TLS_CA_CERT_FILE] = f->authority.cert_file,
                 [TLS_CA_CERT_DIR] = "",
                 [TLS_PROTOCOLS] = "",
                 [TLS_CIPHERS] = "",
                 [TLS_CIPHERSUITES] = ""},
        .caches_sessions = true,
        .sessions_max = 100,
        .session_seconds = 300,
    };
}

static void set_up_server(struct fixture *f)
{
    *f = (struct fixture){.dir = "/tmp/fanfare-tls-XXXXXX", .peer = -1};
    cr_assert_not_null(mkdtemp(f->dir));
    cr_assert_neq(signal(SIGPIPE, SIG_IGN), SIG_ERR);
    f->authority = rig_cert_new(f->dir, "authority", NULL, 30L * RIG_DAY_S);
    f->other_authority = rig_cert_new(f->dir, "other", NULL, 30L * RIG_DAY_S);
    f->server = rig_cert_new(f->dir, "server", &f->authority, 20L * RIG_DAY_S);
    f->client = rig_cert_new(f->dir, "client", &f->authority, 20L * RIG_DAY_S);
    f->tls = tls_server_new();
    const struct worker_opts opts = {.on_turn_end = on_turn_end, .arg = &f->worker};
    f->worker = worker_new(&opts);
    worker_start(f->worker);
}

static void load(struct fixture *f, const struct tls_opts *opts)
{
    struct buf why = {0};
    cr_assert_eq(tls_server_load(f->tls, opts, &why), ERR_OK, "%.*s", (int)why.len, why.data);
    buf_fini(&why);
}

static void connect_one(struct fixture *f)
{
    int fd[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    cr_assert_eq(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    f->peer = fd[1];
    f->echo = (struct echo){.fixture = f, .fd = fd[0]};
    post(f, on_open_task);
}

static void set_up(struct fixture *f)
{
    set_up_server(f);
    struct tls_opts opts = opts_of(f);
    load(f, &opts);
    connect_one(f);
}

static void wait_for(const atomic_bool *flag)
{
    WAIT_UNTIL(atomic_load(flag));
}

static void disconnect(struct fixture *f)
{
    if (!atomic_load(&f->echo.is_closed)) {
        post(f, on_close_task);
        wait_for(&f->echo.is_closed);
    }
    close(f->peer);
}

static void tear_down(struct fixture *f)
{
    if (f->peer >= 0) { disconnect(f); }
    worker_stop(f->worker);
    worker_join(f->worker);
    worker_free(f->worker);
    tls_server_free(f->tls);
    struct rig_cert *const certs[] = {&f->authority, &f->other_authority, &f->server, &f->client};
    for (unsigned i = 0; i < COUNT_OF(certs); i++) {
        unlink(certs[i]->cert_file);
        unlink(certs[i]->key_file);
        rig_cert_free(certs[i]);
    }
    rmdir(f->dir);
}

static void write_all(SSL *ssl, const char *bytes, size_t len)
{
    size_t written = 0;
    cr_assert_eq(SSL_write_ex(ssl, bytes, len, &written), 1);
    cr_assert_eq(written, len);
}

/* Up to `len` bytes; fewer at the end. */
static size_t read_all(SSL *ssl, char *into, size_t len)
{
    size_t have = 0;
    size_t n = 0;
    while (have < len && SSL_read_ex(ssl, into + have, len - have, &n) == 1) {
        have += n;
    }
    return have;
}

/* A line there and back; 0 if it does not come back. TLS 1.3 refuses a client after its handshake. */
static bool line_comes_back(SSL *ssl)
{
    char back[6];
    size_t written;
    bool is_sent = SSL_connect(ssl) == 1 && SSL_write_ex(ssl, "hello\n", 6, &written) == 1;
    bool is_back = is_sent && read_all(ssl, back, 6) == 6 && memcmp(back, "hello\n", 6) == 0;
    ERR_clear_error();
    return is_back;
}

Test(tls, megabytes_pass_while_the_peer_reads_late)
{
    struct fixture f;
    set_up(&f);
    SSL *ssl = rig_client_new(f.peer, &f.authority, &f.client, TLS1_3_VERSION);
    cr_assert_eq(SSL_connect(ssl), 1);
    char *line = mem_new(LINE_BYTES);
    char *back = mem_new(LINE_BYTES);
    for (size_t i = 0; i < LINE_BYTES; i++) {
        line[i] = (char)('a' + i * 7 % 23);
    }
    line[LINE_BYTES - 1] = '\n';
    for (int i = 0; i < 3; i++) {
        write_all(ssl, line, LINE_BYTES);
        cr_assert_eq(read_all(ssl, back, LINE_BYTES), LINE_BYTES);
        cr_assert_eq(memcmp(line, back, LINE_BYTES), 0);
    }
    cr_expect_gt(atomic_load(&f.echo.backlog_max), 1 << 20);
    SSL_free(ssl);
    mem_free(line);
    mem_free(back);
    tear_down(&f);
}

Test(tls, a_goodbye_is_the_end_behind_all_input_and_what_is_then_written_still_leaves)
{
    struct fixture f;
    set_up(&f);
    char back[32];
    SSL *ssl = rig_client_new(f.peer, &f.authority, &f.client, TLS1_3_VERSION);
    cr_assert_eq(SSL_connect(ssl), 1);
    write_all(ssl, "last\n", 5);
    cr_assert_eq(SSL_shutdown(ssl), 0, "the peer's goodbye is still to come");
    cr_assert_eq(read_all(ssl, back, sizeof back), 9);
    cr_assert_eq(memcmp(back, "last\nbye\n", 9), 0);
    cr_assert_eq(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    wait_for(&f.echo.is_closed);
    SSL_free(ssl);
    tear_down(&f);
}

Test(tls, what_is_no_tls_is_closed)
{
    struct fixture f;
    set_up(&f);
    cr_assert_eq(send(f.peer, "PING\r\n", 6, 0), 6);
    wait_for(&f.echo.is_closed);
    tear_down(&f);
}

Test(tls, a_handshake_that_is_not_finished_in_time_is_closed)
{
    struct fixture f;
    set_up_server(&f);
    struct tls_opts opts = opts_of(&f);
    opts.handshake_ms_max = 150;
    load(&f, &opts);
    connect_one(&f);
    wait_for(&f.echo.is_closed);
    disconnect(&f);
    connect_one(&f);
    cr_assert_eq(send(f.peer, "\x16\x03\x01\x02", 4, 0), 4);
    wait_for(&f.echo.is_closed);
    disconnect(&f);
    connect_one(&f);
    SSL *ssl = rig_client_new(f.peer, &f.authority, &f.client, TLS1_3_VERSION);
    cr_assert(line_comes_back(ssl));
    poll(NULL, 0, 400); /* longer than a handshake may take: this one has finished */
    cr_assert(line_comes_back(ssl));
    SSL_free(ssl);
    tear_down(&f);
}

/* Is a client that shows `own` let in? */
static bool is_let_in(struct fixture *f, const struct rig_cert *own, int version)
{
    connect_one(f);
    SSL *ssl = rig_client_new(f->peer, &f->authority, own, version);
    bool is_in = line_comes_back(ssl);
    if (!is_in) { wait_for(&f->echo.is_closed); }
    SSL_free(ssl);
    disconnect(f);
    f->peer = -1;
    return is_in;
}

Test(tls, clients_are_let_in_by_their_certificate_as_the_option_says)
{
    struct fixture f;
    set_up_server(&f);
    struct rig_cert foreign = rig_cert_new(f.dir, "foreign", &f.other_authority, RIG_DAY_S);
    struct rig_cert expired = rig_cert_new(f.dir, "expired", &f.authority, -RIG_DAY_S);
    struct rig_cert alone = rig_cert_new(f.dir, "alone", NULL, RIG_DAY_S);
    static const struct {
        enum tls_clients clients;
        bool none, good, bad;
    } cases[] = {{TLS_CLIENTS_YES, false, true, false},
                 {TLS_CLIENTS_OPTIONAL, true, true, false},
                 {TLS_CLIENTS_NO, true, true, true}};
    static const int version[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        struct tls_opts opts = opts_of(&f);
        opts.clients = cases[i].clients;
        load(&f, &opts);
        for (unsigned at = 0; at < COUNT_OF(version); at++) {
            cr_expect_eq(is_let_in(&f, NULL, version[at]), cases[i].none, "%u none", i);
            cr_expect_eq(is_let_in(&f, &f.client, version[at]), cases[i].good, "%u good", i);
            cr_expect_eq(is_let_in(&f, &foreign, version[at]), cases[i].bad, "%u foreign", i);
            cr_expect_eq(is_let_in(&f, &expired, version[at]), cases[i].bad, "%u expired", i);
            cr_expect_eq(is_let_in(&f, &alone, version[at]), cases[i].bad, "%u alone", i);
        }
    }
    struct rig_cert *const certs[] = {&foreign, &expired, &alone};
    for (unsigned i = 0; i < COUNT_OF(certs); i++) {
        unlink(certs[i]->cert_file);
        unlink(certs[i]->key_file);
        rig_cert_free(certs[i]);
    }
    tear_down(&f);
}

Test(tls, versions_are_those_asked_for_and_never_below_1_2)
{
    struct fixture f;
    set_up_server(&f);
    struct tls_opts opts = opts_of(&f);
    load(&f, &opts);
    cr_expect_not(is_let_in(&f, NULL, TLS1_1_VERSION));
    cr_expect(is_let_in(&f, NULL, TLS1_2_VERSION));
    opts.text[TLS_PROTOCOLS] = "TLSv1.3";
    load(&f, &opts);
    cr_expect_not(is_let_in(&f, NULL, TLS1_2_VERSION));
    cr_expect(is_let_in(&f, NULL, TLS1_3_VERSION));
    tear_down(&f);
}

Test(tls, renegotiation_is_refused_and_the_connection_goes_on)
{
    struct fixture f;
    set_up(&f);
    SSL *ssl = rig_client_new(f.peer, &f.authority, &f.client, TLS1_2_VERSION);
    cr_assert(line_comes_back(ssl));
    cr_assert_eq(SSL_renegotiate(ssl), 1);
    cr_expect_neq(SSL_do_handshake(ssl), 1);
    ERR_clear_error();
    SSL_free(ssl);
    tear_down(&f);
}

/* ---- certificates that change ---- */

static void expect_refused(struct fixture *f, const struct tls_opts *opts, const char *words)
{
    struct buf why = {0};
    cr_expect_eq(tls_server_load(f->tls, opts, &why), ERR_INVALID);
    buf_append(&why, slice_of("", 1));
    cr_expect_not_null(strstr(why.data, words), "%s", why.data);
    buf_fini(&why);
}

static long serial_of(const SSL *ssl)
{
    X509 *shown = SSL_get1_peer_certificate(ssl);
    long serial = ASN1_INTEGER_get(X509_get0_serialNumber(shown));
    X509_free(shown);
    return serial;
}

Test(tls, a_set_that_does_not_fit_is_refused_with_its_name_and_the_old_one_stays)
{
    struct fixture f;
    set_up_server(&f);
    struct tls_opts good = opts_of(&f);
    load(&f, &good);
    int64_t expiry_s = tls_server_expiry_s(f.tls);
    struct rig_cert expired = rig_cert_new(f.dir, "expired", &f.authority, -RIG_DAY_S);
    static const struct {
        enum tls_text text;
        const char *value;
        const char *words;
    } cases[] = {
        {TLS_KEY_FILE, "client.key", "tls-key-file client.key: key values mismatch"},
        {TLS_KEY_FILE, "none", "tls-key-file none: No such file"},
        {TLS_KEY_FILE, "", "needs tls-cert-file and tls-key-file"},
        {TLS_CERT_FILE, "server.key", "tls-cert-file server.key: no start line"},
        {TLS_CA_CERT_FILE, "server.key", "tls-ca-cert-file server.key"},
        {TLS_PROTOCOLS, "TLSv1.1", "only TLSv1.2 and TLSv1.3"},
        {TLS_CIPHERS, "nonsense", "tls-ciphers nonsense: no cipher match"},
        {TLS_CIPHERSUITES, "nonsense", "tls-ciphersuites nonsense"},
    };
    cr_assert_eq(chdir(f.dir), 0);
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        struct tls_opts bad = good;
        bad.text[cases[i].text] = cases[i].value;
        expect_refused(&f, &bad, cases[i].words);
    }
    struct tls_opts bad = good;
    bad.text[TLS_CERT_FILE] = expired.cert_file;
    bad.text[TLS_KEY_FILE] = expired.key_file;
    expect_refused(&f, &bad, "expired.crt: the certificate has expired");
    bad = good;
    bad.clients = TLS_CLIENTS_YES;
    bad.text[TLS_CA_CERT_FILE] = "";
    expect_refused(&f, &bad, "tls-auth-clients needs tls-ca-cert-file");
    cr_expect_eq(tls_server_expiry_s(f.tls), expiry_s);
    cr_expect(is_let_in(&f, NULL, TLS1_3_VERSION));
    unlink(expired.cert_file);
    unlink(expired.key_file);
    rig_cert_free(&expired);
    tear_down(&f);
}

Test(tls, files_that_change_are_taken_once_they_rest_and_connections_that_stand_go_on)
{
    struct fixture f;
    set_up(&f);
    struct buf why = {0};
    SSL *before = rig_client_new(f.peer, &f.authority, NULL, TLS1_3_VERSION);
    cr_assert(line_comes_back(before));
    cr_expect_eq(tls_server_refresh(f.tls, &why), TLS_SAME);
    rig_cert_free(&f.server);
    f.server = rig_cert_new(f.dir, "server", &f.authority, 10L * RIG_DAY_S);
    cr_expect_eq(tls_server_refresh(f.tls, &why), TLS_SAME, "it may still be written");
    cr_expect_eq(tls_server_refresh(f.tls, &why), TLS_TAKEN);
    cr_expect_eq(tls_server_refresh(f.tls, &why), TLS_SAME);
    cr_assert(line_comes_back(before));
    cr_expect_neq(serial_of(before), ASN1_INTEGER_get(X509_get0_serialNumber(f.server.x509)));
    SSL_free(before);
    disconnect(&f);
    connect_one(&f);
    SSL *after = rig_client_new(f.peer, &f.authority, NULL, TLS1_3_VERSION);
    cr_assert(line_comes_back(after));
    cr_expect_eq(serial_of(after), ASN1_INTEGER_get(X509_get0_serialNumber(f.server.x509)));
    SSL_free(after);
    cr_assert_eq(truncate(f.server.key_file, 10), 0);
    cr_expect_eq(tls_server_refresh(f.tls, &why), TLS_SAME);
    cr_expect_eq(tls_server_refresh(f.tls, &why), TLS_REFUSED);
    cr_expect_gt(why.len, 0);
    cr_expect_eq(tls_server_refresh(f.tls, &why), TLS_SAME, "told once");
    disconnect(&f);
    f.peer = -1;
    cr_expect(is_let_in(&f, NULL, TLS1_3_VERSION));
    buf_fini(&why);
    tear_down(&f);
}
