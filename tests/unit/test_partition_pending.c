/* The promise of partition/pending.h: what was answered before it was committed to the store is not lost, is not executed twice,
 * and is seen by whoever reads, also where the commit fails. */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/metrics.h"
#include "partition_rig.h"

/* What writes to a store's file meet; 0: nothing. LMDB writes through these. */
static _Atomic int store_errno;
static _Atomic unsigned refused_count;

static bool is_refused(int fd)
{
    char link[64];
    char path[256];
    if (store_errno == 0) { return false; }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path);
    if (len < 5 || memcmp(path + len - 5, "/data", 5) != 0) { return false; }
    refused_count++;
    errno = store_errno;
    if (errno == EIO) { store_errno = 0; } /* once */
    return true;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return is_refused(fd) ? -1 : syscall(SYS_pwrite64, fd, data, len, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return is_refused(fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}

static struct rig_node *start_alone(struct rig *rig)
{
    store_errno = 0;
    refused_count = 0;
    rig_init(rig, 1, 1);
    rig_start(&rig->node[0]);
    rig_create(&rig->node[0]);
    rig_until_leads(&rig->node[0], 0);
    return &rig->node[0];
}

static void count_to(struct rig_node *node, unsigned from, unsigned to)
{
    char want[16];
    for (unsigned i = from; i <= to; i++) {
        snprintf(want, sizeof want, ":%u\r\n", i);
        cr_assert_str_eq(rig_write(node, "INCR n"), want);
    }
}

Test(pending, a_read_sees_what_was_answered_and_a_status_its_keys)
{
    struct rig rig = {0};
    struct rig_node *node = start_alone(&rig);
    char text[32];
    for (unsigned i = 1; i <= 50; i++) {
        struct partition_status status;
        snprintf(text, sizeof text, "SET key%u v", i);
        cr_assert_str_eq(rig_write(node, text), "+OK\r\n");
        partition_status(node->partitions, 0, &status);
        cr_assert_eq(status.keys[0], i);
        memcpy(text, "GET", 3);
        if (i % 3 == 0) {
            snprintf(text, sizeof text, "GET key%u", i);
            cr_assert_str_eq(rig_read(node, text), "$1\r\nv\r\n");
        }
    }
    rig_fini(&rig);
}

Test(pending, entries_share_a_commit)
{
    struct rig rig = {0};
    struct rig_node *node = start_alone(&rig);
    uint64_t before = metric_sum(METRIC_partition_transactions_total);
    uint64_t began_ns = clock_mono_ns();
    count_to(node, 1, 200);
    uint64_t took_ms = (clock_mono_ns() - began_ns) / NS_PER_MS;
    uint64_t count = metric_sum(METRIC_partition_transactions_total) - before;
    cr_assert_leq(count, took_ms / 40 + 3, "%lu commits in %lu ms", count, took_ms);
    rig_fini(&rig);
}

Test(pending, without_room_what_was_answered_is_executed_again_and_told_once)
{
    struct rig rig = {0};
    struct rig_ask read;
    struct rig_node *node = start_alone(&rig);
    partitions_set_events(node->partitions, UINT32_MAX);
    count_to(node, 1, 3);
    store_errno = ENOSPC;
    count_to(node, 4, 5);
    rig_begin(&rig, &read, PARTITION_READ, 0);
    rig_call(&read, 0, "GET n");
    rig_ask(node, &read);
    RIG_UNTIL(&rig, refused_count > 0); /* behind the events of what was answered */
    cr_assert(!read.is_done);
    uint64_t events = rig.events;
    store_errno = 0;
    rig_wait(&rig, &read);
    cr_assert(slice_equal(buf_slice(&read.request.reply), SLICE("$1\r\n5\r\n")));
    rig_free(&read);
    count_to(node, 6, 10);
    cr_assert_str_eq(rig_read(node, "GET n"), "$2\r\n10\r\n");
    cr_assert_eq(rig.events, events + 5, "%lu events, then %lu", events, rig.events);
    rig_fini(&rig);
}

Test(pending, a_store_that_fails_is_made_anew_from_the_log)
{
    struct rig rig = {0};
    struct rig_node *node = start_alone(&rig);
    uint64_t rebuilds = metric_sum(METRIC_partition_rebuilds_total);
    count_to(node, 1, 20);
    store_errno = EIO;
    RIG_UNTIL(&rig, metric_sum(METRIC_partition_rebuilds_total) > rebuilds);
    rig_until_leads(node, 0);
    RIG_UNTIL(&rig, strcmp(rig_read(node, "GET n"), "$2\r\n20\r\n") == 0);
    count_to(node, 21, 22);
    rig_fini(&rig);
}

Test(pending, what_was_answered_is_there_after_a_restart)
{
    struct rig rig = {0};
    struct rig_node *node = start_alone(&rig);
    count_to(node, 1, 20);
    rig_stop(node);
    rig_start(node);
    rig_open(node);
    rig_until_leads(node, 0);
    cr_assert_str_eq(rig_read(node, "GET n"), "$2\r\n20\r\n");
    rig_fini(&rig);
}
