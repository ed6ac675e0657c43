/* The promises of partition/partition.h where a partition has replicas on three nodes: what was acknowledged is there, and
 * was executed once, whoever leads; and all replicas hold the same. */
#include "partition_rig.h"

struct change {
    enum engine_change change;
    uint64_t id;
    const char *name;
    enum err err;
};

static void on_change(struct rig_node *node, void *arg)
{
    struct change *change = arg;
    change->err = engine_change(consensus_engine(node->consensus), partitions_group(0),
                                change->change, change->id, change->name);
}

struct transfer {
    uint64_t id;
    enum err err;
};

static void on_transfer(struct rig_node *node, void *arg)
{
    struct transfer *transfer = arg;
    transfer->err =
        engine_transfer(consensus_engine(node->consensus), partitions_group(0), transfer->id);
}

static void on_status(struct rig_node *node, void *arg)
{
    (void)engine_status(consensus_engine(node->consensus), partitions_group(0), arg);
}

static struct engine_status engine_status_of(struct rig_node *node)
{
    struct engine_status status = {0};
    rig_on_raft(node, on_status, &status);
    return status;
}

static struct partition_status status_of(struct rig_node *node)
{
    struct partition_status status;
    partition_status(node->partitions, 0, &status);
    return status;
}

/* The node that leads, when one does. */
static struct rig_node *leader_of(struct rig *rig)
{
    struct rig_node *leader = NULL;
    RIG_UNTIL(rig, ({
                  for (uint32_t i = 0; i < rig->node_count; i++) {
                      struct rig_node *node = &rig->node[i];
                      bool runs = node->consensus != NULL;
                      if (runs && partition_leads(node->partitions, 0) != 0) { leader = node; }
                  }
                  leader != NULL;
              }));
    return leader;
}

static bool is_voter(struct rig_node *leader, uint64_t id)
{
    struct engine_status status = engine_status_of(leader);
    for (size_t i = 0; i < status.server_count; i++) {
        if (status.servers[i].id == id) { return status.servers[i].role == 1; }
    }
    return false;
}

static void change(struct rig *rig, enum engine_change what, struct rig_node *node)
{
    struct change c = {what, node->index + 1, node->name, ERR_SLOW};
    RIG_UNTIL(rig, (rig_on_raft(leader_of(rig), on_change, &c), c.err != ERR_SLOW));
    cr_assert_eq(c.err, ERR_OK);
}

static void add(struct rig *rig, struct rig_node *node)
{
    change(rig, ENGINE_ADD_STANDBY, node);
    change(rig, ENGINE_PROMOTE, node);
    RIG_UNTIL(rig, is_voter(leader_of(rig), node->index + 1));
}

static void three_nodes(struct rig *rig)
{
    rig_init(rig, 3, 1);
    for (uint32_t i = 0; i < 3; i++) {
        rig_start(&rig->node[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        rig_create(&rig->node[i]);
    }
    rig_until_leads(&rig->node[0], 0);
}

/* Ask whoever leads until it is answered. */
static const char *ask_leader(struct rig *rig, enum partition_ask what, const char *text)
{
    const char *reply = "(";
    RIG_UNTIL(rig, (reply = rig_do(leader_of(rig), what, 0, text), reply[0] != '('));
    return reply;
}

/* All have applied the same, and hold the same. */
static void expect_equal(struct rig *rig)
{
    cr_assert_str_eq(ask_leader(rig, PARTITION_WRITE, "SET last 1"), "+OK\r\n");
    RIG_UNTIL(rig, ({
                  struct partition_status s[3];
                  for (uint32_t i = 0; i < 3; i++) {
                      s[i] = status_of(&rig->node[i]);
                  }
                  s[0].applied == s[1].applied &&s[1].applied == s[2].applied &&s[0].digest_index ==
                      s[1].digest_index &&s[1].digest_index == s[2].digest_index;
              }));
    for (uint32_t i = 1; i < 3; i++) {
        cr_assert_eq(status_of(&rig->node[0]).digest, status_of(&rig->node[i]).digest);
        cr_assert(!status_of(&rig->node[i]).is_damaged);
    }
}

/* ---- load: INCR of one counter, RPUSH of another list, asked again until answered, as an entry node does ---- */

enum { LANES = 8, IN_FLIGHT = 4 };

struct lane {
    struct rig_ask ask[IN_FLIGHT];
    uint64_t next;     /* number */
    uint64_t answered; /* all below it */
    uint64_t acked;    /* increments that were answered */
};

static void lane_fill(struct rig_ask *ask, struct rig *rig, uint16_t worker, uint64_t seq)
{
    rig_begin(rig, ask, PARTITION_WRITE, 0);
    rig_call(ask, 0, "INCR n");
    rig_call(ask, 0, "RPUSH l x");
    ask->request.origin =
        (struct partition_origin){.node_id = 9, .incarnation = 1, .worker = worker, .seq = seq};
    ask->is_done = true; /* to be sent */
    ask->request.err = ERR_SLOW;
}

/* Whoever leads, if somebody seems to. */
static struct rig_node *any_leader(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->node_count; i++) {
        struct rig_node *node = &rig->node[i];
        if (node->consensus != NULL && partition_leads(node->partitions, 0) != 0) { return node; }
    }
    return NULL;
}

static void lane_step(struct rig *rig, struct lane *lane, uint16_t worker, bool more)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        struct rig_ask *ask = &lane->ask[i];
        if (!ask->is_done) { continue; }
        struct partition_request *request = &ask->request;
        if (request->origin.seq != 0 && request->err == ERR_OK) {
            rig_free(ask);
            lane->acked++;
            request->origin.seq = 0;
        }
        if (request->origin.seq == 0) {
            if (!more) { continue; }
            lane_fill(ask, rig, worker, ++lane->next);
        }
        struct rig_node *leader = any_leader(rig);
        if (leader == NULL) { continue; }
        cr_assert(request->err == ERR_SLOW || request->err == ERR_NOT_LEADER ||
                      request->err == ERR_INDOUBT,
                  "%s", err_word(request->err));
        uint64_t low = lane->next + 1;
        for (unsigned k = 0; k < IN_FLIGHT; k++) {
            uint64_t seq = lane->ask[k].request.origin.seq;
            if (seq != 0 && seq < low) { low = seq; }
        }
        request->origin.acked_low = low;
        rig_ask(leader, ask);
    }
}

static bool lane_waits(const struct lane *lane)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        if (lane->ask[i].request.origin.seq != 0) { return true; }
    }
    return false;
}

static void lanes_begin(struct lane *lanes)
{
    memset(lanes, 0, LANES * sizeof *lanes);
    for (unsigned i = 0; i < LANES; i++) {
        for (unsigned k = 0; k < IN_FLIGHT; k++) {
            lanes[i].ask[k].is_done = true;
        }
    }
}

static void lanes_run(struct rig *rig, struct lane *lanes, unsigned ms)
{
    uint64_t until = clock_mono_ns() + ms * NS_PER_MS;
    while (clock_mono_ns() < until) {
        for (unsigned i = 0; i < LANES; i++) {
            lane_step(rig, &lanes[i], (uint16_t)i, true);
        }
        rig_poll(rig, 2);
    }
}

static uint64_t lanes_end(struct rig *rig, struct lane *lanes)
{
    uint64_t acked = 0;
    for (unsigned i = 0; i < LANES; i++) {
        RIG_UNTIL(rig, (lane_step(rig, &lanes[i], (uint16_t)i, false), !lane_waits(&lanes[i])));
        acked += lanes[i].acked;
    }
    return acked;
}

static void expect_once(struct rig *rig, uint64_t acked)
{
    char text[32];
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lu", (unsigned long)acked);
    snprintf(text, sizeof text, "$%d\r\n%s\r\n", len, digits);
    cr_assert_str_eq(ask_leader(rig, PARTITION_READ, "GET n"), text);
    snprintf(text, sizeof text, ":%s\r\n", digits);
    cr_assert_str_eq(ask_leader(rig, PARTITION_READ, "LLEN l"), text);
}

/* ---- tests ---- */

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
