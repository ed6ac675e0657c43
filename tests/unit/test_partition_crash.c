/* The promises of partition/partition.h about a process that is killed, a machine that stops, and a store that is damaged:
 * what was acknowledged is there, and was executed once. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/metrics.h"
#include "partition_rig.h"

/* In a process of its own: counts until it is killed, and says how far it was acknowledged. */
static void count_on(struct rig *rig, int out)
{
    struct rig_node *node = &rig->node[0];
    rig_start(node);
    rig_create(node);
    rig_stop(node); /* what it says at a good end is not to be believed afterwards */
    rig_start(node);
    rig_open(node);
    rig_until_leads(node, 0);
    for (uint64_t i = 1;; i++) {
        cr_assert_str_neq(rig_write(node, "INCR n"), "");
        (void)rig_write(node, "RPUSH l element-of-a-list");
        if (write(out, &i, sizeof i) != sizeof i) { _exit(1); }
    }
}

/* How far it was acknowledged. */
static uint64_t kill_after(struct rig *rig, uint64_t count)
{
    int fds[2];
    uint64_t acked = 0;
    uint64_t i;
    cr_assert_eq(pipe(fds), 0);
    pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child == 0) {
        close(fds[0]);
        count_on(rig, fds[1]);
        _exit(1);
    }
    close(fds[1]);
    while (acked < count && read(fds[0], &i, sizeof i) == sizeof i) {
        acked = i;
    }
    kill(child, SIGKILL);
    while (read(fds[0], &i, sizeof i) == sizeof i) {
        acked = i;
    }
    close(fds[0]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert_geq(acked, count);
    return acked;
}

static uint64_t number_of(const char *reply)
{
    unsigned long n = 0;
    cr_assert_eq(sscanf(reply, ":%lu", &n), 1, "%s", reply);
    return n;
}

/* Start again in this process: what was acknowledged is there, and what was under way at most once. */
static void expect_counted(struct rig *rig, uint64_t acked)
{
    struct rig_node *node = &rig->node[0];
    rig_start(node);
    rig_open(node);
    rig_until_leads(node, 0);
    uint64_t elements = number_of(rig_read(node, "LLEN l"));
    cr_assert(elements == acked || elements == acked + 1, "%lu of %lu", elements, acked);
    rig->seq[0] = 1000000; /* the numbers of the one that was killed are its own */
    uint64_t count = number_of(rig_write(node, "INCR n")) - 1;
    cr_assert(count == acked || count == acked + 1, "%lu of %lu", count, acked);
}

static void data_path(const struct rig *rig, char out[160])
{
    snprintf(out, 160, "%s/0/data", rig->node[0].data_dir);
}

Test(crash, a_process_that_is_killed_finds_its_store)
{
    struct rig rig = {.snapshot_log_bytes = 64 << 10};
    rig_init(&rig, 1, 1);
    uint64_t acked = kill_after(&rig, 500);
    expect_counted(&rig, acked);
    rig_fini(&rig);
}

Test(crash, after_a_stop_of_the_machine_the_store_is_made_anew)
{
    struct rig rig = {.snapshot_log_bytes = 64 << 10};
    char path[160];
    rig_init(&rig, 1, 1);
    uint64_t acked = kill_after(&rig, 800);
    /* It may look right and be wrong. */
    data_path(&rig, path);
    cr_assert_eq(truncate(path, 0), 0);
    rig.node[0].boot_id = "another boot";
    expect_counted(&rig, acked);
    rig_fini(&rig);
}

Test(crash, what_a_stop_of_the_machine_has_left_is_not_believed)
{
    struct rig rig = {.snapshot_log_bytes = 64 << 10};
    rig_init(&rig, 1, 1);
    uint64_t acked = kill_after(&rig, 300);
    rig_falsify(&rig.node[0]);
    rig.node[0].boot_id = "another boot";
    expect_counted(&rig, acked);
    rig_fini(&rig);
}

Test(crash, a_damaged_store_is_made_anew)
{
    struct rig rig = {.snapshot_log_bytes = 64 << 10};
    char path[160];
    char garbage[16384];
    rig_init(&rig, 1, 1);
    uint64_t acked = kill_after(&rig, 300);
    data_path(&rig, path);
    memset(garbage, 0x5a, sizeof garbage);
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, garbage, sizeof garbage, 0), (ssize_t)sizeof garbage);
    close(fd);
    expect_counted(&rig, acked);
    rig_fini(&rig);
}

/* Bits of the row of a key whose text this is; its name has one byte. The node does not run. */
static void damage_row(const struct rig *rig, const char *text)
{
    enum { FLAGS_AT = 26 }; /* bytes before the text of a string */
    char path[160];
    struct stat st;
    data_path(rig, path);
    int fd = open(path, O_RDWR);
    cr_assert_eq(fstat(fd, &st), 0);
    char *data = mem_new((size_t)st.st_size);
    cr_assert_eq(pread(fd, data, (size_t)st.st_size, 0), st.st_size);
    const char *end = data + st.st_size;
    size_t damaged = 0;
    for (char *at = data; (at = memmem(at, (size_t)(end - at), text, strlen(text))) != NULL; at++) {
        cr_assert_eq(pwrite(fd, "\xff", 1, at - data - FLAGS_AT), 1);
        damaged++;
    }
    cr_assert_gt(damaged, 0);
    mem_free(data);
    close(fd);
}

static void write_keys(struct rig_node *node)
{
    rig_start(node);
    rig_create(node);
    rig_until_leads(node, 0);
    cr_assert_str_eq(rig_write(node, "SET a text-of-a"), "+OK\r\n");
    cr_assert_str_eq(rig_write(node, "SET b text-of-b"), "+OK\r\n");
    for (int i = 0; i < 180; i++) { /* more than is looked at on the store thread */
        (void)rig_write(node, "RPUSH l a a a a a a a");
    }
    rig_stop(node);
}

/* Does it say, sooner or later, and was the store made anew once for it? */
static void expect_mended(struct rig_node *node, const char *command, const char *answer)
{
    uint64_t rebuilds = metric_sum(METRIC_partition_rebuilds_total);
    rig_start(node);
    rig_open(node);
    rig_until_leads(node, 0);
    RIG_UNTIL(node->rig, strcmp(rig_read(node, command), answer) == 0);
    cr_assert_eq(metric_sum(METRIC_partition_rebuilds_total), rebuilds + 1);
    cr_assert_str_eq(rig_read(node, "GET b"), "$9\r\ntext-of-b\r\n");
}

Test(crash, a_store_that_is_damaged_where_it_is_read_is_made_anew)
{
    struct rig rig = {0};
    rig_init(&rig, 1, 1);
    write_keys(&rig.node[0]);
    damage_row(&rig, "text-of-a");
    expect_mended(&rig.node[0], "GET a", "$9\r\ntext-of-a\r\n");
    rig_fini(&rig);
}

Test(crash, a_store_that_is_damaged_where_it_is_read_aside_is_made_anew)
{
    struct rig rig = {0};
    rig_init(&rig, 1, 1);
    write_keys(&rig.node[0]);
    damage_row(&rig, "text-of-a");
    expect_mended(&rig.node[0], "SORT_RO l BY nosort GET * LIMIT 0 1", "*1\r\n$9\r\ntext-of-a\r\n");
    rig_fini(&rig);
}

Test(crash, what_is_deleted_can_be_created_anew)
{
    struct rig rig = {0};
    rig_init(&rig, 1, 1);
    struct rig_node *node = &rig.node[0];
    rig_start(node);
    rig_create(node);
    rig_until_leads(node, 0);
    cr_assert_str_eq(rig_write(node, "SET a 1"), "+OK\r\n");
    rig_delete(node, 0);
    rig_recreate(node, 0, 5);
    rig_until_leads(node, 0);
    cr_assert_str_eq(rig_read(node, "GET a"), "$-1\r\n");
    rig.seq[0] = 0;
    cr_assert_str_eq(rig_write(node, "INCR a"), ":1\r\n");
    rig_fini(&rig);
}

/* What is committed is not applied, and that does not change. */
static bool is_stuck(struct rig_node *node, uint64_t *applied, uint64_t *since_ns)
{
    struct partition_status status;
    partition_status(node->partitions, 0, &status);
    if (status.applied != *applied || status.commit == status.applied) {
        *applied = status.applied;
        *since_ns = clock_mono_ns();
    }
    return clock_mono_ns() - *since_ns > 300 * NS_PER_MS;
}

Test(crash, a_store_without_room_waits_and_goes_on_when_there_is_some)
{
    enum { COUNT = 400 };
    uint64_t applied = 0;
    uint64_t since_ns = clock_mono_ns();
    struct rig rig = {.map_bytes = 1 << 20};
    struct rig_ask *ask = mem_new0(COUNT * sizeof *ask);
    struct rig_node *node = &rig.node[0];
    char *text = mem_new(8192);
    rig_init(&rig, 1, 2);
    rig_start(node);
    rig_create(node);
    rig_until_leads(node, 0);
    rig_until_leads(node, 1);
    memset(text, 'v', 8191);
    text[8191] = 0;
    memcpy(text, "RPUSH l ", 8);
    for (unsigned i = 0; i < COUNT; i++) {
        rig_begin(&rig, &ask[i], PARTITION_WRITE, 0);
        ask[i].request.origin.acked_low = 1;
        rig_call(&ask[i], 0, text);
        rig_ask(node, &ask[i]);
    }
    RIG_UNTIL(&rig, ask[10].is_done && is_stuck(node, &applied, &since_ns));
    cr_assert_str_eq(rig_do(node, PARTITION_WRITE, 1, "SET a 1"), "+OK\r\n");
    cr_assert(!ask[COUNT - 1].is_done);
    rig_stop(node);
    rig.map_bytes = 0;
    rig_start(node);
    rig_open(node);
    rig_until_leads(node, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        rig_wait(&rig, &ask[i]);
        cr_assert_eq(ask[i].done_count, 1, "what was not committed is not answered");
        rig_free(&ask[i]);
        if (ask[i].request.err == ERR_OK) { continue; }
        rig_ask(node, &ask[i]);
        rig_wait(&rig, &ask[i]);
        cr_assert_eq(ask[i].request.err, ERR_OK);
        rig_free(&ask[i]);
    }
    cr_assert_str_eq(rig_read(node, "LLEN l"), ":400\r\n");
    mem_free(text);
    mem_free(ask);
    rig_fini(&rig);
}
