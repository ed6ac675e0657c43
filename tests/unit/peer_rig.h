/* peer_rig: both ends of the peer link over loopback: a dialling and an accepting hub, each on a worker of its own, or one of them
 * against a bare socket that the test holds. */
#ifndef FANFARE_TESTS_PEER_RIG_H
#define FANFARE_TESTS_PEER_RIG_H

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
#include "unit/node_rig.h"
#include "unit/wait_until.h"

enum { SILENCE_MS = 1000, PATIENCE_MS = 2 * WAIT_MS, NODE = 7 };

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

static inline void on_up(void *arg)
{
    atomic_fetch_add(&((struct fixture *)arg)->up_count, 1);
}

static inline void on_down(void *arg, uint64_t unsent_from)
{
    struct fixture *f = arg;
    atomic_store(&f->unsent_from, unsent_from);
    atomic_store(&f->queued_at_down, peer_out_queued(f->out));
    CHECK(peer_out_sent(f->out) == peer_out_queued(f->out));
    atomic_fetch_add(&f->down_count, 1);
}

static inline bool on_answer(void *arg, const struct wire_frame *frame)
{
    struct fixture *f = arg;
    CHECK(frame->type == WIRE_PUBLISHED);
    atomic_fetch_add(&f->answer_count, 1);
    return frame->published.receivers != 666;
}

static inline void *on_hello(void *arg, struct peer_in *in, const struct wire_hello *hello,
                             const char **why)
{
    struct fixture *f = arg;
    CHECK(hello->node_id == NODE);
    if (atomic_load(&f->refuses) || !peer_in_is_of(in, "a")) {
        *why = "the test says so";
        return NULL;
    }
    f->in = in;
    atomic_fetch_add(&f->hello_count, 1);
    return f;
}

static inline void answer(struct fixture *f, uint64_t id)
{
    struct buf frame = {0};
    wire_encode(&frame, &(struct wire_frame){.type = WIRE_PUBLISHED, .published = {.id = id}});
    peer_in_send(f->in, buf_slice(&frame));
    buf_fini(&frame);
}

static inline bool on_frame(void *object, const struct wire_frame *frame)
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

static inline void on_closed(void *object, bool is_clean)
{
    struct fixture *f = object;
    atomic_fetch_add(is_clean ? &f->clean_count : &f->unclean_count, 1);
}

static inline void on_batch_end(void *object)
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

static inline void on_call(struct task *task)
{
    struct call *call = CONTAINER_OF(task, struct call, task);
    call->run(call->f);
    atomic_store(&call->is_done, true);
}

static inline void run_on(struct fixture *f, struct worker *worker, void (*run)(struct fixture *f))
{
    struct call call = {.task = {.run = on_call}, .f = f, .run = run};
    mailbox_post(worker_mailbox(worker), &call.task);
    WAIT_UNTIL(atomic_load(&call.is_done));
}

static inline void on_turn_end(void *arg)
{
    worker_flush_replies(*(struct worker **)arg);
}

static inline void start_worker(struct worker **worker, uint32_t index)
{
    const struct worker_opts opts = {.index = index, .on_turn_end = on_turn_end, .arg = worker};
    *worker = worker_new(&opts);
}

static inline void on_accept(void *arg, int fd)
{
    peer_in_open(((struct fixture *)arg)->accept_hub, fd);
}

/* Takes what both ends know; NULL: nothing is asked for. */
static inline struct fixture *set_up_by(bool is_lane, uint32_t silence_ms_max,
                                        struct trust *dialler, struct trust *acceptor)
{
    struct fixture *f = mem_new0(sizeof *f);
    f->dial_trust = dialler;
    f->accept_trust = acceptor;
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

/* The secrets of both ends; NULL: none is asked for. */
static inline struct fixture *set_up_trusting(bool is_lane, uint32_t silence_ms_max,
                                              const char *dialler, const char *acceptor)
{
    return set_up_by(is_lane, silence_ms_max, dialler != NULL ? trust_of(dialler) : NULL,
                     acceptor != NULL ? trust_of(acceptor) : NULL);
}

static inline struct fixture *set_up_with(bool is_lane, uint32_t silence_ms_max)
{
    return set_up_trusting(is_lane, silence_ms_max, NULL, NULL);
}

/* For what is about time. */
static inline struct fixture *set_up_impatient(bool is_lane)
{
    return set_up_with(is_lane, SILENCE_MS);
}

static inline struct fixture *set_up(bool is_lane)
{
    return set_up_with(is_lane, PATIENCE_MS);
}

static inline void free_out_abruptly(struct fixture *f)
{
    peer_out_free(f->out, true);
    f->out = NULL;
}

static inline void free_out(struct fixture *f)
{
    peer_out_free(f->out, false);
    f->out = NULL;
}

static inline void close_accepted(struct fixture *f)
{
    listener_stop(f->listener);
    peer_hub_close_accepted(f->accept_hub, true);
}

static inline void stop_worker(struct worker *worker)
{
    worker_stop(worker);
    worker_join(worker);
}

static inline void check_none_left(struct fixture *f)
{
    CHECK(peer_hub_count(f->accept_hub) == 0);
}

static inline void check_few_are_left(struct fixture *f)
{
    CHECK(peer_hub_count(f->accept_hub) <= PEER_STRANGERS_MAX + 1);
}

static inline void tear_down(struct fixture *f)
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

static inline void dial(struct fixture *f)
{
    const struct peer_out_opts opts = {
        .hub = f->dial_hub,
        .hello = {.version = WIRE_VERSION,
                  .node_id = NODE,
                  .is_lane = f->is_lane,
                  .worker_count = 1},
        .host = f->host,
        .port = f->port,
        .node_name = "b",
        .on_up = on_up,
        .on_down = on_down,
        .on_frame = on_answer,
        .arg = f,
    };
    f->out = peer_out_new(&opts);
}

/* ---- bare sockets ---- */

static inline struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static inline int bare_bind(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static inline int bare_accept(int listener)
{
    cr_assert_eq(poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, WAIT_MS), 1);
    int fd = accept(listener, NULL, NULL);
    cr_assert_geq(fd, 0);
    return fd;
}

static inline void bare_send(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        cr_assert_gt(n, 0);
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
}

static inline void bare_reset(int fd)
{
    const struct linger none = {.l_onoff = 1};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    close(fd);
}

/* Read until the other side closes; by RST or by FIN. */
static inline bool bare_wait_reset(int fd)
{
    for (;;) {
        char bytes[4096];
        cr_assert_eq(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, WAIT_MS), 1);
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0) { return n < 0; }
    }
}

/* Read one frame, which may be nothing but a hello or ping. */
static inline enum wire_type bare_read(int fd)
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

static inline struct wire_frame hello_frame(bool is_lane)
{
    return (struct wire_frame){
        .type = WIRE_HELLO,
        .hello = {.version = WIRE_VERSION, .node_id = NODE, .is_lane = is_lane, .worker_count = 1}};
}

static inline void add_run(struct buf *out, enum wire_type type, uint64_t seq)
{
    static const char data[] = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
    struct wire_frame frame = {
        .type = type,
        .deliver = {.id = seq, .seq = seq, .count = 1, .data = slice_of(data, sizeof data - 1)}};
    wire_encode(out, &frame);
}

static inline int bare_connect(struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(f->port);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* A bare connection to the listener that has said hello and been taken. */
static inline int bare_peer(struct fixture *f, bool is_lane)
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

static inline void send_publishes(struct fixture *f)
{
    f->sending.len = 0;
    for (uint64_t id = 1; id <= 1000; id++) {
        add_run(&f->sending, WIRE_PUBLISH, id);
    }
    CHECK(peer_out_is_up(f->out));
    peer_out_send(f->out, buf_slice(&f->sending), NULL);
    peer_out_flush(f->out);
}

/* ---- much ---- */

enum { LARGE_FRAMES = 1600, LARGE_STEP = 85 };

/* Frames of up to 136 KB, from shared blocks if they are large. */
static inline void send_much(struct fixture *f)
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

/* All of it, by a link of its own, before the end that the dialling side makes of it. */
static inline void much_arrives(struct fixture *f)
{
    run_on(f, f->dialling, dial);
    WAIT_UNTIL(atomic_load(&f->up_count) == 1);
    run_on(f, f->dialling, send_much);
    run_on(f, f->dialling, free_out);
    WAIT_UNTIL(atomic_load(&f->clean_count) + atomic_load(&f->unclean_count) > 0);
    cr_assert_eq(atomic_load(&f->clean_count), 1);
    cr_assert_eq(atomic_load(&f->frame_count), LARGE_FRAMES);
    cr_assert_gt(atomic_load(&f->data_bytes), 100 << 20);
}

#endif
