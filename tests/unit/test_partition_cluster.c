/* The promises of partition/partition.h where a partition has replicas on three nodes: what was acknowledged is there, and
 * was executed once, whoever leads; and all replicas hold the same. */
#include "partition_load.h"

Test(cluster, replicas_that_join_hold_the_same)
{
    struct rig rig = {0};
    three_nodes(&rig);
    cr_assert_str_eq(rig_write(&rig.node[0], "RPUSH l a b c"), ":3\r\n");
    cr_assert_str_eq(rig_write(&rig.node[0], "HSET h f v"), ":1\r\n");
    add(&rig, &rig.node[1]);
    add(&rig, &rig.node[2]);
    expect_equal(&rig);
    cr_assert_eq(status_of(&rig.node[2]).keys[0], 3);
    rig_fini(&rig);
}

Test(cluster, a_replica_that_comes_late_gets_a_snapshot_and_goes_on_from_it)
{
    struct rig rig = {.snapshot_log_bytes = 64 << 10};
    struct lane lanes[LANES];
    char text[64];
    three_nodes(&rig);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(text, sizeof text, "RPUSH list%u element%u%u%u", i % 40, i, i, i);
        (void)rig_write(&rig.node[0], text);
    }
    RIG_UNTIL(&rig, engine_status_of(&rig.node[0]).snapshot > 100);
    add(&rig, &rig.node[1]);
    lanes_begin(lanes);
    lanes_run(&rig, lanes, 300);
    add(&rig, &rig.node[2]);
    lanes_run(&rig, lanes, 300);
    expect_once(&rig, lanes_end(&rig, lanes));
    expect_equal(&rig);
    rig_fini(&rig);
}

Test(cluster, writes_are_executed_once_while_leadership_moves)
{
    struct rig rig = {0};
    struct lane lanes[LANES];
    three_nodes(&rig);
    add(&rig, &rig.node[1]);
    add(&rig, &rig.node[2]);
    lanes_begin(lanes);
    for (unsigned i = 0; i < 12; i++) {
        lanes_run(&rig, lanes, 150);
        struct rig_node *leader = any_leader(&rig);
        if (leader == NULL) { continue; }
        struct transfer t = {1 + (leader->index + 1 + i % 2) % 3, ERR_OK};
        rig_on_raft(leader, on_transfer, &t);
    }
    uint64_t acked = lanes_end(&rig, lanes);
    cr_assert_gt(acked, 200);
    expect_once(&rig, acked);
    expect_equal(&rig);
    rig_fini(&rig);
}

Test(cluster, writes_are_executed_once_while_leaders_stop_and_come_back)
{
    struct rig rig = {.snapshot_log_bytes = 256 << 10};
    struct lane lanes[LANES];
    three_nodes(&rig);
    add(&rig, &rig.node[1]);
    add(&rig, &rig.node[2]);
    lanes_begin(lanes);
    for (unsigned i = 0; i < 5; i++) {
        lanes_run(&rig, lanes, 200);
        struct rig_node *leader = leader_of(&rig);
        rig_stop(leader);
        lanes_run(&rig, lanes, 300);
        leader->boot_id = i % 2 == 0 ? "another" : NULL;
        rig_start(leader);
        rig_open(leader);
    }
    uint64_t acked = lanes_end(&rig, lanes);
    expect_once(&rig, acked);
    expect_equal(&rig);
    rig_fini(&rig);
}

Test(cluster, a_large_value_is_on_all_replicas_and_one_that_is_too_large_is_refused)
{
    struct rig rig = {0};
    struct rig_ask ask;
    three_nodes(&rig);
    add(&rig, &rig.node[1]);
    add(&rig, &rig.node[2]);
    char *text = mem_new(PARTITION_REQUEST_BYTES_MAX + 1);
    memset(text, 'v', PARTITION_REQUEST_BYTES_MAX);
    for (unsigned mb = 1; mb <= 16; mb *= 4) {
        text[mb << 20] = 0;
        memcpy(text, "SET large ", 10);
        rig_begin(&rig, &ask, PARTITION_WRITE, 0);
        rig_call(&ask, 0, text);
        RIG_UNTIL(&rig, (rig_ask(leader_of(&rig), &ask), rig_wait(&rig, &ask),
                         ask.request.err == ERR_OK || ask.request.err == ERR_INVALID));
        cr_assert_eq(ask.request.err, mb == 16 ? ERR_INVALID : ERR_OK);
        rig_free(&ask);
        text[mb << 20] = 'v';
    }
    cr_assert_str_eq(ask_leader(&rig, PARTITION_READ, "STRLEN large"), ":4194294\r\n");
    expect_equal(&rig);
    mem_free(text);
    rig_fini(&rig);
}

Test(cluster, a_replica_whose_store_differs_is_made_anew)
{
    struct rig rig = {0};
    struct lane lanes[LANES];
    three_nodes(&rig);
    add(&rig, &rig.node[1]);
    add(&rig, &rig.node[2]);
    lanes_begin(lanes);
    lanes_run(&rig, lanes, 300);
    struct rig_node *follower = &rig.node[(leader_of(&rig)->index + 1) % 3];
    rig_stop(follower);
    rig_falsify(follower);
    rig_start(follower);
    rig_open(follower);
    lanes_run(&rig, lanes, 2500); /* digests go out once a second */
    expect_once(&rig, lanes_end(&rig, lanes));
    expect_equal(&rig);
    rig_fini(&rig);
}

/* ---- parked calls while leadership moves ---- */

enum { PARKERS = 6, ELEMENTS = 1500 };

struct parker {
    struct rig_ask ask;
};

static void park(struct rig *rig, struct parker *parker, unsigned worker, uint64_t seq)
{
    static const uint32_t first[] = {1};
    struct rig_ask *ask = &parker->ask;
    rig_begin(rig, ask, PARTITION_PARK, 0);
    rig_call(ask, 0, "BLPOP q 0");
    ask->request.wait_key = first;
    ask->request.wait_key_count = 1;
    ask->request.ticket = clock_mono_ns() / 1000;
    ask->request.origin = (struct partition_origin){.node_id = 9,
                                                    .incarnation = 1,
                                                    .worker = (uint16_t)(100 + worker),
                                                    .is_parking = true,
                                                    .seq = seq,
                                                    .acked_low = seq};
    ask->is_done = true;
    ask->request.err = ERR_SLOW;
}

/* What was handed out is noted; who was refused asks whoever leads. */
static void parker_step(struct rig *rig, struct parker *parker, unsigned worker, bool *taken,
                        unsigned *count)
{
    struct partition_request *request = &parker->ask.request;
    if (!parker->ask.is_done) { return; }
    if (request->err == ERR_OK) {
        unsigned element = 0;
        cr_assert_eq(sscanf(rig_text(&parker->ask), "*2\r\n$1\r\nq\r\n$%*u\r\n%u", &element), 1);
        cr_assert(element < ELEMENTS && !taken[element], "%u was handed out twice", element);
        taken[element] = true;
        ++*count;
        rig_free(&parker->ask);
        park(rig, parker, worker, request->origin.seq + 1);
    }
    struct rig_node *leader = any_leader(rig);
    if (leader != NULL) { rig_ask(leader, &parker->ask); }
}

struct pusher {
    struct rig_ask ask;
    char text[32];
    unsigned next;
};

static void pusher_step(struct rig *rig, struct pusher *pusher)
{
    struct rig_ask *ask = &pusher->ask;
    if (!ask->is_done) { return; }
    if (ask->request.err == ERR_OK && pusher->next < ELEMENTS) {
        rig_free(ask);
        snprintf(pusher->text, sizeof pusher->text, "RPUSH q %u", pusher->next++);
        rig_begin(rig, ask, PARTITION_WRITE, 0);
        rig_call(ask, 0, pusher->text);
        ask->is_done = true;
        ask->request.err = ERR_SLOW;
    }
    struct rig_node *leader = any_leader(rig);
    if (leader != NULL && ask->request.err != ERR_OK) { rig_ask(leader, ask); }
}

Test(cluster, parked_calls_take_each_element_once_while_leadership_moves)
{
    struct rig rig = {0};
    struct parker parkers[PARKERS];
    struct pusher pusher = {.ask = {.is_done = true}};
    bool taken[ELEMENTS] = {false};
    unsigned count = 0;
    unsigned moves = 0;
    three_nodes(&rig);
    add(&rig, &rig.node[1]);
    add(&rig, &rig.node[2]);
    for (unsigned i = 0; i < PARKERS; i++) {
        park(&rig, &parkers[i], i, 1);
    }
    RIG_UNTIL(&rig, ({
        for (unsigned i = 0; i < PARKERS; i++) {
            parker_step(&rig, &parkers[i], i, taken, &count);
        }
        pusher_step(&rig, &pusher);
        struct rig_node *leader = any_leader(&rig);
        if (leader != NULL && count / 120 > moves) {
            struct transfer t = {1 + (leader->index + 1 + moves++ % 2) % 3, ERR_OK};
            rig_on_raft(leader, on_transfer, &t);
        }
        count == ELEMENTS;
    }));
    cr_assert_str_eq(ask_leader(&rig, PARTITION_READ, "EXISTS q"), ":0\r\n");
    expect_equal(&rig);
    rig_fini(&rig);
}
