/* session: input to requests, answers to output, and the end of both. */
#include "cmd/session.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cmd/backlog.h"
#include "cmd/dispatch.h"
#include "cmd/error_stats.h"
#include "cmd/gather.h"
#include "cmd/held.h"
#include "cmd/multi.h"
#include "cmd/service.h"
#include "pubsub/msg.h"
#include "resp/resp_write.h"

enum {
    SWAP_BYTES = 16 << 10, /* an answer of this size changes buffers rather than being copied */
    REPLY_KEEP_BYTES = 64 << 10,
    EXPECT_BYTES_MIN = 1 << 20,
    LARGE_ARG_BYTES = 64 << 10,
};

/* The least a client costs matters: there are very many of them. */
_Static_assert(sizeof(struct session) <= 328, "a session has grown out of its 336 bytes of heap");

static struct session *session_of(struct conn *conn)
{
    return CONTAINER_OF(conn, struct session, conn);
}

static bool is_unix_socket(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 && address.ss_family == AF_UNIX;
}

void session_open(struct service *service, int fd)
{
    struct session *session = mem_new0(sizeof *session);
    conn_open(&session->conn, service->worker, fd, &service->conn_ops);
    subscriber_init(&session->subscriber, 2);
    session->id =
        atomic_fetch_add_explicit(&service->broker->next_client_id, 1, memory_order_relaxed) + 1;
    session->created_s = service->now_s;
    session->active_s = service->now_s;
    session->command = COMMAND_COUNT;
    service_refresh_options(service);
    session->flags = (service->options.needs_password ? 0 : SESSION_AUTHENTICATED) |
                     (is_unix_socket(fd) ? SESSION_UNIX : 0);
    list_push_back(&service->sessions, &session->link);
    metric_add(METRIC_redis_connections_received_total, 1);
    metric_add(METRIC_redis_connected_clients, 1);
}

struct session_extra *session_extra(struct session *session)
{
    if (session->extra == NULL) { session->extra = mem_new0(sizeof *session->extra); }
    return session->extra;
}

static void extra_free(struct session *session)
{
    struct session_extra *extra = session->extra;
    if (extra == NULL) { return; }
    multi_free(extra->multi);
    resp_parser_free(extra->parser);
    mem_free(extra->name);
    mem_free(extra->lib_name);
    mem_free(extra->lib_version);
    metric_sub(METRIC_backlog_bytes, extra->held.len);
    buf_fini(&extra->held);
    mem_free(extra);
    session->extra = NULL;
}

void session_count_subscriptions(struct session *session)
{
    bool has_some = subscriber_total(&session->subscriber) > 0;
    bool is_counted = session->flags & SESSION_SUBSCRIBED;
    if (has_some && !is_counted) { metric_add(METRIC_redis_pubsub_clients, 1); }
    if (!has_some && is_counted) { metric_sub(METRIC_redis_pubsub_clients, 1); }
    session->flags &= ~(uint32_t)SESSION_SUBSCRIBED;
    session->flags |= has_some ? SESSION_SUBSCRIBED : 0;
}

/* Nothing is left of it but its memory. */
static void session_free(struct session *session)
{
    struct service *service = service_of(session);
    bool is_counted = !(session->flags & SESSION_GATHERED);
    session_count_subscriptions(session);
    mem_free(session);
    if (is_counted) { service_client_left(service); }
}

void session_dropped(struct subscriber *subscriber)
{
    session_free(CONTAINER_OF(subscriber, struct session, subscriber));
}

void session_on_close(struct conn *conn)
{
    struct session *session = session_of(conn);
    struct service *service = service_of(session);
    if (session->flags & SESSION_PUBLISHED) { fanout_forget(service->fanout, session); }
    if (session->flags & SESSION_PARKED) {
        service->parked_count--;
        metric_sub(METRIC_redis_blocked_clients, 1);
    }
    answers_forget(session);
    waiting_forget(session);
    backlog_forget(session);
    held_forget(session);
    struct gather *gather = session->extra != NULL ? session->extra->gather : NULL;
    if (gather != NULL) {
        gather_forget(gather);
        session->flags |= SESSION_GATHERED;
    }
    extra_free(session);
    list_remove(&session->link);
    metric_sub(METRIC_redis_connected_clients, 1);
    if (fanout_drop(service->fanout, &session->subscriber)) { session_free(session); }
}

/* What may come before the password is bounded more tightly. */
static const struct resp_limits *limits_of(const struct session *session)
{
    const struct service_options *options = &service_of(session)->options;
    bool is_known = session->flags & SESSION_AUTHENTICATED || !options->needs_password;
    return is_known ? &options->limits : &resp_limits_unauthenticated;
}

static void refuse_input(struct session *session, const char *text)
{
    struct reply reply = {.out = &service_of(session)->reply,
                          .version = session->subscriber.resp_version};
    reply_errorf(&reply, "ERR %s", text);
    error_stats_add(buf_slice(reply.out), 1);
    char address[SESSION_ADDRESS_BYTES];
    LOG_LIMITED(LOG_LEVEL_INFO, "client closed", LOG_STR("reason", "protocol error"),
                LOG_STR("error", text), LOG_UINT("id", session->id),
                LOG_SLICE("address", session_address(session, address)));
    session_leave(session);
    session_answer(session, reply.out, false);
}

static void close_for_input(struct session *session, size_t bytes)
{
    char address[SESSION_ADDRESS_BYTES];
    LOG_LIMITED(LOG_LEVEL_WARN, "client closed", LOG_STR("reason", "query-buffer-limit"),
                LOG_UINT("id", session->id),
                LOG_SLICE("address", session_address(session, address)), LOG_UINT("bytes", bytes),
                LOG_UINT("limit", service_of(session)->options.query_bytes_max));
    metric_add(METRIC_clients_dropped_total, 1);
    conn_close(&session->conn);
}

/* Unread input, and commands queued by MULTI, which are input not yet run. */
static bool is_over_query_limit(struct session *session, size_t input_bytes)
{
    size_t queued_bytes = session->extra != NULL ? multi_bytes(session->extra->multi) : 0;
    if (LIKELY(input_bytes + queued_bytes <= service_of(session)->options.query_bytes_max)) {
        return false;
    }
    close_for_input(session, input_bytes + queued_bytes);
    return true;
}

/* Size the input for a large argument that is on its way; but nobody gets much more memory than he
 * has filled. */
static void expect_rest(struct session *session, size_t input_bytes, size_t request_bytes)
{
    size_t bytes_max = input_bytes * 4 > EXPECT_BYTES_MIN ? input_bytes * 4 : EXPECT_BYTES_MIN;
    bool is_large = request_bytes > input_bytes + LARGE_ARG_BYTES;
    size_t bytes = request_bytes < bytes_max ? request_bytes : bytes_max;
    conn_expect(&session->conn, is_large ? bytes : 0);
}

/* The request is not whole: keep the parser that has seen its beginning. */
static void await_rest(struct session *session, struct resp_parser *parser, size_t input_bytes)
{
    struct service *service = service_of(session);
    if (parser == service->parser) {
        session_extra(session)->parser = parser;
        service->parser = resp_parser_new();
    }
    if (!is_over_query_limit(session, input_bytes)) {
        expect_rest(session, input_bytes, resp_bytes_expected(parser));
    }
}

static bool may_run(const struct session *session)
{
    enum { BARS = SESSION_WAITS | SESSION_HELD | SESSION_UNSETTLED | SESSION_LEAVING };
    return conn_is_open(&session->conn) && !(session->flags & BARS);
}

/* Parse and run what is there. Returns the bytes done with. */
static size_t run_requests(struct session *session, struct slice input)
{
    size_t done = 0;
    while (done < input.len && may_run(session)) {
        bool has_own = session->extra != NULL && session->extra->parser != NULL;
        struct resp_parser *parser = has_own ? session->extra->parser : service_of(session)->parser;
        struct slice rest = slice_of(input.data + done, input.len - done);
        enum resp_status status = resp_parse(parser, rest, limits_of(session));
        if (status == RESP_INCOMPLETE) {
            await_rest(session, parser, rest.len);
            return done;
        }
        if (status == RESP_ERROR) {
            if (!session_settle(session)) {
                session_await_answers(session);
                return done;
            }
            refuse_input(session, resp_error_text(parser));
            return input.len;
        }
        size_t bytes = resp_bytes(parser);
        session->request_bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
        if (!dispatch(session, resp_argv(parser), resp_argc(parser))) { return done; }
        if (!(session->flags & SESSION_WAITS)) { session->request_bytes = 0; }
        done += bytes;
    }
    return done;
}

/* Did the last command publish, or may it have? */
static bool publishes(const struct session *session)
{
    return session->command < COMMAND_COUNT &&
           (command_table[session->command].flags & CMD_PUBLISHES ||
            session->command == COMMAND_exec);
}

size_t session_on_data(struct conn *conn, struct slice input)
{
    struct session *session = session_of(conn);
    struct service *service = service_of(session);
    service_refresh_options(service);
    session->active_s = service->now_s;
    if (UNLIKELY(session->flags & SESSION_MULTI) && is_over_query_limit(session, input.len)) {
        return input.len;
    }
    size_t done = run_requests(session, input);
    dispatch_end_publishes(service);
    answers_count_input(session, done);
    bool may_congest = service->broker->worker_count > 1 || service->broker->cluster != NULL;
    if (may_congest && publishes(session)) { held_consider(session); }
    if (done == input.len && session->extra != NULL) { /* nothing is unfinished */
        resp_parser_free(session->extra->parser);
        session->extra->parser = NULL;
    }
    return done;
}

bool session_settle(struct session *session)
{
    if (LIKELY(!(session->flags & SESSION_PUBLISHED))) { return true; }
    fanout_commit(service_of(session)->fanout);
    if (UNLIKELY(answers_are_outstanding(session))) { return false; }
    session->flags &= ~(uint32_t)SESSION_PUBLISHED;
    return true;
}

void session_await_answers(struct session *session)
{
    session->flags |= SESSION_UNSETTLED;
    conn_pause(&session->conn);
}

void session_wait(struct session *session)
{
    session->flags |= SESSION_WAITS;
    conn_pause(&session->conn);
}

void session_resume(struct session *session)
{
    session->flags &= ~(uint32_t)SESSION_WAITS;
    session->request_bytes = 0;
    if (session->flags & SESSION_LEAVING) {
        conn_close_after_flush(&session->conn);
    } else {
        session_read_on(session);
    }
}

/* Append `reply` to what the connection sends, by exchange of buffers if it is long. */
static void send_reply(struct session *session, struct buf *reply)
{
    struct buf *own = conn_reply_begin(&session->conn);
    if (reply->len >= SWAP_BYTES && own->len == 0) {
        struct buf empty = *own;
        *own = *reply;
        *reply = empty;
    } else {
        buf_append(own, buf_slice(reply));
    }
    conn_reply_end(&session->conn);
    reply->len = 0;
    if (UNLIKELY(session_backlog_bytes(session) > service_of(session)->options.watch_bytes)) {
        backlog_grew(session);
    }
}

void session_answer(struct session *session, struct buf *reply, bool pushes)
{
    bool is_silent = session->flags & (SESSION_REPLY_OFF | SESSION_REPLY_SKIPPING) && !pushes;
    if (is_silent || !conn_is_open(&session->conn)) {
        reply->len = 0;
    } else if (reply->len > 0) {
        send_reply(session, reply);
    }
    if (reply->cap > REPLY_KEEP_BYTES) { buf_fini(reply); }
    enum { GOES_ON = SESSION_LEAVING | SESSION_HOLDING }; /* what is held still comes */
    if ((session->flags & GOES_ON) == SESSION_LEAVING) { conn_close_after_flush(&session->conn); }
}

void session_hold(struct session *session)
{
    session_extra(session);
    session->flags |= SESSION_HOLDING;
}

void session_release(struct session *session)
{
    if (LIKELY(!(session->flags & SESSION_HOLDING))) { return; }
    struct buf held = session->extra->held;
    session->extra->held = (struct buf){0};
    session->flags &= ~(uint32_t)SESSION_HOLDING;
    metric_sub(METRIC_backlog_bytes, held.len);
    session_answer(session, &held, true);
    buf_fini(&held);
}

/* The number in a line such as "$12\r\n"; *at is moved behind it. */
static size_t take_number(const char **at)
{
    size_t number = 0;
    for ((*at)++; **at != '\r'; (*at)++) {
        number = number * 10 + (size_t)(**at - '0');
    }
    *at += 2;
    return number;
}

/* The length of a message as the fan-out writes it: an array of strings. */
static size_t frame_bytes(const char *frame)
{
    const char *at = frame;
    for (size_t left = take_number(&at); left > 0; left--) {
        size_t len = take_number(&at);
        at += len + 2;
    }
    return (size_t)(at - frame);
}

void session_forget_held(struct session *session, size_t held_before, enum topic_kind kind,
                         struct slice name)
{
    struct buf *held = &session->extra->held;
    if (held->len == held_before) { return; }
    size_t prefix_bytes = msg_prefix_bytes(kind, name);
    char *prefix = mem_new(prefix_bytes);
    CHECK(msg_write_prefix(prefix, kind, name) == prefix + prefix_bytes);
    size_t kept = held_before;
    for (size_t at = held_before; at < held->len;) {
        size_t len = frame_bytes(held->data + at);
        bool is_of_it =
            len > prefix_bytes && memcmp(held->data + at + 1, prefix + 1, prefix_bytes - 1) == 0;
        if (!is_of_it) {
            memmove(held->data + kept, held->data + at, len);
            kept += len;
        }
        at += len;
    }
    metric_sub(METRIC_backlog_bytes, held->len - kept);
    held->len = kept;
    mem_free(prefix);
}

void session_leave(struct session *session)
{
    session->flags |= SESSION_LEAVING;
}

void session_reset(struct session *session)
{
    enum {
        FORGOTTEN = SESSION_REPLY_OFF | SESSION_REPLY_SKIP | SESSION_REPLY_SKIPPING |
                    SESSION_NO_EVICT | SESSION_NO_TOUCH | SESSION_READONLY | SESSION_AUTHENTICATED
    };
    struct service *service = service_of(session);
    multi_discard(session);
    fanout_clear(service->fanout, &session->subscriber);
    session_count_subscriptions(session);
    subscriber_set_version(service->fanout, &session->subscriber, 2);
    session->flags &= ~(uint32_t)FORGOTTEN;
    session->flags |= service->options.needs_password ? 0 : SESSION_AUTHENTICATED;
    session->database = 0;
    if (session->extra != NULL) {
        mem_free(session->extra->name);
        session->extra->name = NULL;
    }
}

/* Keep the batch for behind the answer, which holds the confirmation. */
static void hold_batch(struct session *session, const struct batch *batch)
{
    for (unsigned i = 0; i < batch->iov_count; i++) {
        buf_append(&session->extra->held, slice_of(batch->iov[i].iov_base, batch->iov[i].iov_len));
    }
    metric_add(METRIC_backlog_bytes, batch->bytes);
    if (session_backlog_bytes(session) > service_of(session)->options.watch_bytes) {
        backlog_grew(session);
    }
}

void session_deliver(struct subscriber *subscriber, struct batch *batch)
{
    struct session *session = CONTAINER_OF(subscriber, struct session, subscriber);
    struct conn *conn = &session->conn;
    if (!conn_is_open(conn)) { return; }
    session->active_s = service_of(session)->now_s;
    metric_add(METRIC_deliveries_total, batch->messages);
    metric_add(METRIC_delivery_bytes_total, batch->bytes);
    if (UNLIKELY(session->flags & SESSION_HOLDING)) {
        hold_batch(session, batch);
        return;
    }
    size_t sent = conn_send_now(conn, batch->iov, batch->iov_count, batch->bytes);
    if (LIKELY(sent == batch->bytes)) { return; }
    unsigned count;
    const struct span *span = batch_keep(batch, &count);
    conn_queue(conn, span, count, sent);
    if (conn_backlog_bytes(conn) > service_of(session)->options.watch_bytes) {
        backlog_grew(session);
    }
}

static struct slice address_text(const struct sockaddr_storage *address, char *out)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    int len;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        len = snprintf(out, SESSION_ADDRESS_BYTES, "%s:%u", ip, ntohs(in->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        len = snprintf(out, SESSION_ADDRESS_BYTES, "[%s]:%u", ip, ntohs(in6->sin6_port));
    } else {
        len = snprintf(out, SESSION_ADDRESS_BYTES, "?:0");
    }
    return slice_of(out, (size_t)len);
}

/* Both ends of a unix socket are shown as its path. */
static struct slice unix_text(const struct session *session, char *out)
{
    struct sockaddr_un address = {0};
    socklen_t size = sizeof address;
    if (getsockname(session->conn.fd, (struct sockaddr *)&address, &size) != 0) {
        address.sun_path[0] = '\0';
    }
    int len = snprintf(out, SESSION_ADDRESS_BYTES, "%.108s:0", address.sun_path);
    return slice_of(out, (size_t)len);
}

struct slice session_address(const struct session *session, char *out)
{
    if (session->flags & SESSION_UNIX) { return unix_text(session, out); }
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    bool is_known = getpeername(session->conn.fd, (struct sockaddr *)&address, &size) == 0;
    if (!is_known) { address.ss_family = AF_UNSPEC; }
    return address_text(&address, out);
}

struct slice session_local_address(const struct session *session, char *out)
{
    if (session->flags & SESSION_UNIX) { return unix_text(session, out); }
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    bool is_known = getsockname(session->conn.fd, (struct sockaddr *)&address, &size) == 0;
    if (!is_known) { address.ss_family = AF_UNSPEC; }
    return address_text(&address, out);
}
