/* partition_load: a partition on three nodes, and lanes that count in it and ask again until they are answered, as entry
 * nodes do. */
#ifndef FANFARE_TESTS_UNIT_PARTITION_LOAD_H
#define FANFARE_TESTS_UNIT_PARTITION_LOAD_H

#include "partition_rig.h"

struct change {
    enum engine_change change;
    uint64_t id;
    const char *name;
    enum err err;
};

static inline void on_change(struct rig_node *node, void *arg)
{
    struct change *change = arg;
    change->err = engine_change(consensus_engine(node->consensus), partitions_group(0),
                                change->change, change->id, change->name);
}

struct transfer {
    uint64_t id;
    enum err err;
};

static inline void on_transfer(struct rig_node *node, void *arg)
{
    struct transfer *transfer = arg;
    transfer->err =
        engine_transfer(consensus_engine(node->consensus), partitions_group(0), transfer->id);
}

static inline void on_status(struct rig_node *node, void *arg)
{
    (void)engine_status(consensus_engine(node->consensus), partitions_group(0), arg);
}

static inline struct engine_status engine_status_of(struct rig_node *node)
{
    struct engine_status status = {0};
    rig_on_raft(node, on_status, &status);
    return status;
}

static inline struct partition_status status_of(struct rig_node *node)
{
    struct partition_status status;
    partition_status(node->partitions, 0, &status);
    return status;
}

/* The node that leads, when one does. */
static inline struct rig_node *leader_of(struct rig *rig)
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

static inline bool is_voter(struct rig_node *leader, uint64_t id)
{
    struct engine_status status = engine_status_of(leader);
    for (size_t i = 0; i < status.server_count; i++) {
        if (status.servers[i].id == id) { return status.servers[i].role == 1; }
    }
    return false;
}

static inline void change(struct rig *rig, enum engine_change what, struct rig_node *node)
{
    struct change c = {what, node->index + 1, node->name, ERR_SLOW};
    RIG_UNTIL(rig, (rig_on_raft(leader_of(rig), on_change, &c), c.err != ERR_SLOW));
    cr_assert_eq(c.err, ERR_OK);
}

static inline void add(struct rig *rig, struct rig_node *node)
{
    change(rig, ENGINE_ADD_STANDBY, node);
    change(rig, ENGINE_PROMOTE, node);
    RIG_UNTIL(rig, is_voter(leader_of(rig), node->index + 1));
}

static inline void three_nodes(struct rig *rig)
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
static inline const char *ask_leader(struct rig *rig, enum partition_ask what, const char *text)
{
    const char *reply = "(";
    RIG_UNTIL(rig, (reply = rig_do(leader_of(rig), what, 0, text), reply[0] != '('));
    return reply;
}

/* All have applied the same, and hold the same. */
static inline void expect_equal(struct rig *rig)
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

static inline void lane_fill(struct rig_ask *ask, struct rig *rig, uint16_t worker, uint64_t seq)
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
static inline struct rig_node *any_leader(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->node_count; i++) {
        struct rig_node *node = &rig->node[i];
        if (node->consensus != NULL && partition_leads(node->partitions, 0) != 0) { return node; }
    }
    return NULL;
}

static inline void lane_step(struct rig *rig, struct lane *lane, uint16_t worker, bool more)
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

static inline bool lane_waits(const struct lane *lane)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        if (lane->ask[i].request.origin.seq != 0) { return true; }
    }
    return false;
}

static inline void lanes_begin(struct lane *lanes)
{
    memset(lanes, 0, LANES * sizeof *lanes);
    for (unsigned i = 0; i < LANES; i++) {
        for (unsigned k = 0; k < IN_FLIGHT; k++) {
            lanes[i].ask[k].is_done = true;
        }
    }
}

static inline void lanes_run(struct rig *rig, struct lane *lanes, unsigned ms)
{
    uint64_t until = clock_mono_ns() + ms * NS_PER_MS;
    while (clock_mono_ns() < until) {
        for (unsigned i = 0; i < LANES; i++) {
            lane_step(rig, &lanes[i], (uint16_t)i, true);
        }
        rig_poll(rig, 2);
    }
}

static inline uint64_t lanes_end(struct rig *rig, struct lane *lanes)
{
    uint64_t acked = 0;
    for (unsigned i = 0; i < LANES; i++) {
        RIG_UNTIL(rig, (lane_step(rig, &lanes[i], (uint16_t)i, false), !lane_waits(&lanes[i])));
        acked += lanes[i].acked;
    }
    return acked;
}

static inline void expect_once(struct rig *rig, uint64_t acked)
{
    char text[32];
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lu", (unsigned long)acked);
    snprintf(text, sizeof text, "$%d\r\n%s\r\n", len, digits);
    cr_assert_str_eq(ask_leader(rig, PARTITION_READ, "GET n"), text);
    snprintf(text, sizeof text, ":%s\r\n", digits);
    cr_assert_str_eq(ask_leader(rig, PARTITION_READ, "LLEN l"), text);
}

#endif
