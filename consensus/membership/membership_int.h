/* membership_int: the core's state as its files share it: membership_core.c (life, the map),
 * membership_found.c (a node without a cluster), membership_join.c (becoming a member again at every
 * start), membership_lease.c (being alive), membership_lead.c and membership_voters.c (the leader's
 * duties), membership_keep.c (of them those about partitions' data, and a node's own data),
 * membership_users.c (the cluster's users), membership_forget.c. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_MEMBERSHIP_INT_H
#define FANFARE_CONSENSUS_MEMBERSHIP_INT_H

#include "base/list.h"
#include "consensus/membership/membership_core.h"

/* What is known of another node. */
struct node {
    uint64_t id; /* 0: a free place */
    char name[PMAP_NAME_BYTES];
    uint64_t heard_ms; /* any note */

    /* discovery and joins */
    struct pmap_address raft; /* port 0: it never told; the map knows */
    uint64_t discovery_ms;    /* 0: never */
    uint64_t cluster_id;
    uint32_t expect;
    uint64_t attempt;
    bool is_founding;
    uint64_t promised_to;
    uint64_t promised;
    bool sees_me;

    /* pings */
    uint64_t ping_ms; /* 0: never */
    struct note_ping ping;

    /* leader, in this term */
    uint64_t asked_stamp_ms;   /* of a ping that was not answered; 0: none */
    uint64_t covered_stamp_ms; /* the same, and the read point under way covers it */
    uint64_t echo_ms;          /* last echo to it; 0: none */
    uint64_t joined_boot;      /* of the process that we made a member */
    uint64_t challenge;
    uint64_t joined_ms;
    uint64_t assigned_version;     /* of the map that gave it a partition last */
    bool is_proposing;             /* a command about it is under way */
    const char *condemned_because; /* it gets no echo any more and will be declared down; NULL */
    uint64_t condemned_incarnation;
    uint64_t down_told_ms;    /* the log was told that it is declared down; 0: not yet */
    uint64_t barred_until_ms; /* it may not join before */
};

struct suspicion {
    uint64_t by;
    uint64_t of;
    uint64_t of_incarnation;
    uint64_t since_ms;
    uint64_t last_ms;
};

enum { SUSPICIONS_MAX = 256 };

/* Who wants a command, to be answered. */
struct asker {
    uint64_t node_id; /* 0: this node itself */
    char name[PMAP_NAME_BYTES];
    struct pmap_address raft; /* JOIN */
    uint64_t number; /* JOIN: its boot; FORGET: its request; CHANGE_USERS: the change's id */
};

/* Changes of users: that this node has been asked for, and that the leader has made and are not in force everywhere yet. Each
 * may be as large as all of them. */
enum { USERS_CHANGING_MAX = 64, USERS_AWAITING_MAX = 64 };

/* The leader's; zero when this node does not lead. */
struct lead {
    uint64_t term; /* 0: not leading */
    uint64_t
        ready_commit; /* once this is applied the state is no older than the term; 0: unknown */
    bool is_begun;    /* the first tick of the term was */
    bool is_creating;
    uint64_t since_ms;
    uint64_t tick_ms;
    uint64_t counting_ms; /* silence is counted from here at the earliest */
    uint64_t exempt_id;   /* the node that led before: its lease ended with its leadership */
    uint64_t created_ms;  /* when there was a map first */
    bool is_reading;
    uint32_t assigning_count; /* ASSIGN commands under way */
    uint64_t
        started_over_ms; /* when a partition was given away last because a node could not use it */
    bool nudge_is_due;   /* followers learn of a commit with the next entry only: make one */
    bool is_transferring;
    uint32_t raising;                            /* LEVEL to this one is under way; 0: none is */
    uint32_t changing_count;                     /* commands about replicas under way */
    uint64_t leaving;                            /* bits: members that are up and drain */
    uint64_t leaving_ms;                         /* since when it is these */
    uint64_t settling[PMAP_PARTITIONS_MAX / 64]; /* of these SETTLE is */
    bool is_beginning_users;                     /* the first CHANGE_USERS is under way */
    uint32_t changing_users_count;               /* others of it */
    uint32_t awaiting_count; /* that are made, and not in force everywhere yet */
    uint64_t awaiting_version[USERS_AWAITING_MAX];
    struct asker awaiting[USERS_AWAITING_MAX];
    uint32_t suspicion_count;
    struct suspicion suspicion[SUSPICIONS_MAX];
};

/* A CLUSTER FORGET that was asked for on this node. */
struct forgetting {
    struct list link;
    uint64_t request;
    uint64_t until_ms;
    uint64_t next_ms;
    bool was_known; /* here, when it was asked for */
    char name[PMAP_NAME_BYTES];
    void (*on_done)(void *arg, const char *error);
    void *arg;
};

struct core {
    struct core_opts opts;
    struct core_world world;
    struct engine *engine;
    struct control *control;
    struct cluster_file file;
    struct engine_status status; /* as of the last core_refresh */
    uint64_t now_ms;             /* likewise */
    uint64_t tick_ms;
    uint64_t started_ms;
    uint64_t boot; /* random, of this process */

    /* founding */
    uint64_t attempt; /* cluster id; 0: none */
    uint64_t discovery_next_ms;
    uint64_t quiet_log_ms;
    uint64_t expect_told_ms;
    uint32_t own_groups; /* partitions' groups in the log of a node that never had a cluster */
    uint64_t own_told_ms;
    const char *obstacle; /* static: what keeps it, with them, from having a cluster; NULL */
    bool is_in_join;      /* the join list names this node, too */

    /* joining */
    uint64_t join_cluster;  /* NONE, PROMISED: this one exists, so it is to be joined; 0 */
    uint64_t incarnation;   /* 0: this process is not a member (any more, or yet) */
    uint64_t join_version;  /* it is one in maps from this version on */
    bool is_proposing_self; /* own JOIN is under way */
    bool is_forgotten;
    uint64_t join_next_ms;
    uint64_t look_next_ms;
    uint64_t refused_told_ms; /* the log was told so then; 0: not yet */
    uint64_t foreign_told_ms;
    uint64_t challenge;
    struct pmap_address leader_hint;   /* port 0: none */
    uint64_t hint_ms;                  /* when the leader itself gave the hint */
    char leader_name[PMAP_NAME_BYTES]; /* who answered as leader; "" */

    /* being alive */
    uint64_t ping_next_ms;
    uint64_t echoed_ms; /* when the last echo came, or we led */
    uint64_t echo_lease_ms;
    uint64_t lease_ms; /* as told */
    bool is_draining;
    bool is_leaving;
    uint32_t warming;

    /* map */
    const struct pmap *map; /* the last one published; a reference; or NULL */
    struct buf restoring;   /* a snapshot that comes in */
    uint64_t save_retry_ms;

    /* who led, as seen from here */
    uint64_t followed_replica;
    uint64_t followed_term;
    uint64_t followed_since_ms;
    char followed_name[PMAP_NAME_BYTES];

    struct node nodes[CORE_NODES_MAX];
    struct lead lead;
    struct read_request read;
    struct list ops;        /* struct op: commands under way */
    uint32_t joining_count; /* JOIN among them */
    struct list forgettings;

    /* users */
    struct list changings;
    uint64_t
        users_version; /* of those that are in force here, and on the disk; 0: none of this life */
    uint64_t users_told; /* of those that the world was told of last */
    uint64_t users_told_ms;
    bool is_cut_off; /* as it was told */
};

/* ---- core ---- */

/* May the log be told once more what it was told at *told_ms? What goes on is told now and then. */
bool core_may_tell(const struct core *core, uint64_t *told_ms);
/* Bring status and now_ms up to date. */
void core_refresh(struct core *core);
struct node *core_node_find(struct core *core, uint64_t id);
struct node *core_node_of(struct core *core, uint64_t id, const char *name); /* made if needed */
/* A note with the head filled in. */
struct note core_note_new(const struct core *core, enum note_kind kind);
void core_send(struct core *core, const char *name, const struct note *note);
void core_send_to(struct core *core, const struct pmap_address *to, const struct note *note);
/* Change the file; false: it could not be written, `core->file` is as before. */
MUST_USE bool core_save(struct core *core, const struct cluster_file *file);
/* Begin a new replica of the control group; `is_founder`: the group itself. */
MUST_USE enum err core_create_group(struct core *core, bool is_founder);
/* Give the world the control state's map, if it is another than the last and of this life. */
void core_publish(struct core *core);
/* The cluster's map as this replica has it, or NULL. Not what was published. */
const struct pmap *core_control_map(const struct core *core);
/* This node's index in `map` if it is up there in its present life; else PMAP_NOBODY. */
uint32_t core_self_up(const struct core *core, const struct pmap *map);
bool core_leads(const struct core *core); /* and may read, propose and change */
/* Name of the member whose replica leads, or NULL. */
const char *core_leader_name(const struct core *core);
/* Raft address of the leader that this replica follows; port 0: it knows none. What others say is in
 * leader_hint. */
struct pmap_address core_leader_address(const struct core *core);

/* A command on its way. */
struct op {
    struct list link;
    struct core *core;
    struct proposal proposal;
    struct buf bytes;
    struct control_command command; /* but its users */
    struct asker asker;
    bool marks_node; /* node.is_proposing is set for it */
    uint64_t term;   /* in which it was proposed */
    void (*on_done)(struct core *core, struct op *op, enum err err); /* may be NULL */
};
/* Propose; `asker` may be NULL; the op is freed after on_done. */
void core_propose(struct core *core, const struct control_command *command,
                  const struct asker *asker,
                  void (*on_done)(struct core *core, struct op *op, enum err err));

/* ---- found ---- */
void found_tick(struct core *core);
void found_on_discovery(struct core *core, struct node *from, const struct note *note);
void found_on_release(struct core *core, const struct note *note);
/* Ask everybody that is known. */
void found_discover_all(struct core *core);

/* ---- join ---- */
void join_tick(struct core *core);
void join_on_discovery(struct core *core, struct node *from, const struct note *note);
void join_on_reply(struct core *core, const struct note *note);
void join_on_map(struct core *core, const struct pmap *map);
void join_renew(struct core *core, uint64_t replica);
void join_on_join(struct core *core, struct node *from, const struct note *note); /* leader */

/* ---- lease ---- */
void lease_tick(struct core *core);
void lease_ping(struct core *core); /* now */
void lease_on_ping(struct core *core, struct node *from, const struct note *note);
void lease_on_echo(struct core *core, const struct note *note);
void lease_update(struct core *core); /* tell the world what has changed */
void lease_drop(struct core *core);   /* give it up, before somebody else may think it has ended */
void lease_read(struct core *core);   /* leader: begin a read point for the pings that wait */

/* ---- lead ---- */
void lead_tick(struct core *core);
void lead_on_leader(struct core *core, bool is_leader, uint64_t term);
void lead_on_suspect(struct core *core, uint64_t by, uint64_t of, uint64_t incarnation);
/* That node cannot use the partition: another one is to own it, from anew. */
void lead_on_unserved(struct core *core, const char *by, uint32_t partition, uint64_t epoch);
void lead_place(struct core *core); /* owners */
/* Does some node own what it does not order yet, or not know that it owns it? */
MUST_USE bool lead_is_unfinished(struct core *core, const struct pmap *map);
/* ---- voters ---- */
void voters_reconcile(struct core *core); /* the Raft configuration follows the members */
/* Would the voters other than that member, as far as this leader hears them, be a quorum? They are
 * counted, too. */
MUST_USE bool voters_can_lose(struct core *core, const struct pmap *map, const char *name,
                              uint32_t *voters_up, uint32_t *voters);
bool voters_hand_over(struct core *core); /* leadership, to a voter that stays */

/* ---- keep ---- */
void keep_tick(struct core *core, const struct pmap *map); /* leader */
void keep_on_settled(struct core *core, const struct note_settled *settled);
/* Have those that drain been the same for a while? What one of them asks for is not decided before. */
MUST_USE bool keep_knows_who_leaves(struct core *core, const struct pmap *map);
/* May a node that understands so much join? */
MUST_USE bool keep_may_join(const struct core *core, const struct pmap *map, uint32_t level);
/* Partitions' groups in this node's log. */
uint32_t keep_groups(const struct core *core);
/* Why data that this node has of its own keep it from having a cluster; NULL: they do not. Told to the log now and then. */
const char *keep_obstacle(struct core *core);
/* Would a partition lose its majority, or its data, without the member at `index`? Then why, in `text` of NOTE_TEXT_BYTES. */
MUST_USE bool keep_is_needed(const struct pmap *map, uint32_t index, char *text);

/* ---- forget ---- */
void forget_tick(struct core *core);
void forget_on_request(struct core *core, const struct note *note);
void forget_on_reply(struct core *core, const struct note *note);
void forget_end(struct core *core);

/* ---- users ---- */
void users_tick(struct core *core);
void users_lead_tick(struct core *core, const struct pmap *map); /* leader */
void users_on_map(struct core *core, const struct pmap *map);
void users_on_change(struct core *core, const struct note *note);
void users_on_reply(struct core *core, const struct note_users_reply *reply);
/* Of commands that this node understands. */
uint32_t users_level(const struct core *core);
void users_end(struct core *core);

/* ---- log lines ---- */
void membership_log_changes(const struct pmap *before, const struct pmap *after);

#endif
