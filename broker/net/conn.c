/* conn: reads into the worker's buffer, keeps only what a request leaves over, writes from the
 * outbuf. */
#include "net/conn.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "net/worker_int.h"

enum {
    CONN_READ_LARGE_BYTES = 1 << 20, /* of a large argument, per turn */
    CONN_FLUSH_TURN_BYTES = 4 << 20, /* of one connection's backlog, per writable event */
    CONN_LOOKS_PER_TICK = 4096,      /* at sockets of paused connections; */
    CONN_LOOKS_AT_ONCE = 256,        /* with one call of the kernel */
};

static const uint8_t conn_moves[CONN_STATES] = {
    [CONN_OPEN] = 1 << CONN_FLUSHING | 1 << CONN_CLOSING,
    [CONN_FLUSHING] = 1 << CONN_CLOSING,
    [CONN_CLOSING] = 0,
};

static void conn_move(struct conn *conn, enum conn_state to)
{
    CHECK(conn_moves[conn->state] & (1 << to));
    conn->state = (uint8_t)to;
}

uint32_t conn_array_push(struct conn_array *array, struct conn *conn)
{
    if (array->count == array->cap) {
        array->cap = array->cap > 0 ? array->cap * 2 : 64;
        array->conn = mem_resize(array->conn, array->cap * sizeof(struct conn *));
    }
    array->conn[array->count++] = conn;
    return array->count;
}

static void mark_dirty(struct conn *conn)
{
    if (conn->dirty_at == 0 && conn->state != CONN_CLOSING) {
        conn->dirty_at = conn_array_push(&conn->worker->dirty, conn);
    }
}

/* Hand input to the layer above and keep what it leaves. `kept` tells whether input is conn->in
 * itself. */
static void present(struct conn *conn, struct slice input, bool kept)
{
    conn->in_expected = 0;
    size_t used = conn->ops->on_data(conn, input);
    CHECK(used <= input.len);
    if (conn->state != CONN_OPEN || used == input.len) {
        buf_fini(&conn->in);
        return;
    }
    if (kept) {
        buf_consume(&conn->in, used);
        return;
    }
    conn->in.len = 0;
    buf_append(&conn->in, slice_of(input.data + used, input.len - used));
}

/* Room for a whole read behind the kept input: what is expected at once, what merely goes on by
 * doubling. */
static void input_reserve(struct conn *conn)
{
    struct buf *in = &conn->in;
    if (in->cap >= conn->in_expected && in->cap - in->len >= WORKER_READ_BYTES) { return; }
    size_t end = conn->in_expected > in->len ? conn->in_expected : in->len;
    size_t cap = end + WORKER_READ_BYTES;
    in->cap = cap > in->cap * 2 ? cap : in->cap * 2;
    in->data = mem_resize(in->data, in->cap);
}

/* Where the next read goes: behind the kept input in place if that is large, or in the worker's
 * buffer behind a copy. */
static char *read_target(struct conn *conn, size_t *room)
{
    struct worker *worker = conn->worker;
    if (conn->in.len + conn->in_expected == 0) {
        *room = WORKER_READ_BYTES;
        return worker->read_buffer;
    }
    if (conn->in.len <= WORKER_READ_BYTES / 4 && conn->in_expected <= WORKER_READ_BYTES) {
        memcpy(worker->read_buffer, conn->in.data, conn->in.len);
        *room = WORKER_READ_BYTES - conn->in.len;
        return worker->read_buffer + conn->in.len;
    }
    input_reserve(conn);
    size_t left = conn->in.cap - conn->in.len;
    *room = left < CONN_READ_LARGE_BYTES ? left : CONN_READ_LARGE_BYTES;
    return conn->in.data + conn->in.len;
}

/* Nothing more comes. Input that a resume is about to present goes before the stream's end, which the next
 * turn finds again; a socket tells its error once. */
static void input_ended(struct conn *conn, int error)
{
    if (error == 0 && conn->waiting_at > 0) { return; }
    conn->has_ended = error == 0;
    conn->error = (uint8_t)error;
    if (error == 0 && conn->ops->on_end != NULL) {
        CHECK(event_del(&conn->read_event) == 0);
        conn->ops->on_end(conn);
    } else {
        conn_close(conn);
    }
}

/* ---- paused, with something to read ---- */

static void leave_resumed(struct conn *conn)
{
    conn->worker->resumed.conn[conn->waiting_at - 1] = NULL;
    conn->waiting_at = 0;
}

static void stall(struct conn *conn)
{
    CHECK(event_del(&conn->read_event) == 0);
    if (conn->waiting_at > 0) { leave_resumed(conn); }
    conn->waiting_at = conn_array_push(&conn->worker->stalled, conn);
    conn->is_stalled = true;
}

/* The last one takes its place: the array lives for long. */
static void leave_stalled(struct conn *conn)
{
    struct conn_array *stalled = &conn->worker->stalled;
    struct conn *last = stalled->conn[--stalled->count];
    stalled->conn[conn->waiting_at - 1] = last;
    last->waiting_at = conn->waiting_at;
    conn->waiting_at = 0;
    conn->is_stalled = false;
}

/* Look at up to CONN_LOOKS_AT_ONCE of them, from number `first` on. */
static void look_for_ends(struct worker *worker, uint32_t first)
{
    struct pollfd look[CONN_LOOKS_AT_ONCE];
    struct conn *conn[CONN_LOOKS_AT_ONCE];
    nfds_t count = 0;
    for (uint32_t i = first; i < worker->stalled.count && count < CONN_LOOKS_AT_ONCE; i++) {
        if (worker->stalled.conn[i]->ops->on_end_ahead == NULL) { continue; }
        conn[count] = worker->stalled.conn[i];
        look[count] = (struct pollfd){.fd = conn[count]->fd, .events = POLLRDHUP};
        count++;
    }
    if (count == 0 || poll(look, count, 0) <= 0) { return; }
    for (nfds_t i = 0; i < count; i++) {
        if (look[i].revents != 0 && conn[i]->is_stalled) { conn[i]->ops->on_end_ahead(conn[i]); }
    }
}

void conn_look_at_stalled(struct worker *worker)
{
    for (uint32_t looks = 0; looks < CONN_LOOKS_PER_TICK; looks += CONN_LOOKS_AT_ONCE) {
        if (worker->stalled_look_at >= worker->stalled.count) {
            worker->stalled_look_at = 0; /* all have been looked at: again with the next tick */
            return;
        }
        uint32_t first = worker->stalled_look_at;
        worker->stalled_look_at += CONN_LOOKS_AT_ONCE;
        look_for_ends(worker, first);
    }
}

/* ---- reading ---- */

/* The backlog of sealed bytes was `before`. */
static void count_sealed(const struct conn *conn, size_t before)
{
    metric_add(METRIC_backlog_bytes, tls_unsent_bytes(conn->tls) - before);
}

/* Answers of the handshake may be left over, and what was queued before its end may go. */
static ssize_t receive_tls(struct conn *conn, char *at, size_t room)
{
    size_t before = tls_unsent_bytes(conn->tls);
    ssize_t n = tls_recv(conn->tls, conn->fd, at, room);
    count_sealed(conn, before);
    if (conn_backlog_bytes(conn) > 0) { mark_dirty(conn); }
    return n;
}

/* Tell the first byte, which stays to be read. False: there is no use in reading any more. */
static bool hear_first(struct conn *conn)
{
    unsigned char first;
    bool has_come = recv(conn->fd, &first, 1, MSG_PEEK) == 1;
    if (!has_come) { return true; } /* the read that follows tells why */
    conn->is_unheard = false;
    conn->ops->on_first_byte(conn, first);
    return conn->state == CONN_OPEN;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct conn *conn = arg;
    worker_begins(conn->worker);
    if (conn->state != CONN_OPEN) { return; }
    if (conn->is_paused) {
        stall(conn);
        return;
    }
    if (UNLIKELY(conn->is_unheard) && !hear_first(conn)) { return; }
    size_t room;
    char *at = read_target(conn, &room);
    ssize_t n = LIKELY(conn->tls == NULL) ? recv(fd, at, room, 0) : receive_tls(conn, at, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) { return; }
    if (n <= 0) {
        input_ended(conn, n < 0 ? errno : 0);
        return;
    }
    metric_add(METRIC_redis_net_input_bytes_total, (uint64_t)n);
    char *shared = conn->worker->read_buffer;
    bool kept = at < shared || at >= shared + WORKER_READ_BYTES;
    if (kept) {
        conn->in.len += (size_t)n;
        present(conn, buf_slice(&conn->in), true);
    } else {
        present(conn, slice_of(shared, (size_t)(at - shared) + (size_t)n), false);
    }
}

void conn_start_tls(struct conn *conn, struct tls *tls)
{
    struct worker *worker = conn->worker;
    CHECK(conn->tls == NULL && conn->out == NULL && conn->in.len == 0);
    if (worker->tls == NULL) { worker->tls = tls_worker_new(); }
    conn->tls = tls;
    tls_begin(tls, worker->tls, conn, conn->fd);
    count_sealed(conn, 0);
    if (conn_backlog_bytes(conn) > 0) { mark_dirty(conn); }
}

void conn_open(struct conn *conn, struct worker *worker, int fd, const struct conn_ops *ops,
               struct tls *tls)
{
    CHECK(worker_is_current(worker));
    *conn = (struct conn){.worker = worker, .ops = ops, .fd = fd, .state = CONN_OPEN};
    conn->is_unheard = tls == NULL && ops->on_first_byte != NULL;
    if (tls != NULL) { conn_start_tls(conn, tls); }
    CHECK(event_assign(&conn->read_event, worker->base, fd, EV_READ | EV_PERSIST, on_readable,
                       conn) == 0);
    CHECK(event_add(&conn->read_event, NULL) == 0);
}

static struct outbuf *conn_outbuf(struct conn *conn)
{
    if (conn->out == NULL) { conn->out = outbuf_take(&conn->worker->outbufs); }
    return conn->out;
}

struct buf *conn_reply_begin(struct conn *conn)
{
    return outbuf_reply_begin(conn_outbuf(conn));
}

void conn_reply_end(struct conn *conn)
{
    size_t before = conn->out->bytes;
    outbuf_reply_end(conn->out);
    metric_add(METRIC_backlog_bytes, conn->out->bytes - before);
    mark_dirty(conn);
}

/* All that is taken may have left but for some sealed bytes: they follow at the next flush. */
static ssize_t send_tls(struct conn *conn, const struct iovec *iov, unsigned count)
{
    size_t before = tls_unsent_bytes(conn->tls);
    ssize_t n = tls_send(conn->tls, conn->fd, iov, count);
    count_sealed(conn, before);
    if (tls_unsent_bytes(conn->tls) > 0) { mark_dirty(conn); }
    return n;
}

/* One send. Returns the bytes taken; a dead socket closes the connection and takes none. */
static size_t send_iov(struct conn *conn, const struct iovec *iov, unsigned count)
{
    ssize_t n;
    if (UNLIKELY(conn->tls != NULL)) {
        n = send_tls(conn, iov, count);
    } else if (count == 1) {
        n = send(conn->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
    } else {
        struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};
        n = sendmsg(conn->fd, &message, MSG_NOSIGNAL);
    }
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
            conn->error = (uint8_t)errno;
            conn_close(conn);
        }
        return 0;
    }
    metric_add(METRIC_redis_net_output_bytes_total, (uint64_t)n);
    metric_observe(METRIC_HISTOGRAM_flush_bytes, (uint64_t)n);
    return (size_t)n;
}

size_t conn_send_now(struct conn *conn, const struct iovec *iov, unsigned count, size_t bytes)
{
    if (conn->state != CONN_OPEN || conn_backlog_bytes(conn) > 0) { return 0; }
    CHECK(count <= CONN_IOV_MAX);
    metric_add(METRIC_delivery_sends_total, 1);
    size_t sent = send_iov(conn, iov, count);
    if (sent < bytes) { metric_add(METRIC_delivery_short_sends_total, 1); }
    return sent;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *conn = arg;
    worker_begins(conn->worker);
    conn_flush(conn);
}

static void want_write(struct conn *conn, bool wanted)
{
    if (wanted && conn->write_event == NULL) {
        conn->write_event =
            event_new(conn->worker->base, conn->fd, EV_WRITE | EV_PERSIST, on_writable, conn);
        CHECK(conn->write_event != NULL);
        CHECK(event_add(conn->write_event, NULL) == 0);
    } else if (!wanted && conn->write_event != NULL) {
        event_free(conn->write_event);
        conn->write_event = NULL;
    }
}

void conn_queue(struct conn *conn, const struct span *span, unsigned count, size_t skip)
{
    if (conn->state != CONN_OPEN) { return; }
    struct outbuf *out = conn_outbuf(conn);
    size_t before = out->bytes;
    outbuf_add_spans(out, span, count, skip);
    metric_add(METRIC_backlog_bytes, out->bytes - before);
    if (before == 0) {
        want_write(conn, true); /* the socket has just been offered this, and is full */
    } else {
        mark_dirty(conn);
    }
}

static void give_outbuf(struct conn *conn)
{
    if (conn->out != NULL) {
        outbuf_give(&conn->worker->outbufs, conn->out);
        conn->out = NULL;
    }
}

/* Is there a use in the socket's taking more? Before a handshake's end only for what is of it. */
static bool may_write(const struct conn *conn)
{
    return conn->tls == NULL || tls_is_established(conn->tls) || tls_unsent_bytes(conn->tls) > 0;
}

void conn_flush(struct conn *conn)
{
    struct iovec iov[CONN_IOV_MAX];
    size_t budget = CONN_FLUSH_TURN_BYTES;
    while (conn->state != CONN_CLOSING && conn_backlog_bytes(conn) > 0) {
        unsigned count = conn->out != NULL ? outbuf_peek(conn->out, iov, CONN_IOV_MAX) : 0;
        size_t offered = 0;
        for (unsigned i = 0; i < count; i++) {
            offered += iov[i].iov_len;
        }
        size_t sent = send_iov(conn, iov, count);
        if (sent > 0) { outbuf_consume(conn->out, sent); }
        metric_sub(METRIC_backlog_bytes, sent);
        if (sent < offered || sent >= budget || count == 0) {
            break; /* the rest when the socket is writable again, after the other connections */
        }
        budget -= sent;
    }
    if (conn->state == CONN_CLOSING) { return; }
    bool is_empty = conn_backlog_bytes(conn) == 0;
    want_write(conn, !is_empty && may_write(conn));
    if (is_empty) {
        give_outbuf(conn);
        if (conn->state == CONN_FLUSHING) { conn_close(conn); }
    }
}

void worker_flush_replies(struct worker *worker)
{
    struct conn_array *dirty = &worker->dirty;
    for (uint32_t i = 0; i < dirty->count; i++) {
        struct conn *conn = dirty->conn[i];
        if (conn == NULL) { continue; }
        conn->dirty_at = 0;
        if (conn->write_event == NULL) { conn_flush(conn); }
    }
    dirty->count = 0;
}

void conn_pause(struct conn *conn)
{
    if (conn->state == CONN_OPEN) { conn->is_paused = true; }
}

void conn_resume(struct conn *conn)
{
    if (!conn->is_paused || conn->state != CONN_OPEN) { return; }
    conn->is_paused = false;
    if (conn->is_stalled) {
        leave_stalled(conn);
        CHECK(event_add(&conn->read_event, NULL) == 0);
    }
    if (conn->waiting_at == 0) { conn->waiting_at = conn_array_push(&conn->worker->resumed, conn); }
}

void conn_present_resumed(struct worker *worker)
{
    struct conn_array *resumed = &worker->resumed;
    uint32_t count = resumed->count; /* those resumed meanwhile wait for the next turn */
    for (uint32_t i = 0; i < count; i++) {
        struct conn *conn = resumed->conn[i];
        if (conn == NULL) { continue; }
        conn->waiting_at = 0;
        if (conn->state == CONN_OPEN && !conn->is_paused && conn->in.len > 0) {
            present(conn, buf_slice(&conn->in), true);
        }
    }
    for (uint32_t i = count; i < resumed->count; i++) {
        resumed->conn[i - count] = resumed->conn[i];
        if (resumed->conn[i] != NULL) { resumed->conn[i]->waiting_at = i - count + 1; }
    }
    resumed->count -= count;
}

void conn_expect(struct conn *conn, size_t bytes)
{
    conn->in_expected = bytes;
}

/* Leave every array of the worker but `closing`. */
static void leave_arrays(struct conn *conn)
{
    if (conn->dirty_at > 0) {
        conn->worker->dirty.conn[conn->dirty_at - 1] = NULL;
        conn->dirty_at = 0;
    }
    if (conn->is_stalled) {
        leave_stalled(conn);
    } else if (conn->waiting_at > 0) {
        leave_resumed(conn);
    }
}

void conn_close(struct conn *conn)
{
    if (conn->state == CONN_CLOSING) { return; }
    conn_move(conn, CONN_CLOSING);
    CHECK(event_del(&conn->read_event) == 0);
    want_write(conn, false);
    leave_arrays(conn);
    conn_array_push(&conn->worker->closing, conn);
}

void conn_reset(struct conn *conn)
{
    const struct linger none = {.l_onoff = 1};
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none); /* TCP only */
    conn_close(conn);
}

bool conn_peer_has_left(const struct conn *conn)
{
    struct pollfd look = {.fd = conn->fd, .events = POLLRDHUP};
    return poll(&look, 1, 0) > 0;
}

bool conn_has_unread(const struct conn *conn)
{
    char byte;
    return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

void conn_close_after_flush(struct conn *conn)
{
    if (conn->state != CONN_OPEN) { return; }
    if (conn_backlog_bytes(conn) == 0) {
        conn_close(conn);
        return;
    }
    conn_move(conn, CONN_FLUSHING);
    CHECK(event_del(&conn->read_event) == 0);
    if (conn->is_stalled) { leave_stalled(conn); }
    mark_dirty(conn);
}

void conn_end_slow_handshakes(struct worker *worker)
{
    if (worker->tls == NULL) { return; }
    struct conn *conn;
    while ((conn = tls_worker_take_overdue(worker->tls, worker->now_ns)) != NULL) {
        conn_close(conn);
    }
}

/* The peer is told the end where all that was for it has left. */
static void end_tls(struct conn *conn)
{
    if (conn->error == 0 && conn->lost_bytes == 0) { tls_say_goodbye(conn->tls, conn->fd); }
    tls_free(conn->tls);
    conn->tls = NULL;
}

void conn_end_closing(struct worker *worker)
{
    struct conn_array *closing = &worker->closing;
    for (uint32_t i = 0; i < closing->count;
         i++) { /* on_close may close others: they join the end */
        struct conn *conn = closing->conn[i];
        leave_arrays(conn);
        conn->lost_bytes = conn_unsent_bytes(conn);
        metric_sub(METRIC_backlog_bytes, conn_backlog_bytes(conn));
        if (conn->tls != NULL) { end_tls(conn); }
        give_outbuf(conn);
        buf_fini(&conn->in);
        CHECK(close(conn->fd) == 0);
        conn->fd = -1;
        conn->ops->on_close(conn);
    }
    closing->count = 0;
}
