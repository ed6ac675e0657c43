/* sim: a cluster of engines in one thread, on simulated clocks, disks and a simulated network, all
 * from one seed.
 * The world (sim_world.c) runs the very engine of the broker. The oracle (sim_oracle.c) knows what
 * was committed and acknowledged anywhere and checks it after every event, and holds every replica
 * to what it told others (sim_promise.c). Clients send requests (sim_client.c), an operator changes
 * the membership (sim_operator.c), the storm breaks things (sim_storm.c). */
#ifndef FANFARE_TESTS_SIM_H
#define FANFARE_TESTS_SIM_H

#include "consensus/engine.h"
#include "consensus/engine_int.h"
#include "consensus/group/group_int.h"
#include "sim/sim_disk.h"
#include "sim/sim_packets.h"

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

/* What a state machine has on a disk of its own. */
struct sim_kept {
    uint64_t applied;
    uint64_t hash;
    uint64_t count;
};

/* A replicated state machine: a chain of hashes, and a body that makes snapshots longer than a
 * chunk. In some seeds it does all at once, in others it takes batches, and what there is to do for
 * snapshots, and is done with them later, as another thread would be: what it holds and what it has
 * answered is then ahead of what the engine knows. In some seeds it keeps itself: a power cut takes it back to
 * what it wrote to a disk of its own last, and the log may go up to there without an image. */
struct sim_fsm {
    struct sim *sim;
    struct sim_node *node;
    uint64_t group;
    uint64_t applied;
    uint64_t hash;
    uint64_t count;
    struct sim_kept kept;
    struct buf restoring;
    struct engine_view view;
    const struct fsm_batch *batch; /* taken; NULL: none */
    bool is_stored;                /* it is applied and answered, the engine is to be told */
    uint64_t due_ms;               /* the next of the two is due then */
    void *image;                   /* made, the engine is to be told; NULL: none */
    uint64_t image_due_ms;
    bool is_restored; /* by a step, the engine is to be told */
    enum err restored;
    uint64_t restored_due_ms;
    bool reset_is_due;  /* its group was deleted: empty once that is closed */
    bool reopen_is_due; /* its group was closed, to be opened again */
};

/* What a replica has told others, and must have after any restart. */
struct sim_promise {
    uint64_t by; /* replica; 0: it said nothing yet */
    uint64_t term;
    uint64_t vote;   /* in this term; 0: none was told */
    uint64_t last;   /* its log up to here */
    uint16_t *terms; /* of the entries, by index; NULL until there are any */
};

struct sim_replica {
    uint64_t self;     /* 0: no replica of this group here */
    uint64_t added_ms; /* to the group; 0: it was there from the start */
    uint64_t checked;  /* the oracle has seen its commits up to here */
    uint64_t term_seen;
    uint64_t commit_seen;
    uint64_t applied_seen;
    struct sim_promise promise;
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
    bool is_flipped; /* a bit of its disk was flipped, and is still there */
    char flipped_file[DISK_NAME_BYTES];
    bool has_failed; /* the engine found its disk broken: the process is about to end */
    struct sim_replica replicas[SIM_GROUPS + 1];
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
    uint64_t acked;      /* highest index of an acknowledged proposal or a finished read */
    uint64_t acked_term; /* highest term in which a proposal was acknowledged */
    bool is_won;         /* there is a new leader; */
    bool is_acked;       /* and it has acknowledged its first proposal */
    uint64_t conf_index;
    size_t member_count;
    uint64_t members[GROUP_SERVERS_MAX];
    int roles[GROUP_SERVERS_MAX];
    bool was_member[SIM_REPLICAS_MAX];
    uint64_t next_replica;
};

struct sim_stats {
    uint64_t events, applied, elections, crashes, kills, wipes, snapshots, installs, changes,
        transfers, acked, reads, lease_reads, views, corrupt, broken, stopped, hunted_reads,
        promises;
};

/* What a seed's storm is after, besides breaking this and that. */
enum sim_hunt {
    HUNT_NOTHING,
    HUNT_CHANGES, /* a leader in the middle of a change of membership loses power */
    HUNT_READS, /* a leader is cut off and asked, while others elect another as early as they may */
    HUNT_INSTALLS, /* a replica that is about to install a snapshot dies; or what it fetches rots */
    HUNT_OVERWRITES, /* a leader goes while another node still writes what it sent */
    HUNTS
};

struct sim {
    uint64_t seed;
    uint64_t random;
    uint64_t now_ms;
    uint64_t now_events; /* how many of them were at now_ms */
    int initial_count;
    int node_count;
    struct sim_node nodes[SIM_NODES_MAX + 1]; /* from 1 */
    struct engine_opts opts;
    uint32_t guards_off;
    bool is_verbose;
    bool is_calm; /* no faults: progress is demanded */
    enum sim_hunt hunt;
    bool keeps_itself;  /* state machines have a disk of their own */
    bool applies_later; /* state machines take what they are asked for, and answer later */

    struct sim_packets packets;
    bool blocked[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1];
    uint64_t loss_per_mille;
    uint64_t dup_per_mille;
    uint64_t delay_ms_usual; /* a message takes up to this; now and then */
    uint64_t delay_ms_max;   /* up to this */
    uint64_t disk_delay_ms;  /* when the disks are well */
    uint64_t sync_delay_ms;
    uint64_t stop_per_mille; /* of the starts end in the middle of recovery */
    struct sim_node *hunted; /* the next fault is for it: */
    void (*strike)(struct sim_node *node);
    struct sim_node *partner; /* whose part comes later */
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
uint64_t sim_roll(struct sim *sim, uint64_t below);
uint64_t sim_node_clock_ms(const struct sim_node *node);
struct group *sim_group(struct sim_node *node, uint64_t group); /* NULL: not running */
void sim_start(struct sim_node *node);
void sim_crash(struct sim_node *node, bool is_power_cut);
void sim_wipe(struct sim_node *node);
/* Remove the replica of `group`, which is gone then, from a node that is up. */
void sim_forget(struct sim_node *node, uint64_t group);
void sim_settle(struct sim_node *node); /* a turn and the checks, after something was done to it */
const struct fsm_ops *sim_fsm_ops(const struct sim *sim);

/* State machines. When one has something to do, if it has taken anything; else UINT64_MAX. */
uint64_t sim_fsm_next_ms(const struct sim_fsm *fsm);
bool sim_fsm_is_busy(const struct sim_fsm *fsm); /* with a batch, or a step of a restore */
void sim_fsm_step(struct sim_fsm *fsm);
void sim_fsm_empty(struct sim_fsm *fsm);
void sim_fsm_reload(
    struct sim_fsm *fsm); /* its store was not synced: what it had written is left */
/* The process ends: what was taken is forgotten. Before the engine is freed. */
void sim_fsm_drop(struct sim_fsm *fsm);
void sim_engine_free(struct sim_node *node);
void sim_open(struct sim_node *node, uint64_t group); /* a replica of it, that is in the log */

/* Oracle. */
void oracle_check(struct sim_node *node);
void oracle_applied(struct sim_fsm *fsm, uint64_t index, struct slice data);
void oracle_state(struct sim_fsm *fsm);
void oracle_views(struct sim *sim); /* what a thread that looks would take for the newest state */
void oracle_fate(struct sim *sim, uint64_t value, enum sim_fate fate);
bool oracle_is_member(const struct sim *sim, uint64_t group, uint64_t id, int *role);
struct sim_node *oracle_leader(struct sim *sim,
                               uint64_t group); /* of the highest term; may be deposed already */

/* Promises: a frame leaves; the log was just opened, no group yet; the replica is no more. */
void promise_note(struct sim_node *node, struct slice frame);
void promise_note_leader(struct sim_node *node, const struct group *g); /* it counts itself */
void promise_check(struct sim_node *node);
void promise_end(struct sim_replica *replica);

/* Clients. */
void client_step(struct sim *sim);
void client_propose(struct sim *sim, struct sim_node *node, uint64_t group);
void client_read(struct sim *sim, struct sim_node *node, uint64_t group);
/* After an event: ask whoever still believes to lead, right after somebody else began to. */
void client_pursue(struct sim *sim);

/* Operator. */
void operator_step(struct sim *sim);
/* A replica that stopped over a flipped bit is given up. */
void operator_give_up_damaged(struct sim *sim);
uint64_t operator_lost_member(struct sim *sim, uint64_t group); /* that no node has; 0: none */

/* Storm. */
void storm_begin(struct sim *sim);
void storm_faults(struct sim *sim);
void storm_calm(struct sim *sim);
void storm_partition(struct sim *sim);
void storm_rot_snapshot(struct sim *sim); /* a leader's, while others may be fetching it */

/* Hunt. */
void hunt_begin(struct sim *sim);         /* options for it */
uint64_t hunt_clock_ppm(struct sim *sim); /* of a node */
/* This node is in the middle of what is hunted for, if it is this: it is struck soon. */
void hunt_notice(struct sim_node *node, enum sim_hunt hunt);
void hunt_power(struct sim_node *node, uint64_t at_ms); /* it loses power then */
bool hunt_strike(struct sim *sim);                      /* false: nobody was noticed */
bool hunt_step(struct sim *sim); /* false: what is hunted for comes by itself */

#endif
