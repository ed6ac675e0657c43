/* stress: three replicas under load while leadership moves, a replica joins by a snapshot, nodes stop, and a worker reads by
 * itself; for ThreadSanitizer. */
#define RIG_PLAIN
#include "../unit/partition_load.h"

#include "base/thread.h"

struct reading {
    struct rig *rig;
    atomic_bool is_over;
    uint64_t count;
};

static void read_on(void *arg) /* worker 0 of the first node */
{
    struct reading *reading = arg;
    struct rig_node *node = &reading->rig->node[0];
    struct partition_status status;
    while (!atomic_load(&reading->is_over)) {
        struct rig_ask ask;
        rig_begin(reading->rig, &ask, PARTITION_READ, 0);
        rig_call(&ask, 0, "LRANGE l -3 -1");
        rig_call(&ask, 0, "GET n");
        if (partition_read(node->partitions, 0, &ask.request)) {
            reading->count++;
            rig_free(&ask);
        }
        partition_status(node->partitions, 0, &status);
    }
}

static void move(struct rig *rig, unsigned i)
{
    struct rig_node *leader = leader_of(rig);
    struct transfer t = {1 + (leader->index + 1 + i % 2) % 3, ERR_OK};
    rig_on_raft(leader, on_transfer, &t);
}

int main(void)
{
    struct rig rig = {.snapshot_log_bytes = 64 << 10};
    struct lane lanes[LANES];
    three_nodes(&rig);
    struct reading reading = {.rig = &rig};
    struct thread thread;
    thread_start(&thread, "reader", read_on, &reading);
    lanes_begin(lanes);
    lanes_run(&rig, lanes, 1500);
    add(&rig, &rig.node[1]);
    lanes_run(&rig, lanes, 300);
    add(&rig, &rig.node[2]);
    for (unsigned i = 0; i < 6; i++) {
        lanes_run(&rig, lanes, 300);
        CHECK(ask_leader(&rig, PARTITION_READ, "LRANGE l 0 -1")[0] == '*'); /* a read aside */
        move(&rig, i);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct rig_node *node = &rig.node[1 + i];
        rig_stop(node);
        lanes_run(&rig, lanes, 300);
        node->boot_id = "another";
        rig_start(node);
        rig_open(node);
        lanes_run(&rig, lanes, 300);
    }
    expect_once(&rig, lanes_end(&rig, lanes));
    atomic_store(&reading.is_over, true);
    thread_join(&thread);
    expect_equal(&rig);
    printf("reads by the worker itself: %lu\n", (unsigned long)reading.count);
    rig_fini(&rig);
    return 0;
}
