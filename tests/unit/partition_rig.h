/* partition_rig: nodes with partitions in scratch folders, in one process, over loopback links; and requests to them, asked by
 * the test's thread as by a worker. */
#ifndef FANFARE_TESTS_UNIT_PARTITION_RIG_H
#define FANFARE_TESTS_UNIT_PARTITION_RIG_H

#ifdef RIG_PLAIN /* a program of its own: what does not hold stops it */
#define cr_assert(condition, ...) CHECK(condition)
#define cr_assert_eq(a, b, ...) CHECK((a) == (b))
#define cr_assert_lt(a, b, ...) CHECK((a) < (b))
#define cr_assert_gt(a, b, ...) CHECK((a) > (b))
#define cr_assert_not_null(a, ...) CHECK((a) != NULL)
#define cr_assert_str_eq(a, b, ...) CHECK(strcmp(a, b) == 0)
#else
#include <criterion/criterion.h>
#endif
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/latch.h"
#include "base/mem.h"
#include "consensus/consensus.h"
#include "partition/partition.h"
#include "store/store_string.h"

enum { RIG_NODES = 3, RIG_WORDS = 16, RIG_WAIT_MS = 20000 };

struct rig_node {
    struct rig *rig;
    uint32_t index;
    char name[8];
    char log_dir[96];
    char data_dir[96];
    uint16_t port;
    struct consensus *consensus; /* NULL: it does not run */
    struct partitions *partitions;
    const char *boot_id;
};

struct rig {
    char dir[64];
    uint32_t partition_count;
    uint64_t snapshot_log_bytes; /* 0: the engine's default */
    uint64_t map_bytes;          /* 0: enough */
    uint64_t backup_idle_ms;     /* 0: as partition/backup.h says */
    uint64_t backup_growth_bytes;
    uint32_t node_count;
    struct rig_node node[RIG_NODES];
    struct mailbox home;
    int event_fd;
    uint64_t seq[64]; /* of each partition's lane */
    _Atomic uint64_t leads_calls;
    _Atomic uint64_t events;
};

static inline void rig_wake(void *arg)
{
    uint64_t one = 1;
    ssize_t ignored = write(((struct rig *)arg)->event_fd, &one, sizeof one);
    (void)ignored;
}

/* Run what was answered, or wait a little for something. */
static inline void rig_poll(struct rig *rig, int ms)
{
    mailbox_sleeping(&rig->home, true);
    if (mailbox_is_empty(&rig->home)) {
        struct pollfd fd = {rig->event_fd, POLLIN, 0};
        (void)poll(&fd, 1, ms);
    }
    mailbox_sleeping(&rig->home, false);
    uint64_t count;
    ssize_t ignored = read(rig->event_fd, &count, sizeof count);
    (void)ignored;
    (void)mailbox_run(&rig->home);
}

#define RIG_UNTIL(rig, condition)                                              \
    do {                                                                       \
        uint64_t rig_until = clock_mono_ns() + RIG_WAIT_MS * NS_PER_MS;        \
        while (!(condition)) {                                                 \
            cr_assert_lt(clock_mono_ns(), rig_until, "never: %s", #condition); \
            rig_poll(rig, 5);                                                  \
        }                                                                      \
    } while (0)

/* ---- on the raft thread ---- */

struct rig_job {
    struct task task;
    struct rig_node *node;
    void (*run)(struct rig_node *node, void *arg);
    void *arg;
    struct latch done;
};

static inline void rig_run_job(struct task *task)
{
    struct rig_job *job = CONTAINER_OF(task, struct rig_job, task);
    job->run(job->node, job->arg);
    latch_count_down(&job->done);
}

static inline void rig_on_raft(struct rig_node *node, void (*run)(struct rig_node *node, void *arg),
                               void *arg)
{
    struct rig_job job = {.task = {.run = rig_run_job}, .node = node, .run = run, .arg = arg};
    latch_init(&job.done, 1);
    consensus_post(node->consensus, &job.task);
    latch_wait(&job.done);
    latch_fini(&job.done);
}

/* ---- nodes ---- */

static inline bool rig_address(void *arg, const char *name, char host[LINK_HOST_BYTES],
                               uint16_t *port)
{
    struct rig *rig = ((struct rig_node *)arg)->rig;
    snprintf(host, LINK_HOST_BYTES, "127.0.0.1");
    for (uint32_t i = 0; i < rig->node_count; i++) {
        if (strcmp(rig->node[i].name, name) == 0) { *port = rig->node[i].port; }
    }
    return *port != 0;
}

static inline void rig_leads(void *arg, uint32_t partition, uint64_t term)
{
    (void)partition;
    (void)term;
    ((struct rig_node *)arg)->rig->leads_calls++;
}

static inline void rig_changed(void *arg, uint16_t db, struct slice key, const char *event,
                               uint32_t class)
{
    (void)db;
    (void)key;
    (void)event;
    (void)class;
    ((struct rig_node *)arg)->rig->events++;
}

static inline void rig_start(struct rig_node *node)
{
    static const struct partitions_ops ops = {rig_leads, rig_changed};
    struct rig *rig = node->rig;
    struct consensus_opts opts = consensus_opts_default();
    struct wal_report report;
    opts.dir = node->log_dir;
    opts.cluster_id = 1;
    opts.listen_host = "127.0.0.1";
    opts.listen_port = node->port;
    opts.address_of = rig_address;
    opts.arg = node;
    opts.engine.node_name = node->name;
    opts.engine.node_id = node->index + 1;
    opts.engine.random_seed = clock_mono_ns() + node->index;
    opts.engine.election_ms = 400;
    opts.engine.heartbeat_ms = 40;
    opts.engine.free_bytes_min = 1 << 20;
    opts.engine.ballast_bytes = 0;
    opts.engine.segment_bytes = 8 << 20;
    if (rig->snapshot_log_bytes > 0) {
        opts.engine.snapshot_log_bytes = rig->snapshot_log_bytes;
        opts.engine.trailing_entries = 8;
    }
    cr_assert_eq(consensus_open(&node->consensus, &opts, &report), ERR_OK);
    if (node->port == 0) { node->port = consensus_port(node->consensus); } /* others may read it */
    const struct partitions_opts popts = {
        .dir = node->data_dir,
        .node_name = node->name,
        .boot_id = node->boot_id,
        .consensus = node->consensus,
        .partition_count = rig->partition_count,
        .thread_count = 2,
        .worker_count = 2,
        .map_bytes = rig->map_bytes > 0 ? rig->map_bytes : 1ULL << 30,
        .backup_idle_ms = rig->backup_idle_ms,
        .backup_growth_bytes = rig->backup_growth_bytes,
        .ops = &ops,
        .arg = node,
    };
    cr_assert_eq(partitions_new(&node->partitions, &popts), ERR_OK);
    consensus_run(node->consensus);
}

static inline void rig_stop(struct rig_node *node)
{
    if (node->consensus == NULL) { return; }
    partitions_stop(node->partitions);
    consensus_stop(node->consensus);
    partitions_free(node->partitions);
    node->consensus = NULL;
    node->partitions = NULL;
}

static inline void rig_create_job(struct rig_node *node, void *arg)
{
    uint32_t partition = *(uint32_t *)arg;
    cr_assert_eq(partitions_create(node->partitions, partition, node->index + 1, node->index == 0),
                 ERR_OK);
}

static inline void rig_open_job(struct rig_node *node, void *arg)
{
    cr_assert_eq(partitions_open(node->partitions, *(uint32_t *)arg), ERR_OK);
}

static inline void rig_delete_job(struct rig_node *node, void *arg)
{
    partitions_delete(node->partitions, *(uint32_t *)arg);
}

static inline void rig_delete(struct rig_node *node, uint32_t partition)
{
    rig_on_raft(node, rig_delete_job, &partition);
}

struct rig_creation {
    uint32_t partition;
    uint64_t replica;
    enum err err;
};

static inline void rig_recreate_job(struct rig_node *node, void *arg)
{
    struct rig_creation *creation = arg;
    creation->err =
        partitions_create(node->partitions, creation->partition, creation->replica, true);
}

/* A founder, once what was there before is closed. */
static inline void rig_recreate(struct rig_node *node, uint32_t partition, uint64_t replica)
{
    struct rig_creation creation = {partition, replica, ERR_SLOW};
    RIG_UNTIL(node->rig,
              (rig_on_raft(node, rig_recreate_job, &creation), creation.err != ERR_SLOW));
    cr_assert_eq(creation.err, ERR_OK);
}

static inline void rig_create(struct rig_node *node)
{
    for (uint32_t i = 0; i < node->rig->partition_count; i++) {
        rig_on_raft(node, rig_create_job, &i);
    }
}

static inline void rig_open(struct rig_node *node)
{
    for (uint32_t i = 0; i < node->rig->partition_count; i++) {
        rig_on_raft(node, rig_open_job, &i);
    }
}

static inline void rig_init(struct rig *rig, uint32_t node_count, uint32_t partition_count)
{
    uint64_t snapshot_log_bytes = rig->snapshot_log_bytes;
    uint64_t map_bytes = rig->map_bytes;
    uint64_t backup_idle_ms = rig->backup_idle_ms;
    uint64_t backup_growth_bytes = rig->backup_growth_bytes;
    *rig = (struct rig){.node_count = node_count,
                        .partition_count = partition_count,
                        .snapshot_log_bytes = snapshot_log_bytes,
                        .map_bytes = map_bytes,
                        .backup_idle_ms = backup_idle_ms,
                        .backup_growth_bytes = backup_growth_bytes};
    const char *tmp = getenv("TMPDIR");
    snprintf(rig->dir, sizeof rig->dir, "%s/partition.XXXXXX", tmp != NULL ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(rig->dir));
    rig->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    mailbox_init(&rig->home, rig_wake, rig);
    for (uint32_t i = 0; i < node_count; i++) {
        struct rig_node *node = &rig->node[i];
        node->rig = rig;
        node->index = i;
        snprintf(node->name, sizeof node->name, "n%u", i);
        snprintf(node->log_dir, sizeof node->log_dir, "%s/log%u", rig->dir, i);
        snprintf(node->data_dir, sizeof node->data_dir, "%s/data%u", rig->dir, i);
        cr_assert_eq(mkdir(node->log_dir, 0700), 0);
        cr_assert_eq(mkdir(node->data_dir, 0700), 0);
    }
}

static inline void rig_fini(struct rig *rig)
{
    char command[128];
    for (uint32_t i = 0; i < rig->node_count; i++) {
        rig_stop(&rig->node[i]);
    }
    close(rig->event_fd);
    snprintf(command, sizeof command, "rm -r '%s'", rig->dir);
    cr_assert_eq(system(command), 0);
}

/* What a flipped bit may do, to `n`. The node does not run. */
static inline void rig_falsify(const struct rig_node *node)
{
    char path[160];
    struct store *store;
    struct store_txn *txn;
    snprintf(path, sizeof path, "%s/0/data", node->data_dir);
    const struct store_opts opts = {.path = path, .map_bytes = 1ULL << 30, .readers_max = 4};
    cr_assert_eq(store_open(&store, &opts), ERR_OK);
    cr_assert_eq(store_begin(store, &txn), ERR_OK);
    const struct store_ref ref = {0, 0, SLICE("n")};
    struct store_object object;
    store_txn_entry(txn, store_clock_ms(txn), 1);
    if (!store_key_find(txn, &ref, &object)) { /* the node had not committed it yet */
        store_key_create(txn, STORE_STRING, &object);
    }
    store_string_set(txn, &object, SLICE("7"));
    store_key_save(txn, &ref, &object);
    cr_assert_eq(store_commit(txn), ERR_OK);
    cr_assert_eq(store_sync(store), ERR_OK);
    store_close(store);
}

/* ---- requests ---- */

struct rig_ask {
    struct partition_request request;
    struct partition_call call[4];
    struct slice word[4][RIG_WORDS];
    struct partition_check check[4];
    bool is_done;
    uint32_t done_count; /* since it was asked */
};

static inline void rig_done(struct partition_request *request)
{
    struct rig_ask *ask = CONTAINER_OF(request, struct rig_ask, request);
    ask->is_done = true;
    ask->done_count++;
}

/* One more call, of words apart by blanks, which live as long as the ask. */
static inline void rig_call(struct rig_ask *ask, uint16_t db, const char *text)
{
    uint32_t at = ask->request.call_count++;
    struct partition_call *call = &ask->call[at];
    *call = (struct partition_call){.db = db, .argv = ask->word[at]};
    while (*text != 0) {
        size_t len = strcspn(text, " ");
        ask->word[at][call->argc++] = slice_of(text, len);
        text += len + (text[len] == ' ');
    }
    ask->request.call = ask->call;
}

static inline void rig_begin(struct rig *rig, struct rig_ask *ask, enum partition_ask what,
                             uint32_t partition)
{
    *ask = (struct rig_ask){.request = {
                                .ask = what,
                                .partition = partition,
                                .resp_version = 2,
                                .check = ask->check,
                                .home = &rig->home,
                                .on_done = rig_done,
                            }};
    if (what != PARTITION_WRITE) { return; }
    ask->request.origin = (struct partition_origin){
        .node_id = 7, .incarnation = 1, .worker = 3, .seq = ++rig->seq[partition]};
    ask->request.origin.acked_low = ask->request.origin.seq;
}

static inline void rig_ask(struct rig_node *node, struct rig_ask *ask)
{
    ask->is_done = false;
    ask->done_count = 0;
    partition_ask(node->partitions, &ask->request);
}

static inline void rig_wait(struct rig *rig, struct rig_ask *ask)
{
    RIG_UNTIL(rig, ask->is_done);
}

static inline void rig_free(struct rig_ask *ask)
{
    buf_fini(&ask->request.reply);
    mem_free(ask->request.reply_end);
    ask->request.reply_end = NULL;
}

/* What was answered, as text that ends with a zero (a reply does not). Gives: it, until the next call. */
static inline const char *rig_text(const struct rig_ask *ask)
{
    static char text[4096];
    const struct buf *reply = &ask->request.reply;
    snprintf(text, sizeof text, "%.*s", (int)reply->len, reply->len > 0 ? reply->data : "");
    return text;
}

/* Ask once. Gives: the answer as `rig_text` does, or the error's word in brackets. */
static inline const char *rig_do(struct rig_node *node, enum partition_ask what, uint32_t partition,
                                 const char *text)
{
    static char refusal[64];
    struct rig_ask ask;
    rig_begin(node->rig, &ask, what, partition);
    rig_call(&ask, 0, text);
    rig_ask(node, &ask);
    rig_wait(node->rig, &ask);
    snprintf(refusal, sizeof refusal, "(%s)", err_word(ask.request.err));
    const char *reply = ask.request.err != ERR_OK ? refusal : rig_text(&ask);
    rig_free(&ask);
    return reply;
}

static inline const char *rig_write(struct rig_node *node, const char *text)
{
    return rig_do(node, PARTITION_WRITE, 0, text);
}

static inline const char *rig_read(struct rig_node *node, const char *text)
{
    return rig_do(node, PARTITION_READ, 0, text);
}

static inline void rig_until_leads(struct rig_node *node, uint32_t partition)
{
    RIG_UNTIL(node->rig, partition_leads(node->partitions, partition) != 0);
}

#endif
