/* The promises of partition/partition.h about time, under a wall clock that the test moves. */
#include <stdatomic.h>
#include <time.h>

#include "partition_rig.h"

/* ---- base/clock.h ---- */

static atomic_long shift_ms; /* of the wall clock */

static uint64_t now_ns(clockid_t id)
{
    struct timespec now;
    CHECK(clock_gettime(id, &now) == 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    return now_ns(CLOCK_MONOTONIC);
}

uint64_t clock_boot_ns(void)
{
    return now_ns(CLOCK_BOOTTIME);
}

uint64_t clock_thread_ns(void)
{
    return now_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t clock_wall_us(void)
{
    return now_ns(CLOCK_REALTIME) / 1000 + (uint64_t)atomic_load(&shift_ms) * 1000;
}

/* ---- the tests ---- */

static struct rig_node *one_node(struct rig *rig)
{
    rig_init(rig, 1, 1);
    rig_start(&rig->node[0]);
    rig_create(&rig->node[0]);
    rig_until_leads(&rig->node[0], 0);
    return &rig->node[0];
}

/* A worker reads by itself. False: it has to ask. */
static bool reads(struct rig_node *node, const char *text, const char *reply)
{
    struct rig_ask ask;
    rig_begin(node->rig, &ask, PARTITION_READ, 0);
    rig_call(&ask, 0, text);
    bool is_read = partition_read(node->partitions, 1, &ask.request);
    if (is_read) { cr_assert(slice_equal(buf_slice(&ask.request.reply), slice_of_str(reply))); }
    rig_free(&ask);
    return is_read;
}

static uint64_t number_of(const char *reply)
{
    unsigned long n = 0;
    cr_assert_eq(sscanf(reply, ":%lu", &n), 1, "%s", reply);
    return n;
}

Test(clock, a_key_that_has_ended_stays_so_when_the_clock_goes_back)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    cr_assert_str_eq(rig_write(node, "SET a 1 PX 100000"), "+OK\r\n");
    RIG_UNTIL(&rig, reads(node, "GET a", "$1\r\n1\r\n"));
    atomic_store(&shift_ms, 200000);
    cr_assert(!reads(node, "GET a", ""), "only an entry says that its time is up");
    cr_assert_str_eq(rig_read(node, "GET a"), "$-1\r\n");
    atomic_store(&shift_ms, 0);
    cr_assert_str_eq(rig_read(node, "GET a"), "$-1\r\n");
    RIG_UNTIL(&rig, reads(node, "GET a", "$-1\r\n"));
    cr_assert_str_eq(rig_write(node, "SET b 1"), "+OK\r\n");
    cr_assert_str_eq(rig_read(node, "EXISTS a b"), ":1\r\n");
    rig_fini(&rig);
}

Test(clock, time_does_not_go_back_with_the_clock)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    atomic_store(&shift_ms, 200000);
    cr_assert_str_eq(rig_write(node, "SET a 1 PX 60000"), "+OK\r\n");
    uint64_t a_ms = number_of(rig_read(node, "PEXPIRETIME a"));
    atomic_store(&shift_ms, 0);
    cr_assert_str_eq(rig_write(node, "SET b 1 PX 60000"), "+OK\r\n");
    cr_assert_geq(number_of(rig_read(node, "PEXPIRETIME b")), a_ms);
    cr_assert_leq(number_of(rig_read(node, "PTTL b")), 60000);
    rig_fini(&rig);
}

Test(clock, each_key_stays_until_its_own_deadline)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct partition_status status;
    cr_assert_str_eq(rig_write(node, "SET a 1 PX 100000"), "+OK\r\n");
    cr_assert_str_eq(rig_write(node, "SET b 1 PX 300000"), "+OK\r\n");
    cr_assert_str_eq(rig_write(node, "SET c 1 PX 100000"), "+OK\r\n");
    cr_assert_str_eq(rig_write(node, "PEXPIRE c 300000"), ":1\r\n");
    atomic_store(&shift_ms, 200000);
    cr_assert_str_eq(rig_read(node, "GET a"), "$-1\r\n");
    RIG_UNTIL(&rig, (partition_status(node->partitions, 0, &status), status.keys[0] <= 2));
    cr_assert_str_eq(rig_read(node, "GET b"), "$1\r\n1\r\n");
    cr_assert_str_eq(rig_read(node, "GET c"), "$1\r\n1\r\n");
    rig_fini(&rig);
}
