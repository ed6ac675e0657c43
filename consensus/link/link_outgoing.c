/* link_outgoing: the outgoing connections of the link, to nodes by name and to contacts by address, with back-off.
 * Owns: their sockets and what is queued on them. Not: what frames mean. Thread: the raft thread.
 * Always: what waits for one peer is at most peer_bytes_max per connection. Pings, frames without content, keep a
 * connection from being silent. */
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/link/link_int.h"
#include "consensus/link/message.h"
#include "trust/trust.h"

enum {
    BACKOFF_MS_MIN = 50,
    BACKOFF_MS_MAX = 1000,
    PEERS_MAX = 256,
    IDLE_MS_MAX = 60 * 1000, /* nothing was sent to a peer for so long: forget it */
    ADDRESSES_MAX = 16,      /* of one name that are tried */
};

enum outgoing_state { OUTGOING_IDLE, OUTGOING_RESOLVING, OUTGOING_CONNECTING, OUTGOING_UP };

/* The socket of an outgoing connection lives until libuv has closed it, the connection goes on with
 * another. */
struct socket {
    uv_tcp_t tcp;
    struct outgoing *outgoing; /* NULL: given up */
    struct link *link;
    bool is_proving; /* it is connected, and its proof is under way */
    struct trust_proof proof;
    struct buf got; /* of the proof */
    char drain[64];
};

/* To one peer, of one kind. */
struct outgoing {
    struct peer *peer;
    bool is_bulk;
    enum outgoing_state state;
    struct socket *socket;
    struct buf queue; /* the frame of this turn, without its length */
    size_t inflight_bytes;
    uint64_t backoff_ms;
    uint64_t retry_at_ms;
    uint64_t dialled_ms;
    uint64_t up_ms;        /* it came up then */
    uint64_t told_ms;      /* the log was told so then; 0: never */
    unsigned failed_count; /* addresses of its name that did not answer: the next one's turn */
};

struct peer {
    struct list link;
    struct link *owner;
    char name[LINK_NAME_BYTES];
    bool is_contact; /* whoever listens at this address; only outgoing[0] is used */
    char host[LINK_HOST_BYTES];
    uint16_t port;
    uint64_t used_ms;  /* last sent to */
    uint64_t heard_ms; /* last bytes from it; 0: never */
    struct outgoing outgoing[2];
};

static void on_socket_closed(uv_handle_t *handle)
{
    struct socket *socket = handle->data;
    struct link *link = socket->link;
    link->handle_count--;
    buf_fini(&socket->got);
    mem_free(socket);
    link_maybe_free(link);
}

static void outgoing_down(struct outgoing *outgoing)
{
    struct link *link = outgoing->peer->owner;
    bool has_lasted =
        outgoing->state == OUTGOING_UP && link_now_ms(link) >= outgoing->up_ms + BACKOFF_MS_MAX;
    if (has_lasted) { outgoing->backoff_ms = BACKOFF_MS_MIN; } /* else it was refused */
    if (outgoing->socket != NULL) {
        outgoing->socket->outgoing = NULL;
        uv_close((uv_handle_t *)&outgoing->socket->tcp, on_socket_closed);
        outgoing->socket = NULL;
    }
    outgoing->state = OUTGOING_IDLE;
    buf_fini(&outgoing->queue);
    outgoing->inflight_bytes = 0;
    outgoing->retry_at_ms = link_now_ms(link) + outgoing->backoff_ms;
    outgoing->backoff_ms =
        outgoing->backoff_ms * 2 < BACKOFF_MS_MAX ? outgoing->backoff_ms * 2 : BACKOFF_MS_MAX;
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

/* Write `queue`, which holds the frame behind room for its length, and empty it. */
static void outgoing_write(struct outgoing *outgoing, struct buf *queue)
{
    put_length(queue->data, queue->len - LINK_HEADER_BYTES);
    metric_add(METRIC_raft_link_sent_bytes_total, queue->len);
    uv_buf_t bytes = uv_buf_init(queue->data, (unsigned)queue->len);
    int n = uv_try_write((uv_stream_t *)&outgoing->socket->tcp, &bytes, 1);
    size_t written = n > 0 ? (size_t)n : 0;
    if (n < 0 && n != UV_EAGAIN) {
        outgoing_down(outgoing);
    } else if (written < queue->len) {
        outgoing_write_rest(outgoing, queue, written);
    }
    queue->len = 0;
    if (queue->cap > LINK_READ_BYTES) {
        buf_fini(queue); /* one large frame does not keep its memory */
    }
}

static void queue_begin(struct buf *queue)
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
    queue_begin(&frame);
    hello_encode(&frame, &hello);
    outgoing_write(outgoing, &frame);
    buf_fini(&frame);
}

static void on_drain_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct socket *socket = handle->data;
    (void)size;
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
                 LOG_UINT("bulk", outgoing->is_bulk));
    }
}

/* A few bytes, which a new connection takes at once. */
static bool write_proof(struct socket *socket, const struct buf *out)
{
    uv_buf_t bytes = uv_buf_init(out->data, (unsigned)out->len);
    return out->len == 0 || uv_try_write((uv_stream_t *)&socket->tcp, &bytes, 1) == (int)out->len;
}

static void refuse_proof(struct outgoing *outgoing, const char *why)
{
    if (link_may_tell(outgoing->peer->owner, &outgoing->told_ms)) {
        LOG_WARN("no raft link: the cluster's secret was not proved",
                 LOG_STR("peer", outgoing->peer->name), LOG_STR("why", why));
    }
    outgoing_down(outgoing);
}

/* What comes is the other end's proof, and no more than that. */
static void prove(struct socket *socket, struct slice bytes)
{
    struct buf out = {0};
    enum trust_step step = TRUST_GOES_ON;
    buf_append(&socket->got, bytes);
    struct slice rest = buf_slice(&socket->got);
    for (size_t before = SIZE_MAX; step == TRUST_GOES_ON && rest.len < before;) {
        before = rest.len;
        step = trust_take(&socket->proof, &rest, &out);
    }
    bool is_good = step != TRUST_FAILED && write_proof(socket, &out);
    buf_consume(&socket->got, socket->got.len - rest.len);
    buf_fini(&out);
    if (!is_good || (step == TRUST_PROVEN && rest.len > 0)) {
        refuse_proof(socket->outgoing, "it does not know it");
    } else if (step == TRUST_PROVEN) {
        socket->is_proving = false;
        come_up(socket->outgoing);
    }
}

/* Nothing but a proof is sent back on these connections; reading shows at once when the peer closes. */
static void on_drain(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct socket *socket = stream->data;
    if (n == 0 || socket->outgoing == NULL) { return; }
    if (n > 0 && socket->is_proving) {
        prove(socket, slice_of(buf->base, (size_t)n));
    } else if (n > 0) {
        refuse_proof(socket->outgoing, "it asks for one, and this node has none");
    } else if (socket->is_proving) {
        refuse_proof(socket->outgoing, "it has left: it takes another one for it, or wants none");
    } else {
        outgoing_down(socket->outgoing);
    }
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
    uv_read_start((uv_stream_t *)&socket->tcp, on_drain_alloc, on_drain);
    if (socket->link->opts.trust == NULL) {
        come_up(outgoing);
        return;
    }
    socket->is_proving = true;
    trust_dial(&socket->proof, socket->link->opts.trust, TRUST_RAFT);
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

static void outgoing_dial(struct outgoing *outgoing)
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

static struct peer *peer_find(struct link *link, const char *name)
{
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        if (!peer->is_contact && strcmp(peer->name, name) == 0) { return peer; }
    }
    return NULL;
}

static struct peer *peer_new(struct link *link, const char *name)
{
    struct peer *peer = mem_new0(sizeof *peer);
    peer->owner = link;
    snprintf(peer->name, sizeof peer->name, "%.*s", LINK_NAME_BYTES - 1, name);
    for (int i = 0; i < 2; i++) {
        peer->outgoing[i] =
            (struct outgoing){.peer = peer, .is_bulk = i == 1, .backoff_ms = BACKOFF_MS_MIN};
    }
    list_push_back(&link->peers, &peer->link);
    link->peer_count++;
    return peer;
}

static struct peer *peer_get(struct link *link, const char *name)
{
    struct peer *peer = peer_find(link, name);
    if (peer != NULL || link->peer_count == PEERS_MAX || strlen(name) >= LINK_NAME_BYTES) {
        return peer;
    }
    return peer_new(link, name);
}

static struct peer *contact_get(struct link *link, const char *host, uint16_t port)
{
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        if (peer->is_contact && peer->port == port && strcmp(peer->host, host) == 0) {
            return peer;
        }
    }
    if (link->peer_count == PEERS_MAX || strlen(host) >= LINK_HOST_BYTES) { return NULL; }
    struct peer *peer = peer_new(link, host);
    peer->is_contact = true;
    snprintf(peer->host, sizeof peer->host, "%s", host);
    peer->port = port;
    return peer;
}

static void outgoing_send(struct link *link, struct outgoing *outgoing, struct slice frame)
{
    outgoing->peer->used_ms = link_now_ms(link);
    if (outgoing->state == OUTGOING_IDLE && link_now_ms(link) >= outgoing->retry_at_ms) {
        outgoing_dial(outgoing);
    }
    size_t waiting = outgoing->queue.len + outgoing->inflight_bytes + frame.len;
    if (outgoing->state == OUTGOING_IDLE || waiting > link->opts.peer_bytes_max) {
        link->dropped_count++;
        metric_add(METRIC_raft_link_dropped_frames_total, 1);
        return;
    }
    queue_begin(&outgoing->queue);
    buf_append(&outgoing->queue, frame);
}

void link_send(struct link *link, const char *node_name, struct slice frame, bool is_bulk)
{
    struct peer *peer = link->is_closing ? NULL : peer_get(link, node_name);
    if (peer != NULL) { outgoing_send(link, &peer->outgoing[is_bulk], frame); }
}

void link_send_contact(struct link *link, const char *host, uint16_t port, struct slice frame)
{
    struct peer *peer = link->is_closing ? NULL : contact_get(link, host, port);
    if (peer != NULL) { outgoing_send(link, &peer->outgoing[0], frame); }
}

static void peer_redial(struct peer *peer)
{
    for (int i = 0; i < 2; i++) {
        struct outgoing *outgoing = &peer->outgoing[i];
        if (outgoing->state == OUTGOING_UP || outgoing->state == OUTGOING_CONNECTING) {
            outgoing_down(outgoing);
        }
        outgoing->retry_at_ms = 0;
        outgoing->backoff_ms = BACKOFF_MS_MIN;
    }
}

void link_redial(struct link *link, const char *node_name)
{
    struct peer *peer = link->is_closing ? NULL : peer_find(link, node_name);
    if (peer != NULL) { peer_redial(peer); }
}

void link_set_cluster(struct link *link, uint64_t cluster_id)
{
    link->opts.cluster_id = cluster_id;
    if (link->is_closing) { return; }
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        if (!peer->is_contact) { peer_redial(peer); } /* its hello told another one */
    }
}

void link_heard(struct link *link, const char *name)
{
    struct peer *peer = peer_find(link, name);
    if (peer != NULL) { peer->heard_ms = link_now_ms(link); }
}

/* What the gauges hold of this link, once more. */
static void set_gauges(struct link *link, uint64_t connections, uint64_t queued_bytes)
{
    metric_add(METRIC_raft_link_connections, connections - link->gauge_connections);
    metric_add(METRIC_raft_link_queued_bytes, queued_bytes - link->gauge_queued_bytes);
    link->gauge_connections = connections;
    link->gauge_queued_bytes = queued_bytes;
}

void link_flush(struct link *link)
{
    uint64_t connections = 0;
    uint64_t queued_bytes = 0;
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        for (int i = 0; i < 2; i++) {
            struct outgoing *outgoing = &peer->outgoing[i];
            if (outgoing->state == OUTGOING_UP && outgoing->queue.len > 0) {
                outgoing_write(outgoing, &outgoing->queue);
            }
            connections += outgoing->state == OUTGOING_UP;
            queued_bytes += outgoing->queue.len + outgoing->inflight_bytes;
        }
    }
    set_gauges(link, connections, queued_bytes);
}

/* ---- time ---- */

static void ping(struct outgoing *outgoing)
{
    if (outgoing->state == OUTGOING_UP && outgoing->queue.len == 0 &&
        outgoing->inflight_bytes == 0) {
        queue_begin(&outgoing->queue);
        outgoing_write(outgoing, &outgoing->queue);
    }
}

/* A peer that was heard once and is silent now is stopped, or its machine is: what waits for it is
 * of no use. */
static void watch_peer(struct peer *peer, uint64_t now)
{
    bool is_silent = peer->heard_ms != 0 && now > peer->heard_ms + peer->owner->opts.silence_ms_max;
    if (is_silent) {
        LOG_WARN("a raft peer is silent", LOG_STR("peer", peer->name));
        peer->heard_ms = 0;
    }
    for (int i = 0; i < 2; i++) {
        struct outgoing *outgoing = &peer->outgoing[i];
        bool is_stuck = outgoing->state == OUTGOING_CONNECTING &&
                        now > outgoing->dialled_ms + peer->owner->opts.silence_ms_max;
        if ((is_silent && outgoing->state == OUTGOING_UP) || is_stuck) { outgoing_down(outgoing); }
        ping(outgoing);
    }
}

/* False: a name is being resolved for it. */
static bool peer_forget(struct peer *peer)
{
    struct link *link = peer->owner;
    if (peer->outgoing[0].state == OUTGOING_RESOLVING ||
        peer->outgoing[1].state == OUTGOING_RESOLVING) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        outgoing_down(&peer->outgoing[i]);
        buf_fini(&peer->outgoing[i].queue);
    }
    list_remove(&peer->link);
    link->peer_count--;
    mem_free(peer);
    return true;
}

void link_watch_outgoing(struct link *link)
{
    uint64_t now = link_now_ms(link);
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        if (now <= peer->used_ms + IDLE_MS_MAX || !peer_forget(peer)) { watch_peer(peer, now); }
    }
}

void link_close_outgoing(struct link *link)
{
    set_gauges(link, 0, 0);
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        for (int i = 0; i < 2; i++) {
            outgoing_down(&peer->outgoing[i]);
        }
    }
}

void link_free_outgoing(struct link *link)
{
    while (!list_is_empty(&link->peers)) {
        struct peer *peer = CONTAINER_OF(list_pop_front(&link->peers), struct peer, link);
        buf_fini(&peer->outgoing[0].queue);
        buf_fini(&peer->outgoing[1].queue);
        mem_free(peer);
    }
}
