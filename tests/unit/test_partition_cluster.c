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
