/* service: a worker's turn, its clients' arrival, and its end. */
#include "cmd/service.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cluster/cluster.h"
#include "cmd/cmd_subscribe.h"
#include "cmd/error_stats.h"
#include "cmd/session.h"

enum {
    INLINE_BYTES_MAX = 64 << 10, /* as in Redis */
    TICKS_PER_WALK = 10,         /* every session is looked at about once a second */
};

static const struct fanout_ops fanout_ops = {.deliver = session_deliver,
                                             .published = session_published,
                                             .deferred = session_deferred,
                                             .settled = session_settled,
                                             .changed = session_changed,
                                             .dropped = session_dropped};

/* ---- options ---- */

static uint64_t lowest_limit(const struct config_output_limit *limit, uint64_t bytes)
{
    if (limit->hard_bytes > 0 && limit->hard_bytes < bytes) { bytes = limit->hard_bytes; }
    if (limit->soft_bytes > 0 && limit->soft_bytes < bytes) { bytes = limit->soft_bytes; }
    return bytes;
}

void service_refresh_options(struct service *service)
{
    const struct config *config = service->broker->config;
    struct service_options *options = &service->options;
    uint64_t version = config_version(config);
    if (LIKELY(version == options->config_version)) { return; }
    options->config_version = version;
    options->limits = (struct resp_limits){
        .inline_bytes_max = INLINE_BYTES_MAX,
        .bulk_bytes_max = (size_t)config_number(config, CONFIG_proto_max_bulk_len),
        .args_count_max = INT32_MAX,
    };
    options->query_bytes_max = (uint64_t)config_number(config, CONFIG_query_buffer_limit);
    options->watch_bytes = BACKLOG_WATCH_BYTES;
    for (enum config_client_class class = 0; class < CONFIG_CLIENT_CLASSES; class ++) {
        options->output_limit[class] = config_output_limit(config, class);
        options->watch_bytes = lowest_limit(&options->output_limit[class], options->watch_bytes);
    }
    options->slow_us = config_number(config, CONFIG_slowlog_log_slower_than);
    options->needs_password = !config_text_is_empty(config, CONFIG_requirepass);
}

/* ---- the turn ---- */

static void drain(struct service *service)
{
    service->is_draining = false;
    LIST_EACH (link, &service->sessions) {
        struct session *session = CONTAINER_OF(link, struct session, link);
        session_leave(session);
        if (!(session->flags & SESSION_WAITS) && !answers_are_outstanding(session)) {
            conn_close_after_flush(&session->conn);
        }
    }
}

/* Order, answer the publishers, then deliver: their next publishes are on their way while the
 * subscribers are written. */
static void on_turn_end(void *arg)
{
    struct service *service = arg;
    struct cluster *cluster = service->broker->cluster;
    fanout_commit(service->fanout);
    if (cluster != NULL) { cluster_turn(cluster, worker_index(service->worker)); }
    if (UNLIKELY(service->due.count > 0)) { waiting_turn_end(service); }
    worker_flush_replies(service->worker);
    fanout_flush(service->fanout);
    worker_flush_replies(service->worker);
    if (UNLIKELY(service->held.count > 0)) { held_turn_end(service); }
    if (UNLIKELY(service->is_draining)) { drain(service); }
    service->now_s = (uint32_t)(worker_now_ns(service->worker) / NS_PER_S);
}

static bool is_idle(void *arg)
{
    struct service *service = arg;
    bool may_release = service->held.count > 0 && !held_is_congested(service);
    return !may_release && service->due.count == 0 && fanout_is_idle(service->fanout);
}

/* Close clients that have been silent for too long; never subscribers, nor those that we keep
 * waiting. */
static void close_if_silent(struct session *session, uint64_t timeout_s)
{
    uint32_t silent_s = service_of(session)->now_s - session->active_s;
    bool may_be_silent = subscriber_total(&session->subscriber) > 0 ||
                         session->flags & SESSION_BARRED || answers_are_outstanding(session);
    if (!may_be_silent && silent_s > timeout_s) {
        LOG_DEBUG("client closed", LOG_STR("reason", "timeout"), LOG_UINT("id", session->id));
        conn_close(&session->conn);
    }
}

/* A part of the sessions at each tick; the list turns under the walk. */
static void walk_sessions(struct service *service)
{
    uint64_t timeout_s = (uint64_t)config_number(service->broker->config, CONFIG_timeout);
    if (timeout_s == 0) { return; }
    uint32_t count =
        atomic_load_explicit(&service->session_count, memory_order_relaxed) / TICKS_PER_WALK + 1;
    for (uint32_t i = 0; i < count && !list_is_empty(&service->sessions); i++) {
        struct list *link = list_pop_front(&service->sessions);
        list_push_back(&service->sessions, link);
        close_if_silent(CONTAINER_OF(link, struct session, link), timeout_s);
    }
}

static void on_tick(void *arg)
{
    struct service *service = arg;
    service->now_s = (uint32_t)(worker_now_ns(service->worker) / NS_PER_S);
    service_refresh_options(service);
    struct cluster *cluster = service->broker->cluster;
    if (cluster != NULL) { cluster_tick(cluster, worker_index(service->worker)); }
    backlog_tick(service);
    fanout_tick(service->fanout);
    walk_sessions(service);
}

/* ---- clients that may have missed something ---- */

struct concern {
    bool (*concerns)(void *concern, enum topic_kind kind, struct slice name);
    void *arg;
    enum topic_kind kind;
    bool is_concerned;
};

static void ask_concern(void *arg, struct slice name)
{
    struct concern *concern = arg;
    concern->is_concerned =
        concern->is_concerned || concern->concerns(concern->arg, concern->kind, name);
}

static bool is_concerned(struct session *session, struct concern *concern)
{
    concern->is_concerned = false;
    for (unsigned kind = 0; kind < TOPIC_KINDS && !concern->is_concerned; kind++) {
        concern->kind = (enum topic_kind)kind;
        if (session->subscriber.count[kind] > 0) {
            fanout_each_subscription(&session->subscriber, concern->kind, ask_concern, concern);
        }
    }
    return concern->is_concerned;
}

void service_close_subscribers(struct service *service,
                               bool (*concerns)(void *concern, enum topic_kind kind,
                                                struct slice name),
                               void *arg)
{
    struct concern concern = {.concerns = concerns, .arg = arg};
    uint64_t count = 0;
    LIST_EACH (link, &service->sessions) {
        struct session *session = CONTAINER_OF(link, struct session, link);
        if (conn_is_open(&session->conn) && is_concerned(session, &concern)) {
            conn_close(&session->conn);
            count++;
        }
    }
    if (count > 0) {
        metric_add(METRIC_subscribers_interrupted_total, count);
        LOG_WARN("subscribers closed", LOG_STR("reason", "they may have missed a message"),
                 LOG_UINT("clients", count), LOG_UINT("worker", worker_index(service->worker)));
    }
}

/* ---- CLIENT PAUSE ---- */

void service_unpark(struct service *service)
{
    worker_timer_cancel(&service->pause_timer);
    if (service->parked_count == 0) { return; }
    service->parked_count = 0;
    LIST_EACH (link, &service->sessions) {
        struct session *session = CONTAINER_OF(link, struct session, link);
        if (session->flags & SESSION_PARKED) {
            session->flags &= ~(uint32_t)SESSION_PARKED;
            metric_sub(METRIC_redis_blocked_clients, 1);
            session_read_on(session);
        }
    }
}

static void on_pause_end(struct worker_timer *timer)
{
    service_unpark(CONTAINER_OF(timer, struct service, pause_timer));
}

void service_await_pause_end(struct service *service)
{
    uint64_t until_ns = atomic_load_explicit(&service->broker->pause, memory_order_relaxed);
    uint64_t now_ns = clock_mono_ns();
    uint64_t wait_ms = until_ns > now_ns ? (until_ns - now_ns) / NS_PER_MS + 1 : 0;
    if (service->pause_timer.event == NULL) {
        worker_timer_start(service->worker, &service->pause_timer, wait_ms, on_pause_end);
    }
}

/* ---- arrival ---- */

struct arrival {
    struct task task;
    struct service *service;
    int fd;
};

void service_client_left(struct service *service)
{
    atomic_fetch_sub_explicit(&service->session_count, 1, memory_order_release);
    atomic_fetch_sub_explicit(&service->broker->client_count, 1, memory_order_release);
}

static void on_arrival(struct task *task)
{
    struct arrival *arrival = CONTAINER_OF(task, struct arrival, task);
    struct service *service = arrival->service;
    int fd = arrival->fd;
    mem_free(arrival);
    if (service->is_leaving) {
        CHECK(close(fd) == 0);
        service_client_left(service);
        return;
    }
    session_open(service, fd);
}

/* Does the peer live on this machine: a unix socket or a loopback address? */
static bool is_local(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0) { return false; }
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&address;
        return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (address.ss_family == AF_INET6) {
        const struct in6_addr *ip =
            &((const struct sockaddr_in6 *)(const void *)&address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(ip) ||
               (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == IN_LOOPBACKNET);
    }
    return address.ss_family == AF_UNIX;
}

static void keep_alive(const struct config *config, int fd)
{
    int idle_s = (int)config_number(config, CONFIG_tcp_keepalive);
    if (idle_s == 0) { return; }
    int on = 1;
    int interval_s = idle_s / 3 > 0 ? idle_s / 3 : 1;
    int probes = 3;
    /* On a unix socket these fail, and nothing is lost. */
    if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    }
}

/* Why this client may not come in, as an error reply; NULL: it may. */
static const char *reason_to_refuse(struct broker *broker, int fd, uint64_t clients)
{
    const struct config *config = broker->config;
    if (clients > (uint64_t)config_number(config, CONFIG_max_clients)) {
        return "-ERR max number of clients reached\r\n";
    }
    bool is_open_to_all = config_text_is_empty(config, CONFIG_requirepass);
    if (is_open_to_all && config_number(config, CONFIG_protected_mode) && !is_local(fd)) {
        return "-DENIED This broker runs in protected mode: no password is set, so it serves "
               "clients of its own machine "
               "only. Set a password (requirepass), or allow everybody (protected-mode no), then "
               "connect again.\r\n";
    }
    return NULL;
}

static struct service *least_busy(const struct broker *broker)
{
    struct service *best = NULL;
    uint32_t fewest = UINT32_MAX;
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        uint32_t count = service_client_count(broker->service[i]);
        if (count < fewest) {
            fewest = count;
            best = broker->service[i];
        }
    }
    return best;
}

void service_on_accept(void *broker_arg, int fd)
{
    struct broker *broker = broker_arg;
    uint64_t clients =
        atomic_fetch_add_explicit(&broker->client_count, 1, memory_order_relaxed) + 1;
    const char *refusal = reason_to_refuse(broker, fd, clients);
    if (refusal != NULL) {
        (void)!send(fd, refusal, strlen(refusal), MSG_NOSIGNAL | MSG_DONTWAIT);
        metric_add(METRIC_redis_rejected_connections_total, 1);
        LOG_LIMITED(LOG_LEVEL_WARN, "client refused",
                    LOG_SLICE("answer", slice_of(refusal, strlen(refusal) - 2)));
        CHECK(close(fd) == 0);
        atomic_fetch_sub_explicit(&broker->client_count, 1, memory_order_release);
        return;
    }
    keep_alive(broker->config, fd);
    struct service *service = least_busy(broker);
    atomic_fetch_add_explicit(&service->session_count, 1, memory_order_relaxed);
    struct arrival *arrival = mem_new(sizeof *arrival);
    *arrival = (struct arrival){.task.run = on_arrival, .service = service, .fd = fd};
    mailbox_post(worker_mailbox(service->worker), &arrival->task);
}

/* ---- life ---- */

void service_begin(struct broker *broker)
{
    static const enum metric_family family[] = {
        METRIC_FAMILY_redis_commands_total,
        METRIC_FAMILY_redis_commands_duration_seconds_total,
        METRIC_FAMILY_redis_commands_failed_calls_total,
        METRIC_FAMILY_redis_commands_rejected_calls_total,
    };
    for (size_t i = 0; i < COUNT_OF(family); i++) {
        metrics_family_labels(family[i], command_full_names, COMMAND_COUNT);
    }
    error_stats_begin();
    broker->commands = command_index_new();
}

void service_end(struct broker *broker)
{
    command_index_free(broker->commands);
    broker->commands = NULL;
}

void service_new(struct broker *broker, uint32_t index)
{
    struct service *service = mem_new0(sizeof *service);
    service->broker = broker;
    service->conn_ops = (struct conn_ops){.on_data = session_on_data, .on_close = session_on_close};
    service->options.config_version = UINT64_MAX; /* none yet */
    list_init(&service->sessions);
    const struct worker_opts opts = {.index = index,
                                     .on_turn_end = on_turn_end,
                                     .on_tick = on_tick,
                                     .is_idle = is_idle,
                                     .arg = service};
    service->worker = worker_new(&opts);
    service->parser = resp_parser_new();
    service->now_s = (uint32_t)(clock_mono_ns() / NS_PER_S);
    service_refresh_options(service);
    broker->service[index] = service;
    broker->worker[index] = service->worker;
    broker->mailbox[index] = worker_mailbox(service->worker);
    service->fanout =
        fanout_new(broker->directory, broker->mailbox, broker->worker_count, index, &fanout_ops);
}

void service_start(struct service *service)
{
    worker_start(service->worker);
}

uint32_t service_client_count(const struct service *service)
{
    return atomic_load_explicit(&service->session_count, memory_order_acquire);
}

static void on_drain(struct task *task)
{
    struct service *service = CONTAINER_OF(task, struct service, drain_task);
    service->is_leaving = true;
    service->is_draining = true; /* what this turn brings still goes out */
}

void service_drain(struct service *service)
{
    if (!atomic_exchange(&service->drain_asked, true)) {
        service->drain_task.run = on_drain;
        mailbox_post(worker_mailbox(service->worker), &service->drain_task);
    }
}

static void on_abort(struct task *task)
{
    struct service *service = CONTAINER_OF(task, struct service, abort_task);
    service->is_leaving = true;
    LIST_EACH (link, &service->sessions) {
        conn_close(&CONTAINER_OF(link, struct session, link)->conn);
    }
}

void service_abort(struct service *service)
{
    if (!atomic_exchange(&service->abort_asked, true)) {
        service->abort_task.run = on_abort;
        mailbox_post(worker_mailbox(service->worker), &service->abort_task);
    }
}

void service_stop(struct service *service)
{
    worker_stop(service->worker);
    worker_join(service->worker);
}

void service_free(struct service *service)
{
    if (service == NULL) { return; }
    CHECK(list_is_empty(&service->sessions));
    worker_timer_cancel(&service->pause_timer);
    fanout_free(service->fanout);
    resp_parser_free(service->parser);
    buf_fini(&service->reply);
    slowlog_clear(&service->slowlog);
    backlog_fini(&service->backlog);
    held_fini(&service->held);
    due_fini(&service->due);
    worker_free(service->worker);
    mem_free(service);
}
