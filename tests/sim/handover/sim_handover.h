/* sim_handover: nodes of a cluster in one thread, in virtual time and on a simulated network, all from one seed.
 * What runs is the broker's own cluster and pubsub modules, several workers per node. Simulated are what is under
 * them: clocks, workers and listeners (sim_world.c), the connections of the peer link (sim_net.c) and the control
 * group with its leases (sim_control.c). Clients (sim_clients.c) subscribe and publish on all nodes; sim_oracle.c
 * knows all that they did and saw and judges it.
 * One step is a millisecond: messages arrive, and workers take their turns in any order. */
#ifndef FANFARE_TESTS_SIM_HANDOVER_H
#define FANFARE_TESTS_SIM_HANDOVER_H

#include "base/buf.h"
#include "cluster/cluster.h"
#include "cluster/peer.h"
#include "pubsub/fanout.h"

enum {
    SIM_NODES_MAX = 5,
    SIM_WORKERS_MAX = 3,
    SIM_PARTITIONS = 6,
    SIM_CHANNELS = 12,
    SIM_PATTERNS = 3,
    SIM_SUBSCRIBERS_MAX = 4096, /* ever, in one run */
    SIM_MESSAGES_MAX = 60000,
    SIM_TOPICS = SIM_CHANNELS * 2 + SIM_PATTERNS, /* by kind: channels, shard channels, patterns */

    SIM_TIMEOUT_MS = 1000, /* a node's silence, and a connection's */
    SIM_LEASE_MARGIN_MS = 300,
    SIM_CLUSTER_TIMEOUT_MS = 5000,
};

struct sim_node;

/* net/worker.h's; what the cluster needs of one. */
struct worker {
    struct mailbox mailbox;
    struct mailbox *mailbox_pointer; /* as a fanout wants it */
    struct sim_node *node;
    uint32_t index;
    struct fanout *fanout;
    struct peer_hub *hub;
    uint64_t stalled_until_ms; /* takes no turn */
    uint64_t tick_ms;          /* the next */
};

struct sim_node {
    uint32_t index;
    uint64_t id;
    struct cluster *cluster;
    struct directory *directory;
    struct worker worker[SIM_WORKERS_MAX];
    struct mailbox *mailbox[SIM_WORKERS_MAX];
    uint32_t worker_count;
    uint64_t paused_until_ms; /* 0: it runs */
    uint64_t heard_ms;        /* by the control group, last */
    uint64_t next_accept;
    bool is_listening;

    /* Its membership: */
    void (*on_map)(void *arg, const struct pmap *map, uint32_t self);
    void *on_map_arg;
    const struct pmap *map; /* as given last; a reference */
    uint64_t map_due_ms;    /* it learns of a newer one then; 0: there is none */
    uint64_t lease_until_ms;
    uint64_t lease_incarnation;
    uint32_t warming;
    bool is_condemned; /* no lease is given any more, until it is down */
    uint64_t barred_until_ms;
    uint64_t back_ms; /* heard since, while it is down; 0: not */
};

/* A subscription of one client, from its asking to its end. Times are numbers of events. */
struct sim_window {
    struct sim_window *next; /* of the same client */
    struct sim_client *client;
    uint32_t topic;
    uint64_t asked, confirmed, end_asked, end_confirmed; /* SIM_NEVER: not */
    bool is_refused, started_over;
    uint32_t *received; /* numbers of messages, in order */
    uint32_t received_count;
    uint32_t received_cap;
};
#define SIM_NEVER UINT64_MAX

struct sim_client {
    struct subscriber subscriber;
    struct worker *worker;
    struct sim_window *windows; /* newest first */
    struct sim_window *pending; /* its change is under way; one at a time */
    bool is_closed;             /* by the server */
    bool is_over;               /* left, or closed */
};

enum sim_outcome { OUTCOME_NONE, OUTCOME_COUNT, OUTCOME_DOWN, OUTCOME_INDOUBT };

struct sim_message {
    uint32_t topic; /* of a channel */
    uint32_t publisher;
    uint32_t node;
    uint64_t start, end;
    enum sim_outcome outcome;
    uint64_t count;
    uint64_t first_seen;
};

struct sim_control {
    struct pmap *map; /* the newest */
    uint64_t incarnation_last;
    uint64_t next_move_ms;
};

struct sim_stats {
    uint64_t steps, publishes, deliveries, cuts, pauses, resets, moves, downs, closed, in_doubt,
        started_over, refused;
};

struct sim {
    uint64_t rng;
    uint64_t now_ms;
    uint64_t event; /* so many things have happened */
    uint32_t node_count;
    struct sim_node node[SIM_NODES_MAX];
    struct sim_control control;
    bool is_cut[SIM_NODES_MAX][SIM_NODES_MAX];
    struct list conns; /* sim_net.c's */
    struct sim_client *client[SIM_SUBSCRIBERS_MAX];
    uint32_t client_count;
    struct sim_message *message;
    uint32_t message_count;
    char topic_name[SIM_TOPICS][24];
    struct sim_stats stats;
    bool is_rough;         /* things break; else owners only move */
    bool has_small_frames; /* a name in a part of a Sync */
    bool is_verbose;
    char failure[512]; /* "" so far */
};

/* The one that runs: what the fakes have no other way to. */
extern struct sim *sim;

static inline uint64_t sim_random(uint64_t below)
{
    sim->rng ^= sim->rng << 13;
    sim->rng ^= sim->rng >> 7;
    sim->rng ^= sim->rng << 17;
    return (sim->rng * 0x2545f4914f6cdd1dULL >> 11) % below;
}

static inline bool sim_chance(unsigned percent)
{
    return sim_random(100) < percent;
}

/* The first one counts. */
void sim_fail(const char *format, ...) PRINTF_LIKE(1, 2);
void sim_say(const char *format, ...) PRINTF_LIKE(1, 2); /* if it is verbose */

enum sim_plan { SIM_ANY_FAULTS, SIM_SHORT_CUTS, SIM_RESETS };
/* sim_world.c: the run of one seed. False: sim->failure. */
bool sim_run(uint64_t seed, enum sim_plan plan, bool is_verbose);
bool sim_is_running(const struct sim_node *node); /* not paused */
void sim_turn(struct worker *worker);

/* sim_net.c */
bool sim_path_is_open(uint32_t from, uint32_t to);
void sim_net_step(void);                  /* time has passed */
void sim_net_turn(struct worker *worker); /* what has come for this worker's connections */
void sim_net_reset_one(void);             /* some connection breaks */
void sim_net_heal(void);                  /* nobody is cut off any more */

/* sim_control.c */
void sim_control_init(void);
void sim_control_fini(void);
void sim_control_step(bool may_move);
/* Does every node know the newest map, with all nodes up in it? */
bool sim_control_is_at_rest(void);

/* sim_clients.c */
extern const struct fanout_ops sim_client_ops;
void sim_clients_init(void);
void sim_clients_fini(void);
struct sim_client *sim_client_new(struct worker *worker);
bool sim_client_subscribe(struct sim_client *client, uint32_t topic);
void sim_client_unsubscribe(struct sim_client *client, struct sim_window *window);
void sim_client_leave(struct sim_client *client);
uint32_t sim_publish(struct worker *worker, uint32_t topic); /* the message's number */
void sim_clients_act(struct worker *worker);

static inline enum topic_kind sim_topic_kind(uint32_t topic)
{
    if (topic < SIM_CHANNELS) { return TOPIC_CHANNEL; }
    return topic < 2 * SIM_CHANNELS ? TOPIC_SHARD : TOPIC_PATTERN;
}

/* sim_oracle.c */
bool sim_matches(uint32_t subscribed, uint32_t published);
void sim_judge(void);

#endif
