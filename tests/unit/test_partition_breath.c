/* A command that takes long holds up its own partition, and no other of its store thread. */
#include "partition_rig.h"

enum {
    LONG_TIMES = 8
}; /* each makes the list five times as long: the last takes a good part of a second */

static struct rig_node *one_node(struct rig *rig)
{
    rig_init(rig, 1, 3); /* 0 and 2 are on one thread */
    rig_start(&rig->node[0]);
    rig_create(&rig->node[0]);
    for (uint32_t i = 0; i < 3; i++) {
        rig_until_leads(&rig->node[0], i);
    }
    return &rig->node[0];
}

static const char *longer(unsigned i)
{
    static char text[128];
    snprintf(text, sizeof text, "SORT l%u BY none GET # GET # GET # GET # GET # STORE l%u", i,
             i + 1);
    return text;
}

/* All but the last step. */
static void prepare(struct rig_node *node)
{
    cr_assert_str_eq(rig_write(node, "RPUSH l0 element"), ":1\r\n");
    for (unsigned i = 0; i + 1 < LONG_TIMES; i++) {
        (void)rig_write(node, longer(i));
    }
}

static void ask(struct rig_node *node, struct rig_ask *ask, enum partition_ask what,
                const char *text)
{
    rig_begin(node->rig, ask, what, 0);
    if (what == PARTITION_WRITE) { ask->request.origin.acked_low = 1; }
    rig_call(ask, 0, text);
    rig_ask(node, ask);
}

static void expect(struct rig *rig, struct rig_ask *ask, const char *reply)
{
    rig_wait(rig, ask);
    cr_assert_eq(ask->request.err, ERR_OK);
    cr_assert(slice_equal(buf_slice(&ask->request.reply), slice_of_str(reply)), "%.*s",
              (int)ask->request.reply.len, ask->request.reply.data);
    rig_free(ask);
}

Test(breath, other_partitions_go_on_while_a_command_takes_long)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask slow;
    unsigned count = 0;
    prepare(node);
    ask(node, &slow, PARTITION_WRITE, longer(LONG_TIMES - 1));
    while (!slow.is_done) {
        char reply[16];
        snprintf(reply, sizeof reply, ":%u\r\n", ++count);
        cr_assert_str_eq(rig_do(node, PARTITION_WRITE, 2, "INCR n"), reply);
    }
    cr_assert_gt(count, 3, "of them were answered meanwhile");
    expect(&rig, &slow, ":390625\r\n");
    rig_fini(&rig);
}

/* What comes for the partition meanwhile sees all of the command or nothing. */
Test(breath, what_comes_for_the_partition_meanwhile_stands_in_its_place)
{
    static const uint32_t first_word[] = {1};
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask slow;
    struct rig_ask parked;
    struct rig_ask more;
    struct rig_ask count;
    prepare(node);
    ask(node, &slow, PARTITION_WRITE, longer(LONG_TIMES - 1));
    for (unsigned i = 0; i < 3; i++) {
        (void)rig_do(node, PARTITION_WRITE, 2, "INCR n");
    }
    cr_assert(!slow.is_done);
    rig_begin(&rig, &parked, PARTITION_PARK, 0);
    rig_call(&parked, 0, "BLPOP l8 0");
    parked.request.wait_key = first_word;
    parked.request.wait_key_count = 1;
    parked.request.origin = (struct partition_origin){
        .node_id = 7, .incarnation = 1, .worker = 3, .is_parking = true, .seq = 1, .acked_low = 1};
    rig_ask(node, &parked);
    ask(node, &more, PARTITION_WRITE, "RPUSH l8 last");
    ask(node, &count, PARTITION_READ, "LLEN l8");
    expect(&rig, &slow, ":390625\r\n");
    expect(&rig, &parked, "*2\r\n$2\r\nl8\r\n$7\r\nelement\r\n");
    rig_wait(&rig, &more);
    expect(&rig, &count, ":390625\r\n");
    rig_free(&more);
    rig_fini(&rig);
}

Test(breath, the_end_waits_for_a_command_that_takes_long)
{
    struct rig rig = {0};
    struct rig_node *node = one_node(&rig);
    struct rig_ask slow;
    prepare(node);
    ask(node, &slow, PARTITION_WRITE, longer(LONG_TIMES - 1));
    (void)rig_do(node, PARTITION_WRITE, 2, "INCR n");
    partitions_stop(node->partitions);
    rig_wait(&rig, &slow);
    rig_free(&slow);
    rig_fini(&rig);
}
