/* broker: what every worker's command layer shares: built by server.c before the workers start,
 * constant afterwards but for the atomics. Thread: any. */
#ifndef FANFARE_CMD_BROKER_H
#define FANFARE_CMD_BROKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cluster/cluster.h"
#include "cmd/command.h"
#include "config/config.h"
#include "net/listener.h"
#include "net/tls_server.h"
#include "net/worker.h"
#include "pubsub/directory.h"

struct acl;
struct acl_catalogue;
struct agreed;
struct service;
struct session_ops;

/* The Redis version whose behaviour clients may expect: INFO, HELLO. */
#define BROKER_REDIS_VERSION "7.2.0"

enum { BROKER_WORKERS_MAX = 64, BROKER_ID_HEX = 40, BROKER_PAUSE_ALL = 1 };

struct broker {
    struct config *config;
    struct directory *directory;
    struct cluster *cluster;             /* NULL: this node is alone */
    struct tls_server *tls;              /* NULL: no address is encrypted */
    struct agreed *agreed;               /* the cluster's users here; NULL: this node is alone */
    struct acl *acl;                     /* who may do what: made by user_file_begin */
    struct acl_catalogue *acl_catalogue; /* what its rules are about */
    const struct session_ops *pipeline;  /* through which requests go */
    uint32_t worker_count;
    struct partitions *partitions; /* of a node alone; broker_partitions() tells a cluster's, too */
    uint32_t partition_count;
    uint64_t sharded_databases;     /* bits: databases whose keys are spread by slot */
    struct command_index *commands; /* made by service_begin */
    struct worker
        *worker[BROKER_WORKERS_MAX]; /* this and the next two are entered by service_new */
    struct service *service[BROKER_WORKERS_MAX]; /* service[i] belongs to worker[i] */
    struct mailbox *mailbox[BROKER_WORKERS_MAX]; /* and so does mailbox[i] */
    char name[64];                               /* --name */
    char run_id[BROKER_ID_HEX + 1];              /* random, of this start: INFO run_id */
    char node_id[BROKER_ID_HEX + 1]; /* as CLUSTER MYID shows it: node_name_print of `id` */
    uint64_t id;                     /* random, kept in the data directory */
    char host
        [256]; /* what CLUSTER SLOTS tells clients: the advertised one, or "" for "the one you used" */
    uint16_t port; /* the advertised one, or the first TCP listen port */
    const char *executable;
    const char *config_file; /* "" if none */
    uint64_t started_wall_us;
    uint64_t started_mono_ns;
    uint64_t started_memory_bytes; /* used when the start was complete: INFO used_memory_startup */
    atomic_uint_fast64_t peak_memory_bytes; /* the most that was used, seen about every second */
    uint64_t file_limit;                    /* descriptors this process may open */
    atomic_uint_fast64_t next_client_id;
    atomic_uint_fast64_t next_slowlog_id;
    atomic_uint_fast64_t client_count;  /* accepted and not yet closed */
    atomic_uint_fast64_t monitor_count; /* clients that watch (MONITOR) */
    atomic_uint_fast64_t
        pause; /* CLIENT PAUSE: its end, monotonic ns; lowest bit: BROKER_PAUSE_ALL; 0: none */
    /* Rates of the last second, set by the main thread. */
    atomic_uint_fast64_t commands_per_s;
    atomic_uint_fast64_t input_bytes_per_s;
    atomic_uint_fast64_t output_bytes_per_s;
    /* Ask the process to end, as SIGTERM does (SHUTDOWN). Any thread. */
    void (*request_shutdown)(void *arg, bool now);
    void *request_shutdown_arg;
    atomic_bool is_shutting_down; /* it ends: other nodes take over, then clients are let go */
};

/* The keys of this node; NULL: it keeps none (yet). Thread: any. */
static inline struct partitions *broker_partitions(const struct broker *broker)
{
    return broker->cluster != NULL ? cluster_partitions(broker->cluster) : broker->partitions;
}

/* Note what is used, and give the most that ever was. Thread: any. */
static inline uint64_t broker_peak_memory(struct broker *broker, uint64_t used_bytes)
{
    uint64_t peak = atomic_load(&broker->peak_memory_bytes);
    while (peak < used_bytes &&
           !atomic_compare_exchange_weak(&broker->peak_memory_bytes, &peak, used_bytes)) {}
    return peak > used_bytes ? peak : used_bytes;
}

#endif
