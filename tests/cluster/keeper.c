/* keeper: one process that is a member of a cluster and keeps partitions' data, for replicas.py: the broker's membership,
 * replicas and partitions without clients.
 * usage: keeper -d DIR -n NAME -l HOST:PORT [-j HOST:PORT,...] [-e EXPECT] [-p PARTITIONS] [-r REPLICAS] [-b BYTES] [-L BYTES] [-A]
 * -A: alone, without a cluster. -b: of a number that is written, with blanks behind it. -L: of a group's log before a snapshot. Lines on standard input are commands:
 *   write PARTITION NUMBER   append the number to the partition's list, as the write of that number of one lane
 *   read PARTITION           the list
 *   state                    the map's and this node's view of each partition
 *   drain, leave, forget NAME
 * Threads: main, raft, store. */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node_options.h"

#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "consensus/consensus.h"
#include "consensus/membership/membership.h"
#include "partition/partition.h"
#include "partition/replicas.h"

enum { LINE_BYTES = 512, LANE = 99, NUMBER_BYTES = 8192 };

static struct membership *membership;
static struct consensus *alone; /* with -A */
static struct partitions *partitions;
static struct replicas *replicas;
static struct lock map_lock;
static const struct pmap *newest; /* a reference; under map_lock */
static struct mailbox home;
static int event_fd;
static bool is_alone;
static int number_bytes = 1;
static char data_dir[4096];
static struct pmap_address join_list[JOIN_MAX];
static struct membership_opts opts = {
    .zone = "",
    .join = join_list,
    .partition_count = 8,
    .election_ms = 500,
    .heartbeat_ms = 50,
    .node_timeout_ms = 1000,
    .disk_reserve_bytes = 16 << 20,
};

/* ---- the parts ---- */

static enum err on_consensus(void *arg, struct consensus *consensus)
{
    static const struct partitions_ops ops;
    (void)arg;
    const struct partitions_opts popts = {
        .dir = data_dir,
        .node_name = opts.name,
        .consensus = consensus,
        .partition_count = opts.partition_count,
        .thread_count = 1,
        .worker_count = 1,
        .map_bytes = 1ULL << 30,
        .ops = &ops,
    };
    enum err err = partitions_new(&partitions, &popts);
    if (err != ERR_OK) { return err; }
    const struct replicas_opts ropts = {.partitions = partitions,
                                        .engine = consensus_engine(consensus),
                                        .partition_count = opts.partition_count,
                                        .forget_ms = 10000};
    replicas = replicas_new(&ropts);
    return ERR_OK;
}

static void on_map(void *arg, const struct pmap *map, uint32_t self)
{
    (void)arg;
    (void)self;
    lock_take(&map_lock);
    pmap_unref(newest);
    newest = pmap_ref(map);
    lock_release(&map_lock);
}

static void on_data_map(void *arg, const struct pmap *map, uint32_t self)
{
    (void)arg;
    replicas_on_map(replicas, map, self);
}

static uint32_t on_tick(void *arg, struct pmap_settled *out, uint32_t out_max)
{
    (void)arg;
    return replicas_tick(replicas, out, out_max);
}

static bool no_address(void *arg, const char *node_name, char host[LINK_HOST_BYTES], uint16_t *port)
{
    (void)arg;
    (void)node_name;
    (void)host;
    (void)port;
    return false;
}

static enum err start_alone(void)
{
    char path[4200];
    struct wal_report report;
    struct consensus_opts copts = consensus_opts_default();
    snprintf(path, sizeof path, "%s/raft", opts.dir);
    (void)mkdir(path, 0700);
    copts.dir = path;
    copts.listen_host = opts.raft.host;
    copts.listen_port = opts.raft.port;
    copts.address_of = no_address;
    copts.engine.node_name = opts.name;
    copts.engine.node_id = opts.node_id;
    copts.engine.random_seed = opts.node_id;
    copts.engine.free_bytes_min = opts.disk_reserve_bytes;
    enum err err = consensus_open(&alone, &copts, &report);
    if (err == ERR_OK) { err = on_consensus(NULL, alone); }
    if (err == ERR_OK) { err = replicas_open_alone(partitions, opts.partition_count); }
    if (err == ERR_OK) { consensus_run(alone); }
    return err;
}

/* ---- requests ---- */

struct asking {
    struct partition_request request;
    struct partition_call call;
    struct slice word[4];
    char number[NUMBER_BYTES];
};

static void wake(void *arg)
{
    uint64_t one = 1;
    ssize_t ignored = write(event_fd, &one, sizeof one);
    (void)arg;
    (void)ignored;
}

static void on_done(struct partition_request *request)
{
    struct asking *a = CONTAINER_OF(request, struct asking, request);
    bool is_write = request->ask == PARTITION_WRITE;
    printf("%s %u %" PRIu64 " %s", is_write ? "wrote" : "list", (unsigned)request->partition,
           request->origin.seq, request->err == ERR_OK ? "OK" : err_word(request->err));
    for (size_t i = 0; !is_write && i < request->reply.len; i++) {
        char byte = request->reply.data[i];
        (void)putchar(byte == '\r' || byte == '\n' ? ' ' : byte);
    }
    (void)putchar('\n');
    fflush(stdout);
    buf_fini(&request->reply);
    mem_free(request->reply_end);
    mem_free(a);
}

static void ask(enum partition_ask what, uint32_t partition, uint64_t number)
{
    struct asking *a = mem_new0(sizeof *a);
    bool is_write = what == PARTITION_WRITE;
    snprintf(a->number, sizeof a->number, "%-*" PRIu64, number_bytes, number);
    a->word[0] = slice_of_str(is_write ? "RPUSH" : "LRANGE");
    a->word[1] = slice_of_str("list");
    a->word[2] = slice_of_str(is_write ? a->number : "0");
    a->word[3] = slice_of_str("-1");
    a->call = (struct partition_call){.argc = is_write ? 3 : 4, .argv = a->word};
    a->request = (struct partition_request){
        .ask = what,
        .partition = partition,
        .resp_version = 2,
        .call = &a->call,
        .call_count = 1,
        .home = &home,
        .on_done = on_done,
        .origin = {.node_id = LANE, .incarnation = 1, .seq = number, .acked_low = number},
    };
    partition_ask(partitions, &a->request);
}

/* ---- commands ---- */

static void print_row(const struct pmap *map, uint32_t p)
{
    struct partition_status status;
    partition_status(partitions, p, &status);
    printf("partition %u leads=%" PRIu64 " applied=%" PRIu64 " digest=%u digest_index=%" PRIu64
           " damaged=%d",
           (unsigned)p, status.term, status.applied, status.digest, status.digest_index,
           status.is_damaged);
    if (map != NULL) {
        const struct pmap_partition *row = &map->partition[p];
        printf(" settled=%d owner=%s replicas=", row->is_settled,
               row->owner != PMAP_NOBODY ? map->node[row->owner].name : "-");
        for (uint32_t i = 0; i < row->replica_count; i++) {
            printf("%s%s:%" PRIu64, i > 0 ? "," : "", map->node[row->replica[i].node].name,
                   row->replica[i].id);
        }
    }
    printf("\n");
}

static void print_state(void)
{
    lock_take(&map_lock);
    const struct pmap *map = newest != NULL ? pmap_ref(newest) : NULL;
    lock_release(&map_lock);
    struct membership_status status = {.unready_because = "alone"};
    if (membership != NULL) { membership_status(membership, &status); }
    printf("state unready=%s\n", status.unready_because != NULL ? status.unready_because : "-");
    printf("handed_over %d\n", replicas_are_handed_over(replicas));
    for (uint32_t p = 0; p < opts.partition_count; p++) {
        print_row(map, p);
    }
    printf("end\n");
    fflush(stdout);
    pmap_unref(map);
}

static void on_forgotten(void *arg, const char *error)
{
    (void)arg;
    printf("forget %s\n", error != NULL ? error : "OK");
    fflush(stdout);
}

static void run_command(char *line)
{
    unsigned partition;
    uint64_t number;
    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "write %u %" SCNu64, &partition, &number) == 2) {
        ask(PARTITION_WRITE, partition, number);
    } else if (sscanf(line, "read %u", &partition) == 1) {
        ask(PARTITION_READ, partition, 0);
    } else if (strcmp(line, "state") == 0) {
        print_state();
    } else if (strcmp(line, "drain") == 0) {
        membership_drain(membership);
    } else if (strcmp(line, "leave") == 0) {
        membership_leave(membership);
    } else if (strncmp(line, "forget ", 7) == 0) {
        membership_forget(membership, line + 7, on_forgotten, NULL);
    }
}

/* Commands and answers, until the input ends. */
static void serve(void)
{
    static char text[LINE_BYTES * 64];
    size_t len = 0;
    for (;;) {
        struct pollfd fd[] = {{STDIN_FILENO, POLLIN, 0}, {event_fd, POLLIN, 0}};
        mailbox_sleeping(&home, true);
        if (mailbox_is_empty(&home)) { (void)poll(fd, COUNT_OF(fd), -1); }
        mailbox_sleeping(&home, false);
        uint64_t count;
        ssize_t ignored = read(event_fd, &count, sizeof count);
        (void)ignored;
        (void)mailbox_run(&home);
        if (fd[0].revents == 0) { continue; }
        ssize_t n = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
        if (n <= 0) { return; }
        len += (size_t)n;
        text[len] = '\0';
        char *at = text;
        for (char *end = strchr(at, '\n'); end != NULL; end = strchr(at, '\n')) {
            *end = '\0';
            run_command(at);
            at = end + 1;
        }
        len = strlen(at);
        memmove(text, at, len + 1);
    }
}

/* ---- options ---- */

static void parse(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "d:n:l:j:e:p:r:b:L:A")) != -1) {
        switch (option) {
        case 'd': opts.dir = optarg; break;
        case 'n': opts.name = optarg; break;
        case 'l': parse_address(optarg, &opts.raft); break;
        case 'j': parse_join(optarg, &opts, join_list); break;
        case 'e': opts.expect = (uint32_t)atoi(optarg); break;
        case 'p': opts.partition_count = (uint32_t)atoi(optarg); break;
        case 'r': opts.replicas = (uint32_t)atoi(optarg); break;
        case 'b': number_bytes = atoi(optarg); break;
        case 'L': opts.data.log_bytes = strtoull(optarg, NULL, 10); break;
        case 'A': is_alone = true; break;
        default: exit(2);
        }
    }
    if (opts.dir == NULL || opts.name == NULL || opts.raft.host[0] == '\0') { exit(2); }
}

static enum err start(void)
{
    opts.client = opts.raft;
    opts.peer = opts.raft;
    opts.raft_listen_host = opts.raft.host;
    opts.raft_listen_port = opts.raft.port;
    opts.on_map = on_map;
    opts.data.on_consensus = on_consensus;
    opts.data.on_map = on_data_map;
    opts.data.on_tick = on_tick;
    return is_alone ? start_alone() : membership_start(&membership, &opts);
}

int main(int argc, char **argv)
{
    static struct thread self;
    thread_adopt(&self, "main");
    signal(SIGPIPE, SIG_IGN);
    parse(argc, argv);
    (void)mkdir(opts.dir, 0700);
    snprintf(data_dir, sizeof data_dir, "%s/keys", opts.dir);
    (void)mkdir(data_dir, 0700);
    opts.node_id = node_id_of(opts.dir);
    lock_init(&map_lock);
    event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    mailbox_init(&home, wake, NULL);
    if (start() != ERR_OK) { return 1; }
    serve();
    partitions_stop(partitions);
    membership_stop(membership);
    if (alone != NULL) { consensus_stop(alone); }
    replicas_free(replicas);
    partitions_free(partitions);
    pmap_unref(newest);
    return 0;
}
