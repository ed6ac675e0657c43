/* sim_membership: a cluster of membership cores over the very engine of the broker, in one thread,
 * on simulated clocks, disks and a simulated network, all from one seed.
 * sim_membership_world.c runs the nodes and checks after every event what must never be; the storm
 * (sim_membership.c) breaks things, operates the cluster, and demands that it comes to rest; the
 * scenes (sim_membership_scenes.c) have one order of events. */
#ifndef FANFARE_TESTS_SIM_MEMBERSHIP_H
#define FANFARE_TESTS_SIM_MEMBERSHIP_H

#include "base/buf.h"
#include "consensus/membership/membership_core.h"
#include "sim/sim_disk.h"
#include "sim/sim_packets.h"

enum { MSIM_NODES_MAX = 7, MSIM_PARTITIONS = 16, MSIM_USERS = 4 };

struct msim;
struct mdata_truth;
struct partitions;
struct replicas;

struct mnode {
    struct msim *sim;
    char name[16];
    uint64_t id;
    uint16_t port; /* changes when its address does */
    uint32_t expect;
    struct sim_disk sd;
    struct cluster_file file;
    struct engine *engine; /* NULL: down */
    struct core *core;
    bool is_absent;      /* down until the storm wants it up */
    bool is_drained;     /* since it started */
    bool is_old;         /* of a version that knows nothing of partitions' data */
    bool knows_no_users; /* of one that knows nothing of the cluster's users */
    uint64_t up_at_ms;
    uint64_t paused_until_ms;
    uint64_t tick_at_ms;
    uint64_t clock_offset_ms;
    uint64_t clock_ppm;
    uint64_t link_cluster;
    struct partitions *partitions; /* NULL: it is down, or nobody has data */
    struct replicas *replicas;
    /* as the world was told */
    const struct pmap *map;
    uint64_t lease_until_ms;
    uint64_t lease_incarnation;
    uint64_t warm_until_ms; /* it warms what it got until then */
    uint32_t warming;
    uint64_t life_ms;           /* since when it has an incarnation */
    struct roster *roster_told; /* references, or NULL */
    struct roster *roster;      /* what is in force here: what it was told, from then on */
    uint64_t roster_at_ms;
};

enum mkind { M_FRAME, M_NOTE, M_CONTACT };

struct mstats {
    uint64_t events, founded, kills, power_cuts, wipes, pauses, moves, forgets, drains, downs,
        lease_checks, acked, deletions, led, led_by_choice, forgotten_lives, users_changed;
};

struct msim {
    uint64_t seed;
    uint64_t random;
    uint64_t now_ms;
    int node_count;
    int founder_count;
    struct mnode nodes[MSIM_NODES_MAX + 1]; /* from 1 */
    struct sim_packets packets;
    bool blocked[MSIM_NODES_MAX + 1][MSIM_NODES_MAX + 1];
    uint32_t node_timeout_ms;
    uint64_t loss_per_mille;
    uint64_t dup_per_mille;
    uint64_t late_ms_max;
    uint64_t save_fails_per_mille;
    uint64_t cluster_id;       /* of the first map seen anywhere; 0: none yet */
    const struct pmap *newest; /* the map of the highest version seen anywhere */
    bool is_forget_over;
    char forget_error[NOTE_TEXT_BYTES]; /* "": it is forgotten */
    bool is_verbose;
    uint32_t partition_count;
    struct mdata_truth *truth;         /* of each partition; NULL: nobody has data */
    uint64_t founded[MSIM_PARTITIONS]; /* by which replica */
    uint64_t write_at_ms;
    bool users_pause;                /* operators ask for no changes */
    uint32_t users_asked;            /* changes of users that are not answered */
    uint64_t users_next;             /* the last one's number */
    uint64_t users_done[MSIM_USERS]; /* the highest that was answered, of each user */
    struct mstats stats;
    bool has_failed;
    char failure[400];
};

void msim_print(struct msim *sim, const char *format, ...) PRINTF_LIKE(2, 3);
#define MSIM_LOG(sim, ...)                                         \
    do {                                                           \
        if ((sim)->is_verbose) { msim_print((sim), __VA_ARGS__); } \
    } while (0)
/* The first failure stays. */
void msim_fail(struct msim *sim, const char *format, ...) PRINTF_LIKE(2, 3);

/* World. */
void msim_add(struct msim *sim, int number, uint32_t expect); /* a node, empty and well */
void msim_end(struct msim *sim);
/* Why the cluster is not at rest; NULL: it is. */
const char *msim_unrest(struct msim *sim);
/* The leader, as it thinks itself; NULL: nobody does. */
struct mnode *msim_leader(struct msim *sim);
void msim_start(struct mnode *node);
void msim_live_alone(struct mnode *node); /* it makes data of its own, before anybody else starts */
void msim_stop(struct mnode *node,
               bool is_power_cut);    /* dies; comes back at up_at_ms unless absent */
void msim_wipe(struct mnode *node);   /* the same with an empty disk */
void msim_settle(struct mnode *node); /* a turn and the checks, after something was done to it */
/* Run until `until_ms`; false: something failed. */
bool msim_run(struct msim *sim, uint64_t until_ms);
uint64_t mnode_clock_ms(const struct mnode *node);

#endif
