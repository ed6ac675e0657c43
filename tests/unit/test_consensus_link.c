/* The promises of consensus/link.h, on loopback: two links on one loop. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/link/link.h"
#include "consensus/link/message.h"
#include "trust/seal.h"
#include "unit/node_rig.h"

struct end {
    struct link *link;
    struct fixture *f;
    struct trust *trust;        /* or NULL */
    char from[LINK_NAME_BYTES]; /* "-": it was not told */
    char shown[LINK_NAME_BYTES];
    uint64_t frame_count;
    uint64_t byte_count;
    bool calls_it_garbage;
};

struct fixture {
    uv_loop_t loop;
    struct end a;
    struct end b;
    int closed_count;
    const char *listen_host; /* of both */
    const char *dialled_host;
    uint32_t silence_ms_max; /* 0: little */
};

/* A name with both loopback addresses, on every machine: what the resolver answers for no name. */
static const char dual_name[] = "dual.test";

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb on_done,
                   const char *node, const char *service, const struct addrinfo *hints)
{
    int (*resolve)(uv_loop_t *, uv_getaddrinfo_t *, uv_getaddrinfo_cb, const char *, const char *,
                   const struct addrinfo *);
    *(void **)&resolve = dlsym(RTLD_NEXT, "uv_getaddrinfo");
    return resolve(loop, request, on_done, strcmp(node, dual_name) == 0 ? NULL : node, service,
                   hints);
}

static bool address_of(void *arg, const char *name, char host[LINK_HOST_BYTES], uint16_t *port)
{
    struct end *end = arg;
    const struct end *to = strcmp(name, "a") == 0 ? &end->f->a : &end->f->b;
    snprintf(host, LINK_HOST_BYTES, "%s", end->f->dialled_host);
    *port = to->link != NULL ? link_port(to->link) : 1;
    return true;
}

static void on_frame(void *arg, const char *from_name, const char *shown_name, struct slice frame,
                     bool *is_garbage)
{
    struct end *end = arg;
    snprintf(end->from, sizeof end->from, "%s", from_name != NULL ? from_name : "-");
    snprintf(end->shown, sizeof end->shown, "%s", shown_name != NULL ? shown_name : "-");
    end->frame_count++;
    end->byte_count += frame.len;
    *is_garbage = end->calls_it_garbage;
}

static void open_end(struct fixture *f, struct end *end, const char *name, uint64_t cluster_id)
{
    struct link_opts opts = {
        .loop = &f->loop,
        .cluster_id = cluster_id,
        .node_id = 1,
        .node_name = name,
        .listen_host = f->listen_host,
        .peer_bytes_max = 1 << 20,
        .silence_ms_max = f->silence_ms_max > 0 ? f->silence_ms_max : 500,
        .address_of = address_of,
        .on_frame = on_frame,
        .trust = end->trust,
        .arg = end,
    };
    end->f = f;
    cr_assert_eq(link_open(&end->link, &opts), ERR_OK);
}

static struct fixture *fixture_on(const char *listen_host, const char *dialled_host,
                                  uint64_t cluster_of_b)
{
    struct fixture *f = mem_new0(sizeof *f);
    f->listen_host = listen_host;
    f->dialled_host = dialled_host;
    cr_assert_eq(uv_loop_init(&f->loop), 0);
    open_end(f, &f->a, "a", 1);
    open_end(f, &f->b, "b", cluster_of_b);
    return f;
}

static struct fixture *fixture_new(uint64_t cluster_of_b)
{
    return fixture_on("127.0.0.1", "127.0.0.1", cluster_of_b);
}

/* Takes both; NULL: nothing is asked for. */
static struct fixture *fixture_by(struct trust *of_a, struct trust *of_b)
{
    struct fixture *f = mem_new0(sizeof *f);
    f->listen_host = f->dialled_host = "127.0.0.1";
    f->silence_ms_max = 2000;
    f->a.trust = of_a;
    f->b.trust = of_b;
    cr_assert_eq(uv_loop_init(&f->loop), 0);
    open_end(f, &f->a, "a", 1);
    open_end(f, &f->b, "b", 1);
    return f;
}

/* The secrets of both ends; NULL: none is asked for. */
static struct fixture *fixture_trusting(const char *secret_of_a, const char *secret_of_b)
{
    return fixture_by(secret_of_a != NULL ? trust_of(secret_of_a) : NULL,
                      secret_of_b != NULL ? trust_of(secret_of_b) : NULL);
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed_count++;
}

static void fixture_free(struct fixture *f)
{
    link_close(f->a.link, on_closed, f);
    link_close(f->b.link, on_closed, f);
    cr_assert_eq(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(f->closed_count, 2, "nothing of a link is left");
    cr_assert_eq(uv_loop_close(&f->loop), 0);
    trust_free(f->a.trust);
    trust_free(f->b.trust);
    mem_free(f);
}

/* Turn the loop for at most `ms`; true as soon as `count` frames have arrived at `end`. */
static bool arrives(struct fixture *f, const struct end *end, uint64_t count, uint64_t ms)
{
    uint64_t until = clock_mono_ns() + ms * NS_PER_MS;
    while (end->frame_count < count && clock_mono_ns() < until) {
        link_flush(f->a.link);
        link_flush(f->b.link);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    return end->frame_count >= count;
}

Test(consensus_link, what_a_turn_sends_arrives_as_one_frame_with_the_senders_name)
{
    struct fixture *f = fixture_new(1);
    link_send(f->a.link, "b", SLICE("one"), false);
    link_send(f->a.link, "b", SLICE("two"), false);
    cr_assert(arrives(f, &f->b, 1, 5000));
    cr_assert_str_eq(f->b.from, "a");
    cr_assert_eq(f->b.byte_count, 6);
    link_send(f->b.link, "a", SLICE("back"), true);
    cr_assert(arrives(f, &f->a, 1, 5000));
    cr_assert_str_eq(f->a.from, "b");
    fixture_free(f);
}

static bool has_loopback6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) { close(fd); }
    return has;
}

/* A sends until b has heard it: what is sent while no connection is up is lost. */
static bool gets_through(struct fixture *f)
{
    uint64_t until = clock_mono_ns() + 20000 * NS_PER_MS;
    while (f->b.frame_count == 0 && clock_mono_ns() < until) {
        link_send(f->a.link, "b", SLICE("frame"), false);
        (void)arrives(f, &f->b, 1, 20);
    }
    return f->b.frame_count > 0;
}

Test(consensus_link, ends_that_know_the_secret_hear_each_other)
{
    struct fixture *f =
        fixture_trusting("the old secret of us", "one more for later\nthe old secret of us");
    link_send(f->a.link, "b", SLICE("one"), false);
    cr_assert(arrives(f, &f->b, 1, 5000));
    link_send(f->b.link, "a", SLICE("back"), true);
    cr_assert(arrives(f, &f->a, 1, 5000));
    fixture_free(f);
}

Test(consensus_link, who_does_not_know_the_secret_is_not_heard)
{
    static const char *const secrets[][2] = {{"the secret of others", "the secret of us all"},
                                             {"the secret of us all", NULL},
                                             {NULL, "the secret of us all"}};
    for (unsigned i = 0; i < COUNT_OF(secrets); i++) {
        struct fixture *f = fixture_trusting(secrets[i][0], secrets[i][1]);
        for (int at = 0; at < 10; at++) {
            link_send(f->a.link, "b", SLICE("hello?"), false);
            link_send_contact(f->a.link, "127.0.0.1", link_port(f->b.link), SLICE("note"));
            cr_assert_not(arrives(f, &f->b, 1, 30));
        }
        fixture_free(f);
    }
}

/* ---- certificates ---- */

Test(consensus_link, ends_with_certificates_hear_each_other_whatever_the_size)
{
    struct nodes *n = nodes_new();
    struct fixture *f = fixture_by(trust_sealed("a", n->authority.cert_file, &n->a),
                                   trust_sealed("b", n->authority.cert_file, &n->b));
    char *data = mem_new0(900000);
    link_send(f->a.link, "b", SLICE("one"), false);
    cr_assert(arrives(f, &f->b, 1, 20000));
    link_send(f->a.link, "b", slice_of(data, 900000), false);
    link_send(f->a.link, "b", slice_of(data, 900000), true);
    link_send(f->b.link, "a", SLICE("back"), true);
    cr_assert(arrives(f, &f->b, 3, 20000) && arrives(f, &f->a, 1, 20000));
    cr_assert_eq(f->b.byte_count, 1800003);
    link_send_contact(f->a.link, "127.0.0.1", link_port(f->b.link), SLICE("note"));
    cr_assert(arrives(f, &f->b, 4, 20000));
    cr_assert_str_eq(f->b.from, "-");
    cr_assert_str_eq(f->b.shown, "a", "a contact, too, is who its certificate says");
    cr_assert_str_eq(f->a.from, "b");
    mem_free(data);
    fixture_free(f);
    nodes_free(n);
}

/* A's certificate is not to be taken by B, or B's not by A: neither hears the other, nor its notes. */
static void expect_silence(struct trust *of_a, struct trust *of_b, const char *which)
{
    struct fixture *f = fixture_by(of_a, of_b);
    for (int at = 0; at < 6; at++) {
        link_send(f->a.link, "b", SLICE("hello?"), false);
        link_send(f->b.link, "a", SLICE("hello?"), false);
        cr_assert_not(arrives(f, &f->b, 1, 20), "%s", which);
        cr_assert_not(arrives(f, &f->a, 1, 1), "%s", which);
    }
    fixture_free(f);
}

Test(consensus_link, who_shows_another_certificate_than_its_own_good_one_is_not_heard)
{
    struct nodes *n = nodes_new();
    const char *ca = n->authority.cert_file;
    const struct {
        const char *name;
        const char *ca_file;
        const struct rig_cert *own;
    } wrong[] = {
        {"expired", ca, &n->expired},
        {"foreign", n->both_file, &n->foreign},
        {"lone", n->both_file, &n->lone},
        {"b", ca, &n->b}, /* good, but another node's: its link says that it is a */
    };
    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        expect_silence(trust_sealed(wrong[i].name, wrong[i].ca_file, wrong[i].own),
                       trust_sealed("b", ca, &n->b), wrong[i].name);
    }
    expect_silence(NULL, trust_sealed("b", ca, &n->b), "in the open");
    expect_silence(trust_of("the secret of us all"), trust_sealed("b", ca, &n->b), "by a secret");
    nodes_free(n);
}

Test(consensus_link, nodes_of_neighbouring_phases_hear_each_other)
{
    struct nodes *n = nodes_new();
    for (unsigned i = 0; i < COUNT_OF(neighbours); i++) {
        for (int turn = 0; turn < 2; turn++) {
            struct fixture *f = fixture_by(trust_in(n, neighbours[i][turn], "a"),
                                           trust_in(n, neighbours[i][1 - turn], "b"));
            cr_assert(gets_through(f), "%u %d", neighbours[i][turn], neighbours[i][1 - turn]);
            fixture_free(f);
        }
    }
    nodes_free(n);
}

Test(consensus_link, links_stand_while_certificates_change_and_fall_with_their_authority)
{
    struct nodes *n = nodes_new();
    char ca[RIG_PATH_BYTES];
    snprintf(ca, sizeof ca, "%s/ca.crt", n->dir);
    rig_join(ca, (const struct rig_cert *const[]){&n->authority}, 1);
    struct fixture *f =
        fixture_by(trust_sealed("a", n->authority.cert_file, &n->a), trust_sealed("b", ca, &n->b));
    cr_assert(gets_through(f));
    uint64_t dropped = link_dropped_count(f->a.link);
    rig_cert_free(&n->b);
    n->b = rig_cert_new(n->dir, "b", &n->authority, RIG_DAY_S);
    rig_read_again(f->b.trust);
    rig_read_again(f->a.trust);
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t before = f->b.frame_count;
        link_send(f->a.link, "b", SLICE("on"), false);
        cr_assert(arrives(f, &f->b, before + 1, 20000));
    }
    cr_expect_eq(link_dropped_count(f->a.link), dropped, "it has not been down");
    rig_join(ca, (const struct rig_cert *const[]){&n->other_authority}, 1);
    rig_cert_free(&n->b);
    n->b = rig_cert_new(n->dir, "b", &n->other_authority, RIG_DAY_S);
    rig_read_again(f->b.trust);
    uint64_t until = clock_mono_ns() + 20000 * NS_PER_MS;
    while (link_dropped_count(f->a.link) == dropped && clock_mono_ns() < until) {
        link_send(f->a.link, "b", SLICE("on"), false);
        (void)arrives(f, &f->b, f->b.frame_count + 1, 20);
    }
    cr_expect_gt(link_dropped_count(f->a.link), dropped, "it is refused now");
    fixture_free(f);
    nodes_free(n);
}

Test(consensus_link, metrics_count_bytes_and_drops_and_show_what_waits)
{
    metrics_thread_init();
    struct fixture *f = fixture_new(1);
    char data[1000];
    memset(data, 'x', sizeof data);
    for (int i = 0; i < 3000; i++) {
        link_send(f->a.link, "b", slice_of(data, sizeof data), false);
    }
    link_flush(f->a.link);
    cr_assert_eq(metric_sum(METRIC_raft_link_dropped_frames_total), link_dropped_count(f->a.link));
    cr_assert_gt(metric_sum(METRIC_raft_link_queued_bytes), 1000000);
    cr_assert(arrives(f, &f->b, 1, 5000));
    cr_assert_gt(metric_sum(METRIC_raft_link_sent_bytes_total), 1000000);
    cr_assert_eq(metric_sum(METRIC_raft_link_received_bytes_total),
                 metric_sum(METRIC_raft_link_sent_bytes_total));
    cr_assert_eq(metric_sum(METRIC_raft_link_connections), 1);
    fixture_free(f);
    cr_assert_eq(metric_sum(METRIC_raft_link_connections), 0);
    cr_assert_eq(metric_sum(METRIC_raft_link_queued_bytes), 0);
}

Test(consensus_link, it_listens_and_connects_over_ipv6)
{
    if (!has_loopback6()) { cr_skip("no IPv6 loopback here"); }
    struct fixture *f = fixture_on("::1", "::1", 1);
    cr_assert_gt(link_port(f->b.link), 0);
    cr_assert(gets_through(f));
    cr_assert_str_eq(f->b.from, "a");
    fixture_free(f);
}

Test(consensus_link, a_name_may_be_listened_on)
{
    struct fixture *f = fixture_on("localhost", "localhost", 1);
    cr_assert(gets_through(f));
    fixture_free(f);
}

Test(consensus_link, a_name_that_nobody_has_is_refused)
{
    uv_loop_t loop;
    struct link *link = NULL;
    struct link_opts opts = {.loop = &loop, .node_name = "a", .listen_host = "::1::"};
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(link_open(&link, &opts), ERR_SYSTEM);
    cr_assert_null(link);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&loop), 0, "nothing is left of it");
}

Test(consensus_link, of_a_name_with_several_addresses_each_is_tried)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    if (!has_loopback6()) { cr_skip("no IPv6 loopback here"); }
    for (int i = 0; i < 2; i++) {
        struct fixture *f = fixture_on(hosts[i], dual_name, 1);
        cr_assert(gets_through(f), "the peer listens on %s only", hosts[i]);
        fixture_free(f);
    }
}

Test(consensus_link, what_waits_for_a_peer_is_bounded_and_the_rest_is_dropped)
{
    struct fixture *f = fixture_new(1);
    char data[1000];
    memset(data, 'x', sizeof data);
    for (int i = 0; i < 3000; i++) {
        link_send(f->a.link, "b", slice_of(data, sizeof data), false);
    }
    cr_assert_gt(link_dropped_count(f->a.link), 1900);
    cr_assert(arrives(f, &f->b, 1, 5000));
    cr_assert_leq(f->b.byte_count, 1 << 20);
    fixture_free(f);
}

Test(consensus_link, another_cluster_is_refused)
{
    struct fixture *f = fixture_new(2);
    link_send(f->a.link, "b", SLICE("hello?"), false);
    cr_assert_not(arrives(f, &f->b, 1, 300));
    fixture_free(f);
}

/* Names keep, addresses change hands: what is for c does not go to b, who is at the address that c has had. */
Test(consensus_link, who_is_not_meant_refuses)
{
    struct fixture *f = fixture_new(1);
    link_send(f->a.link, "c", SLICE("for c"), false);
    cr_assert_not(arrives(f, &f->b, 1, 300));
    link_send(f->a.link, "b", SLICE("for b"), false);
    cr_assert(arrives(f, &f->b, 1, 5000));
    cr_assert_eq(f->b.byte_count, strlen("for b"));
    fixture_free(f);
}

/* A connection to b by who is nobody. */
static int dial(const struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(link_port(f->b.link))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static bool is_closed(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static bool is_closed_within(struct fixture *f, int fd, uint64_t ms)
{
    uint64_t until = clock_mono_ns() + ms * NS_PER_MS;
    while (!is_closed(fd) && clock_mono_ns() < until) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    return is_closed(fd);
}

Test(consensus_link, garbage_closes_its_connection_and_nothing_else)
{
    struct fixture *f = fixture_new(1);
    link_send(f->a.link, "b", SLICE("fine"), false);
    cr_assert(arrives(f, &f->b, 1, 5000));
    int fd = dial(f);
    cr_assert_eq(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    cr_assert(is_closed_within(f, fd, 5000));
    close(fd);
    link_send(f->a.link, "b", SLICE("still fine"), false);
    cr_assert(arrives(f, &f->b, 2, 5000));
    fixture_free(f);
}

Test(consensus_link, a_connection_is_made_again_after_the_other_end_closed_it)
{
    struct fixture *f = fixture_new(1);
    f->b.calls_it_garbage = true;
    link_send(f->a.link, "b", SLICE("closes"), false);
    cr_assert(arrives(f, &f->b, 1, 5000));
    f->b.calls_it_garbage = false;
    uint64_t until = clock_mono_ns() + 20000 * NS_PER_MS;
    while (f->b.frame_count < 2 && clock_mono_ns() < until) {
        link_send(f->a.link, "b", SLICE("again"), false);
        (void)arrives(f, &f->b, 2, 20);
    }
    cr_assert_geq(f->b.frame_count, 2);
    fixture_free(f);
}

Test(consensus_link, pings_keep_an_idle_connection_alive)
{
    struct fixture *f = fixture_new(1);
    link_send(f->a.link, "b", SLICE("first"), false);
    cr_assert(arrives(f, &f->b, 1, 5000));
    cr_assert_not(arrives(f, &f->b, 2, 1200), "pings are no frames");
    uint64_t dropped = link_dropped_count(f->a.link);
    link_send(f->a.link, "b", SLICE("second"), false);
    cr_assert_eq(link_dropped_count(f->a.link), dropped, "the connection is still up");
    cr_assert(arrives(f, &f->b, 2, 5000));
    fixture_free(f);
}

Test(consensus_link, who_has_not_said_hello_may_announce_no_large_frame)
{
    struct fixture *f = fixture_new(1);
    int small = dial(f);
    int large = dial(f);
    cr_assert_eq(write(small, "\0\0\020\0", 4), 4); /* 4 KiB */
    cr_assert_eq(write(large, "\0\0\020\001", 4), 4);
    cr_assert(is_closed_within(f, large, 1000));
    cr_assert_not(is_closed(small));
    close(small);
    close(large);
    fixture_free(f);
}

Test(consensus_link, who_does_not_say_hello_in_time_is_closed_also_if_it_sends_bytes)
{
    struct fixture *f = fixture_new(1);
    int fd = dial(f);
    uint64_t begin = clock_mono_ns();
    uint64_t next = begin;
    cr_assert_eq(write(fd, "\0\0\020\0", 4), 4);
    while (!is_closed(fd) && clock_mono_ns() < begin + 20 * NS_PER_S) {
        if (clock_mono_ns() >= next) {
            (void)!send(fd, "x", 1, MSG_NOSIGNAL);
            next += 100 * NS_PER_MS;
        }
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    cr_assert(is_closed(fd));
    cr_assert_geq(clock_mono_ns() - begin, (LINK_HELLO_MS_MAX - 10) * NS_PER_MS);
    close(fd);
    fixture_free(f);
}

Test(consensus_link, strangers_take_no_members_place_the_oldest_goes_first)
{
    struct rlimit files = {4096, 4096};
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) { cr_skip("too few descriptors"); }
    struct fixture *f = fixture_by(NULL, NULL);
    int fd[LINK_INCOMING_MAX];
    for (int i = 0; i < LINK_INCOMING_MAX; i++) {
        fd[i] = dial(f);
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    cr_assert_not(is_closed(fd[0]));
    cr_assert(gets_through(f));
    cr_assert(is_closed_within(f, fd[0], 1000), "it made room");
    for (int i = 0; i < LINK_INCOMING_MAX; i++) {
        close(fd[i]);
    }
    fixture_free(f);
}

/* Read what comes and drop it, until the other end closes. */
static bool ends_within(struct fixture *f, int fd, uint64_t ms)
{
    char bytes[64];
    uint64_t until = clock_mono_ns() + ms * NS_PER_MS;
    while (clock_mono_ns() < until) {
        uv_run(&f->loop, UV_RUN_ONCE);
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) { return true; }
    }
    return false;
}

Test(consensus_link, strangers_that_speak_no_tls_or_do_not_go_on_are_closed)
{
    struct nodes *n = nodes_new();
    struct fixture *f = fixture_by(trust_sealed("a", n->authority.cert_file, &n->a),
                                   trust_sealed("b", n->authority.cert_file, &n->b));
    int silent = dial(f);
    int wrong = dial(f);
    int slow = dial(f);
    cr_assert_eq(write(wrong, "GET / HTTP/1.1\r\n", 16), 16);
    cr_assert_eq(write(slow, "\x16\x03\x01", 3), 3);
    cr_assert(ends_within(f, wrong, 1000));
    cr_assert(ends_within(f, silent, 10000));
    cr_assert(ends_within(f, slow, 10000));
    close(silent);
    close(wrong);
    close(slow);
    fixture_free(f);
    nodes_free(n);
}

/* Hellos of TLS cost more than others: they wait for one another, and no member for them. */
Test(consensus_link, members_are_heard_while_strangers_shake_hands)
{
    enum { STRANGERS = 20 };
    struct nodes *n = nodes_new();
    struct fixture *f = fixture_by(trust_sealed("a", n->authority.cert_file, &n->a),
                                   trust_sealed("b", n->authority.cert_file, &n->b));
    cr_assert(gets_through(f));
    struct buf hello = {0};
    seal_free(seal_new(trust_identity(f->a.trust), true, &hello));
    int fd[STRANGERS];
    for (int i = 0; i < STRANGERS; i++) {
        fd[i] = dial(f);
        cr_assert_eq(write(fd[i], hello.data, hello.len), (ssize_t)hello.len);
    }
    uint64_t before = f->b.frame_count;
    link_send(f->a.link, "b", SLICE("on"), false);
    cr_assert(arrives(f, &f->b, before + 1, 10000));
    int answered = 0;
    for (int i = 0; i < STRANGERS; i++) {
        char bytes[100];
        uint64_t until = clock_mono_ns() + 10000 * NS_PER_MS;
        ssize_t got = -1;
        while (got < 0 && clock_mono_ns() < until) {
            uv_run(&f->loop, UV_RUN_ONCE);
            got = recv(fd[i], bytes, sizeof bytes, MSG_DONTWAIT);
        }
        answered += got > 0;
        close(fd[i]);
    }
    cr_expect_gt(answered, 0, "they have their turn, if it is not too late");
    buf_fini(&hello);
    fixture_free(f);
    nodes_free(n);
}

Test(consensus_link, a_stranger_that_proves_nothing_is_closed)
{
    struct fixture *f = fixture_trusting("the secret of us all", "the secret of us all");
    int silent = dial(f);
    int wrong = dial(f);
    char zeros[200] = {0};
    cr_assert_eq(write(wrong, zeros, sizeof zeros), sizeof zeros);
    cr_assert(ends_within(f, wrong, 1000));
    cr_assert(ends_within(f, silent, 5000));
    close(silent);
    close(wrong);
    fixture_free(f);
}
