/* node: one process of a consensus cluster with its own load, for bench.py and the kill test.
 * It keeps commands outstanding in the groups that it leads, applies all groups to state machines
 * in memory, and prints a line of figures per report. At SIGTERM it stops cleanly and prints what
 * it holds.
 * Threads: raft (consensus), main (the load). */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "consensus/consensus.h"

enum {
    NODES_MAX = 9,
    GROUPS_MAX = 1024,
    COMMAND_BYTES_MAX = 4096,
    BUCKETS = 40 * 16,
    RETRY_MS = 5,
    NOT_LEADER_RETRY_MS = 50 /* more often, refusals would be a third of all that is measured */
};

struct origin { /* one life of one process */
    uint64_t id;
    uint64_t count;
};

/* A state machine: counts what came from whom, and chains a hash over all of it. */
struct machine {
    uint64_t group;
    uint64_t applied;
    uint64_t count;
    uint64_t hash;
    struct origin origins[64];
    uint64_t restored_bytes;
    bool is_leader;
};

struct image {
    struct machine head;
    uint64_t at;
    uint64_t bytes;
};

struct slot { /* one command outstanding */
    struct proposal proposal;
    struct task back;
    uint64_t sent_ns;
    uint64_t retry_ns; /* 0: on its way */
    enum err err;
    char data[COMMAND_BYTES_MAX];
};

struct figures {
    uint64_t acked;
    uint64_t in_doubt;
    uint64_t full; /* refused because the disk is full */
    uint64_t bucket[BUCKETS];
    uint64_t flushes;
    uint64_t cpu_us;
    uint64_t slow_turns;
    uint64_t late_turns;
};

struct node {
    const char *name;
    const char *dir;
    int node_count;
    char names[NODES_MAX][16];
    char hosts[NODES_MAX][64];
    uint16_t ports[NODES_MAX];
    uint64_t groups;
    uint64_t outstanding;
    uint64_t command_bytes;
    uint64_t state_bytes;
    uint64_t report_ms;
    uint32_t election_ms;
    uint32_t heartbeat_ms;
    uint64_t snapshot_log_bytes;
    uint64_t segment_bytes; /* 0: the engine's default, as of the two below */
    uint64_t ballast_bytes;
    uint64_t free_bytes_min;
    uint64_t self_id;
    bool creates;
    struct consensus *consensus;
    struct machine machines[GROUPS_MAX + 1];
    struct slot *slots;
    struct mailbox mailbox; /* back on the main thread */
    int event_fd;
    uint64_t origin;
    struct figures figures;
    struct figures reported;
    uint64_t acked_total;
};

static struct node node; /* the program's one state; callbacks of slots find it here */
static volatile sig_atomic_t is_stopping;

/* ---- the state machine ---- */

static void count_origin(struct machine *m, uint64_t id)
{
    for (size_t i = 0; i < COUNT_OF(m->origins); i++) {
        if (m->origins[i].id == id || m->origins[i].id == 0) {
            m->origins[i].id = id;
            m->origins[i].count++;
            return;
        }
    }
}

static enum fsm_answer apply(void *arg, const struct fsm_batch *batch)
{
    struct machine *m = arg;
    for (size_t i = 0; i < batch->count; i++) {
        uint64_t words[2];
        memcpy(words, batch->commands[i].data.data, sizeof words);
        m->hash = (m->hash ^ words[0] ^ words[1] * 31) * 1099511628211ULL;
        m->count++;
        count_origin(m, words[0]);
    }
    m->applied = batch->last_index;
    return FSM_DONE;
}

static uint64_t applied_index(void *arg)
{
    return ((struct machine *)arg)->applied;
}

static void *snapshot_begin(void *arg)
{
    struct image *image = mem_new0(sizeof *image);
    image->head = *(struct machine *)arg;
    image->bytes = sizeof image->head + node.state_bytes;
    return image;
}

static enum err snapshot_read(void *arg, char *out, size_t bytes_max, size_t *bytes)
{
    struct image *image = arg;
    uint64_t rest = image->bytes - image->at;
    *bytes = rest < bytes_max ? rest : bytes_max;
    memset(out, 'x', *bytes);
    if (image->at == 0) { memcpy(out, &image->head, sizeof image->head); }
    image->at += *bytes;
    return ERR_OK;
}

static void restore_begin(void *arg)
{
    struct machine *m = arg;
    m->restored_bytes = 0;
}

static enum err restore_write(void *arg, struct slice bytes)
{
    struct machine *m = arg;
    if (m->restored_bytes == 0) {
        CHECK(bytes.len >= sizeof *m);
        memcpy(m, bytes.data, sizeof *m);
        m->restored_bytes = 0;
        m->is_leader = false;
    }
    m->restored_bytes += bytes.len;
    return ERR_OK;
}

static enum err restore_end(void *arg, uint64_t index)
{
    return ((struct machine *)arg)->applied == index ? ERR_OK : ERR_CORRUPT;
}

static void on_leader(void *arg, bool is_leader, uint64_t term)
{
    struct machine *m = arg;
    m->is_leader = is_leader;
    printf("leader t=%lu group=%lu leads=%d term=%lu\n", (unsigned long)(clock_wall_us() / 1000),
           (unsigned long)m->group, (int)is_leader, (unsigned long)term);
    fflush(stdout);
}

static const struct fsm_ops ops = {
    .apply = apply,
    .applied_index = applied_index,
    .snapshot_begin = snapshot_begin,
    .snapshot_read = snapshot_read,
    .snapshot_end = mem_free,
    .restore_begin = restore_begin,
    .restore_write = restore_write,
    .restore_end = restore_end,
    .on_leader = on_leader,
};

/* ---- the load ---- */

static void wake(void *arg)
{
    uint64_t one = 1;
    ssize_t ignored = write(((struct node *)arg)->event_fd, &one, sizeof one);
    (void)ignored;
}

static size_t bucket_of(uint64_t us)
{
    unsigned log = us < 16 ? 0 : (unsigned)(63 - __builtin_clzll(us)) - 3;
    size_t at = us < 16 ? us : (size_t)log * 16 + ((us >> (log - 1)) & 15);
    return at < BUCKETS ? at : BUCKETS - 1;
}

static uint64_t bucket_us(size_t at)
{
    return at < 16 ? at : (16 + at % 16) << (at / 16 - 1);
}

static void on_propose(struct task *task) /* raft */
{
    struct slot *slot = CONTAINER_OF(task, struct slot, proposal.task);
    engine_propose(consensus_engine(node.consensus), &slot->proposal);
}

static void on_proposed(struct proposal *p, enum err err) /* raft */
{
    struct slot *slot = CONTAINER_OF(p, struct slot, proposal);
    slot->err = err;
    mailbox_post(&node.mailbox, &slot->back);
}

static void slot_send(struct slot *slot)
{
    slot->sent_ns = clock_mono_ns();
    slot->retry_ns = 0;
    slot->proposal.task.run = on_propose;
    consensus_push(node.consensus, &slot->proposal.task);
}

static void on_back(struct task *task) /* main */
{
    struct slot *slot = CONTAINER_OF(task, struct slot, back);
    uint64_t now = clock_mono_ns();
    if (slot->err != ERR_OK) {
        node.figures.in_doubt += slot->err == ERR_INDOUBT;
        node.figures.full += slot->err == ERR_FULL;
        uint64_t wait_ms = slot->err == ERR_NOT_LEADER ? NOT_LEADER_RETRY_MS : RETRY_MS;
        slot->retry_ns = now + wait_ms * NS_PER_MS;
        return;
    }
    node.figures.acked++;
    node.acked_total++;
    node.figures.bucket[bucket_of((now - slot->sent_ns) / 1000)]++;
    uint64_t sequence;
    memcpy(&sequence, slot->data + 8, sizeof sequence);
    sequence += node.outstanding;
    memcpy(slot->data + 8, &sequence, sizeof sequence);
    slot_send(slot);
}

static void start_load(void)
{
    node.slots = mem_new0((node.outstanding + 1) * sizeof *node.slots);
    for (uint64_t i = 0; i < node.outstanding; i++) {
        struct slot *slot = &node.slots[i];
        memset(slot->data, 'x', sizeof slot->data);
        memcpy(slot->data, &node.origin, 8);
        memcpy(slot->data + 8, &i, 8);
        slot->proposal.group = 1 + i % node.groups;
        slot->proposal.data = slice_of(slot->data, node.command_bytes);
        slot->proposal.on_done = on_proposed;
        slot->back.run = on_back;
        slot_send(slot);
    }
    consensus_wake(node.consensus);
}

static void retry_slots(uint64_t now)
{
    for (uint64_t i = 0; i < node.outstanding; i++) {
        if (node.slots[i].retry_ns != 0 && node.slots[i].retry_ns <= now) {
            slot_send(&node.slots[i]);
        }
    }
}

/* ---- figures ---- */

static uint64_t percentile(const uint64_t *bucket, uint64_t total, uint64_t per_mille)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += bucket[i];
        if (total > 0 && seen * 1000 >= total * per_mille) { return bucket_us(i); }
    }
    return 0;
}

struct query { /* to the raft thread and back, while main waits for the event */
    struct task task;
    struct task back;
    bool is_done;
    uint64_t flushes;
    uint64_t leads;
    uint64_t applied;  /* sum of the groups' indexes */
    uint64_t behind;   /* entries in the logs that are not applied */
    uint64_t position; /* a hash of the groups' applied indexes */
};

static void on_query_back(struct task *task)
{
    CONTAINER_OF(task, struct query, back)->is_done = true;
}

static void on_query(struct task *task)
{
    struct query *query = CONTAINER_OF(task, struct query, task);
    query->flushes = engine_flush_count(consensus_engine(node.consensus));
    for (uint64_t g = 1; g <= node.groups; g++) {
        query->leads += node.machines[g].is_leader;
        query->applied += node.machines[g].applied;
        query->position = query->position * 1099511628211ULL + node.machines[g].applied;
        struct engine_status status;
        CHECK(engine_status(consensus_engine(node.consensus), g, &status));
        query->behind += status.last - status.applied;
    }
    query->back.run = on_query_back;
    mailbox_post(&node.mailbox, &query->back);
}

/* Sleep until something is back, or as long; a load wakes the raft thread with what it pushed. */
static void wait_mailbox(int timeout_ms)
{
    mailbox_sleeping(&node.mailbox, true);
    if (mailbox_is_empty(&node.mailbox)) {
        struct pollfd fd = {.fd = node.event_fd, .events = POLLIN};
        (void)poll(&fd, 1, timeout_ms);
    }
    mailbox_sleeping(&node.mailbox, false);
    uint64_t count;
    ssize_t ignored = read(node.event_fd, &count, sizeof count);
    (void)ignored;
    mailbox_run(&node.mailbox);
    consensus_wake(node.consensus);
}

static struct query ask(void)
{
    static struct query query;
    query = (struct query){.task = {.run = on_query}};
    consensus_post(node.consensus, &query.task);
    while (!query.is_done) {
        wait_mailbox(100);
    }
    return query;
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void report(double seconds)
{
    struct query query = ask();
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    uint64_t cpu_us = (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec +
                      (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec;
    struct consensus_turns turns = consensus_turns(node.consensus);
    struct figures *f = &node.figures;
    printf("figures t=%lu leads=%lu applied=%lu behind=%lu position=%lu acked_per_s=%.0f "
           "p50_us=%lu p99_us=%lu flushes_per_s=%.0f cpu_percent=%.1f in_doubt=%lu full=%lu "
           "slow_turns=%lu late_turns=%lu longest_us=%lu acked_total=%lu rss_kib=%ld\n",
           (unsigned long)(clock_wall_us() / 1000), (unsigned long)query.leads,
           (unsigned long)query.applied, (unsigned long)query.behind, (unsigned long)query.position,
           (double)f->acked / seconds, (unsigned long)percentile(f->bucket, f->acked, 500),
           (unsigned long)percentile(f->bucket, f->acked, 990),
           (double)(query.flushes - node.reported.flushes) / seconds,
           (double)(cpu_us - node.reported.cpu_us) / seconds / 10000, (unsigned long)f->in_doubt,
           (unsigned long)f->full, (unsigned long)(turns.slow_count - node.reported.slow_turns),
           (unsigned long)(turns.late_count - node.reported.late_turns),
           (unsigned long)turns.longest_us, (unsigned long)node.acked_total, resident_kib());
    fflush(stdout);
    node.reported.flushes = query.flushes;
    node.reported.cpu_us = cpu_us;
    node.reported.slow_turns = turns.slow_count;
    node.reported.late_turns = turns.late_count;
    memset(f, 0, sizeof *f);
}

/* What the state machines hold; the raft thread has ended. */
static void print_state(void)
{
    for (uint64_t g = 1; g <= node.groups; g++) {
        const struct machine *m = &node.machines[g];
        printf("state group=%lu applied=%lu count=%lu hash=%lx origins=", (unsigned long)g,
               (unsigned long)m->applied, (unsigned long)m->count, (unsigned long)m->hash);
        for (size_t i = 0; i < COUNT_OF(m->origins) && m->origins[i].id != 0; i++) {
            printf("%s%lx:%lu", i > 0 ? "," : "", (unsigned long)m->origins[i].id,
                   (unsigned long)m->origins[i].count);
        }
        printf("\n");
    }
    fflush(stdout);
}

/* ---- start ---- */

static bool address_of(void *arg, const char *name, char host[LINK_HOST_BYTES], uint16_t *port)
{
    (void)arg;
    for (int i = 0; i < node.node_count; i++) {
        if (strcmp(node.names[i], name) == 0) {
            snprintf(host, LINK_HOST_BYTES, "%s", node.hosts[i]);
            *port = node.ports[i];
            return true;
        }
    }
    return false;
}

static void on_open(struct task *task)
{
    struct query *query = CONTAINER_OF(task, struct query, task);
    struct engine *e = consensus_engine(node.consensus);
    struct engine_server servers[NODES_MAX];
    for (int i = 0; i < node.node_count; i++) {
        servers[i] = (struct engine_server){(uint64_t)i + 1, node.names[i]};
    }
    for (uint64_t g = 1; g <= node.groups; g++) {
        node.machines[g].group = g;
        enum err err = engine_group_open(e, g, &ops, &node.machines[g]);
        if (err ==
            ERR_INVALID) { /* not in the log: this is its creation, or it waits to be added */
            size_t count = node.creates ? (size_t)node.node_count : 0;
            err = engine_group_create(e, g, node.self_id, &ops, &node.machines[g], servers, count);
        }
        CHECK(err == ERR_OK);
    }
    query->back.run = on_query_back;
    mailbox_post(&node.mailbox, &query->back);
}

static void parse_peers(const char *text)
{
    int at;
    while (node.node_count < NODES_MAX &&
           (sscanf(text, "%15[^=]=[%63[^]]]:%hu%n", node.names[node.node_count],
                   node.hosts[node.node_count], &node.ports[node.node_count], &at) == 3 ||
            sscanf(text, "%15[^=]=%63[^:[]:%hu%n", node.names[node.node_count],
                   node.hosts[node.node_count], &node.ports[node.node_count], &at) == 3)) {
        if (strcmp(node.names[node.node_count], node.name) == 0) {
            node.self_id = (uint64_t)node.node_count + 1;
        }
        node.node_count++;
        text += at;
        text += *text == ',';
    }
}

static void parse(int argc, char **argv)
{
    const char *peers = "";
    int option;
    node = (struct node){.groups = 1,
                         .outstanding = 1,
                         .command_bytes = 100,
                         .report_ms = 1000,
                         .election_ms = 1000,
                         .heartbeat_ms = 100,
                         .snapshot_log_bytes = 64 << 20};
    while ((option = getopt(argc, argv, "n:d:p:g:k:b:s:r:e:h:l:cS:B:F:")) != -1) {
        switch (option) {
        case 'n': node.name = optarg; break;
        case 'd': node.dir = optarg; break;
        case 'p': peers = optarg; break;
        case 'g': node.groups = strtoull(optarg, NULL, 10); break;
        case 'k': node.outstanding = strtoull(optarg, NULL, 10); break;
        case 'b': node.command_bytes = strtoull(optarg, NULL, 10); break;
        case 's': node.state_bytes = strtoull(optarg, NULL, 10); break;
        case 'r': node.report_ms = strtoull(optarg, NULL, 10); break;
        case 'e': node.election_ms = (uint32_t)atoi(optarg); break;
        case 'h': node.heartbeat_ms = (uint32_t)atoi(optarg); break;
        case 'l': node.snapshot_log_bytes = strtoull(optarg, NULL, 10); break;
        case 'c': node.creates = true; break;
        case 'S': node.segment_bytes = strtoull(optarg, NULL, 10); break;
        case 'B': node.ballast_bytes = strtoull(optarg, NULL, 10); break;
        case 'F': node.free_bytes_min = strtoull(optarg, NULL, 10); break;
        default: exit(2);
        }
    }
    if (node.name == NULL || node.dir == NULL || node.groups > GROUPS_MAX ||
        node.command_bytes < 16 || node.command_bytes > COMMAND_BYTES_MAX) {
        exit(2);
    }
    parse_peers(peers);
}

static void start_consensus(void)
{
    struct consensus_opts opts = consensus_opts_default();
    struct wal_report wal_report;
    opts.dir = node.dir;
    opts.cluster_id = 1;
    opts.listen_host = node.self_id > 0 ? node.hosts[node.self_id - 1] : "127.0.0.1";
    opts.listen_port = node.self_id > 0 ? node.ports[node.self_id - 1] : 0;
    opts.address_of = address_of;
    opts.engine.node_name = node.name;
    opts.engine.node_id = node.self_id;
    opts.engine.random_seed = clock_mono_ns() ^ (uint64_t)getpid() << 32;
    opts.engine.election_ms = node.election_ms;
    opts.engine.heartbeat_ms = node.heartbeat_ms;
    opts.engine.snapshot_log_bytes = node.snapshot_log_bytes;
    if (node.segment_bytes > 0) { opts.engine.segment_bytes = node.segment_bytes; }
    if (node.ballast_bytes > 0) { opts.engine.ballast_bytes = node.ballast_bytes; }
    if (node.free_bytes_min > 0) { opts.engine.free_bytes_min = node.free_bytes_min; }
    if (consensus_start(&node.consensus, &opts, &wal_report) != ERR_OK) { exit(1); }
    static struct query query;
    query = (struct query){.task = {.run = on_open}};
    consensus_post(node.consensus, &query.task);
    while (!query.is_done) {
        wait_mailbox(100);
    }
}

static void on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

int main(int argc, char **argv)
{
    static struct thread self;
    thread_adopt(&self, "main");
    parse(argc, argv);
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    node.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    node.origin = (clock_wall_us() << 8) | node.self_id;
    mailbox_init(&node.mailbox, wake, &node);
    start_consensus();
    printf("ready t=%lu origin=%lx\n", (unsigned long)(clock_wall_us() / 1000),
           (unsigned long)node.origin);
    fflush(stdout);
    start_load();
    uint64_t last = clock_mono_ns();
    while (!is_stopping) {
        wait_mailbox(node.outstanding > 0 ? RETRY_MS : (int)(node.report_ms + 1));
        uint64_t now = clock_mono_ns();
        retry_slots(now);
        consensus_wake(node.consensus);
        if (now - last >= node.report_ms * NS_PER_MS) {
            report((double)(now - last) / (double)NS_PER_S);
            last = now;
        }
    }
    consensus_stop(node.consensus);
    mailbox_run(&node.mailbox);
    print_state();
    return 0;
}
