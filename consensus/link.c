/* link: outgoing connections by node name with back-off, incoming ones by hello.
 * Owns: the sockets and what is queued on them. Not: what frames mean. Thread: the raft thread.
 * Always: what waits for one peer is at most peer_bytes_max per connection; a connection that
 * carries garbage, or nothing at all for silence_ms_max, is closed, and nothing else happens to
 * anybody. Pings, frames without content, keep a connection from being silent. */
#include "consensus/link.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/message.h"

enum {
    HEADER_BYTES = 4,
    READ_BYTES = 256 << 10,
    BACKOFF_MS_MIN = 50,
    BACKOFF_MS_MAX = 1000,
    PINGS_PER_SILENCE = 5,
    LISTEN_BACKLOG = 128,
    PEERS_MAX = 256,
    INBOUND_MAX = 1024,
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
};

struct peer {
    struct list link;
    struct link *owner;
    char name[LINK_NAME_BYTES];
    uint64_t heard_ms; /* last bytes from it; 0: never */
    struct out outs[2];
};

struct in {
    uv_tcp_t tcp;
    struct list link;
    struct link *owner;
    struct buf bytes;
    bool is_known; /* the hello was right */
    bool is_closing;
    char name[LINK_NAME_BYTES];
    uint64_t heard_ms;
};

struct link {
    struct link_opts opts;
    uv_tcp_t listener;
    uv_timer_t timer;
    struct list peers;
    size_t peer_count;
    struct list ins;
    size_t in_count;
    size_t handle_count; /* that libuv has not closed, and requests that it has not answered */
    bool is_closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
    uint64_t dropped_count;
};

static uint64_t now_ms(const struct link *link)
{
    return uv_now(link->opts.loop);
}

static void maybe_free(struct link *link)
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
    maybe_free(link);
}

static void out_down(struct out *out)
{
    struct link *link = out->peer->owner;
    if (out->socket != NULL) {
        out->socket->out = NULL;
        uv_close((uv_handle_t *)&out->socket->tcp, on_socket_closed);
        out->socket = NULL;
    }
    out->state = OUT_IDLE;
    out->queue.len = 0;
    out->inflight_bytes = 0;
    out->retry_at_ms = now_ms(link) + out->backoff_ms;
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
    maybe_free(link);
}

static void put_length(char *to, size_t bytes)
{
    for (int i = 0; i < HEADER_BYTES; i++) {
        to[i] = (char)(bytes >> (8 * (HEADER_BYTES - 1 - i)));
    }
}

/* Write `queue`, which holds the frame behind room for its length; takes its memory. */
static void out_write(struct out *out, struct buf *queue)
{
    struct write *write = mem_new0(sizeof *write);
    put_length(queue->data, queue->len - HEADER_BYTES);
    write->request.data = write;
    write->socket = out->socket;
    write->link = out->peer->owner;
    write->data = *queue;
    write->bytes = queue->len;
    *queue = (struct buf){0};
    uv_buf_t bytes = uv_buf_init(write->data.data, (unsigned)write->bytes);
    if (uv_write(&write->request, (uv_stream_t *)&out->socket->tcp, &bytes, 1, on_written) != 0) {
        buf_fini(&write->data);
        mem_free(write);
        out_down(out);
        return;
    }
    write->link->handle_count++;
    out->inflight_bytes += write->bytes;
}

static void queue_begin(struct buf *queue)
{
    if (queue->len == 0) {
        memset(buf_reserve(queue, HEADER_BYTES), 0, HEADER_BYTES);
        queue->len = HEADER_BYTES;
    }
}

static void say_hello(struct out *out)
{
    const struct link_opts *opts = &out->peer->owner->opts;
    struct hello hello = {opts->cluster_id, opts->node_id, opts->node_name, LINK_VERSION,
                          out->is_bulk};
    struct buf frame = {0};
    queue_begin(&frame);
    hello_encode(&frame, &hello);
    out_write(out, &frame);
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
        out_down(out);
        return;
    }
    uv_tcp_nodelay(&socket->tcp, 1);
    uv_read_start((uv_stream_t *)&socket->tcp, on_drain_alloc, on_drain);
    out->state = OUT_UP;
    out->backoff_ms = BACKOFF_MS_MIN;
    say_hello(out);
    LOG_INFO("raft link up", LOG_STR("peer", out->peer->name), LOG_UINT("bulk", out->is_bulk));
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
    if (uv_tcp_connect(request, &socket->tcp, address, on_connected) != 0) {
        mem_free(request);
        out_down(out);
    }
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct out *out = request->data;
    struct link *link = out->peer->owner;
    mem_free(request);
    link->handle_count--;
    if (link->is_closing) {
        maybe_free(link);
    } else if (status != 0) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft peer's name cannot be resolved",
                    LOG_STR("peer", out->peer->name), LOG_STR("error", uv_strerror(status)));
        out_down(out);
    } else {
        out_connect(out, found->ai_addr);
    }
    uv_freeaddrinfo(found);
}

static void out_dial(struct out *out)
{
    struct link *link = out->peer->owner;
    char host[LINK_HOST_BYTES];
    char port[8];
    uint16_t number;
    if (!link->opts.address_of(link->opts.arg, out->peer->name, host, &number)) {
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
        if (strcmp(peer->name, name) == 0) { return peer; }
    }
    return NULL;
}

static struct peer *peer_get(struct link *link, const char *name)
{
    struct peer *peer = peer_find(link, name);
    if (peer != NULL || link->peer_count == PEERS_MAX || strlen(name) >= LINK_NAME_BYTES) {
        return peer;
    }
    peer = mem_new0(sizeof *peer);
    peer->owner = link;
    snprintf(peer->name, sizeof peer->name, "%s", name);
    for (int i = 0; i < 2; i++) {
        peer->outs[i] = (struct out){.peer = peer, .is_bulk = i == 1, .backoff_ms = BACKOFF_MS_MIN};
    }
    list_push_back(&link->peers, &peer->link);
    link->peer_count++;
    return peer;
}

void link_send(struct link *link, const char *node_name, struct slice frame, bool is_bulk)
{
    struct peer *peer = link->is_closing ? NULL : peer_get(link, node_name);
    if (peer == NULL) { return; }
    struct out *out = &peer->outs[is_bulk];
    if (out->state == OUT_IDLE && now_ms(link) >= out->retry_at_ms) { out_dial(out); }
    size_t waiting = out->queue.len + out->inflight_bytes + frame.len;
    if (out->state == OUT_IDLE || waiting > link->opts.peer_bytes_max) {
        link->dropped_count++;
        return;
    }
    queue_begin(&out->queue);
    buf_append(&out->queue, frame);
}

void link_flush(struct link *link)
{
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        for (int i = 0; i < 2; i++) {
            struct out *out = &peer->outs[i];
            if (out->state == OUT_UP && out->queue.len > 0) { out_write(out, &out->queue); }
        }
    }
}

/* ---- in ---- */

static void on_in_closed(uv_handle_t *handle)
{
    struct in *in = handle->data;
    struct link *link = in->owner;
    list_remove(&in->link);
    link->in_count--;
    link->handle_count--;
    buf_fini(&in->bytes);
    mem_free(in);
    maybe_free(link);
}

static void in_close(struct in *in)
{
    if (!in->is_closing) {
        in->is_closing = true;
        uv_close((uv_handle_t *)&in->tcp, on_in_closed);
    }
}

bool link_frame_parse(struct slice *bytes, struct slice *frame, bool *is_garbage)
{
    *is_garbage = false;
    if (bytes->len < HEADER_BYTES) { return false; }
    const unsigned char *p = (const unsigned char *)bytes->data;
    size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | (size_t)p[3];
    if (len > LINK_FRAME_BYTES_MAX) {
        *is_garbage = true;
        return false;
    }
    if (bytes->len - HEADER_BYTES < len) { return false; }
    *frame = slice_of(bytes->data + HEADER_BYTES, len);
    *bytes = slice_of(bytes->data + HEADER_BYTES + len, bytes->len - HEADER_BYTES - len);
    return true;
}

static void on_hello(void *arg, const struct hello *hello)
{
    struct in *in = arg;
    const struct link_opts *opts = &in->owner->opts;
    bool fits = hello->cluster_id == opts->cluster_id && hello->version == LINK_VERSION;
    size_t name_len = strlen(hello->node_name);
    if (!fits || name_len == 0 || name_len >= sizeof in->name) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft peer was refused: another cluster or version",
                    LOG_UINT("cluster", hello->cluster_id), LOG_UINT("version", hello->version));
        return;
    }
    memcpy(in->name, hello->node_name, name_len + 1);
    in->is_known = true;
}

static void on_early_message(void *arg, const struct message *message)
{
    (void)message;
    ((struct in *)arg)->is_known = false; /* a hello comes alone */
}

static bool take_frame(struct in *in, struct slice frame)
{
    static const struct message_handler first = {on_hello, on_early_message};
    const struct link_opts *opts = &in->owner->opts;
    if (!in->is_known) { return message_decode(frame, &first, in) == ERR_OK && in->is_known; }
    bool is_garbage = false;
    if (frame.len > 0) { opts->on_frame(opts->arg, in->name, frame, &is_garbage); }
    return !is_garbage;
}

static void in_take(struct in *in)
{
    struct slice rest = buf_slice(&in->bytes);
    struct slice frame;
    bool is_garbage = false;
    while (!in->is_closing && link_frame_parse(&rest, &frame, &is_garbage)) {
        is_garbage = !take_frame(in, frame);
        if (is_garbage) { break; }
    }
    if (is_garbage) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a raft connection carried garbage and is closed",
                    LOG_STR("peer", in->name));
        in_close(in);
    }
    buf_consume(&in->bytes, in->bytes.len - rest.len);
    if (in->bytes.len == 0 && in->bytes.cap > 4 * READ_BYTES) {
        buf_fini(&in->bytes); /* one large frame does not keep its memory */
    }
}

static void on_in_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct in *in = handle->data;
    (void)size;
    *buf = uv_buf_init(buf_reserve(&in->bytes, READ_BYTES), READ_BYTES);
}

static void on_in_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct in *in = stream->data;
    (void)buf;
    if (n < 0) {
        in_close(in);
        return;
    }
    if (n == 0) { return; }
    in->bytes.len += (size_t)n;
    in->heard_ms = now_ms(in->owner);
    in_take(in);
    struct peer *peer = in->is_known ? peer_find(in->owner, in->name) : NULL;
    if (peer != NULL) { peer->heard_ms = in->heard_ms; }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct link *link = listener->data;
    if (status != 0) { return; }
    struct in *in = mem_new0(sizeof *in);
    CHECK(uv_tcp_init(link->opts.loop, &in->tcp) == 0);
    in->tcp.data = in;
    in->owner = link;
    in->heard_ms = now_ms(link);
    list_push_back(&link->ins, &in->link);
    link->in_count++;
    link->handle_count++;
    bool ok = uv_accept(listener, (uv_stream_t *)&in->tcp) == 0 && link->in_count <= INBOUND_MAX;
    if (!ok || uv_read_start((uv_stream_t *)&in->tcp, on_in_alloc, on_in_read) != 0) {
        in_close(in);
    }
}

/* ---- time ---- */

static void ping(struct out *out)
{
    if (out->state == OUT_UP && out->queue.len == 0 && out->inflight_bytes == 0) {
        struct buf empty = {0};
        queue_begin(&empty);
        out_write(out, &empty);
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
        if (is_silent && out->state == OUT_UP) { out_down(out); }
        ping(out);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;
    uint64_t now = now_ms(link);
    LIST_EACH (at, &link->peers) {
        watch_peer(CONTAINER_OF(at, struct peer, link), now);
    }
    LIST_EACH (at, &link->ins) {
        struct in *in = CONTAINER_OF(at, struct in, link);
        if (now > in->heard_ms + link->opts.silence_ms_max) { in_close(in); }
    }
}

/* ---- life ---- */

static void on_own_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    link->handle_count--;
    maybe_free(link);
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
    return rv != 0 ? rv : uv_listen((uv_stream_t *)&link->listener, LISTEN_BACKLOG, on_connection);
}

enum err link_open(struct link **out, const struct link_opts *opts)
{
    struct link *link = mem_new0(sizeof *link);
    link->opts = *opts;
    list_init(&link->peers);
    list_init(&link->ins);
    CHECK(uv_tcp_init(opts->loop, &link->listener) == 0);
    CHECK(uv_timer_init(opts->loop, &link->timer) == 0);
    link->listener.data = link;
    link->timer.data = link;
    link->handle_count = 2;
    int rv = listen_on(link);
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
    LIST_EACH (at, &link->peers) {
        struct peer *peer = CONTAINER_OF(at, struct peer, link);
        for (int i = 0; i < 2; i++) {
            out_down(&peer->outs[i]);
        }
    }
    LIST_EACH (at, &link->ins) {
        in_close(CONTAINER_OF(at, struct in, link));
    }
    uv_close((uv_handle_t *)&link->listener, on_own_closed);
    uv_close((uv_handle_t *)&link->timer, on_own_closed);
}

uint64_t link_dropped_count(const struct link *link)
{
    return link->dropped_count;
}
