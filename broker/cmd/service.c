/* service: a worker's turn, its clients' arrival, and its end. */
#include "cmd/service.h"

#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "acl/acl.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cluster/cluster.h"
#include "cluster/commands.h"
#include "net/tls.h"
#include "session/bar.h"
#include "session/error_stats.h"
#include "session/life.h"
#include "session/sessions.h"

/* ---- the turn ---- */

/* What was answered at the end of the last turn has been written since. */
static void tell_handed_over(struct service *service)
{
    struct list *link;
    while ((link = list_pop_front(&service->handed_over)) != NULL) {
        struct handed_over *handed_over = CONTAINER_OF(link, struct handed_over, link);
        handed_over->run(handed_over);
    }
    if (service->is_confirming) { return; }
    service->is_confirming = true;
    service_debt_came(service);
}

/* Before it ends the partitions are to know it, or they put it back. */
static void look_whether_confirmed(struct service *service)
{
    const struct commands *commands = service->sessions.commands;
    if (!service->is_confirming || (commands != NULL && !commands_have_confirmed(commands))) {
        return;
    }
    service->is_confirming = false;
    service_debt_left(service);
}

/* Order, answer the publishers, then deliver: their next publishes are on their way while the
 * subscribers are written. */
static void on_turn_end(void *arg)
{
    struct service *service = arg;
    struct cluster *cluster = service->broker->cluster;
    if (UNLIKELY(!list_is_empty(&service->handed_over))) { tell_handed_over(service); }
    fanout_commit(service->fanout);
    if (cluster != NULL) { cluster_turn(cluster, worker_index(service->worker)); }
    sessions_before_flush(&service->sessions);
    if (service->sessions.commands != NULL) { commands_turn(service->sessions.commands); }
    worker_flush_replies(service->worker);
    fanout_flush(service->fanout);
    worker_flush_replies(service->worker);
    sessions_after_flush(&service->sessions);
    if (UNLIKELY(service->is_draining)) {
        service->is_draining = false;
        sessions_leave(&service->sessions);
    }
}

static bool is_idle(void *arg)
{
    struct service *service = arg;
    const struct commands *commands = service->sessions.commands;
    return sessions_are_idle(&service->sessions) && fanout_is_idle(service->fanout) &&
           list_is_empty(&service->handed_over) &&
           (commands == NULL || commands_are_idle(commands));
}

static void on_tick(void *arg)
{
    struct service *service = arg;
    struct cluster *cluster = service->broker->cluster;
    if (cluster != NULL) { cluster_tick(cluster, worker_index(service->worker)); }
    if (service->sessions.commands != NULL) { commands_tick(service->sessions.commands); }
    look_whether_confirmed(service);
    fanout_tick(service->fanout);
    sessions_tick(&service->sessions, service_client_count(service));
}

/* ---- CLIENT PAUSE ---- */

void service_unpause(struct service *service)
{
    worker_timer_cancel(&service->pause_timer);
    sessions_unbar(&service->sessions, BAR_PAUSE);
}

static void on_pause_end(struct worker_timer *timer)
{
    service_unpause(CONTAINER_OF(timer, struct service, pause_timer));
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
    struct tls *tls; /* or NULL */
    int fd;
};

void service_client_came(struct service *service)
{
    atomic_fetch_add_explicit(&service->broker->client_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&service->session_count, 1, memory_order_relaxed);
}

void service_client_left(struct service *service)
{
    atomic_fetch_sub_explicit(&service->session_count, 1, memory_order_release);
    atomic_fetch_sub_explicit(&service->broker->client_count, 1, memory_order_release);
}

static void on_arrival(struct task *task)
{
    struct arrival *arrival = CONTAINER_OF(task, struct arrival, task);
    struct service *service = arrival->service;
    struct tls *tls = arrival->tls;
    int fd = arrival->fd;
    mem_free(arrival);
    if (service->is_leaving) {
        tls_free(tls);
        CHECK(close(fd) == 0);
        service_client_left(service);
        return;
    }
    session_open(&service->sessions, fd, tls);
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

bool service_is_open_to_all(const struct broker *broker)
{
    struct acl_users *users = acl_users_now(broker->acl);
    const struct acl_user *standard = acl_users_default(users);
    bool is_open = acl_user_is_on(standard) && acl_user_has_nopass(standard);
    acl_users_unref(users);
    return is_open;
}

/* Why this client may not come in, as an error reply; NULL: it may. */
static const char *reason_to_refuse(struct broker *broker, int fd, uint64_t clients)
{
    const struct config *config = broker->config;
    if (clients > (uint64_t)config_number(config, CONFIG_max_clients)) {
        return "-ERR max number of clients reached\r\n";
    }
    if (config_number(config, CONFIG_protected_mode) && !address_is_local(fd) &&
        service_is_open_to_all(broker)) {
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

static void take_in(struct broker *broker, int fd, bool is_tls)
{
    uint64_t clients =
        atomic_fetch_add_explicit(&broker->client_count, 1, memory_order_relaxed) + 1;
    const char *refusal = reason_to_refuse(broker, fd, clients);
    if (refusal != NULL) {
        if (!is_tls) { (void)!send(fd, refusal, strlen(refusal), MSG_NOSIGNAL | MSG_DONTWAIT); }
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
    *arrival = (struct arrival){.task.run = on_arrival,
                                .service = service,
                                .tls = is_tls ? tls_new(broker->tls) : NULL,
                                .fd = fd};
    mailbox_post(worker_mailbox(service->worker), &arrival->task);
}

void service_on_accept(void *broker, int fd)
{
    take_in(broker, fd, false);
}

void service_on_accept_tls(void *broker, int fd)
{
    take_in(broker, fd, true);
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
    const struct worker_opts opts = {.index = index,
                                     .on_turn_end = on_turn_end,
                                     .on_tick = on_tick,
                                     .is_idle = is_idle,
                                     .arg = service};
    service->broker = broker;
    service->worker = worker_new(&opts);
    broker->service[index] = service;
    broker->worker[index] = service->worker;
    broker->mailbox[index] = worker_mailbox(service->worker);
    service->fanout = fanout_new(broker->directory, broker->mailbox, broker->worker_count, index,
                                 &session_fanout_ops);
    service->sessions = (struct sessions){
        .ops = broker->pipeline,
        .worker = service->worker,
        .fanout = service->fanout,
        .config = broker->config,
        .acl = broker->acl,
        .cluster = &broker->cluster,
        .next_id = &broker->next_client_id,
        .monitor_total = &broker->monitor_count,
        .worker_count = broker->worker_count,
    };
    sessions_init(&service->sessions);
    list_init(&service->handed_over);
}

void service_start(struct service *service)
{
    worker_start(service->worker);
}

uint32_t service_client_count(const struct service *service)
{
    return atomic_load_explicit(&service->session_count, memory_order_acquire);
}

uint32_t service_debt_count(const struct service *service)
{
    return atomic_load_explicit(&service->debt_count, memory_order_acquire);
}

void service_debt_came(struct service *service)
{
    atomic_fetch_add_explicit(&service->debt_count, 1, memory_order_relaxed);
}

void service_debt_left(struct service *service)
{
    atomic_fetch_sub_explicit(&service->debt_count, 1, memory_order_release);
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
    sessions_close(&service->sessions);
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
    worker_timer_cancel(&service->pause_timer);
    sessions_fini(&service->sessions);
    fanout_free(service->fanout);
    slowlog_clear(&service->slowlog);
    worker_free(service->worker);
    mem_free(service);
}
