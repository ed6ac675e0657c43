/* The promises of partition/partition.h about time: a key ends at its deadline and does not rise again, and what is removed at
 * once for who looks goes from the disk afterwards. */
#include "data/data_call.h"
#include "partition_rig.h"

static struct rig_node *one_node(struct rig *rig)
{
    rig_init(rig, 1, 1);
    rig_start(&rig->node[0]);
    rig_create(&rig->node[0]);
    rig_until_leads(&rig->node[0], 0);
    return &rig->node[0];
}

static struct partition_status status_of(struct rig_node *node)
{
    struct partition_status status;
    partition_status(node->partitions, 0, &status);
    return status;
}

Test(time, a_key_ends_at_its_deadline_and_is_removed)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    partitions_set_events(node->partitions, EVENT_EXPIRED);
    cr_assert_str_eq(rig_write(node, "SET a 1 PX 150"), "+OK\r\n");
    cr_assert_str_eq(rig_write(node, "SET b 1 PX 600000"), "+OK\r\n");
    cr_assert_str_eq(rig_read(node, "GET a"), "$1\r\n1\r\n");
    cr_assert_eq(status_of(node).expiring[0], 2);
    RIG_UNTIL(&rig, status_of(node).keys[0] == 1);
    cr_assert_str_eq(rig_read(node, "GET a"), "$-1\r\n");
    cr_assert_eq(status_of(node).expiring[0], 1);
    cr_assert_eq(rig.events, 1);
    rig_fini(&rig);
}

/* Each read asks at a moment of its own: about the deadline some are hidden by the wall clock alone. */
Test(time, a_key_that_was_not_there_does_not_rise_again)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    char text[64];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "SET k v PX %u", 5 + i);
        cr_assert_str_eq(rig_write(node, text), "+OK\r\n");
        bool is_gone = false;
        uint64_t until = clock_mono_ns() + 60 * NS_PER_MS;
        while (!is_gone || clock_mono_ns() < until) {
            const char *reply = rig_read(node, "GET k");
            bool is_there = strcmp(reply, "$1\r\nv\r\n") == 0;
            cr_assert(is_there || strcmp(reply, "$-1\r\n") == 0, "%s", reply);
            cr_assert(!is_there || !is_gone, "it rose again");
            is_gone = !is_there;
        }
    }
    rig_fini(&rig);
}

Test(time, what_is_flushed_goes_from_the_disk_in_slices)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    char text[64];
    for (unsigned i = 0; i < 400; i++) {
        snprintf(text, sizeof text, "RPUSH list%u a b c d e f g h i j k l", i);
        (void)rig_write(node, text);
    }
    for (unsigned i = 0; i < 1000; i++) {
        (void)rig_write(node, "RPUSH long a b c d e f g h i j k l");
    }
    uint64_t batches = status_of(node).applied_batches;
    cr_assert_str_eq(rig_write(node, "FLUSHALL"), "+OK\r\n");
    cr_assert_eq(status_of(node).keys[0], 0);
    RIG_UNTIL(&rig, status_of(node).applied_batches > batches + 5);
    uint64_t used = status_of(node).used_bytes;
    RIG_UNTIL(&rig, (used = status_of(node).used_bytes) < 64 << 10);
    cr_assert_str_eq(rig_write(node, "SET a 1"), "+OK\r\n");
    rig_fini(&rig);
}

Test(time, lanes_of_lives_that_are_over_are_forgotten)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask ask;
    rig_begin(&rig, &ask, PARTITION_WRITE, 0);
    ask.request.origin.acked_low = 1;
    rig_call(&ask, 0, "INCR a");
    rig_ask(node, &ask);
    rig_wait(&rig, &ask);
    rig_free(&ask);
    uint64_t applied = status_of(node).applied;
    partitions_forget(node->partitions, 7, 1); /* not this one */
    partitions_forget(node->partitions, 8, 9);
    RIG_UNTIL(&rig, status_of(node).applied >= applied + 2);
    rig_ask(node, &ask);
    rig_wait(&rig, &ask);
    cr_assert(slice_equal(buf_slice(&ask.request.reply), SLICE(":1\r\n")));
    rig_free(&ask);
    applied = status_of(node).applied;
    partitions_forget(node->partitions, 7, 2);
    RIG_UNTIL(&rig, status_of(node).applied > applied);
    rig_ask(node, &ask);
    rig_wait(&rig, &ask);
    cr_assert(slice_equal(buf_slice(&ask.request.reply), SLICE(":2\r\n")));
    rig_free(&ask);
    rig_fini(&rig);
}
