/* server_data: options to consensus_opts and partitions_opts; the order of start and stop. */
#include "server_data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/latch.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/commands.h"
#include "cmd/keyspace_events.h"
#include "cmd/script_place.h"
#include "cmd/script_rights.h"
#include "cmd/service.h"
#include "consensus/consensus.h"
#include "data_layout.h"
#include "partition/partition.h"
#include "partition/replicas.h"
#include "script/script.h"

enum {
    ELECTION_MS = 100, /* nobody else votes */
    HEARTBEAT_MS = 50,
    LOG_SEGMENT_BYTES = 8 << 20,
    LOG_BALLAST_BYTES = 16 << 20,
    LOG_SNAPSHOT_BYTES = 64 << 20,
    /* Answers are taken by the workers, told to the askers, and what these put back ends: each a task behind the other. */
    ROUNDS_TO_SETTLE = 3,
    STOP_WAIT_MS = 5000,
    START_WAIT_MS = 2000, /* a long log takes longer, and then commands wait */
    CORES_PER_STORE_THREAD = 4,
    STORE_THREADS_MAX = 64,
};

struct server_data {
    struct broker *broker;
    struct config *config;
    struct consensus *consensus;
    struct partitions *partitions;
    struct latch stopped; /* by each worker */
    bool is_running;
    bool has_forgotten; /* what former lives of this node asked */
};

/* ---- parts ---- */

static enum err make_folder(char path[SERVER_DATA_PATH_BYTES], const char *dir, const char *name)
{
    int len = snprintf(path, SERVER_DATA_PATH_BYTES, "%s/%s", dir, name);
    if (len < SERVER_DATA_PATH_BYTES && (mkdir(path, 0700) == 0 || errno == EEXIST)) {
        return ERR_OK;
    }
    LOG_ERROR("cannot make a folder for keys: is the option dir on a disk that can be written?",
              LOG_STR("path", path), LOG_STR("error", strerror(errno)));
    return ERR_SYSTEM;
}

/* The log is the one that a cluster would use: the node may become a member with what it holds. */
static enum err open_consensus(struct server_data *sd, const char *dir)
{
    char path[SERVER_DATA_PATH_BYTES];
    struct wal_report report;
    enum err err = make_folder(path, dir, "raft");
    if (err != ERR_OK) { return err; }
    struct consensus_opts opts = consensus_opts_default();
    opts.dir = path;
    opts.engine.node_name = sd->broker->name;
    opts.engine.node_id = sd->broker->id;
    CHECK(getrandom(&opts.engine.random_seed, sizeof opts.engine.random_seed, 0) ==
          sizeof opts.engine.random_seed);
    opts.engine.election_ms = ELECTION_MS;
    opts.engine.heartbeat_ms = HEARTBEAT_MS;
    opts.engine.segment_bytes = LOG_SEGMENT_BYTES;
    opts.engine.ballast_bytes = LOG_BALLAST_BYTES;
    opts.engine.snapshot_log_bytes = LOG_SNAPSHOT_BYTES;
    opts.engine.free_bytes_min = (uint64_t)config_number(sd->config, CONFIG_disk_reserve);
    err = consensus_open(&sd->consensus, &opts, &report);
    if (err == ERR_CORRUPT) {
        LOG_ERROR("the log is damaged: `fanfare wal-check` tells more", LOG_STR("path", path),
                  LOG_STR("what", report.damage));
    } else if (err != ERR_OK) {
        LOG_ERROR("the log cannot be opened", LOG_STR("path", path), LOG_STR("why", err_word(err)));
    }
    return err;
}

static uint32_t thread_count(const struct broker *broker, struct config *config)
{
    uint32_t asked = (uint32_t)config_number(config, CONFIG_store_threads);
    uint32_t workers = broker->worker_count;
    uint32_t usual = (workers + CORES_PER_STORE_THREAD - 1) / CORES_PER_STORE_THREAD;
    uint32_t count = asked > 0 ? asked : usual;
    uint32_t most =
        broker->partition_count < STORE_THREADS_MAX ? broker->partition_count : STORE_THREADS_MAX;
    return count < most ? count : most;
}

/* 0 where it is the default: then it takes no room in the log. */
static uint64_t script_instructions(struct config *config)
{
    uint64_t limit = (uint64_t)config_number(config, CONFIG_script_instruction_limit);
    return limit != SCRIPT_INSTRUCTIONS_DEFAULT ? limit : 0;
}

enum err server_data_opts(struct partitions_opts *out, char path[SERVER_DATA_PATH_BYTES],
                          struct broker *broker, struct config *config, const char *dir)
{
    static const struct partitions_ops ops = {.changed = keyspace_events_changed};
    enum err err = make_folder(path, dir, "keys");
    if (err != ERR_OK) { return err; }
    *out = (struct partitions_opts){
        .dir = path,
        .node_name = broker->name,
        .partition_count = broker->partition_count,
        .thread_count = thread_count(broker, config),
        .worker_count = broker->worker_count,
        .map_bytes = (uint64_t)config_number(config, CONFIG_store_map_bytes),
        .sharded_databases = broker->sharded_databases,
        .script_instructions = script_instructions(config),
        .find = script_place,
        .find_arg = broker,
        .rights_ops = &script_rights_ops,
        .rights_arg = broker,
        .ops = &ops,
        .arg = broker,
    };
    return data_layout_check(path, broker->partition_count, broker->sharded_databases);
}

static enum err open_partitions(struct server_data *sd, const char *dir)
{
    char path[SERVER_DATA_PATH_BYTES];
    struct partitions_opts opts;
    enum err err = server_data_opts(&opts, path, sd->broker, sd->config, dir);
    if (err != ERR_OK) { return err; }
    opts.consensus = sd->consensus;
    err = partitions_new(&sd->partitions, &opts);
    if (err == ERR_OK) { err = replicas_open_alone(sd->partitions, opts.partition_count); }
    if (err != ERR_OK) {
        LOG_ERROR("the keys of this node cannot be opened", LOG_STR("dir", path),
                  LOG_STR("why", err_word(err)));
    }
    return err;
}

static void attach_workers(struct server_data *sd)
{
    struct broker *broker = sd->broker;
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        const struct commands_opts opts = {
            .partitions = sd->partitions,
            .worker = i,
            .mailbox = broker->mailbox[i],
            .timeout_ms = (uint32_t)config_number(sd->config, CONFIG_cluster_timeout),
            .node_id = broker->id,
            .incarnation = broker->started_wall_us,
        };
        broker->service[i]->sessions.commands = commands_new(&opts);
    }
}

/* ---- life ---- */

enum err server_data_new(struct server_data **out, struct broker *broker, struct config *config,
                         const char *dir)
{
    struct server_data *sd = mem_new0(sizeof *sd);
    sd->broker = broker;
    sd->config = config;
    enum err err = open_consensus(sd, dir);
    if (err == ERR_OK) { err = open_partitions(sd, dir); }
    if (err != ERR_OK) {
        server_data_free(sd);
        return err;
    }
    broker->partitions = sd->partitions;
    keyspace_events_set(broker);
    attach_workers(sd);
    consensus_run(sd->consensus);
    sd->is_running = true;
    *out = sd;
    return ERR_OK;
}

const char *server_data_unready_because(const struct server_data *sd)
{
    if (sd == NULL) { return NULL; }
    for (uint32_t i = 0; i < sd->broker->partition_count; i++) {
        if (partition_leads(sd->partitions, i) == 0) { return "keys are not served yet"; }
    }
    return NULL;
}

void server_data_await(const struct server_data *sd)
{
    uint64_t until_ns = clock_mono_ns() + START_WAIT_MS * NS_PER_MS;
    const struct timespec pause = {0, NS_PER_MS};
    while (server_data_unready_because(sd) != NULL && clock_mono_ns() < until_ns) {
        (void)nanosleep(&pause, NULL);
    }
}

void server_data_tick(struct server_data *sd)
{
    if (sd == NULL || sd->has_forgotten || server_data_unready_because(sd) != NULL) { return; }
    partitions_forget(sd->partitions, sd->broker->id, sd->broker->started_wall_us);
    sd->has_forgotten = true;
}

struct stop {
    struct task task;
    struct server_data *sd;
    struct commands *commands;
};

static void on_stop(struct task *task)
{
    struct stop *stop = CONTAINER_OF(task, struct stop, task);
    commands_stop(stop->commands);
    latch_count_down(&stop->sd->stopped);
    mem_free(stop);
}

static void on_settled(struct task *task)
{
    struct stop *stop = CONTAINER_OF(task, struct stop, task);
    latch_count_down(&stop->sd->stopped);
    mem_free(stop);
}

/* Run it on every worker, behind what is in their mailboxes. */
static void on_workers(struct server_data *sd, void (*run)(struct task *task))
{
    struct broker *broker = sd->broker;
    latch_init(&sd->stopped, broker->worker_count);
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        struct stop *stop = mem_new(sizeof *stop);
        *stop = (struct stop){
            .task.run = run, .sd = sd, .commands = broker->service[i]->sessions.commands};
        mailbox_post(broker->mailbox[i], &stop->task);
    }
    latch_wait(&sd->stopped);
    latch_fini(&sd->stopped);
}

static bool has_proposed(const struct server_data *sd)
{
    for (uint32_t i = 0; i < sd->broker->partition_count; i++) {
        struct partition_status status;
        partition_status(sd->partitions, i, &status);
        if (status.proposed_bytes > 0 || status.parked > 0) { return true; }
    }
    return false;
}

/* What is in the log's hands comes back by being on disk and no other way, for clients that have gone as well. */
static void await_proposed(const struct server_data *sd)
{
    uint64_t until_ns = clock_mono_ns() + STOP_WAIT_MS * NS_PER_MS;
    const struct timespec pause = {0, NS_PER_MS};
    while (has_proposed(sd)) {
        if (clock_mono_ns() > until_ns) {
            LOG_ERROR("the disk does not take what was written last, ended anyway; it was not "
                      "acknowledged");
            _exit(EXIT_FAILURE);
        }
        (void)nanosleep(&pause, NULL);
    }
}

void server_data_stop(struct server_data *sd)
{
    if (sd == NULL || !sd->is_running) { return; }
    sd->is_running = false;
    on_workers(sd, on_stop);
    await_proposed(sd);
    partitions_stop(sd->partitions);
    for (unsigned i = 0; i < ROUNDS_TO_SETTLE; i++) {
        on_workers(sd, on_settled);
    }
    consensus_stop(sd->consensus);
    sd->consensus = NULL;
}

void server_data_free(struct server_data *sd)
{
    if (sd == NULL) { return; }
    struct broker *broker = sd->broker;
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        commands_free(broker->service[i]->sessions.commands);
        broker->service[i]->sessions.commands = NULL;
    }
    if (sd->is_running) {
        partitions_stop(sd->partitions);
        consensus_stop(sd->consensus);
    } else if (sd->consensus != NULL) {
        if (sd->partitions != NULL) { partitions_stop(sd->partitions); }
        consensus_abandon(sd->consensus);
    }
    partitions_free(sd->partitions);
    broker->partitions = NULL;
    mem_free(sd);
}
