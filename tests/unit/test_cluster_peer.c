/* Both ends of the peer link over loopback: a dialling and an accepting hub, each on a worker of its own, or
 * one of them against a bare socket that the test holds. */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cluster/peer.h"
#include "net/conn.h"
#include "net/listener.h"
#include "pubsub/msg.h"
#include "unit/trust_rig.h"

enum { WAIT_MS = 20000, SILENCE_MS = 1000, PATIENCE_MS = 2 * WAIT_MS, NODE = 7 };

struct fixture {
    struct worker *dialling;
    struct worker *accepting;
    struct resolver *resolver;
    struct peer_hub *dial_hub;
    struct peer_hub *accept_hub;
    struct listener *listener;
    struct peer_out *out;
    struct trust *dial_trust;
    struct trust *accept_trust;
    bool is_lane;
    uint16_t port;
    const char *host;
    atomic_uint_fast64_t up_count;
    atomic_uint_fast64_t down_count;
    atomic_uint_fast64_t unsent_from;
    atomic_uint_fast64_t queued_at_down;
    atomic_uint_fast64_t answer_count;
    /* the accepting side */
    struct peer_in *in;
    atomic_uint_fast64_t hello_count;
    atomic_uint_fast64_t frame_count;
    atomic_uint_fast64_t data_bytes;
    atomic_uint_fast64_t next_seq;
    atomic_uint_fast64_t batch_count;
    atomic_uint_fast64_t clean_count;
    atomic_uint_fast64_t unclean_count;
    atomic_bool refuses;
    atomic_bool pauses;
    struct buf sending;
};

/* ---- the callbacks ---- */

static void on_up(void *arg)
{
    atomic_fetch_add(&((struct fixture *)arg)->up_count, 1);
}

static void on_down(void *arg, uint64_t unsent_from)
{
    struct fixture *f = arg;
    atomic_store(&f->unsent_from, unsent_from);
    atomic_store(&f->queued_at_down, peer_out_queued(f->out));
    CHECK(peer_out_sent(f->out) == peer_out_queued(f->out));
    atomic_fetch_add(&f->down_count, 1);
}

static bool on_answer(void *arg, const struct wire_frame *frame)
{
    struct fixture *f = arg;
    CHECK(frame->type == WIRE_PUBLISHED);
    atomic_fetch_add(&f->answer_count, 1);
    return frame->published.receivers != 666;
}

static void *on_hello(void *arg, struct peer_in *in, const struct wire_hello *hello,
                      const char **why)
{
    struct fixture *f = arg;
    CHECK(hello->node_id == NODE);
    if (atomic_load(&f->refuses)) {
        *why = "the test says so";
        return NULL;
    }
    f->in = in;
    atomic_fetch_add(&f->hello_count, 1);
    return f;
}

static void answer(struct fixture *f, uint64_t id)
{
    struct buf frame = {0};
    wire_encode(&frame, &(struct wire_frame){.type = WIRE_PUBLISHED, .published = {.id = id}});
    peer_in_send(f->in, buf_slice(&frame));
    buf_fini(&frame);
}

static bool on_frame(void *object, const struct wire_frame *frame)
{
    struct fixture *f = object;
    if (frame->type == WIRE_END) { return false; } /* the test's garbage */
    atomic_fetch_add(&f->frame_count, 1);
    if (frame->type == WIRE_DELIVER) {
        atomic_fetch_add(&f->data_bytes, frame->deliver.data.len);
        if (frame->deliver.seq != atomic_load(&f->next_seq)) { return false; }
        atomic_fetch_add(&f->next_seq, 1);
    } else if (frame->type == WIRE_PUBLISH) {
        answer(f, frame->publish.id);
    }
    if (atomic_load(&f->pauses)) { peer_in_pause(f->in); }
    return true;
}

static void on_closed(void *object, bool is_clean)
{
    struct fixture *f = object;
    atomic_fetch_add(is_clean ? &f->clean_count : &f->unclean_count, 1);
}

static void on_batch_end(void *object)
{
    atomic_fetch_add(&((struct fixture *)object)->batch_count, 1);
}

static const struct peer_in_ops in_ops = {on_hello, on_frame, on_closed, on_batch_end};

/* ---- running things on the workers ---- */

struct call {
    struct task task;
    struct fixture *f;
    void (*run)(struct fixture *f);
    atomic_bool is_done;
};

static void on_call(struct task *task)
{
    struct call *call = CONTAINER_OF(task, struct call, task);
    call->run(call->f);
    atomic_store(&call->is_done, true);
}

#define WAIT_UNTIL(condition)                                         \
    do {                                                              \
        uint64_t deadline_ns = clock_mono_ns() + WAIT_MS * NS_PER_MS; \
        while (!(condition)) {                                        \
            cr_assert_lt(clock_mono_ns(), deadline_ns, #condition);   \
            poll(NULL, 0, 1);                                         \
        }                                                             \
    } while (0)

static void run_on(struct fixture *f, struct worker *worker, void (*run)(struct fixture *f))
{
    struct call call = {.task = {.run = on_call}, .f = f, .run = run};
    mailbox_post(worker_mailbox(worker), &call.task);
    WAIT_UNTIL(atomic_load(&call.is_done));
}

static void on_turn_end(void *arg)
{
    worker_flush_replies(*(struct worker **)arg);
}

static void start_worker(struct worker **worker, uint32_t index)
{
    const struct worker_opts opts = {.index = index, .on_turn_end = on_turn_end, .arg = worker};
    *worker = worker_new(&opts);
}

static void on_accept(void *arg, int fd)
{
    peer_in_open(((struct fixture *)arg)->accept_hub, fd);
}

/* The secrets of both ends; NULL: none is asked for. */
static struct fixture *set_up_trusting(bool is_lane, uint32_t silence_ms_max, const char *dialler,
                                       const char *acceptor)
{
    struct fixture *f = mem_new0(sizeof *f);
    f->dial_trust = dialler != NULL ? trust_of(dialler) : NULL;
    f->accept_trust = acceptor != NULL ? trust_of(acceptor) : NULL;
    f->is_lane = is_lane;
    f->host = "127.0.0.1";
    start_worker(&f->dialling, 0);
    start_worker(&f->accepting, 1);
    f->resolver = resolver_new();
    struct peer_hub_opts opts = {.worker = f->dialling,
                                 .resolver = f->resolver,
                                 .in_ops = &in_ops,
                                 .arg = f,
                                 .silence_ms_max = silence_ms_max,
                                 .dial_ms_max = silence_ms_max,
                                 .trust = f->dial_trust};
    f->dial_hub = peer_hub_new(&opts);
    opts.worker = f->accepting;
    opts.trust = f->accept_trust;
    f->accept_hub = peer_hub_new(&opts);
    const struct listener_opts listen_opts = {
        .address = "127.0.0.1:0", .backlog = 16, .on_accept = on_accept, .arg = f};
    const char *why;
    cr_assert_eq(listener_open(&f->listener, &listen_opts, &why), ERR_OK);
    f->port = listener_port(f->listener);
    listener_start(f->listener, f->accepting);
    worker_start(f->dialling);
    worker_start(f->accepting);
    return f;
}

static struct fixture *set_up_with(bool is_lane, uint32_t silence_ms_max)
{
    return set_up_trusting(is_lane, silence_ms_max, NULL, NULL);
}

/* For what is about time. */
static struct fixture *set_up_impatient(bool is_lane)
{
    return set_up_with(is_lane, SILENCE_MS);
}

static struct fixture *set_up(bool is_lane)
{
    return set_up_with(is_lane, PATIENCE_MS);
}

static void free_out_abruptly(struct fixture *f)
{
    peer_out_free(f->out, true);
    f->out = NULL;
}

static void free_out(struct fixture *f)
{
    peer_out_free(f->out, false);
    f->out = NULL;
}

static void close_accepted(struct fixture *f)
{
    listener_stop(f->listener);
    peer_hub_close_accepted(f->accept_hub, true);
}

static void stop_worker(struct worker *worker)
{
    worker_stop(worker);
    worker_join(worker);
}

static void check_none_left(struct fixture *f)
{
    CHECK(peer_hub_count(f->accept_hub) == 0);
}

static void check_few_are_left(struct fixture *f)
{
    CHECK(peer_hub_count(f->accept_hub) <= PEER_STRANGERS_MAX + 1);
}

static void tear_down(struct fixture *f)
{
    if (f->out != NULL) { run_on(f, f->dialling, free_out_abruptly); }
    run_on(f, f->accepting, close_accepted);
    run_on(f, f->accepting, check_none_left); /* closed at the end of the turn before */
    stop_worker(f->dialling);
    stop_worker(f->accepting);
    resolver_free(f->resolver);
    peer_hub_free(f->dial_hub);
    peer_hub_free(f->accept_hub);
    listener_free(f->listener);
    worker_free(f->dialling);
    worker_free(f->accepting);
    buf_fini(&f->sending);
    trust_free(f->dial_trust);
    trust_free(f->accept_trust);
    mem_free(f);
}

static void dial(struct fixture *f)
{
    const struct peer_out_opts opts = {
        .hub = f->dial_hub,
        .hello = {.version = WIRE_VERSION,
                  .node_id = NODE,
                  .is_lane = f->is_lane,
                  .worker_count = 1},
        .host = f->host,
        .port = f->port,
        .on_up = on_up,
        .on_down = on_down,
        .on_frame = on_answer,
        .arg = f,
    };
    f->out = peer_out_new(&opts);
}

/* ---- bare sockets ---- */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static int bare_bind(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static int bare_accept(int listener)
{
    cr_assert_eq(poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, WAIT_MS), 1);
    int fd = accept(listener, NULL, NULL);
    cr_assert_geq(fd, 0);
    return fd;
}

static void bare_send(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        cr_assert_gt(n, 0);
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
}

static void bare_reset(int fd)
{
    const struct linger none = {.l_onoff = 1};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    close(fd);
}

/* Read until the other side closes; by RST or by FIN. */
static bool bare_wait_reset(int fd)
{
    for (;;) {
        char bytes[4096];
        cr_assert_eq(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, WAIT_MS), 1);
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0) { return n < 0; }
    }
}

/* Read one frame, which may be nothing but a hello or ping. */
static enum wire_type bare_read(int fd)
{
    char bytes[256];
    size_t have = 0;
    size_t want = WIRE_HEAD_BYTES;
    struct wire_decoder *decoder = wire_decoder_new();
    struct wire_frame frame;
    for (;;) {
        cr_assert_eq(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, WAIT_MS), 1);
        ssize_t n = recv(fd, bytes + have, want - have, 0);
        cr_assert_gt(n, 0);
        have += (size_t)n;
        if (have < want) { continue; }
        if (wire_decode(decoder, slice_of(bytes, have), &frame, &want) == WIRE_OK) { break; }
        cr_assert_leq(want, sizeof bytes);
    }
    wire_decoder_free(decoder);
    return frame.type;
}

static struct wire_frame hello_frame(bool is_lane)
{
    return (struct wire_frame){
        .type = WIRE_HELLO,
        .hello = {.version = WIRE_VERSION, .node_id = NODE, .is_lane = is_lane, .worker_count = 1}};
}

static void add_run(struct buf *out, enum wire_type type, uint64_t seq)
{
    static const char data[] = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
    struct wire_frame frame = {
        .type = type,
        .deliver = {.id = seq, .seq = seq, .count = 1, .data = slice_of(data, sizeof data - 1)}};
    wire_encode(out, &frame);
}

static int bare_connect(struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(f->port);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* A bare connection to the listener that has said hello and been taken. */
static int bare_peer(struct fixture *f, bool is_lane)
{
    int fd = bare_connect(f);
    struct buf bytes = {0};
    uint64_t before = atomic_load(&f->hello_count);
    struct wire_frame hello = hello_frame(is_lane);
    wire_encode(&bytes, &hello);
    bare_send(fd, buf_slice(&bytes));
    buf_fini(&bytes);
    WAIT_UNTIL(atomic_load(&f->hello_count) > before);
    return fd;
}

/* ---- both ends ---- */

static void send_publishes(struct fixture *f)
{
    f->sending.len = 0;
    for (uint64_t id = 1; id <= 1000; id++) {
        add_run(&f->sending, WIRE_PUBLISH, id);
    }
    CHECK(peer_out_is_up(f->out));
    peer_out_send(f->out, buf_slice(&f->sending), NULL);
    peer_out_flush(f->out);
}

Test(peer, requests_arrive_and_their_answers_return)
{
    struct fixture *f = set_up(false);
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_publishes);
    WAIT_UNTIL(atomic_load(&f->answer_count) == 1000);
    cr_assert_eq(atomic_load(&f->frame_count), 1000);
    cr_assert_geq(atomic_load(&f->batch_count), 1);
    cr_assert_leq(atomic_load(&f->batch_count), 1000);
    cr_assert_eq(atomic_load(&f->down_count), 0);
    tear_down(f);
}

Test(peer, ends_that_know_the_secret_carry_all_that_others_do)
{
    struct fixture *f = set_up_trusting(false, PATIENCE_MS, "the old secret of us",
                                        "one more for later\nthe old secret of us");
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_publishes);
    WAIT_UNTIL(atomic_load(&f->answer_count) == 1000);
    cr_assert_eq(atomic_load(&f->frame_count), 1000);
    cr_assert_eq(atomic_load(&f->down_count), 0);
    run_on(f, f->dialling, free_out_abruptly);
    tear_down(f);
}

Test(peer, who_does_not_know_the_secret_is_told_nothing_and_tells_nothing)
{
    static const char *const secrets[][2] = {{"the secret of others", "the secret of us all"},
                                             {"the secret of us all", NULL},
                                             {NULL, "the secret of us all"}};
    for (unsigned i = 0; i < COUNT_OF(secrets); i++) {
        struct fixture *f = set_up_trusting(i % 2 == 0, SILENCE_MS, secrets[i][0], secrets[i][1]);
        run_on(f, f->dialling, dial);
        WAIT_UNTIL(atomic_load(&f->down_count) >= 1);
        cr_assert_eq(atomic_load(&f->hello_count), 0);
        cr_assert(secrets[i][0] == NULL || atomic_load(&f->up_count) == 0);
        run_on(f, f->dialling, free_out_abruptly);
        tear_down(f);
    }
}

Test(peer, a_stranger_that_proves_nothing_costs_its_connection_and_its_time)
{
    struct fixture *f = set_up_trusting(false, PATIENCE_MS, NULL, "the secret of us all");
    int silent = bare_connect(f);
    int wrong = bare_connect(f);
    char zeros[200] = {0};
    bare_send(wrong, slice_of(zeros, sizeof zeros));
    cr_assert(bare_wait_reset(wrong));
    cr_assert(bare_wait_reset(silent));
    cr_assert_eq(atomic_load(&f->hello_count), 0);
    close(silent);
    close(wrong);
    tear_down(f);
}

Test(peer, a_name_is_resolved_and_every_address_of_it_tried)
{
    struct fixture *f = set_up(false);
    f->host = "localhost"; /* perhaps first an address on which nobody listens */
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    tear_down(f);
}

Test(peer, a_name_that_nobody_has_is_told_once_and_tried_again)
{
    struct fixture *f = set_up(false);
    f->host = "a-label-of-more-than-sixty-three-characters-is-in-no-zone-of-the-whole-wide-world";
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    cr_assert_eq(atomic_load(&f->unsent_from), 0);
    tear_down(f);
}

Test(peer, a_dialler_that_comes_first_finds_the_listener_later)
{
    struct fixture *f = set_up(true);
    uint16_t port;
    int listener = bare_bind(&port);
    f->port = port;
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    cr_assert_eq(listen(listener, 8), 0);
    int fd = bare_accept(listener);
    cr_assert_eq(bare_read(fd), WIRE_HELLO);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    cr_assert_eq(atomic_load(&f->down_count), 1, "a row of failures is told once");
    close(fd);
    fd = bare_accept(listener);
    cr_assert_eq(bare_read(fd), WIRE_HELLO, "it has come back");
    WAIT_UNTIL(atomic_load(&f->up_count) == 2);
    cr_assert_eq(atomic_load(&f->down_count), 2);
    close(fd);
    close(listener);
    tear_down(f);
}

Test(peer, both_ways_of_a_quiet_link_ping)
{
    struct fixture *f = set_up_impatient(false);
    int fd = bare_peer(f, false);
    struct buf ping = {0};
    wire_encode(&ping, &(struct wire_frame){.type = WIRE_PING});
    for (int i = 0; i < 3 * SILENCE_MS / PEER_PING_MS;
         i++) { /* it waits for longer than silence may last */
        bare_send(fd, buf_slice(&ping));
        cr_assert_eq(bare_read(fd), WIRE_PING);
    }
    cr_assert_eq(atomic_load(&f->unclean_count) + atomic_load(&f->clean_count), 0);
    buf_fini(&ping);
    close(fd);
    tear_down(f);
}

Test(peer, a_lane_pings_one_way_and_needs_no_word_back)
{
    struct fixture *f = set_up_impatient(true);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    int fd = bare_accept(listener);
    cr_assert_eq(bare_read(fd), WIRE_HELLO);
    for (int i = 0; i < 3 * SILENCE_MS / PEER_PING_MS; i++) {
        cr_assert_eq(bare_read(fd), WIRE_PING);
    }
    cr_assert_eq(atomic_load(&f->down_count), 0);
    bare_send(fd, slice_of("\0\0\0\2\x12\0", 6)); /* a ping, even: nothing comes back on a lane */
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    cr_assert(bare_wait_reset(fd));
    close(fd);
    close(listener);
    tear_down(f);
}

Test(peer, silence_ends_a_connection_at_who_waits_for_a_word)
{
    struct fixture *f = set_up_impatient(false);
    int fd = bare_peer(f, false);
    WAIT_UNTIL(atomic_load(&f->unclean_count) == 1);
    close(fd);
    fd = bare_peer(f, true);
    WAIT_UNTIL(atomic_load(&f->unclean_count) == 2);
    close(fd);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    fd = bare_accept(listener);
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    cr_assert(bare_wait_reset(fd));
    close(fd);
    close(listener);
    tear_down(f);
}

Test(peer, a_connection_that_never_says_hello_is_closed)
{
    struct fixture *f = set_up(false);
    int fd = bare_connect(f);
    bare_send(fd, slice_of("\0\0\0\x20", 4));
    cr_assert(bare_wait_reset(fd));
    cr_assert_eq(atomic_load(&f->hello_count), 0);
    close(fd);
    tear_down(f);
}

Test(peer, the_oldest_stranger_makes_room_for_who_comes_and_a_member_is_not_locked_out)
{
    enum { FLOOD = PEER_STRANGERS_MAX + 20 };
    struct fixture *f = set_up(false);
    int stranger[FLOOD];
    for (int i = 0; i < FLOOD; i++) {
        stranger[i] = bare_connect(f);
    }
    int member = bare_peer(f, false);
    cr_assert(bare_wait_reset(stranger[0]));
    run_on(f, f->accepting, check_few_are_left);
    for (int i = 0; i < FLOOD; i++) {
        close(stranger[i]);
    }
    cr_assert_eq(atomic_load(&f->unclean_count), 0, "the member stays");
    close(member);
    tear_down(f);
}

static void hold_up(struct fixture *f)
{
    (void)f;
    uint64_t until_ns = clock_mono_ns() + 3 * SILENCE_MS * NS_PER_MS;
    while (clock_mono_ns() < until_ns) {
        poll(NULL, 0, 10);
    }
}

Test(peer, time_in_which_the_own_loop_was_held_up_is_no_silence_of_the_peer)
{
    struct fixture *f = set_up_impatient(false);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    int fd = bare_accept(listener);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, hold_up);
    struct buf ping = {0};
    wire_encode(&ping, &(struct wire_frame){.type = WIRE_PING});
    cr_assert_eq(bare_read(fd), WIRE_HELLO);
    for (int i = 0; i < 3; i++) { /* it goes on as if nothing had been */
        cr_assert_eq(bare_read(fd), WIRE_PING);
        bare_send(fd, buf_slice(&ping));
    }
    cr_assert_eq(atomic_load(&f->down_count), 0);
    buf_fini(&ping);
    close(fd);
    close(listener);
    tear_down(f);
}

/* ---- how it ends ---- */

Test(peer, fin_behind_a_whole_frame_is_clean_and_comes_after_all_frames)
{
    struct fixture *f = set_up(true);
    struct buf bytes = {0};
    for (uint64_t seq = 0; seq < 20000; seq++) {
        add_run(&bytes, WIRE_DELIVER, seq);
    }
    int fd = bare_peer(f, true);
    bare_send(fd, buf_slice(&bytes));
    close(fd);
    WAIT_UNTIL(atomic_load(&f->clean_count) == 1);
    cr_assert_eq(atomic_load(&f->frame_count), 20000);
    buf_fini(&bytes);
    tear_down(f);
}

Test(peer, every_other_end_is_unclean)
{
    struct fixture *f = set_up(true);
    struct buf frame = {0};
    add_run(&frame, WIRE_DELIVER, 0);
    for (size_t cut = 1; cut < frame.len; cut += 7) {
        int fd = bare_peer(f, true);
        bare_send(fd, slice_of(frame.data, cut));
        uint64_t before = atomic_load(&f->unclean_count);
        close(fd);
        WAIT_UNTIL(atomic_load(&f->unclean_count) == before + 1);
    }
    uint64_t before = atomic_load(&f->unclean_count);
    bare_reset(bare_peer(f, true));
    WAIT_UNTIL(atomic_load(&f->unclean_count) == before + 1);
    cr_assert_eq(atomic_load(&f->clean_count), 0);
    buf_fini(&frame);
    tear_down(f);
}

static void expect_refusal(struct fixture *f, bool is_lane, struct slice bytes)
{
    uint64_t before = atomic_load(&f->unclean_count);
    int fd = bare_peer(f, is_lane);
    bare_send(fd, bytes);
    cr_assert(bare_wait_reset(fd));
    WAIT_UNTIL(atomic_load(&f->unclean_count) == before + 1);
    close(fd);
}

Test(peer, garbage_and_frames_out_of_place_end_the_connection)
{
    struct fixture *f = set_up(true);
    struct buf bytes = {0};
    expect_refusal(f, true, slice_of("\xff\xff\xff\xff", 4));
    expect_refusal(f, false, SLICE("PUBLISH news hi\r\n and so on"));
    add_run(&bytes, WIRE_PUBLISH, 1);
    expect_refusal(f, true, buf_slice(&bytes));
    bytes.len = 0;
    add_run(&bytes, WIRE_DELIVER, 0);
    expect_refusal(f, false, buf_slice(&bytes));
    bytes.len = 0;
    struct wire_frame hello = hello_frame(true);
    wire_encode(&bytes, &hello);
    expect_refusal(f, true, buf_slice(&bytes));
    bytes.len = 0;
    wire_encode(&bytes, &(struct wire_frame){.type = WIRE_END}); /* which the owner does not like */
    expect_refusal(f, true, buf_slice(&bytes));
    cr_assert_eq(atomic_load(&f->clean_count) + atomic_load(&f->frame_count), 0);
    buf_fini(&bytes);
    tear_down(f);
}

static void expect_no_hello(struct fixture *f, const struct wire_frame *frame)
{
    int fd = bare_connect(f);
    struct buf bytes = {0};
    wire_encode(&bytes, frame);
    bare_send(fd, buf_slice(&bytes));
    cr_assert(bare_wait_reset(fd));
    close(fd);
    buf_fini(&bytes);
}

Test(peer, who_is_refused_is_closed_and_nothing_else_is_told)
{
    struct fixture *f = set_up(true);
    struct wire_frame frame = hello_frame(true);
    frame.hello.version++;
    expect_no_hello(f, &frame);
    frame = hello_frame(true);
    frame.hello.worker = 1;
    expect_no_hello(f, &frame);
    frame = (struct wire_frame){.type = WIRE_PING};
    expect_no_hello(f, &frame);
    frame = (struct wire_frame){.type = WIRE_INTEREST,
                                .interest = {.name = slice_of(mem_new0(9000), 9000)}};
    expect_no_hello(f, &frame);
    union {
        const char *in;
        char *out;
    } name = {frame.interest.name.data};
    mem_free(name.out);
    cr_assert_eq(atomic_load(&f->hello_count), 0);
    uint64_t begin_ns = clock_mono_ns();
    int fd = bare_connect(f);
    bare_send(fd, slice_of("\0\0\x20\0", 4)); /* the length alone tells that it is no hello */
    cr_assert(bare_wait_reset(fd));
    cr_assert_lt(clock_mono_ns() - begin_ns, PEER_HELLO_MS_MAX * NS_PER_MS);
    close(fd);
    atomic_store(&f->refuses, true);
    frame = hello_frame(false);
    expect_no_hello(f, &frame);
    cr_assert_eq(atomic_load(&f->clean_count) + atomic_load(&f->unclean_count), 0);
    tear_down(f);
}

static void resume(struct fixture *f)
{
    atomic_store(&f->pauses, false);
    peer_in_resume(f->in);
}

Test(peer, what_came_before_a_pause_and_the_end_is_seen_after_it)
{
    struct fixture *f = set_up_impatient(true);
    struct buf bytes = {0};
    for (uint64_t seq = 0; seq < 100; seq++) {
        add_run(&bytes, WIRE_DELIVER, seq);
    }
    atomic_store(&f->pauses, true);
    int fd = bare_peer(f, true);
    bare_send(fd, buf_slice(&bytes));
    close(fd);
    WAIT_UNTIL(atomic_load(&f->frame_count) == 1);
    uint64_t paused_ns = clock_mono_ns();
    WAIT_UNTIL(clock_mono_ns() - paused_ns > 2 * SILENCE_MS * NS_PER_MS); /* no silence meanwhile */
    cr_assert_eq(atomic_load(&f->frame_count), 1);
    cr_assert_eq(atomic_load(&f->unclean_count), 0);
    run_on(f, f->accepting, resume);
    WAIT_UNTIL(atomic_load(&f->clean_count) == 1);
    cr_assert_eq(atomic_load(&f->frame_count), 100);
    buf_fini(&bytes);
    tear_down(f);
}

/* ---- much ---- */

enum { LARGE_FRAMES = 1600, LARGE_STEP = 85 };

/* Frames of up to 136 KB, from shared blocks if they are large. */
static void send_much(struct fixture *f)
{
    for (uint64_t seq = 0; seq < LARGE_FRAMES; seq++) {
        struct slice channel = SLICE("news");
        size_t payload_bytes = seq * LARGE_STEP;
        struct block *block = block_new(payload_bytes + 128);
        char *at = msg_write_prefix(block->data, TOPIC_CHANNEL, channel);
        char *payload = mem_new0(payload_bytes + 1);
        at = msg_write_payload(at, slice_of(payload, payload_bytes));
        mem_free(payload);
        block->len = (size_t)(at - block->data);
        struct span body = {block, block->data, block->len};
        const struct wire_frame frame = {
            .type = WIRE_DELIVER,
            .deliver = {.seq = seq, .count = 1, .data = slice_of(block->data, block->len)}};
        f->sending.len = 0;
        wire_encode_head(&f->sending, &frame);
        peer_out_send(f->out, buf_slice(&f->sending), &body);
        if (seq % 100 == 0) { peer_out_flush(f->out); }
        block_unref(block);
    }
    CHECK(peer_out_sent(f->out) <= peer_out_queued(f->out));
}

Test(peer, a_lane_that_takes_nothing_is_given_up)
{
    struct fixture *f = set_up_impatient(true);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    int fd = bare_accept(listener);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_much); /* far more than a socket takes, and nobody reads */
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    close(fd);
    close(listener);
    tear_down(f);
}

Test(peer, a_hundred_megabytes_arrive_whole_before_an_orderly_end)
{
    struct fixture *f = set_up(true);
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_much);
    run_on(f, f->dialling, free_out);
    WAIT_UNTIL(atomic_load(&f->clean_count) + atomic_load(&f->unclean_count) > 0);
    cr_assert_eq(atomic_load(&f->clean_count), 1);
    cr_assert_eq(atomic_load(&f->frame_count), LARGE_FRAMES);
    cr_assert_gt(atomic_load(&f->data_bytes), 100 << 20);
    cr_assert_eq(atomic_load(&f->down_count), 0, "no callback after free");
    tear_down(f);
}

Test(peer, an_abrupt_end_is_unclean)
{
    struct fixture *f = set_up(true);
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->hello_count) == 1);
    run_on(f, f->dialling, free_out_abruptly);
    WAIT_UNTIL(atomic_load(&f->unclean_count) == 1);
    cr_assert_eq(atomic_load(&f->clean_count), 0);
    tear_down(f);
}

Test(peer, what_no_socket_took_is_told_by_its_offset)
{
    struct fixture *f = set_up(false);
    int listener = bare_bind(&f->port);
    cr_assert_eq(listen(listener, 8), 0);
    run_on(f, f->dialling, dial);
    int fd = bare_accept(listener);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_much); /* more than a socket's buffers hold */
    bare_reset(fd);
    WAIT_UNTIL(atomic_load(&f->down_count) == 1);
    uint64_t unsent_from = atomic_load(&f->unsent_from);
    uint64_t queued = atomic_load(&f->queued_at_down);
    cr_assert_gt(queued, 100 << 20);
    cr_assert_gt(unsent_from, 0);
    cr_assert_lt(unsent_from, queued);
    fd = bare_accept(listener);
    cr_assert_eq(bare_read(fd), WIRE_HELLO, "nothing of the old connection is sent on the new one");
    cr_assert_eq(bare_read(fd), WIRE_PING);
    close(fd);
    close(listener);
    tear_down(f);
}
