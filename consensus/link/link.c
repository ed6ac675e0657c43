/* link: outgoing connections, to nodes by name and to contacts by address, with back-off; and the
 * life of the whole.
 * Owns: the outgoing sockets and what is queued on them. Not: incoming connections (link_in.c), what
 * frames mean. Thread: the raft thread.
 * Always: what waits for one peer is at most peer_bytes_max per connection; a connection that
 * carries garbage, or nothing at all for silence_ms_max, is closed, and nothing else happens to
 * anybody. Pings, frames without content, keep a connection from being silent. */
#include "consensus/link/link.h"

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

enum {
    BACKOFF_MS_MIN = 50,
    BACKOFF_MS_MAX = 1000,
    PINGS_PER_SILENCE = 5,
    LISTEN_BACKLOG = 128,
    PEERS_MAX = 256,
    IDLE_MS_MAX = 60 * 1000, /* nothing was sent to a peer for so long: forget it */
    ADDRESSES_MAX = 16,      /* of one name that are tried */
    TELL_MS = 10 * 1000,     /* between log lines about what happens again and again */
};

enum out_state { OUT_IDLE, OUT_RESOLVING, OUT_CONNECTING, OUT_UP };

/* The socket of an outgoing connection lives until libuv has closed it, the connection goes on with
 * another. */
struct socket {
    uv_tcp_t tcp;
    struct out *out; /* NULL: given up */
    struct link *link;
    char drain[64];
};

/* To one peer, of one kind. */
struct out {
    struct peer *peer;
    bool is_bulk;
    enum out_state state;
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
    bool is_contact; /* whoever listens at this address; only outs[0] is used */
    char host[LINK_HOST_BYTES];
    uint16_t port;
    uint64_t used_ms;  /* last sent to */
    uint64_t heard_ms; /* last bytes from it; 0: never */
    struct out outs[2];
};

uint64_t link_now_ms(const struct link *link)
{
    return uv_now(link->opts.loop);
}

bool link_may_tell(const struct link *link, uint64_t *told_ms)
{
    if (*told_ms != 0 && link_now_ms(link) < *told_ms + TELL_MS) { return false; }
    *told_ms = link_now_ms(link);
    return true;
}

void link_maybe_free(struct link *link)
{
    if (!link->is_closing || link->handle_count > 0) { return; }
    while (!list_is_empty(&link->peers)) {
        struct peer *peer = CONTAINER_OF(list_pop_front(&link->peers), struct peer, link);
        buf_fini(&peer->outs[0].queue);
        buf_fini(&peer->outs[1].queue);
        mem_free(peer);
    }
    void (*on_closed)(void *arg) = link->on_closed;
    void *arg = link->closed_arg;
    mem_free(link);
    on_closed(arg);
}

/* ---- out ---- */

static void on_socket_closed(uv_handle_t *handle)
{
    struct socket *socket = handle->data;
    struct link *link = socket->link;
    link->handle_count--;
    mem_free(socket);
    link_maybe_free(link);
}

static void out_down(struct out *out)
{
    struct link *link = out->peer->owner;
    bool has_lasted = out->state == OUT_UP && link_now_ms(link) >= out->up_ms + BACKOFF_MS_MAX;
    if (has_lasted) { out->backoff_ms = BACKOFF_MS_MIN; } /* else it was refused */
    if (out->socket != NULL) {
        out->socket->out = NULL;
        uv_close((uv_handle_t *)&out->socket->tcp, on_socket_closed);
        out->socket = NULL;
    }
    out->state = OUT_IDLE;
    buf_fini(&out->queue);
    out->inflight_bytes = 0;
    out->retry_at_ms = link_now_ms(link) + out->backoff_ms;
    out->backoff_ms = out->backoff_ms * 2 < BACKOFF_MS_MAX ? out->backoff_ms * 2 : BACKOFF_MS_MAX;
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
    struct out *out = write->link->is_closing || status == UV_ECANCELED ? NULL : write->socket->out;
    write->link->handle_count--;
    if (out != NULL) {
        out->inflight_bytes -= write->bytes;
        if (status != 0) { out_down(out); }
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
static void out_write_rest(struct out *out, struct buf *queue, size_t written)
{
    struct write *write = mem_new0(sizeof *write);
    write->request.data = write;
    write->socket = out->socket;
    write->link = out->peer->owner;
    write->data = *queue;
    write->bytes = queue->len - written;
    *queue = (struct buf){0};
    uv_buf_t bytes = uv_buf_init(write->data.data + written, (unsigned)write->bytes);
    if (uv_write(&write->request, (uv_stream_t *)&out->socket->tcp, &bytes, 1, on_written) != 0) {
        buf_fini(&write->data);
        mem_free(write);
        out_down(out);
        return;
    }
    write->link->handle_count++;
    out->inflight_bytes += write->bytes;
}

/* Write `queue`, which holds the frame behind room for its length, and empty it. */
static void out_write(struct out *out, struct buf *queue)
{
    put_length(queue->data, queue->len - LINK_HEADER_BYTES);
    metric_add(METRIC_raft_link_sent_bytes_total, queue->len);
    uv_buf_t bytes = uv_buf_init(queue->data, (unsigned)queue->len);
    int n = uv_try_write((uv_stream_t *)&out->socket->tcp, &bytes, 1);
    size_t written = n > 0 ? (size_t)n : 0;
    if (n < 0 && n != UV_EAGAIN) {
        out_down(out);
    } else if (written < queue->len) {
        out_write_rest(out, queue, written);
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

static void say_hello(struct out *out)
{
    const struct link_opts *opts = &out->peer->owner->opts;
    struct hello hello = {opts->cluster_id,
                          opts->node_id,
                          opts->node_name,
                          LINK_VERSION,
                          out->is_bulk,
                          out->peer->is_contact,
                          out->peer->is_contact ? "" : out->peer->name};
    struct buf frame = {0};
    queue_begin(&frame);
    hello_encode(&frame, &hello);
    out_write(out, &frame);
    buf_fini(&frame);
}

static void on_drain_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct socket *socket = handle->data;
    (void)size;
    *buf = uv_buf_init(socket->drain, sizeof socket->drain);
}

/* Nothing is sent back on these connections; reading shows at once when the peer closes. */
static void on_drain(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct socket *socket = stream->data;
    (void)buf;
    if (n != 0 && socket->out != NULL) { out_down(socket->out); }
}

static void on_connected(uv_connect_t *request, int status)
{
    struct socket *socket = request->data;
    mem_free(request);
    struct out *out = socket->out;
    if (out == NULL) { return; }
    if (status != 0) {
        out->failed_count = (out->failed_count + 1) % ADDRESSES_MAX;
        out_down(out);
        return;
    }
    uv_tcp_nodelay(&socket->tcp, 1);
    uv_read_start((uv_stream_t *)&socket->tcp, on_drain_alloc, on_drain);
    out->state = OUT_UP;
    out->up_ms = link_now_ms(out->peer->owner);
    say_hello(out);
    if (!out->peer->is_contact && link_may_tell(out->peer->owner, &out->told_ms)) {
        LOG_INFO("raft link up", LOG_STR("peer", out->peer->name), LOG_UINT("bulk", out->is_bulk));
    }
}

static void out_connect(struct out *out, const struct sockaddr *address)
{
    struct link *link = out->peer->owner;
    struct socket *socket = mem_new0(sizeof *socket);
    uv_connect_t *request = mem_new0(sizeof *request);
    socket->out = out;
    socket->link = link;
    CHECK(uv_tcp_init(link->opts.loop, &socket->tcp) == 0);
    socket->tcp.data = socket;
    request->data = socket;
    link->handle_count++;
    out->socket = socket;
    out->state = OUT_CONNECTING;
    out->dialled_ms = link_now_ms(link);
    if (uv_tcp_connect(request, &socket->tcp, address, on_connected) != 0) {
        mem_free(request);
        out_down(out);
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
    struct out *out = request->data;
    struct link *link = out->peer->owner;
    mem_free(request);
    link->handle_count--;
    if (link->is_closing) {
        link_maybe_free(link);
    } else if (status != 0) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft peer's name cannot be resolved",
                    LOG_STR("peer", out->peer->name), LOG_STR("error", uv_strerror(status)));
        out_down(out);
    } else {
        out_connect(out, pick_address(found, out->failed_count));
    }
    uv_freeaddrinfo(found);
}

static void out_dial(struct out *out)
{
    struct link *link = out->peer->owner;
    char host[LINK_HOST_BYTES];
    char port[8];
    uint16_t number = out->peer->port;
    if (out->peer->is_contact) {
        snprintf(host, sizeof host, "%s", out->peer->host);
    } else if (!link->opts.address_of(link->opts.arg, out->peer->name, host, &number)) {
        out_down(out);
        return;
    }
    snprintf(port, sizeof port, "%u", number);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    uv_getaddrinfo_t *request = mem_new0(sizeof *request);
    request->data = out;
    out->state = OUT_RESOLVING;
    if (uv_getaddrinfo(link->opts.loop, request, on_resolved, host, port, &hints) != 0) {
        mem_free(request);
        out_down(out);
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
        peer->outs[i] = (struct out){.peer = peer, .is_bulk = i == 1, .backoff_ms = BACKOFF_MS_MIN};
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

static void out_send(struct link *link, struct out *out, struct slice frame)
{
    out->peer->used_ms = link_now_ms(link);
    if (out->state == OUT_IDLE && link_now_ms(link) >= out->retry_at_ms) { out_dial(out); }
    size_t waiting = out->queue.len + out->inflight_bytes + frame.len;
    if (out->state == OUT_IDLE || waiting > link->opts.peer_bytes_max) {
        link->dropped_count++;
        metric_add(METRIC_raft_link_dropped_frames_total, 1);
        return;
    }
    queue_begin(&out->queue);
    buf_append(&out->queue, frame);
}

void link_send(struct link *link, const char *node_name, struct slice frame, bool is_bulk)
{
    struct peer *peer = link->is_closing ? NULL : peer_get(link, node_name);
    if (peer != NULL) { out_send(link, &peer->outs[is_bulk], frame); }
}

void link_send_contact(struct link *link, const char *host, uint16_t port, struct slice frame)
{
    struct peer *peer = link->is_closing ? NULL : contact_get(link, host, port);
    if (peer != NULL) { out_send(link, &peer->outs[0], frame); }
}

static void peer_redial(struct peer *peer)
{
    for (int i = 0; i < 2; i++) {
        struct out *out = &peer->outs[i];
        if (out->state == OUT_UP || out->state == OUT_CONNECTING) { out_down(out); }
        out->retry_at_ms = 0;
        out->backoff_ms = BACKOFF_MS_MIN;
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
            struct out *out = &peer->outs[i];
            if (out->state == OUT_UP && out->queue.len > 0) { out_write(out, &out->queue); }
            connections += out->state == OUT_UP;
            queued_bytes += out->queue.len + out->inflight_bytes;
        }
    }
    set_gauges(link, connections, queued_bytes);
}

/* ---- time ---- */

static void ping(struct out *out)
{
    if (out->state == OUT_UP && out->queue.len == 0 && out->inflight_bytes == 0) {
        queue_begin(&out->queue);
        out_write(out, &out->queue);
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
        struct out *out = &peer->outs[i];
        bool is_stuck = out->state == OUT_CONNECTING &&
                        now > out->dialled_ms + peer->owner->opts.silence_ms_max;
        if ((is_silent && out->state == OUT_UP) || is_stuck) { out_down(out); }
        ping(out);
    }
}

/* False: a name is being resolved for it. */
static bool peer_forget(struct peer *peer)
{
    struct link *link = peer->owner;
    if (peer->outs[0].state == OUT_RESOLVING || peer->outs[1].state == OUT_RESOLVING) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        out_down(&peer->outs[i]);
        buf_fini(&peer->outs[i].queue);
    }
    list_remove(&peer->link);
    link->peer_count--;
    mem_free(peer);
    return true;
}

static void on_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;
    uint64_t now = link_now_ms(link);
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        if (now <= peer->used_ms + IDLE_MS_MAX || !peer_forget(peer)) { watch_peer(peer, now); }
    }
    link_in_watch(link);
}

/* ---- life ---- */

static void on_own_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    link->handle_count--;
    link_maybe_free(link);
}

static void ignore_closed(void *arg)
{
    (void)arg;
}

static int listen_on(struct link *link)
{
    struct sockaddr_storage address;
    int rv =
        uv_ip4_addr(link->opts.listen_host, link->opts.listen_port, (struct sockaddr_in *)&address);
    if (rv != 0) {
        rv = uv_ip6_addr(link->opts.listen_host, link->opts.listen_port,
                         (struct sockaddr_in6 *)&address);
    }
    if (rv == 0) { rv = uv_tcp_bind(&link->listener, (const struct sockaddr *)&address, 0); }
    return rv != 0 ? rv
                   : uv_listen((uv_stream_t *)&link->listener, LISTEN_BACKLOG, link_on_connection);
}

enum err link_open(struct link **out, const struct link_opts *opts)
{
    struct link *link = mem_new0(sizeof *link);
    link->opts = *opts;
    list_init(&link->peers);
    list_init(&link->ins);
    CHECK(uv_tcp_init(opts->loop, &link->listener) == 0);
    CHECK(uv_timer_init(opts->loop, &link->timer) == 0);
    CHECK(uv_timer_init(opts->loop, &link->hello_timer) == 0);
    link->listener.data = link;
    link->timer.data = link;
    link->hello_timer.data = link;
    link->handle_count = 3;
    int rv = opts->listen_host != NULL ? listen_on(link) : 0;
    if (rv != 0) {
        LOG_ERROR("cannot listen for raft peers", LOG_STR("host", opts->listen_host),
                  LOG_UINT("port", opts->listen_port), LOG_STR("error", uv_strerror(rv)));
        link_close(link, ignore_closed, NULL);
        return ERR_SYSTEM;
    }
    uint64_t ping_ms = opts->silence_ms_max / PINGS_PER_SILENCE;
    CHECK(uv_timer_start(&link->timer, on_timer, ping_ms, ping_ms) == 0);
    *out = link;
    return ERR_OK;
}

uint16_t link_port(const struct link *link)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    if (uv_tcp_getsockname(&link->listener, (struct sockaddr *)&address, &len) != 0) { return 0; }
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

void link_close(struct link *link, void (*on_closed)(void *arg), void *arg)
{
    link->is_closing = true;
    link->on_closed = on_closed;
    link->closed_arg = arg;
    set_gauges(link, 0, 0);
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        for (int i = 0; i < 2; i++) {
            out_down(&peer->outs[i]);
        }
    }
    link_in_close(link);
    uv_close((uv_handle_t *)&link->listener, on_own_closed);
    uv_close((uv_handle_t *)&link->timer, on_own_closed);
    uv_close((uv_handle_t *)&link->hello_timer, on_own_closed);
}

uint64_t link_dropped_count(const struct link *link)
{
    return link->dropped_count;
}
