/* sim: a cluster of engines in one thread, on simulated clocks, disks and a simulated network, all
 * from one seed.
 * The world (sim_world.c) runs the very engine of the broker; the oracle (sim_oracle.c) knows what
 * was committed and acknowledged anywhere and checks it after every event; the storm (sim_storm.c)
 * breaks things and sends requests. */
#ifndef FANFARE_TESTS_SIM_H
#define FANFARE_TESTS_SIM_H

#include "consensus/engine_int.h"
#include "consensus/group/group_int.h"
#include "sim/sim_disk.h"

enum {
    SIM_NODES_MAX = 7,
    SIM_GROUPS = 2,
    SIM_INDEX_MAX = 20000,
    SIM_TERM_MAX = 4000,
    SIM_VALUES_MAX = 60000,
    SIM_REPLICAS_MAX = 400
};
#define SIM_DROP UINT64_MAX

struct sim;
struct sim_node;

/* A replicated state machine: a chain of hashes, and a body that makes snapshots longer than a
 * chunk. */
struct sim_fsm {
    struct sim *sim;
    struct sim_node *node;
    uint64_t group;
    uint64_t applied;
    uint64_t hash;
    uint64_t count;
    struct buf restoring;
    bool is_restoring;
};

struct sim_replica {
    uint64_t self;     /* 0: no replica of this group here */
    uint64_t added_ms; /* to the group; 0: it was there from the start */
    uint64_t checked;  /* the oracle has seen its commits up to here */
    uint64_t term_seen;
    uint64_t commit_seen;
    uint64_t applied_seen;
    struct sim_fsm fsm;
};

struct sim_node {
    struct sim *sim;
    char name[16];
    uint64_t id;
    struct sim_disk sd;
    struct engine *e; /* NULL: down */
    uint64_t up_at_ms;
    uint64_t paused_until_ms;
    uint64_t clock_offset_ms;
    uint64_t clock_ppm; /* one million: as the world's */
    uint64_t disk_normal_until_ms;
    bool is_flipped; /* a bit of its disk was flipped */
    struct sim_replica replicas[SIM_GROUPS + 1];
};

struct sim_packet {
    uint64_t due_ms;
    uint64_t order; /* ties */
    int from;
    int to;
    struct buf bytes;
};

/* What became of a proposed value. */
enum sim_fate { FATE_UNKNOWN, FATE_ACKED, FATE_REFUSED };

struct sim_value {
    uint8_t fate;
    bool is_applied;
};

/* What the world has committed of a group. */
struct sim_truth {
    uint64_t committed;
    uint64_t term[SIM_INDEX_MAX];
    uint64_t commit_term[SIM_INDEX_MAX]; /* it was committed in this term or before */
    uint64_t entry_hash[SIM_INDEX_MAX];  /* of type and data */
    uint64_t state_hash[SIM_INDEX_MAX];  /* of the state machine after it; 0: not known */
    uint64_t leader[SIM_TERM_MAX];
    uint64_t acked; /* highest index of an acknowledged proposal or a finished read */
    uint64_t conf_index;
    size_t member_count;
    uint64_t members[GROUP_SERVERS_MAX];
    int roles[GROUP_SERVERS_MAX];
    bool was_member[SIM_REPLICAS_MAX];
    uint64_t next_replica;
};

struct sim_stats {
    uint64_t events, applied, elections, crashes, kills, wipes, snapshots, installs, changes,
        transfers, acked, reads, lease_reads, corrupt;
};

struct sim {
    uint64_t seed;
    uint64_t random;
    uint64_t now_ms;
    int initial_count;
    int node_count;
    struct sim_node nodes[SIM_NODES_MAX + 1]; /* from 1 */
    struct engine_opts opts;
    uint32_t guards_off;
    bool is_verbose;
    bool is_calm; /* no faults: progress is demanded */

    struct sim_packet *packets; /* a heap */
    size_t packet_count;
    size_t packet_cap;
    uint64_t packet_order;
    bool blocked[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
    uint64_t loss_per_mille;
    uint64_t dup_per_mille;
    uint64_t delay_ms_max;
    uint64_t disk_delay_ms; /* when the disks are well */
    bool hunts_changes;     /* changes are frequent, and leaders lose power in the middle of them */
    struct sim_node *hunted;
    /* Scripts only: how many ms the message takes, or SIM_DROP; no chance then. */
    uint64_t (*route)(struct sim *sim, int from, int to, const struct message *m);
    void *script;

    struct sim_truth truth[SIM_GROUPS + 1];
    struct sim_value *values;
    uint64_t value_count;
    uint64_t next_storm_ms;
    uint64_t next_client_ms;
    uint64_t next_operator_ms;
    uint64_t requests_open;
    struct sim_stats stats;
    const char *failure; /* NULL: none */
    char failure_text[400];
};

#define SIM_LOG(sim, ...)                                         \
    do {                                                          \
        if ((sim)->is_verbose) { sim_print((sim), __VA_ARGS__); } \
    } while (0)
void sim_print(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3);

/* The first failure stays. */
void sim_fail(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3);

/* Run one seed for `events` events, then demand progress. False: sim->failure says why; the same
 * seed does it again. */
bool sim_run(struct sim *sim, uint64_t seed, uint64_t events, uint32_t guards_off, bool is_verbose);

/* The parts of a run: options from the seed; nodes and groups; the next event, if it is due until
 * then (false: none is, or a failure); the end, which frees. */
void sim_begin(struct sim *sim, uint64_t seed, uint32_t guards_off, bool is_verbose);
void sim_populate(struct sim *sim);
bool sim_step(struct sim *sim, uint64_t until_ms);
void sim_end(struct sim *sim);

/* World. */
uint64_t sim_node_clock_ms(const struct sim_node *node);
struct group *sim_group(struct sim_node *node, uint64_t group); /* NULL: not running */
void sim_start(struct sim_node *node);
void sim_crash(struct sim_node *node, bool is_power_cut);
void sim_wipe(struct sim_node *node);
void sim_settle(struct sim_node *node); /* a turn and the checks, after something was done to it */
extern const struct fsm_ops sim_fsm_ops;

/* Oracle. */
void oracle_check(struct sim_node *node);
void oracle_applied(struct sim_fsm *fsm, uint64_t index, struct slice data);
void oracle_state(struct sim_fsm *fsm);
void oracle_fate(struct sim *sim, uint64_t value, enum sim_fate fate);
bool oracle_is_member(const struct sim *sim, uint64_t group, uint64_t id, int *role);
struct sim_node *oracle_leader(struct sim *sim,
                               uint64_t group); /* of the highest term; may be deposed already */

/* Storm. */
void storm_begin(struct sim *sim);
void storm_faults(struct sim *sim);
void storm_client(struct sim *sim);
void storm_operator(struct sim *sim);
void storm_calm(struct sim *sim);
void storm_propose(struct sim *sim, struct sim_node *node, uint64_t group);
void storm_read(struct sim *sim, struct sim_node *node, uint64_t group);

#endif
