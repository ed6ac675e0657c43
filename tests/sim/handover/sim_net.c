/* sim_net: cluster/peer.h on a simulated network: connections that are slow, cut, reset and refused, as those of TCP
 * are. Bytes that were sent arrive in order or not at all; who hears nothing for SIM_TIMEOUT_MS gives up. */
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "sim/handover/sim_handover.h"

struct peer_hub {
    struct peer_hub_opts opts;
    struct wire_decoder *decoder;
    struct list outs;
    uint32_t count;
};

struct packet {
    struct list link;
    uint64_t due_ms;
    uint64_t end; /* offset in the dialler's stream */
    struct buf bytes;
};

/* One direction. */
struct pipe {
    struct list packets;
    uint64_t last_due_ms;
    uint64_t not_before_ms; /* what was lost in a cut is sent again */
    bool is_ended;          /* nothing comes after the packets */
    bool is_reset;
};

struct sim_conn {
    struct list link; /* in sim->conns */
    struct peer_out *out;
    struct peer_in *in;
    struct pipe to_in, to_out;
    uint32_t from, to; /* nodes */
    uint64_t taken;    /* of the dialler's stream, by its socket */
    bool is_full;      /* the dialler's socket takes nothing at the moment */
};

enum out_state { OUT_RESTING, OUT_DIALLING, OUT_UP };

struct peer_out {
    struct list link; /* in hub.outs */
    struct peer_out_opts opts;
    struct peer_hub *hub;
    enum out_state state;
    uint64_t due_ms;
    uint64_t heard_ms;
    uint64_t up_ms;
    uint64_t backoff_ms;
    uint64_t queued;
    uint64_t sent_when_down;
    bool is_down_told;
    bool is_failed;
    struct sim_conn *conn;
};

struct peer_in {
    struct sim_conn *conn;
    struct peer_hub *hub;
    void *object; /* NULL until the hello is taken */
    bool is_lane;
    bool is_paused;
    bool is_closing;
    uint64_t heard_ms;
};

bool sim_path_is_open(uint32_t from, uint32_t to)
{
    return !sim->is_cut[from][to];
}

/* ---- pipes ---- */

static void pipe_init(struct pipe *pipe)
{
    *pipe = (struct pipe){0};
    list_init(&pipe->packets);
}

static void packet_free(struct packet *packet)
{
    list_remove(&packet->link);
    buf_fini(&packet->bytes);
    mem_free(packet);
}

static void pipe_clear(struct pipe *pipe)
{
    LIST_EACH (at, &pipe->packets) {
        packet_free(CONTAINER_OF(at, struct packet, link));
    }
}

static void pipe_send(struct pipe *pipe, struct slice head, const struct span *body, uint64_t end)
{
    uint64_t due_ms = sim->now_ms + 1 + sim_random(sim_chance(5) ? 60 : 4);
    if (due_ms < pipe->last_due_ms) { due_ms = pipe->last_due_ms; }
    pipe->last_due_ms = due_ms;
    struct packet *packet = mem_new0(sizeof *packet);
    packet->due_ms = due_ms;
    packet->end = end;
    buf_append(&packet->bytes, head);
    if (body != NULL) { buf_append(&packet->bytes, slice_of(body->data, body->len)); }
    list_push_back(&pipe->packets, &packet->link);
}

/* A reset overtakes what is on its way: of what the socket has taken some arrives before it. */
static void pipe_reset(struct pipe *pipe, uint64_t taken)
{
    bool is_lost = false;
    LIST_EACH (at, &pipe->packets) {
        struct packet *packet = CONTAINER_OF(at, struct packet, link);
        is_lost = is_lost || packet->end > taken || sim_chance(30);
        if (is_lost) { packet_free(packet); }
    }
    pipe->is_ended = true;
    pipe->is_reset = true;
    pipe->last_due_ms = sim->now_ms + 1 + sim_random(3);
}

static bool pipe_moves(const struct pipe *pipe, uint32_t from, uint32_t to)
{
    return sim_path_is_open(from, to) && sim->now_ms >= pipe->not_before_ms;
}

/* The next packet that has arrived, or NULL. */
static struct packet *pipe_next(const struct pipe *pipe, uint32_t from, uint32_t to)
{
    if (list_is_empty(&pipe->packets) || !pipe_moves(pipe, from, to)) { return NULL; }
    struct packet *packet = CONTAINER_OF(pipe->packets.next, struct packet, link);
    return packet->due_ms <= sim->now_ms ? packet : NULL;
}

static bool pipe_is_over(const struct pipe *pipe, uint32_t from, uint32_t to)
{
    return pipe->is_ended && list_is_empty(&pipe->packets) && pipe->last_due_ms <= sim->now_ms &&
           pipe_moves(pipe, from, to);
}

/* ---- connections ---- */

static void conn_release(struct sim_conn *conn)
{
    if (conn->out != NULL || conn->in != NULL) { return; }
    pipe_clear(&conn->to_in);
    pipe_clear(&conn->to_out);
    list_remove(&conn->link);
    mem_free(conn);
}

static void conn_leave_out(struct peer_out *out, bool is_abrupt)
{
    struct sim_conn *conn = out->conn;
    out->conn = NULL;
    if (conn == NULL) { return; }
    conn->out = NULL;
    if (is_abrupt) {
        pipe_reset(&conn->to_in, conn->taken);
    } else {
        conn->taken = UINT64_MAX;
        conn->to_in.is_ended = true;
    }
    conn_release(conn);
}

static void conn_leave_in(struct peer_in *in, bool is_clean)
{
    struct sim_conn *conn = in->conn;
    if (in->object != NULL) { in->hub->opts.in_ops->on_closed(in->object, is_clean); }
    in->hub->count--;
    mem_free(in);
    conn->in = NULL;
    pipe_reset(&conn->to_out, UINT64_MAX);
    conn_release(conn);
}

/* ---- hubs ---- */

struct peer_hub *peer_hub_new(const struct peer_hub_opts *opts)
{
    struct peer_hub *hub = mem_new0(sizeof *hub);
    hub->opts = *opts;
    hub->decoder = wire_decoder_new();
    list_init(&hub->outs);
    opts->worker->hub = hub;
    return hub;
}

void peer_hub_free(struct peer_hub *hub)
{
    if (hub == NULL) { return; }
    CHECK(hub->count == 0 && list_is_empty(&hub->outs));
    wire_decoder_free(hub->decoder);
    mem_free(hub);
}

void peer_hub_close_accepted(struct peer_hub *hub, bool is_abrupt)
{
    LIST_EACH (at, &sim->conns) {
        struct sim_conn *conn = CONTAINER_OF(at, struct sim_conn, link);
        if (conn->in != NULL && conn->in->hub == hub) { peer_in_close(conn->in, is_abrupt); }
    }
}

uint32_t peer_hub_count(const struct peer_hub *hub)
{
    return hub->count;
}

/* ---- dialled ---- */

static void out_rest(struct peer_out *out)
{
    out->state = OUT_RESTING;
    out->sent_when_down = out->conn != NULL ? out->conn->taken : out->queued;
    conn_leave_out(out, true);
    out->due_ms = sim->now_ms + out->backoff_ms / 2 + sim_random(out->backoff_ms / 2 + 1);
    out->backoff_ms =
        out->backoff_ms < PEER_BACKOFF_MS_MAX / 2 ? out->backoff_ms * 2 : PEER_BACKOFF_MS_MAX;
    if (out->is_down_told) { return; }
    out->is_down_told = true;
    uint64_t unsent_from = out->sent_when_down;
    out->sent_when_down = out->queued;
    out->opts.on_down(out->opts.arg, unsent_from);
}

struct peer_out *peer_out_new(const struct peer_out_opts *opts)
{
    struct peer_out *out = mem_new0(sizeof *out);
    out->opts = *opts;
    out->hub = opts->hub;
    out->backoff_ms = 2 * PEER_BACKOFF_MS_MIN;
    out->state = OUT_DIALLING;
    out->due_ms = sim->now_ms + 1 + sim_random(3);
    list_push_back(&out->hub->outs, &out->link);
    return out;
}

void peer_out_free(struct peer_out *out, bool is_abrupt)
{
    conn_leave_out(out, is_abrupt);
    list_remove(&out->link);
    mem_free(out);
}

bool peer_out_is_up(const struct peer_out *out)
{
    return out->state == OUT_UP && !out->is_failed;
}

void peer_out_send(struct peer_out *out, struct slice head, const struct span *body)
{
    CHECK(out->state == OUT_UP);
    out->queued += head.len + (body != NULL ? body->len : 0);
    pipe_send(&out->conn->to_in, head, body, out->queued);
}

void peer_out_flush(struct peer_out *out)
{
    if (out->conn != NULL && !out->conn->is_full) { out->conn->taken = out->queued; }
}

uint64_t peer_out_queued(const struct peer_out *out)
{
    return out->queued;
}

uint64_t peer_out_sent(const struct peer_out *out)
{
    return out->conn != NULL ? out->conn->taken : out->sent_when_down;
}

static struct sim_node *node_of_port(uint16_t port)
{
    return &sim->node[port - 1];
}

static struct peer_in *in_new(struct sim_conn *conn, struct sim_node *node)
{
    struct peer_in *in = mem_new0(sizeof *in);
    in->conn = conn;
    in->hub = node->worker[node->next_accept++ % node->worker_count].hub;
    in->heard_ms = sim->now_ms;
    in->hub->count++;
    return in;
}

static void out_connect(struct peer_out *out)
{
    struct sim_node *to = node_of_port(out->opts.port);
    uint32_t from = out->hub->opts.worker->node->index;
    if (!sim_path_is_open(from, to->index) || !to->is_listening) {
        out_rest(out);
        return;
    }
    struct sim_conn *conn = mem_new0(sizeof *conn);
    conn->from = from;
    conn->to = to->index;
    pipe_init(&conn->to_in);
    pipe_init(&conn->to_out);
    list_push_back(&sim->conns, &conn->link);
    conn->out = out;
    conn->in = in_new(conn, to);
    conn->taken = out->queued;
    out->conn = conn;
    out->state = OUT_UP;
    out->up_ms = sim->now_ms;
    out->heard_ms = sim->now_ms;
    out->is_down_told = false;
    out->is_failed = false;
    struct buf frame = {0};
    const struct wire_frame hello = {.type = WIRE_HELLO, .hello = out->opts.hello};
    wire_encode(&frame, &hello);
    peer_out_send(out, buf_slice(&frame), NULL);
    buf_fini(&frame);
    out->opts.on_up(out->opts.arg);
}

/* An answer has come. */
static void out_take(struct peer_out *out, struct packet *packet)
{
    struct wire_frame frame;
    size_t bytes;
    CHECK(wire_decode(out->hub->decoder, buf_slice(&packet->bytes), &frame, &bytes) == WIRE_OK);
    bool is_good = out->opts.on_frame(out->opts.arg, &frame);
    if (!is_good) { sim_fail("garbage came back to node %u", out->hub->opts.worker->node->index); }
    packet_free(packet);
}

static void out_turn_up(struct peer_out *out)
{
    struct sim_conn *conn = out->conn;
    struct packet *packet;
    if (sim->now_ms - out->up_ms > PEER_BACKOFF_MS_MAX) {
        out->backoff_ms = 2 * PEER_BACKOFF_MS_MIN;
    }
    while (out->conn == conn && (packet = pipe_next(&conn->to_out, conn->to, conn->from)) != NULL) {
        out_take(out, packet);
    }
    if (out->conn != conn) { return; }
    bool is_over = pipe_is_over(&conn->to_out, conn->to, conn->from);
    bool is_silent = sim->now_ms > out->heard_ms + SIM_TIMEOUT_MS;
    if (is_over || is_silent || out->is_failed) { out_rest(out); }
}

static void out_turn(struct peer_out *out)
{
    switch (out->state) {
    case OUT_RESTING:
        if (sim->now_ms < out->due_ms) { return; }
        out->state = OUT_DIALLING;
        out->due_ms = sim->now_ms + 1 + sim_random(3);
        return;
    case OUT_DIALLING:
        if (sim->now_ms >= out->due_ms) { out_connect(out); }
        return;
    case OUT_UP: out_turn_up(out); return;
    }
}

/* ---- accepted ---- */

void peer_in_open(struct peer_hub *hub, int fd)
{
    (void)hub;
    (void)fd;
    UNREACHABLE(); /* no listener accepts anything here */
}

void peer_in_send(struct peer_in *in, struct slice frame)
{
    if (!in->is_closing) { pipe_send(&in->conn->to_out, frame, NULL, 0); }
}

void peer_in_send_span(struct peer_in *in, const struct span *frame)
{
    if (!in->is_closing) { pipe_send(&in->conn->to_out, SLICE(""), frame, 0); }
}

size_t peer_in_backlog(const struct peer_in *in)
{
    (void)in;
    return 0; /* no commands are asked here, whose answers look at it */
}

bool peer_in_is_of(struct peer_in *in, const char *node_name)
{
    (void)in;
    (void)node_name;
    return true; /* no certificates are shown here */
}

void peer_in_pause(struct peer_in *in)
{
    in->is_paused = true;
}

void peer_in_resume(struct peer_in *in)
{
    in->is_paused = false;
    in->heard_ms = sim->now_ms;
}

void peer_in_close(struct peer_in *in, bool is_abrupt)
{
    (void)is_abrupt;
    in->is_closing = true;
}

/* False: to be closed. */
static bool in_take(struct peer_in *in, const struct wire_frame *frame)
{
    const struct peer_in_ops *ops = in->hub->opts.in_ops;
    if (in->object != NULL) { return frame->type == WIRE_PING || ops->on_frame(in->object, frame); }
    const char *why = "";
    in->is_lane = frame->hello.is_lane;
    in->object = ops->on_hello(in->hub->opts.arg, in, &frame->hello, &why);
    if (in->object == NULL && sim->is_verbose) {
        sim_say("node %u refuses node %u: %s", in->conn->to, in->conn->from, why);
    }
    return in->object != NULL;
}

static bool in_packet(struct peer_in *in, struct packet *packet)
{
    struct wire_frame frame;
    size_t bytes;
    CHECK(wire_decode(in->hub->decoder, buf_slice(&packet->bytes), &frame, &bytes) == WIRE_OK);
    bool is_hello = in->object == NULL;
    bool is_good = in_take(in, &frame);
    if (!is_good && !is_hello) { sim_fail("garbage came to node %u", in->conn->to); }
    packet_free(packet);
    return is_good;
}

static void in_batch_end(struct peer_in *in)
{
    const struct peer_in_ops *ops = in->hub->opts.in_ops;
    if (in->object != NULL && ops->on_batch_end != NULL) { ops->on_batch_end(in->object); }
}

static void in_turn(struct peer_in *in)
{
    struct sim_conn *conn = in->conn;
    struct packet *packet;
    while (!in->is_closing && !in->is_paused &&
           (packet = pipe_next(&conn->to_in, conn->from, conn->to)) != NULL &&
           packet->end <= conn->taken) {
        if (!in_packet(in, packet)) {
            in_batch_end(in);
            conn_leave_in(in, false);
            return;
        }
    }
    in_batch_end(in);
    bool is_over = !in->is_paused && pipe_is_over(&conn->to_in, conn->from, conn->to);
    bool is_silent = !in->is_paused && sim->now_ms > in->heard_ms + SIM_TIMEOUT_MS;
    if (is_over || is_silent || in->is_closing) {
        conn_leave_in(in, is_over && !conn->to_in.is_reset);
    }
}

/* ---- time ---- */

void sim_net_turn(struct worker *worker)
{
    LIST_EACH (at, &worker->hub->outs) {
        out_turn(CONTAINER_OF(at, struct peer_out, link));
    }
    LIST_EACH (at, &sim->conns) {
        struct sim_conn *conn = CONTAINER_OF(at, struct sim_conn, link);
        if (conn->in != NULL && conn->in->hub == worker->hub) { in_turn(conn->in); }
    }
}

/* Pings are not simulated: who could be heard is heard. */
void sim_net_step(void)
{
    LIST_EACH (at, &sim->conns) {
        struct sim_conn *conn = CONTAINER_OF(at, struct sim_conn, link);
        bool is_open =
            sim_path_is_open(conn->from, conn->to) && sim_path_is_open(conn->to, conn->from);
        bool hears_in = conn->in != NULL && sim_is_running(&sim->node[conn->to]);
        bool hears_out = conn->out != NULL && sim_is_running(&sim->node[conn->from]);
        /* A lane's dialler learns from the kernel of the other side, which lives while the process is paused. */
        bool is_lane = conn->out != NULL && conn->out->opts.hello.is_lane;
        if (is_open && (hears_in || is_lane) && conn->out != NULL) {
            conn->out->heard_ms = sim->now_ms;
        }
        if (is_open && hears_out && conn->in != NULL) { conn->in->heard_ms = sim->now_ms; }
        conn->is_full = !is_open && (conn->is_full || sim_chance(1));
    }
}

void sim_net_heal(void)
{
    memset(sim->is_cut, 0, sizeof sim->is_cut);
    LIST_EACH (at, &sim->conns) {
        struct sim_conn *conn = CONTAINER_OF(at, struct sim_conn, link);
        conn->to_in.not_before_ms = sim->now_ms + sim_random(250);
        conn->to_out.not_before_ms = sim->now_ms + sim_random(250);
    }
}

void sim_net_reset_one(void)
{
    uint64_t count = 0;
    LIST_EACH (at, &sim->conns) {
        count++;
    }
    if (count == 0) { return; }
    uint64_t chosen = sim_random(count);
    LIST_EACH (at, &sim->conns) {
        struct sim_conn *conn = CONTAINER_OF(at, struct sim_conn, link);
        if (chosen-- > 0) { continue; }
        if (conn->out != NULL) { conn->out->is_failed = true; }
        if (conn->in != NULL) { conn->in->is_closing = true; }
        return;
    }
}
