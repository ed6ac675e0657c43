/* peer_out: resolve, dial, say hello, carry frames, and again. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/peer_int.h"
#include "net/dial.h"

enum out_state {
    OUT_RESTING,
    OUT_RESOLVING,
    OUT_DIALLING,
    OUT_PROVING,
    OUT_UP,
    OUT_FREED,
    OUT_STATES
};

static const uint8_t out_moves[OUT_STATES] = {
    [OUT_RESTING] = 1 << OUT_RESOLVING | 1 << OUT_DIALLING,
    [OUT_RESOLVING] = 1 << OUT_RESTING | 1 << OUT_DIALLING,
    [OUT_DIALLING] = 1 << OUT_RESTING | 1 << OUT_PROVING | 1 << OUT_UP,
    [OUT_PROVING] = 1 << OUT_RESTING | 1 << OUT_UP | 1 << OUT_FREED,
    [OUT_UP] = 1 << OUT_RESTING | 1 << OUT_FREED,
    [OUT_FREED] = 0,
};

struct peer_out {
    struct peer_link link; /* while proving and up, and freed but not done */
    struct peer_out_opts opts;
    enum out_state state;
    struct worker_timer retry;
    struct resolve *resolve;
    struct dial dial;
    uint32_t attempt_count;
    enum trust_way way;  /* of the present connection */
    unsigned way_number; /* trust_dial_way's */
    uint32_t backoff_ms;
    bool is_down_told;
    uint64_t up_ns;
    uint64_t past_bytes; /* queued on earlier connections */
    char host[PEER_HOST_BYTES];
    char node_name[PEER_HOST_BYTES];
    char name[PEER_HOST_BYTES + 8]; /* for the log */
};

static void out_move(struct peer_out *out, enum out_state to)
{
    CHECK(out_moves[out->state] & (1 << to));
    out->state = to;
}

/* ---- down ---- */

static void dial_again(struct peer_out *out);

static void on_retry(struct worker_timer *timer)
{
    dial_again(CONTAINER_OF(timer, struct peer_out, retry));
}

/* Between half of it and all of it, so that workers that lost a node together do not come back together. */
static uint64_t with_jitter(const struct peer_out *out)
{
    struct {
        const void *who;
        uint64_t when_ns;
    } seed = {out, clock_mono_ns()};
    uint64_t cw = out->backoff_ms / 2;
    return out->backoff_ms - slice_hash(slice_of(&seed, sizeof seed)) % (cw + 1);
}

/* The connection, or the attempt, has come to its end. The last thing its caller does: out may be freed. */
static void rest(struct peer_out *out, uint64_t unsent_from)
{
    out_move(out, OUT_RESTING);
    worker_timer_start(out->opts.hub->opts.worker, &out->retry, with_jitter(out), on_retry);
    out->backoff_ms =
        out->backoff_ms < PEER_BACKOFF_MS_MAX / 2 ? out->backoff_ms * 2 : PEER_BACKOFF_MS_MAX;
    if (!out->is_down_told) {
        out->is_down_told = true;
        out->opts.on_down(out->opts.arg, unsent_from);
    }
}

static void dial_failed(struct peer_out *out, const char *why)
{
    enum log_level level = out->is_down_told ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN;
    LOG_LIMITED(level, "peer cannot be reached", LOG_STR("peer", out->name),
                LOG_UINT("node", out->opts.hello.to_node_id), LOG_STR("why", why));
    rest(out, out->past_bytes);
}

static void on_close(struct conn *conn)
{
    struct peer_out *out = CONTAINER_OF(conn, struct peer_out, link.conn);
    peer_link_fini(&out->link);
    if (out->state == OUT_FREED) {
        mem_free(out);
        return;
    }
    const char *why = peer_link_why(&out->link);
    if (out->state == OUT_PROVING) {
        bool has_left = out->link.why == NULL && conn->has_ended;
        out->way_number++;
        dial_failed(out, has_left ? "it left while both ends proved who they are" : why);
        return;
    }
    enum log_level level = out->link.why != NULL ? LOG_LEVEL_WARN : LOG_LEVEL_INFO;
    LOG_LIMITED(level, "peer link down", LOG_STR("peer", out->name),
                LOG_UINT("node", out->opts.hello.to_node_id),
                LOG_UINT("lane", out->opts.hello.is_lane), LOG_STR("why", why));
    uint64_t unsent_bytes = out->link.refused_bytes + conn->lost_bytes;
    out->past_bytes += out->link.queued_bytes;
    if (clock_mono_ns() - out->up_ns > PEER_BACKOFF_MS_MAX * NS_PER_MS) {
        out->backoff_ms = 2 * PEER_BACKOFF_MS_MIN;
        out->way_number = 0;
    } else if (out->way == TRUST_OPEN) {
        out->way_number++; /* it may have been refused for that */
    }
    rest(out, out->past_bytes - unsent_bytes);
}

/* ---- up ---- */

static bool on_frame(struct peer_link *link, const struct wire_frame *frame)
{
    struct peer_out *out = CONTAINER_OF(link, struct peer_out, link);
    if (!peer_may_bring(out->opts.hello.is_lane, true, frame->type)) { return false; }
    return frame->type == WIRE_PING || out->opts.on_frame(out->opts.arg, frame);
}

static void say_hello(struct peer_out *out)
{
    struct buf frame = {0};
    const struct wire_frame hello = {.type = WIRE_HELLO, .hello = out->opts.hello};
    wire_encode(&frame, &hello);
    peer_link_send(&out->link, buf_slice(&frame), NULL);
    buf_fini(&frame);
}

static void come_up(struct peer_out *out)
{
    out_move(out, OUT_UP);
    out->link.hears = !out->opts.hello.is_lane;
    out->link.speaks = true;
    out->is_down_told = false;
    out->up_ns = clock_mono_ns();
    say_hello(out);
    LOG_LIMITED(LOG_LEVEL_INFO, "peer link up", LOG_STR("peer", out->name),
                LOG_UINT("node", out->opts.hello.to_node_id),
                LOG_UINT("lane", out->opts.hello.is_lane),
                LOG_UINT("tls", out->way == TRUST_SEALED));
    out->opts.on_up(out->opts.arg);
}

static void on_proven(struct peer_link *link)
{
    struct peer_out *out = CONTAINER_OF(link, struct peer_out, link);
    if (!peer_link_is_of(link, out->node_name)) {
        peer_link_fail(link, "its certificate is another node's");
        return;
    }
    link->is_hello_only = false;
    out->way_number = 0;
    come_up(out);
}

static void on_dialled(struct dial *dial, int fd, int error)
{
    static const struct conn_ops ops = {.on_data = peer_link_on_data, .on_close = on_close};
    struct peer_out *out = CONTAINER_OF(dial, struct peer_out, dial);
    if (error != 0) {
        dial_failed(out, strerrordesc_np(error));
        return;
    }
    out->way = trust_dial_way(out->opts.hub->opts.trust, out->way_number);
    const struct peer_opening opening = {.fd = fd, .way = out->way, .has_dialled = true};
    peer_link_open(&out->link, out->opts.hub, &opening, &ops);
    out->link.on_frame = on_frame;
    if (out->way == TRUST_OPEN) {
        come_up(out);
        return;
    }
    out_move(out, OUT_PROVING);
    out->link.is_hello_only = true; /* it has as long as a hello has */
    out->link.on_proven = on_proven;
    peer_link_begin(&out->link, out->way, true);
}

/* One that cannot hear learns of a dead peer from the kernel; one that can must not take the peer's pause in
 * reading for its death. */
static void dial_address(struct peer_out *out, const struct address *address)
{
    const struct peer_hub_opts *hub = &out->opts.hub->opts;
    const struct dial_opts opts = {
        .address = *address,
        .timeout_ms = hub->dial_ms_max,
        .user_timeout_ms = out->opts.hello.is_lane ? hub->silence_ms_max : 0,
    };
    out_move(out, OUT_DIALLING);
    dial_start(&out->dial, out->opts.hub->opts.worker, &opts, on_dialled);
}

static void on_resolved(void *arg, const struct resolved *resolved)
{
    struct peer_out *out = arg;
    out->resolve = NULL;
    if (resolved->count == 0) {
        dial_failed(out, resolved->why);
        return;
    }
    dial_address(out, &resolved->address[out->attempt_count % resolved->count]);
}

static void dial_again(struct peer_out *out)
{
    struct address address;
    out->attempt_count++;
    if (resolve_literal(out->host, out->opts.port, &address)) {
        dial_address(out, &address);
        return;
    }
    const struct resolve_opts opts = {
        .host = out->host,
        .port = out->opts.port,
        .mailbox = worker_mailbox(out->opts.hub->opts.worker),
        .on_done = on_resolved,
        .arg = out,
    };
    out_move(out, OUT_RESOLVING);
    out->resolve = resolve_start(out->opts.hub->opts.resolver, &opts);
}

/* ---- for the owner ---- */

struct peer_out *peer_out_new(const struct peer_out_opts *opts)
{
    CHECK(strlen(opts->host) < PEER_HOST_BYTES);
    struct peer_out *out = mem_new0(sizeof *out);
    out->opts = *opts;
    snprintf(out->host, sizeof out->host, "%s", opts->host);
    snprintf(out->name, sizeof out->name, "%s:%u", opts->host, opts->port);
    out->opts.host = out->host;
    snprintf(out->node_name, sizeof out->node_name, "%s", opts->node_name);
    out->opts.node_name = out->node_name;
    out->backoff_ms = 2 * PEER_BACKOFF_MS_MIN;
    dial_again(out);
    return out;
}

void peer_out_free(struct peer_out *out, bool is_abrupt)
{
    if (out->state == OUT_UP || out->state == OUT_PROVING) {
        out_move(out, OUT_FREED);
        peer_link_close(&out->link, is_abrupt);
        return;
    }
    CHECK(out->state != OUT_FREED);
    worker_timer_cancel(&out->retry);
    dial_cancel(&out->dial);
    if (out->resolve != NULL) { resolve_cancel(out->resolve); }
    mem_free(out);
}

bool peer_out_is_up(const struct peer_out *out)
{
    return out->state == OUT_UP;
}

void peer_out_send(struct peer_out *out, struct slice head, const struct span *body)
{
    CHECK(out->state == OUT_UP);
    peer_link_send(&out->link, head, body);
}

void peer_out_flush(struct peer_out *out)
{
    bool is_full = out->link.conn.write_event != NULL;
    if (out->state == OUT_UP && !is_full) { conn_flush(&out->link.conn); }
}

uint64_t peer_out_queued(const struct peer_out *out)
{
    return out->past_bytes + (out->state == OUT_UP ? out->link.queued_bytes : 0);
}

uint64_t peer_out_sent(const struct peer_out *out)
{
    return out->past_bytes + (out->state == OUT_UP ? peer_link_sent(&out->link) : 0);
}
