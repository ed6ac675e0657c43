/* link_outgoing: one outgoing connection: its name resolved, dialled, TLS, its proof, and what is written on it.
 * Owns: its socket. Not: whom it is to, and when it is dialled (link_peers.c). Thread: the raft thread. */
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/link/link_outgoing_int.h"
#include "consensus/link/message.h"
#include "trust/identity.h"
#include "trust/seal.h"
#include "trust/trust.h"

enum {
    ADDRESSES_MAX = 16, /* of one name that are tried */
    SEALED_READ_BYTES = 16 << 10,
};

static void on_socket_closed(uv_handle_t *handle)
{
    struct socket *socket = handle->data;
    struct link *link = socket->link;
    link->handle_count--;
    buf_fini(&socket->got);
    seal_free(socket->seal);
    mem_free(socket);
    link_maybe_free(link);
}

void outgoing_down(struct outgoing *outgoing)
{
    struct link *link = outgoing->peer->owner;
    bool has_lasted = outgoing->state == OUTGOING_UP &&
                      link_now_ms(link) >= outgoing->up_ms + LINK_BACKOFF_MS_MAX;
    if (has_lasted) { outgoing->backoff_ms = LINK_BACKOFF_MS_MIN; } /* else it was refused */
    if (outgoing->socket != NULL) {
        bool is_at_fault = outgoing->socket->is_proving ||
                           (outgoing->state == OUTGOING_UP && outgoing->socket->way == TRUST_OPEN);
        outgoing->way_number = is_at_fault && !has_lasted ? outgoing->way_number + 1 : 0;
        outgoing->socket->outgoing = NULL;
        uv_close((uv_handle_t *)&outgoing->socket->tcp, on_socket_closed);
        outgoing->socket = NULL;
    }
    outgoing->state = OUTGOING_IDLE;
    buf_fini(&outgoing->queue);
    outgoing->inflight_bytes = 0;
    outgoing->retry_at_ms = link_now_ms(link) + outgoing->backoff_ms;
    outgoing->backoff_ms = outgoing->backoff_ms * 2 < LINK_BACKOFF_MS_MAX ? outgoing->backoff_ms * 2
                                                                          : LINK_BACKOFF_MS_MAX;
}

struct write {
    uv_write_t request;
    struct socket *socket;
    struct link *link;
    size_t bytes;
    struct buf data;
};

static void on_written(uv_write_t *request, int status)
{
    struct write *write = request->data;
    struct outgoing *outgoing =
        write->link->is_closing || status == UV_ECANCELED ? NULL : write->socket->outgoing;
    write->link->handle_count--;
    if (outgoing != NULL) {
        outgoing->inflight_bytes -= write->bytes;
        if (status != 0) { outgoing_down(outgoing); }
    }
    struct link *link = write->link;
    buf_fini(&write->data);
    mem_free(write);
    link_maybe_free(link);
}

static void put_length(char *to, size_t bytes)
{
    for (int i = 0; i < LINK_HEADER_BYTES; i++) {
        to[i] = (char)(bytes >> (8 * (LINK_HEADER_BYTES - 1 - i)));
    }
}

/* Hand what the socket did not take at once to libuv; takes the memory of `queue`. */
static void outgoing_write_rest(struct outgoing *outgoing, struct buf *queue, size_t written)
{
    struct write *write = mem_new0(sizeof *write);
    write->request.data = write;
    write->socket = outgoing->socket;
    write->link = outgoing->peer->owner;
    write->data = *queue;
    write->bytes = queue->len - written;
    *queue = (struct buf){0};
    uv_buf_t bytes = uv_buf_init(write->data.data + written, (unsigned)write->bytes);
    if (uv_write(&write->request, (uv_stream_t *)&outgoing->socket->tcp, &bytes, 1, on_written) !=
        0) {
        buf_fini(&write->data);
        mem_free(write);
        outgoing_down(outgoing);
        return;
    }
    write->link->handle_count++;
    outgoing->inflight_bytes += write->bytes;
}

/* Write all that `bytes` holds; may take its memory. */
static void write_bytes(struct outgoing *outgoing, struct buf *bytes)
{
    metric_add(METRIC_raft_link_sent_bytes_total, bytes->len);
    uv_buf_t part = uv_buf_init(bytes->data, (unsigned)bytes->len);
    int n = uv_try_write((uv_stream_t *)&outgoing->socket->tcp, &part, 1);
    size_t written = n > 0 ? (size_t)n : 0;
    if (n < 0 && n != UV_EAGAIN) {
        outgoing_down(outgoing);
    } else if (written < bytes->len) {
        outgoing_write_rest(outgoing, bytes, written);
    }
    bytes->len = 0;
}

static void write_sealed(struct outgoing *outgoing, struct slice plain)
{
    struct buf *sealed = &outgoing->peer->owner->sealed;
    sealed->len = 0;
    if (seal_put(outgoing->socket->seal, plain, sealed)) {
        write_bytes(outgoing, sealed);
    } else {
        outgoing_down(outgoing);
    }
    if (sealed->cap > 2 * LINK_READ_BYTES) { buf_fini(sealed); }
}

void outgoing_write(struct outgoing *outgoing, struct buf *queue)
{
    put_length(queue->data, queue->len - LINK_HEADER_BYTES);
    if (outgoing->socket->seal != NULL) {
        write_sealed(outgoing, buf_slice(queue));
    } else {
        write_bytes(outgoing, queue);
    }
    queue->len = 0;
    if (queue->cap > LINK_READ_BYTES) {
        buf_fini(queue); /* one large frame does not keep its memory */
    }
}

void outgoing_queue_begin(struct buf *queue)
{
    if (queue->len == 0) {
        memset(buf_reserve(queue, LINK_HEADER_BYTES), 0, LINK_HEADER_BYTES);
        queue->len = LINK_HEADER_BYTES;
    }
}

static void say_hello(struct outgoing *outgoing)
{
    const struct link_opts *opts = &outgoing->peer->owner->opts;
    struct hello hello = {opts->cluster_id,
                          opts->node_id,
                          opts->node_name,
                          LINK_VERSION,
                          outgoing->is_bulk,
                          outgoing->peer->is_contact,
                          outgoing->peer->is_contact ? "" : outgoing->peer->name};
    struct buf frame = {0};
    outgoing_queue_begin(&frame);
    hello_encode(&frame, &hello);
    outgoing_write(outgoing, &frame);
    buf_fini(&frame);
}

static void on_drain_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct socket *socket = handle->data;
    (void)size;
    if (socket->seal != NULL) {
        *buf = uv_buf_init(buf_reserve(&socket->link->wire, SEALED_READ_BYTES), SEALED_READ_BYTES);
        return;
    }
    *buf = uv_buf_init(socket->drain, sizeof socket->drain);
}

static void come_up(struct outgoing *outgoing)
{
    outgoing->state = OUTGOING_UP;
    outgoing->up_ms = link_now_ms(outgoing->peer->owner);
    say_hello(outgoing);
    if (outgoing->state == OUTGOING_UP && !outgoing->peer->is_contact &&
        link_may_tell(outgoing->peer->owner, &outgoing->told_ms)) {
        LOG_INFO("raft link up", LOG_STR("peer", outgoing->peer->name),
                 LOG_UINT("bulk", outgoing->is_bulk),
                 LOG_UINT("tls", outgoing->socket->seal != NULL));
    }
}

/* A few bytes, which a new connection takes at once. */
static bool write_proof(struct socket *socket, const struct buf *out)
{
    uv_buf_t bytes = uv_buf_init(out->data, (unsigned)out->len);
    return out->len == 0 || uv_try_write((uv_stream_t *)&socket->tcp, &bytes, 1) == (int)out->len;
}

static bool write_proof_any(struct socket *socket, const struct buf *out)
{
    if (socket->seal == NULL) { return write_proof(socket, out); }
    struct buf *sealed = &socket->link->sealed;
    sealed->len = 0;
    return seal_put(socket->seal, buf_slice(out), sealed) && write_proof(socket, sealed);
}

static void refuse_proof(struct outgoing *outgoing, const char *why)
{
    if (link_may_tell(outgoing->peer->owner, &outgoing->told_ms)) {
        LOG_WARN("no raft link: the cluster's secret was not proved",
                 LOG_STR("peer", outgoing->peer->name), LOG_STR("why", why));
    }
    outgoing_down(outgoing);
}

static void refuse_sealed(struct outgoing *outgoing, const char *why)
{
    if (link_may_tell(outgoing->peer->owner, &outgoing->told_ms)) {
        LOG_WARN("no raft link: its TLS has failed", LOG_STR("peer", outgoing->peer->name),
                 LOG_STR("why", why));
    }
    outgoing_down(outgoing);
}

/* What has come, in socket->got, is the other end's proof, and no more than that. */
static void prove(struct socket *socket)
{
    struct buf out = {0};
    enum trust_step step = TRUST_GOES_ON;
    struct slice rest = buf_slice(&socket->got);
    for (size_t before = SIZE_MAX; step == TRUST_GOES_ON && rest.len < before;) {
        before = rest.len;
        step = trust_take(&socket->proof, &rest, &out);
    }
    bool is_good = step != TRUST_FAILED && write_proof_any(socket, &out);
    buf_consume(&socket->got, socket->got.len - rest.len);
    buf_fini(&out);
    if (!is_good || (step == TRUST_PROVEN && rest.len > 0)) {
        bool is_unasked = socket->proof.state == TRUST_AWAITS_NONCE;
        refuse_proof(socket->outgoing,
                     is_unasked ? "only one of the two has one" : "it does not know it");
    } else if (step == TRUST_PROVEN) {
        socket->is_proving = false;
        come_up(socket->outgoing);
    }
}

/* Is at the other end who was dialled? A contact may be anybody whose certificate is good. */
static bool is_whom_we_mean(struct socket *socket)
{
    const struct peer *peer = socket->outgoing->peer;
    if (peer->is_contact || identity_is_of(seal_ssl(socket->seal), peer->name)) { return true; }
    struct buf names = {0};
    identity_print_names(seal_ssl(socket->seal), &names);
    LOG_LIMITED(LOG_LEVEL_WARN, "no raft link: its certificate is another node's",
                LOG_STR("peer", peer->name), LOG_SLICE("certificate_of", buf_slice(&names)));
    buf_fini(&names);
    return false;
}

static void take_sealed(struct socket *socket, struct slice bytes)
{
    struct buf *out = &socket->link->sealed;
    bool was_up = seal_is_up(socket->seal);
    out->len = 0;
    enum seal_step step = seal_take(socket->seal, bytes, &socket->got, out);
    bool is_written = write_proof(socket, out);
    if (step != SEAL_GOES_ON || !is_written) {
        if (step == SEAL_FAILED) { metric_add(METRIC_cluster_tls_failures_total, 1); }
        refuse_sealed(socket->outgoing, seal_why(socket->seal));
        return;
    }
    if (!was_up && seal_is_up(socket->seal)) {
        metric_add(METRIC_cluster_tls_handshakes_total, 1);
        identity_note(trust_identity(socket->link->opts.trust), seal_ssl(socket->seal),
                      socket->identity_number);
        if (!is_whom_we_mean(socket)) {
            outgoing_down(socket->outgoing);
            return;
        }
    }
    if (socket->got.len == 0) { return; }
    if (socket->is_proving) {
        prove(socket);
    } else {
        refuse_sealed(socket->outgoing, "it says what nobody has asked for");
    }
}

/* Nothing but a proof is sent back on these connections; reading shows at once when the peer closes. */
static void on_drain(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct socket *socket = stream->data;
    if (n == 0 || socket->outgoing == NULL) { return; }
    if (n > 0 && socket->seal != NULL) {
        take_sealed(socket, slice_of(buf->base, (size_t)n));
    } else if (n > 0 && socket->is_proving) {
        buf_append(&socket->got, slice_of(buf->base, (size_t)n));
        prove(socket);
    } else if (n > 0) {
        refuse_proof(socket->outgoing, "it asks for one, and this node has none");
    } else if (socket->is_proving && socket->seal != NULL) {
        refuse_sealed(socket->outgoing, "it has left: it speaks none, or refuses this node");
    } else if (socket->is_proving) {
        refuse_proof(socket->outgoing, "it has left: it takes another one for it, or wants none");
    } else {
        outgoing_down(socket->outgoing);
    }
}

/* Of a socket that does not take the first bytes its end is told to on_drain. */
static void begin_sealed(struct socket *socket)
{
    struct identity *identity = trust_identity(socket->link->opts.trust);
    struct buf *out = &socket->link->sealed;
    out->len = 0;
    socket->identity_number = identity_number(identity);
    socket->seal = seal_new(identity, true, out);
    (void)write_proof(socket, out);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct socket *socket = request->data;
    mem_free(request);
    struct outgoing *outgoing = socket->outgoing;
    if (outgoing == NULL) { return; }
    if (status != 0) {
        outgoing->failed_count = (outgoing->failed_count + 1) % ADDRESSES_MAX;
        outgoing_down(outgoing);
        return;
    }
    uv_tcp_nodelay(&socket->tcp, 1);
    socket->way = trust_dial_way(socket->link->opts.trust, outgoing->way_number);
    socket->connected_ms = link_now_ms(socket->link);
    if (socket->way == TRUST_SEALED) { begin_sealed(socket); }
    uv_read_start((uv_stream_t *)&socket->tcp, on_drain_alloc, on_drain);
    if (socket->way == TRUST_OPEN) {
        come_up(outgoing);
        return;
    }
    socket->is_proving = true;
    trust_dial(&socket->proof, socket->link->opts.trust, TRUST_RAFT,
               socket->seal != NULL ? seal_ssl(socket->seal) : NULL);
}

static void outgoing_connect(struct outgoing *outgoing, const struct sockaddr *address)
{
    struct link *link = outgoing->peer->owner;
    struct socket *socket = mem_new0(sizeof *socket);
    uv_connect_t *request = mem_new0(sizeof *request);
    socket->outgoing = outgoing;
    socket->link = link;
    CHECK(uv_tcp_init(link->opts.loop, &socket->tcp) == 0);
    socket->tcp.data = socket;
    request->data = socket;
    link->handle_count++;
    outgoing->socket = socket;
    outgoing->state = OUTGOING_CONNECTING;
    outgoing->dialled_ms = link_now_ms(link);
    if (uv_tcp_connect(request, &socket->tcp, address, on_connected) != 0) {
        mem_free(request);
        outgoing_down(outgoing);
    }
}

static const struct sockaddr *pick_address(const struct addrinfo *found, unsigned turn)
{
    const struct addrinfo *at = found;
    while (turn-- > 0) {
        at = at->ai_next != NULL ? at->ai_next : found;
    }
    return at->ai_addr;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct outgoing *outgoing = request->data;
    struct link *link = outgoing->peer->owner;
    mem_free(request);
    link->handle_count--;
    if (link->is_closing) {
        link_maybe_free(link);
    } else if (status != 0) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft peer's name cannot be resolved",
                    LOG_STR("peer", outgoing->peer->name), LOG_STR("error", uv_strerror(status)));
        outgoing_down(outgoing);
    } else {
        outgoing_connect(outgoing, pick_address(found, outgoing->failed_count));
    }
    uv_freeaddrinfo(found);
}

void outgoing_dial(struct outgoing *outgoing)
{
    struct link *link = outgoing->peer->owner;
    char host[LINK_HOST_BYTES];
    char port[8];
    uint16_t number = outgoing->peer->port;
    if (outgoing->peer->is_contact) {
        snprintf(host, sizeof host, "%s", outgoing->peer->host);
    } else if (!link->opts.address_of(link->opts.arg, outgoing->peer->name, host, &number)) {
        outgoing_down(outgoing);
        return;
    }
    snprintf(port, sizeof port, "%u", number);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    uv_getaddrinfo_t *request = mem_new0(sizeof *request);
    request->data = outgoing;
    outgoing->state = OUTGOING_RESOLVING;
    if (uv_getaddrinfo(link->opts.loop, request, on_resolved, host, port, &hints) != 0) {
        mem_free(request);
        outgoing_down(outgoing);
        return;
    }
    link->handle_count++;
}

/* A node that has no secret yet says nothing. */
bool outgoing_has_no_nonce(const struct outgoing *outgoing)
{
    const struct socket *socket = outgoing->socket;
    return socket != NULL && socket->is_proving && socket->way == TRUST_PROVED &&
           socket->proof.state == TRUST_AWAITS_NONCE && trust_has_ways(socket->link->opts.trust) &&
           link_now_ms(socket->link) > socket->connected_ms + TRUST_NONCE_WAIT_MS;
}
