/* cmd_info: INFO. Sections are rows; each prints lines `name:value` under the names that Redis's
 * tools read, and fanfare_ ones.
 * What has no meaning here is left out, unless a client stumbles without it. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/process_stat.h"
#include "cmd/ask_workers.h"
#include "cmd/caller.h"
#include "cmd/cmd_cluster_text.h"
#include "cmd/data_route.h"
#include "cmd/data_sum.h"
#include "session/error_stats.h"

static void put_uint(struct buf *out, const char *name, uint64_t value)
{
    buf_appendf(out, "%s:%" PRIu64 "\r\n", name, value);
}

static void put_text(struct buf *out, const char *name, const char *value)
{
    buf_appendf(out, "%s:%s\r\n", name, value);
}

/* The bytes as a number, and again for people: 1.50M. */
static void put_bytes(struct buf *out, const char *name, uint64_t bytes)
{
    static const char units[] = "BKMGTPE";
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1024 && unit + 2 < sizeof units) {
        value /= 1024;
        unit++;
    }
    put_uint(out, name, bytes);
    buf_appendf(out, unit == 0 ? "%s_human:%.0f%c\r\n" : "%s_human:%.2f%c\r\n", name, value,
                units[unit]);
}

static void print_server(const struct call *call, struct buf *out)
{
    const struct broker *broker = call->caller->broker;
    struct utsname system;
    CHECK(uname(&system) == 0);
    uint64_t up_s = (clock_mono_ns() - broker->started_mono_ns) / NS_PER_S;
    put_text(out, "redis_version", BROKER_REDIS_VERSION);
    put_text(out, "fanfare_version", FANFARE_VERSION);
    put_text(out, "fanfare_name", broker->name);
    put_text(out, "fanfare_node_id", broker->node_id);
    put_text(out, "redis_git_sha1", "00000000");
    put_text(out, "redis_git_dirty", "0");
    put_text(out, "redis_build_id", "0");
    put_text(out, "redis_mode", "standalone");
    buf_appendf(out, "os:%s %s %s\r\n", system.sysname, system.release, system.machine);
    put_uint(out, "arch_bits", sizeof(void *) * 8);
    put_text(out, "monotonic_clock", "POSIX clock_gettime");
    put_text(out, "multiplexing_api", "epoll");
    put_text(out, "gcc_version", __VERSION__);
    put_uint(out, "process_id", (uint64_t)getpid());
    put_text(out, "process_supervised", "no");
    put_text(out, "run_id", broker->run_id);
    put_uint(out, "tcp_port", broker->port);
    put_uint(out, "server_time_usec", clock_wall_us());
    put_uint(out, "uptime_in_seconds", up_s);
    put_uint(out, "uptime_in_days", up_s / 86400);
    put_uint(out, "hz", 10);
    put_uint(out, "configured_hz", 10);
    put_uint(out, "lru_clock", clock_wall_us() / 1000000 & 0xffffff);
    put_text(out, "executable", broker->executable);
    put_text(out, "config_file", broker->config_file);
    put_uint(out, "io_threads_active", broker->worker_count > 1);
    put_uint(out, "fanfare_threads", broker->worker_count);
}

static void print_clients(const struct call *call, struct buf *out)
{
    const struct broker *broker = call->caller->broker;
    put_uint(out, "connected_clients", atomic_load(&broker->client_count));
    put_uint(out, "cluster_connections", 0);
    put_uint(out, "maxclients", (uint64_t)config_number(broker->config, CONFIG_max_clients));
    put_uint(out, "blocked_clients", metric_sum(METRIC_redis_blocked_clients));
    put_uint(out, "tracking_clients", 0);
    put_uint(out, "pubsub_clients", metric_sum(METRIC_redis_pubsub_clients));
    put_uint(out, "clients_in_timeout_table", 0);
    put_uint(out, "fanfare_backlog_bytes", metric_sum(METRIC_backlog_bytes));
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static void print_memory(const struct call *call, struct buf *out)
{
    struct process_memory memory = process_memory();
    uint64_t peak_bytes = broker_peak_memory(call->caller->broker, memory.used_bytes);
    put_bytes(out, "used_memory", memory.used_bytes);
    put_bytes(out, "used_memory_rss", memory.resident_bytes);
    put_bytes(out, "used_memory_peak", peak_bytes);
    buf_appendf(out, "used_memory_peak_perc:%.2f%%\r\n", percent(memory.used_bytes, peak_bytes));
    put_uint(out, "used_memory_overhead", memory.used_bytes);
    put_uint(out, "used_memory_startup", call->caller->broker->started_memory_bytes);
    put_uint(out, "used_memory_dataset", 0);
    put_bytes(out, "total_system_memory", memory.system_bytes);
    put_bytes(out, "maxmemory", 0);
    put_text(out, "maxmemory_policy", "noeviction");
    /* Keys are in files, of which the kernel keeps in memory what it has room for. */
    uint64_t own_bytes = memory.resident_bytes - memory.mapped_bytes;
    buf_appendf(out, "mem_fragmentation_ratio:%.2f\r\n",
                percent(own_bytes, memory.used_bytes) / 100);
    buf_appendf(out, "mem_fragmentation_bytes:%lld\r\n",
                (long long)own_bytes - (long long)memory.used_bytes);
    put_uint(out, "fanfare_memory_mapped", memory.mapped_bytes);
    put_uint(out, "fanfare_memory_reserved", metric_sum(METRIC_store_reserved_bytes));
    put_uint(out, "mem_clients_normal", metric_sum(METRIC_backlog_bytes));
    put_uint(out, "mem_clients_slaves", 0);
    put_text(out, "mem_allocator", heap_name());
    put_uint(out, "lazyfree_pending_objects", 0);
}

/* Every write is in a log on disk before it is answered: what Redis calls an append-only file with appendfsync always. */
static void print_persistence(const struct call *call, struct buf *out)
{
    const struct broker *broker = call->caller->broker;
    struct data_sum sum;
    data_sum(&sum, broker_partitions(broker), broker->partition_count);
    put_uint(out, "loading", 0);
    put_uint(out, "async_loading", 0);
    put_uint(out, "rdb_changes_since_last_save", 0);
    put_uint(out, "rdb_bgsave_in_progress", 0);
    put_uint(out, "rdb_last_save_time", clock_wall_us() / 1000000);
    put_text(out, "rdb_last_bgsave_status", "ok");
    put_uint(out, "aof_enabled", broker_partitions(broker) != NULL);
    put_uint(out, "aof_rewrite_in_progress", 0);
    put_text(out, "aof_last_bgrewrite_status", "ok");
    put_text(out, "aof_last_write_status", "ok");
    put_uint(out, "fanfare_replicas", sum.open);
    put_uint(out, "fanfare_replicas_damaged", sum.damaged);
    put_uint(out, "fanfare_partitions_led", sum.led);
    put_uint(out, "fanfare_store_used_bytes", sum.used_bytes);
    put_uint(out, "fanfare_store_file_bytes", sum.file_bytes);
    put_uint(out, "fanfare_log_bytes", metric_sum(METRIC_raft_wal_live_bytes));
    put_uint(out, "fanfare_log_files", metric_sum(METRIC_raft_wal_segments));
    put_uint(out, "fanfare_entries_to_apply", sum.apply_lag);
    put_uint(out, "fanfare_store_reader_lag", sum.reader_lag_max);
    put_uint(out, "fanfare_snapshots_taking", metric_sum(METRIC_raft_snapshots_taking));
    put_uint(out, "fanfare_snapshots_fetching", metric_sum(METRIC_raft_snapshots_fetching));
    put_uint(out, "fanfare_digest_mismatches",
             metric_sum(METRIC_partition_digest_mismatches_total));
    put_uint(out, "fanfare_rebuilds", metric_sum(METRIC_partition_rebuilds_total));
}

static void print_stats(const struct call *call, struct buf *out)
{
    const struct broker *broker = call->caller->broker;
    put_uint(out, "total_connections_received",
             metric_sum(METRIC_redis_connections_received_total));
    put_uint(out, "total_commands_processed", metric_sum(METRIC_redis_commands_processed_total));
    put_uint(out, "instantaneous_ops_per_sec", atomic_load(&broker->commands_per_s));
    put_uint(out, "total_net_input_bytes", metric_sum(METRIC_redis_net_input_bytes_total));
    put_uint(out, "total_net_output_bytes", metric_sum(METRIC_redis_net_output_bytes_total));
    buf_appendf(out, "instantaneous_input_kbps:%.2f\r\n",
                (double)atomic_load(&broker->input_bytes_per_s) / 1024);
    buf_appendf(out, "instantaneous_output_kbps:%.2f\r\n",
                (double)atomic_load(&broker->output_bytes_per_s) / 1024);
    put_uint(out, "rejected_connections", metric_sum(METRIC_redis_rejected_connections_total));
    put_uint(out, "acl_access_denied_auth", metric_sum(METRIC_redis_acl_access_denied_auth_total));
    put_uint(out, "acl_access_denied_cmd", metric_sum(METRIC_redis_acl_access_denied_cmd_total));
    put_uint(out, "acl_access_denied_key", metric_sum(METRIC_redis_acl_access_denied_key_total));
    put_uint(out, "acl_access_denied_channel",
             metric_sum(METRIC_redis_acl_access_denied_channel_total));
    put_uint(out, "acl_access_denied_tls_cert",
             metric_sum(METRIC_redis_acl_access_denied_tls_cert_total));
    put_uint(out, "sync_full", 0);
    put_uint(out, "sync_partial_ok", 0);
    put_uint(out, "sync_partial_err", 0);
    put_uint(out, "expired_keys", metric_sum(METRIC_redis_expired_keys_total));
    put_uint(out, "evicted_keys", 0);
    put_uint(out, "evicted_clients", 0);
    put_uint(out, "keyspace_hits", metric_sum(METRIC_redis_keyspace_hits_total));
    put_uint(out, "keyspace_misses", metric_sum(METRIC_redis_keyspace_misses_total));
    put_uint(out, "pubsub_channels", directory_count(broker->directory, TOPIC_CHANNEL));
    put_uint(out, "pubsub_patterns", directory_count(broker->directory, TOPIC_PATTERN));
    put_uint(out, "pubsubshard_channels", directory_count(broker->directory, TOPIC_SHARD));
    put_uint(out, "latest_fork_usec", 0);
    put_uint(out, "total_forks", 0);
    put_uint(out, "migrate_cached_sockets", 0);
    put_uint(out, "total_error_replies", metric_sum(METRIC_redis_total_error_replies));
    put_uint(out, "client_output_buffer_limit_disconnections",
             metric_sum(METRIC_subscribers_dropped_total) +
                 metric_sum(METRIC_clients_dropped_total));
    put_uint(out, "fanfare_messages_published", metric_sum(METRIC_messages_published_total));
    put_uint(out, "fanfare_messages_unheard", metric_sum(METRIC_messages_unheard_total));
    put_uint(out, "fanfare_deliveries", metric_sum(METRIC_deliveries_total));
    put_uint(out, "fanfare_subscribers_dropped", metric_sum(METRIC_subscribers_dropped_total));
}

static void print_replication(const struct call *call, struct buf *out)
{
    put_text(out, "role", "master");
    put_uint(out, "connected_slaves", 0);
    put_text(out, "master_failover_state", "no-failover");
    put_text(out, "master_replid", call->caller->broker->run_id);
    put_text(out, "master_replid2", "0000000000000000000000000000000000000000");
    put_uint(out, "master_repl_offset", 0);
    put_text(out, "second_repl_offset", "-1");
    put_uint(out, "repl_backlog_active", 0);
    put_uint(out, "repl_backlog_size", 0);
    put_uint(out, "repl_backlog_first_byte_offset", 0);
    put_uint(out, "repl_backlog_histlen", 0);
}

static void put_time(struct buf *out, const char *name, struct timeval time)
{
    buf_appendf(out, "%s:%lld.%06lld\r\n", name, (long long)time.tv_sec, (long long)time.tv_usec);
}

static void print_cpu(const struct call *call, struct buf *out)
{
    (void)call;
    struct rusage own;
    CHECK(getrusage(RUSAGE_SELF, &own) == 0);
    const struct timeval none = {0};
    put_time(out, "used_cpu_sys", own.ru_stime);
    put_time(out, "used_cpu_user", own.ru_utime);
    put_time(out, "used_cpu_sys_children", none);
    put_time(out, "used_cpu_user_children", none);
}

static void print_commandstats(const struct call *call, struct buf *out)
{
    (void)call;
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        uint64_t calls = metric_family_sum(METRIC_FAMILY_redis_commands_total, id);
        uint64_t rejected =
            metric_family_sum(METRIC_FAMILY_redis_commands_rejected_calls_total, id);
        if (calls + rejected == 0) { continue; }
        uint64_t usec = metric_family_sum(METRIC_FAMILY_redis_commands_duration_seconds_total, id);
        buf_appendf(out,
                    "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f"
                    ",rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64 "\r\n",
                    command_table[id].full_name, calls, usec,
                    calls > 0 ? (double)usec / (double)calls : 0, rejected,
                    metric_family_sum(METRIC_FAMILY_redis_commands_failed_calls_total, id));
    }
}

static void print_errorstats(const struct call *call, struct buf *out)
{
    (void)call;
    for (uint32_t code = 0; code < ERROR_CODES; code++) {
        uint64_t count = error_stats_count(code);
        if (count > 0) {
            buf_appendf(out, "errorstat_%s:count=%" PRIu64 "\r\n", error_code_words[code], count);
        }
    }
}

/* Cluster clients ask this before they use CLUSTER SLOTS; all of CLUSTER is answered. */
static void print_cluster(const struct call *call, struct buf *out)
{
    cluster_info_append(out, call);
}

/* Keys as of the last batch that was applied; of partitions that have a replica on this node. */
static void print_keyspace(const struct call *call, struct buf *out)
{
    const struct broker *broker = call->caller->broker;
    struct data_sum sum;
    data_sum(&sum, broker_partitions(broker), broker->partition_count);
    for (unsigned db = 0; db < DATA_SUM_DATABASES; db++) {
        if (sum.keys[db] == 0) { continue; }
        buf_appendf(out, "db%u:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0\r\n", db,
                    sum.keys[db], sum.expiring[db]);
    }
}

static void print_nothing(const struct call *call, struct buf *out)
{
    (void)call;
    (void)out;
}

static const struct section {
    const char *name;
    const char *title;
    bool is_default;
    void (*print)(const struct call *call, struct buf *out);
} sections[] = {
    {"server", "Server", true, print_server},
    {"clients", "Clients", true, print_clients},
    {"memory", "Memory", true, print_memory},
    {"persistence", "Persistence", true, print_persistence},
    {"stats", "Stats", true, print_stats},
    {"replication", "Replication", true, print_replication},
    {"cpu", "CPU", true, print_cpu},
    {"modules", "Modules", true, print_nothing},
    {"commandstats", "Commandstats", false, print_commandstats},
    {"errorstats", "Errorstats", true, print_errorstats},
    {"latencystats", "Latencystats", false, NULL}, /* who asks for it asks all workers */
    {"cluster", "Cluster", true, print_cluster},
    {"keyspace", "Keyspace", true, print_keyspace},
};

static bool is_wanted(const struct call *call, const struct section *section)
{
    for (uint32_t i = 1; i < call->argc; i++) {
        struct slice word = call->argv[i];
        if (slice_equal_nocase(word, SLICE("all")) ||
            slice_equal_nocase(word, SLICE("everything")) ||
            (section->is_default && slice_equal_nocase(word, SLICE("default"))) ||
            slice_equal_nocase(word, slice_of_str(section->name))) {
            return true;
        }
    }
    return call->argc == 1 && section->is_default;
}

/* Percentiles of how long commands take: every worker counts its own. */
static void print_latencystats(const struct latency *latency, struct buf *out)
{
    static const struct {
        const char *name;
        double percent;
    } percentiles[] = {{"p50", 50}, {"p99", 99}, {"p99.9", 99.9}};
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        uint64_t calls = 0;
        for (uint32_t bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
            calls += latency->calls[id][bucket];
        }
        if (calls == 0) { continue; }
        buf_appendf(out, "latency_percentiles_usec_%s:", command_table[id].full_name);
        for (size_t i = 0; i < COUNT_OF(percentiles); i++) {
            buf_appendf(out, "%s%s=%.3f", i > 0 ? "," : "", percentiles[i].name,
                        latency_percentile_us(latency->calls[id], percentiles[i].percent));
        }
        buf_append(out, SLICE("\r\n"));
    }
}

/* `wanted` has a bit for each section; `latency` may be NULL if that of it is not set. */
static void print_sections(const struct call *call, uint32_t wanted, const struct latency *latency)
{
    struct buf text = {0};
    for (unsigned i = 0; i < COUNT_OF(sections); i++) {
        if (!(wanted >> i & 1)) { continue; }
        buf_appendf(&text, "%s# %s\r\n", text.len > 0 ? "\r\n" : "", sections[i].title);
        if (sections[i].print != NULL) {
            sections[i].print(call, &text);
        } else {
            print_latencystats(latency, &text);
        }
    }
    reply_verbatim(call->reply, buf_slice(&text));
    buf_fini(&text);
}

struct question {
    struct latency sum;
    uint32_t wanted;
};

static void visit(void *arg, struct service *service)
{
    struct question *question = arg;
    latency_sum(&question->sum, &service->latency);
}

static void finish(void *arg, struct call *call)
{
    const struct question *question = arg;
    print_sections(call, question->wanted, &question->sum);
}

void cmd_info(struct call *call)
{
    static const struct ask_ops ops = {visit, finish, mem_free};
    uint32_t wanted = 0;
    bool asks = false;
    for (unsigned i = 0; i < COUNT_OF(sections); i++) {
        if (!is_wanted(call, &sections[i])) { continue; }
        wanted |= 1U << i;
        asks = asks || sections[i].print == NULL;
    }
    if (!asks) {
        print_sections(call, wanted, NULL);
        return;
    }
    struct question *question = mem_new0(sizeof *question);
    question->wanted = wanted;
    ask_workers(call, &ops, question);
}
