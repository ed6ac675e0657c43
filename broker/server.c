/* server: the house, floor by floor: file limit and data directory, directory, workers with their
 * services, listeners, admin. */
#include "server.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "acl/acl.h"
#include "admin/admin.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/process_stat.h"
#include "cmd/broker.h"
#include "cmd/encoding_limits.h"
#include "cmd/keyspace_events.h"
#include "cmd/node_name.h"
#include "cmd/pipeline.h"
#include "cmd/service.h"
#include "cmd/user_file.h"
#include "net/listener.h"
#include "net/worker.h"
#include "node_dir.h"
#include "pubsub/directory.h"
#include "server_cluster.h"
#include "server_data.h"
#include "server_pages.h"
#include "server_tls.h"

/* Descriptors besides clients (the addresses of listen, each with another one for tls-port): per worker epoll, wake-up and
 * timers; per partition its store and what may take its place; listeners, log, lock, admin and its viewers. */
enum { LISTENERS_MAX = 32, FILES_PER_WORKER = 8, FILES_PER_PARTITION = 4, FILES_OTHER = 64 };

/* A counter, as of the last tick, whose rate the broker tells. */
struct rate {
    enum metric metric;
    uint64_t last;
    atomic_uint_fast64_t *per_s;
};
enum { RATES = 3 };

struct server {
    struct broker broker;
    struct config *config;
    struct listener *listener[LISTENERS_MAX];
    uint32_t listener_count;
    struct server_cluster *cluster; /* NULL: this node is alone */
    struct server_data *data;       /* NULL: its keys are the cluster's */
    struct buf dir;                 /* with a NUL */
    int lock_fd;
    uint32_t services_running;
    struct admin *admin; /* NULL: http-listen is off */
    struct admin_status status;
    atomic_uint_fast64_t ready_ns; /* when the cluster was last seen in order; 0: never */
    struct rate rate[RATES];
    uint64_t ticked_ns;
    struct task unlisten_task; /* runs on worker 0 */
    atomic_bool is_urgent;     /* SHUTDOWN NOW */
    char executable[PATH_MAX];
    char config_file[PATH_MAX];
};

/* ---- floor 0: what the system gives ---- */

/* Raise the file limit as far as it goes, at least to what max-clients needs if that is allowed. */
static enum err files_reserve(struct server *server)
{
    const struct broker *broker = &server->broker;
    uint64_t reserve = FILES_OTHER + (uint64_t)FILES_PER_WORKER * broker->worker_count +
                       (uint64_t)FILES_PER_PARTITION * broker->partition_count;
    uint64_t clients = (uint64_t)config_number(server->config, CONFIG_max_clients);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < clients + reserve) { /* needs a privilege, which a container may have */
        const struct rlimit more = {clients + reserve, clients + reserve};
        limit = setrlimit(RLIMIT_NOFILE, &more) == 0 ? more : limit;
    }
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        LOG_WARN("cannot raise the file limit", LOG_STR("why", strerror(errno)));
        limit.rlim_cur = before;
    }
    server->broker.file_limit = limit.rlim_cur;
    if (limit.rlim_cur <= reserve) {
        LOG_ERROR("the file limit is too low to serve anybody",
                  LOG_UINT("file_limit", limit.rlim_cur), LOG_UINT("needed", clients + reserve));
        return ERR_SYSTEM;
    }
    if (config_cap_clients(server->config, limit.rlim_cur - reserve)) {
        LOG_WARN("max-clients lowered to what the file limit allows", LOG_UINT("asked", clients),
                 LOG_UINT("max_clients", limit.rlim_cur - reserve),
                 LOG_UINT("file_limit", limit.rlim_cur));
    }
    LOG_INFO("file limit", LOG_UINT("files", limit.rlim_cur), LOG_UINT("before", before),
             LOG_INT("max_clients", config_number(server->config, CONFIG_max_clients)));
    return ERR_OK;
}

static enum err open_dir(struct server *server)
{
    config_text(server->config, CONFIG_dir, &server->dir);
    buf_append(&server->dir, slice_of("", 1));
    enum err err = node_dir_open(server->dir.data, &server->lock_fd, &server->broker.id);
    node_name_print(server->broker.id, server->broker.node_id);
    return err;
}

/* ---- the broker that all workers share ---- */

/* Any thread. The process ends as it does for SIGTERM: main waits for that. */
static void request_shutdown(void *arg, bool now)
{
    struct server *server = arg;
    atomic_store(&server->is_urgent, now);
    CHECK(kill(getpid(), SIGTERM) == 0);
}

static void describe(struct server *server)
{
    struct broker *broker = &server->broker;
    broker->config = server->config;
    broker->pipeline = &pipeline_ops;
    broker->worker_count = (uint32_t)config_number(server->config, CONFIG_threads);
    CHECK(broker->worker_count <= BROKER_WORKERS_MAX);
    broker->partition_count = (uint32_t)config_number(server->config, CONFIG_partitions);
    broker->sharded_databases = (uint64_t)config_number(server->config, CONFIG_sharded_databases);
    struct buf name = {0};
    config_text(server->config, CONFIG_name, &name);
    snprintf(broker->name, sizeof broker->name, "%.*s", SLICE_ARG(buf_slice(&name)));
    buf_fini(&name);
    uint64_t run = 0;
    CHECK(getrandom(&run, sizeof run, 0) == sizeof run);
    node_name_print(run, broker->run_id);
    ssize_t n = readlink("/proc/self/exe", server->executable, sizeof server->executable - 1);
    server->executable[n > 0 ? n : 0] = '\0';
    const char *file = config_file(server->config);
    if (file[0] == '\0' || realpath(file, server->config_file) == NULL) {
        server->config_file[0] = '\0';
    }
    broker->executable = server->executable;
    broker->config_file = server->config_file;
    broker->started_wall_us = clock_wall_us();
    broker->started_mono_ns = clock_mono_ns();
    broker->request_shutdown = request_shutdown;
    broker->request_shutdown_arg = server;
}

static void rates_begin(struct server *server)
{
    struct broker *broker = &server->broker;
    server->rate[0] =
        (struct rate){METRIC_redis_commands_processed_total, 0, &broker->commands_per_s};
    server->rate[1] =
        (struct rate){METRIC_redis_net_input_bytes_total, 0, &broker->input_bytes_per_s};
    server->rate[2] =
        (struct rate){METRIC_redis_net_output_bytes_total, 0, &broker->output_bytes_per_s};
    server->ticked_ns = clock_mono_ns();
}

/* A cluster whose members all know of common users has them in a moment; what was changed before would not stay. */
static bool users_are_known(struct server *server)
{
    uint32_t self;
    const struct pmap *map = cluster_map(server->broker.cluster, &self);
    bool is_due = map != NULL && map->level >= PMAP_LEVEL_USERS;
    pmap_unref(map);
    return !is_due || acl_is_agreed(server->broker.acl);
}

/* Why clients are not to come here, of what the cluster knows. A node that was ready stays so for as long
 * as commands wait for the cluster, which makes no more of a shorter interruption either: else every
 * node that fails would take all the others out of service for a moment. One that was never ready also waits for a new
 * cluster's replicas: before, one lost disk may be all that had what was acknowledged. Thread: main and admin. */
static const char *unready_because(void *arg)
{
    struct server *server = arg;
    if (server->broker.cluster == NULL) { return server_data_unready_because(server->data); }
    const char *because = cluster_unready_because(server->broker.cluster);
    uint64_t now_ns = clock_mono_ns();
    uint64_t ready_ns = atomic_load(&server->ready_ns);
    if (because == NULL && ready_ns == 0 && cluster_keys_are_single(server->broker.cluster)) {
        because = "some keys are on one node only yet";
    }
    if (because == NULL && ready_ns == 0 && !users_are_known(server)) {
        because = "the cluster has not agreed on its users yet";
    }
    if (because == NULL) {
        atomic_store(&server->ready_ns, now_ns);
        return NULL;
    }
    uint64_t wait_ns = (uint64_t)config_number(server->config, CONFIG_cluster_timeout) * NS_PER_MS;
    return ready_ns > 0 && now_ns < ready_ns + wait_ns ? NULL : because;
}

void server_reread(struct server *server)
{
    server_cluster_reread(server->cluster);
}

/* What is no reason to send clients elsewhere: other nodes cannot do it either. Thread: admin. */
static const char *note(void *arg)
{
    struct server *server = arg;
    return server->broker.cluster != NULL ? cluster_note(server->broker.cluster) : NULL;
}

void server_tick(struct server *server)
{
    uint64_t now_ns = clock_mono_ns();
    double passed_s = (double)(now_ns - server->ticked_ns) / (double)NS_PER_S;
    if (passed_s < 0.5) { return; }
    (void)unready_because(server);
    (void)broker_peak_memory(&server->broker, process_memory().used_bytes);
    server_data_tick(server->data);
    server_tls_tick(server->broker.tls);
    server_cluster_tick(server->cluster);
    keyspace_events_set(&server->broker); /* options that were read again */
    encoding_limits_set(&server->broker);
    user_file_refresh(&server->broker);
    for (unsigned i = 0; i < RATES; i++) {
        struct rate *rate = &server->rate[i];
        uint64_t sum = metric_sum(rate->metric);
        uint64_t grown = sum >= rate->last ? sum - rate->last : sum; /* CONFIG RESETSTAT */
        atomic_store(rate->per_s, (uint64_t)((double)grown / passed_s));
        rate->last = sum;
    }
    server->ticked_ns = now_ns;
}

/* ---- listeners ---- */

/* So much of what one client does not read is copied into the kernel; the rest waits as references, one copy for all
 * clients. Left alone, the kernel takes 2.5 MB. */
enum { CLIENT_UNSENT_BYTES_MAX = 256 << 10 };

/* One address. An optional one that cannot be had is logged and left out. */
static enum err listen_on(struct server *server, struct slice address, bool is_optional)
{
    char text[160];
    bool is_tls = config_address_plain(&address, SERVER_TLS_SCHEME);
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(address));
    const struct listener_opts opts = {
        .address = text,
        .backlog = (int)config_number(server->config, CONFIG_tcp_backlog),
        .unix_mode = (mode_t)config_number(server->config, CONFIG_unix_socket_mode),
        .unsent_bytes_max = CLIENT_UNSENT_BYTES_MAX,
        .on_accept = is_tls ? service_on_accept_tls : service_on_accept,
        .arg = &server->broker,
    };
    const char *why = "";
    struct listener **slot = &server->listener[server->listener_count];
    enum err err = listener_open(slot, &opts, &why);
    if (err == ERR_OK) {
        server->listener_count++;
        if (server->broker.port == 0) { server->broker.port = listener_port(*slot); }
    } else if (is_optional) {
        LOG_INFO("optional address left out", LOG_STR("listen", text), LOG_STR("why", why));
        err = ERR_OK;
    } else {
        LOG_ERROR("cannot listen", LOG_STR("listen", text), LOG_STR("why", why));
    }
    return err;
}

/* tls-port: beside a TCP address of `listen`, where Redis would bind both ports. */
static enum err listen_beside(struct server *server, struct slice address, bool is_optional)
{
    struct slice host;
    uint16_t port;
    int64_t tls_port = config_number(server->config, CONFIG_tls_port);
    if (tls_port == 0 || !address_split(address, &host, &port)) { return ERR_OK; }
    bool is_ipv6 = memchr(host.data, ':', host.len) != NULL;
    struct buf beside = {0};
    buf_appendf(&beside, is_ipv6 ? "tls://[%.*s]:%u" : "tls://%.*s:%u", SLICE_ARG(host),
                (unsigned)tls_port);
    enum err err = listen_on(server, buf_slice(&beside), is_optional);
    buf_fini(&beside);
    return err;
}

static enum err listen_on_all(struct server *server)
{
    struct buf listen = {0};
    config_text(server->config, CONFIG_listen, &listen);
    struct slice rest = buf_slice(&listen);
    struct slice address;
    bool is_optional;
    enum err err = ERR_OK;
    while (err == ERR_OK && config_list_next(&rest, &address, &is_optional)) {
        err = listen_on(server, address, is_optional);
        if (err == ERR_OK) { err = listen_beside(server, address, is_optional); }
    }
    buf_fini(&listen);
    if (err == ERR_OK && server->listener_count == 0) {
        LOG_ERROR("no address to listen on");
        err = ERR_SYSTEM;
    }
    return err == ERR_OK ? ERR_OK : ERR_SYSTEM;
}

/* On worker 0, which accepts. */
static void run_unlisten(struct task *task)
{
    struct server *server = CONTAINER_OF(task, struct server, unlisten_task);
    for (uint32_t i = 0; i < server->listener_count; i++) {
        listener_stop(server->listener[i]);
    }
}

/* ---- admin ---- */

static uint64_t worker_heartbeat(void *arg, unsigned worker)
{
    const struct server *server = arg;
    return worker_heartbeat_ns(server->broker.worker[worker]);
}

/* The file system of `dir`, or nothing if it does not tell. */
static void print_disk(const struct server *server, struct buf *out)
{
    struct statvfs disk;
    if (statvfs(server->dir.data, &disk) != 0) { return; }
    admin_print_gauge(out, "fanfare_disk_free_bytes", "free for this node where the option dir is",
                      (uint64_t)disk.f_bavail * disk.f_frsize);
    admin_print_gauge(out, "fanfare_disk_size_bytes", "of the file system where the option dir is",
                      (uint64_t)disk.f_blocks * disk.f_frsize);
}

static void print_extra_metrics(void *arg, struct buf *out)
{
    const struct server *server = arg;
    const struct broker *broker = &server->broker;
    admin_print_gauge(out, "redis_pubsub_channels", "channels with a subscriber",
                      directory_count(broker->directory, TOPIC_CHANNEL));
    admin_print_gauge(out, "redis_pubsub_patterns", "patterns with a subscriber",
                      directory_count(broker->directory, TOPIC_PATTERN));
    admin_print_gauge(out, "redis_pubsubshard_channels", "shard channels with a subscriber",
                      directory_count(broker->directory, TOPIC_SHARD));
    admin_print_gauge(out, "redis_instantaneous_ops_per_sec", "commands in the last second",
                      atomic_load(&broker->commands_per_s));
    admin_print_gauge(out, "redis_config_maxclients", "the option max-clients",
                      (uint64_t)config_number(server->config, CONFIG_max_clients));
    print_disk(server, out);
    server_tls_print_metrics(broker->tls, out);
    server_data_print_metrics(broker, broker_partitions(broker), server->config, out);
    if (broker->cluster != NULL) {
        admin_print_gauge(out, "fanfare_peer_queue_limit_bytes", "the option link-bytes",
                          (uint64_t)config_number(server->config, CONFIG_link_bytes));
        server_cluster_print_metrics(broker->cluster, out);
        server_cluster_print_trust(server->cluster, out);
    }
}

static struct bufferevent *viewer_new(void *arg, struct event_base *base)
{
    struct server *server = arg;
    return tls_server_bufferevent(server->broker.tls, base);
}

static enum admin_verdict judge_viewer(void *arg, const struct admin_visitor *visitor)
{
    struct server *server = arg;
    return server_pages_judge(&server->broker, visitor);
}

static enum err start_admin(struct server *server)
{
    struct buf listen = {0};
    config_text(server->config, CONFIG_http_listen, &listen);
    bool is_off = slice_equal(buf_slice(&listen), SLICE("off"));
    buf_append(&listen, slice_of("", 1));
    struct slice rest = buf_slice(&listen);
    bool is_tls = config_address_plain(&rest, SERVER_TLS_HTTP_SCHEME);
    const char *address = rest.data;
    const struct admin_opts opts = {
        .listen = &address,
        .listen_count = 1,
        .redis_version = BROKER_REDIS_VERSION,
        .status = &server->status,
        .heartbeat_ns = worker_heartbeat,
        .worker_count = server->broker.worker_count,
        .extra_metrics = print_extra_metrics,
        .unready_because = unready_because,
        .note = note,
        .connection_new = is_tls ? viewer_new : NULL,
        .judge = judge_viewer,
        .arg = server,
    };
    const char *why = "";
    enum err err = is_off ? ERR_OK : admin_start(&server->admin, &opts, &why);
    if (err != ERR_OK) {
        LOG_ERROR("cannot listen for HTTP", LOG_STR("http_listen", address), LOG_STR("why", why));
        err = ERR_SYSTEM;
    }
    buf_fini(&listen);
    return err;
}

/* ---- start and end ---- */

static void make_services(struct server *server)
{
    struct broker *broker = &server->broker;
    broker->directory = directory_new(broker->worker_count);
    service_begin(broker);
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        service_new(broker, i);
    }
}

/* Clients are served from here on. */
static void run_services(struct server *server)
{
    struct broker *broker = &server->broker;
    for (uint32_t i = 0; i < server->listener_count; i++) {
        listener_start(server->listener[i], broker->worker[0]);
    }
    for (; server->services_running < broker->worker_count; server->services_running++) {
        service_start(broker->service[server->services_running]);
    }
}

static void log_ready(const struct server *server)
{
    for (uint32_t i = 0; i < server->listener_count; i++) {
        LOG_INFO("listening", LOG_STR("address", listener_address(server->listener[i])));
    }
    if (server->admin != NULL) {
        LOG_INFO("listening for HTTP", LOG_STR("address", admin_address(server->admin, 0)));
    }
    LOG_INFO("ready", LOG_STR("version", FANFARE_VERSION), LOG_STR("name", server->broker.name),
             LOG_STR("node_id", server->broker.node_id), LOG_INT("pid", getpid()),
             LOG_UINT("threads", server->broker.worker_count));
}

enum err server_start(struct server **out, struct config *config)
{
    metrics_thread_init();
    struct server *server = mem_new0(sizeof *server);
    server->config = config;
    server->lock_fd = -1;
    describe(server);
    rates_begin(server);
    enum err err = files_reserve(server);
    if (err != ERR_OK) { goto fail; }
    err = open_dir(server);
    if (err != ERR_OK) { goto fail; }
    err = server_tls_open(&server->broker.tls, config);
    if (err != ERR_OK) { goto fail; }
    err = listen_on_all(server);
    if (err != ERR_OK) { goto fail; }
    err = user_file_begin(&server->broker);
    if (err != ERR_OK) { goto fail; }
    make_services(server);
    err = server_cluster_new(&server->cluster, &server->broker, config, server->dir.data);
    if (err != ERR_OK) { goto fail; }
    if (server->broker.cluster == NULL) {
        err = server_data_new(&server->data, &server->broker, config, server->dir.data);
        if (err != ERR_OK) { goto fail; }
    }
    atomic_store(&server->status.unready_because, "starting");
    err = start_admin(server);
    if (err != ERR_OK) { goto fail; }
    server->broker.started_memory_bytes = process_memory().used_bytes;
    if (server->broker.cluster == NULL) { /* ready before the first client can ask */
        atomic_store(&server->status.unready_because, NULL);
        atomic_store(&server->status.is_started, true);
    }
    server_data_await(server->data);
    run_services(server);
    *out = server;
    return ERR_OK;
fail:
    server_free(server);
    return err;
}

enum err server_join(struct server *server)
{
    enum err err = server_cluster_start(server->cluster);
    if (err != ERR_OK) { return err; }
    atomic_store(&server->status.unready_because, NULL);
    atomic_store(&server->status.is_started, true);
    log_ready(server);
    return ERR_OK;
}

void server_hand_over(struct server *server)
{
    atomic_store(&server->status.unready_because, "draining");
    atomic_store(&server->broker.is_shutting_down, true);
    if (server->broker.cluster != NULL) { cluster_drain(server->broker.cluster); }
}

bool server_has_handed_over(const struct server *server)
{
    return server->broker.cluster == NULL || cluster_is_drained(server->broker.cluster);
}

void server_log_left_short(const struct server *server)
{
    if (server->broker.cluster != NULL) { cluster_log_left_short(server->broker.cluster); }
}

void server_drain(struct server *server)
{
    struct broker *broker = &server->broker;
    atomic_store(&server->status.unready_because, "draining");
    server->unlisten_task.run = run_unlisten;
    mailbox_post(worker_mailbox(broker->worker[0]), &server->unlisten_task);
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        service_drain(broker->service[i]);
    }
}

void server_abort(struct server *server)
{
    for (uint32_t i = 0; i < server->broker.worker_count; i++) {
        service_abort(server->broker.service[i]);
    }
}

uint64_t server_client_count(const struct server *server)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < server->broker.worker_count; i++) {
        count += service_client_count(server->broker.service[i]);
    }
    return count;
}

bool server_is_settled(const struct server *server)
{
    /* Clients first: one leaves its debt before it goes. */
    bool is_settled = server_client_count(server) == 0;
    for (uint32_t i = 0; i < server->broker.worker_count; i++) {
        is_settled = is_settled && service_debt_count(server->broker.service[i]) == 0;
    }
    return is_settled;
}

bool server_shutdown_is_urgent(const struct server *server)
{
    return atomic_load(&server->is_urgent);
}

void server_free(struct server *server)
{
    if (server == NULL) { return; }
    struct broker *broker = &server->broker;
    admin_stop(server->admin); /* it looks at the workers */
    if (server->services_running > 0) {
        server_cluster_stop(server->cluster);
        server_data_stop(server->data);
    }
    for (uint32_t i = 0; i < server->services_running; i++) {
        service_stop(broker->service[i]);
    }
    for (uint32_t i = 0; i < server->listener_count; i++) {
        listener_free(server->listener[i]); /* its event goes before the loop that it is on */
    }
    server_cluster_free(server->cluster); /* it looks at the fan-outs */
    server_data_free(server->data);
    if (broker->directory != NULL) {
        for (uint32_t i = 0; i < broker->worker_count; i++) {
            service_free(broker->service[i]);
        }
        service_end(broker);
        directory_free(broker->directory);
    }
    tls_server_free(server->broker.tls);
    user_file_end(broker);
    if (server->lock_fd >= 0) { close(server->lock_fd); }
    buf_fini(&server->dir);
    mem_free(server);
}
