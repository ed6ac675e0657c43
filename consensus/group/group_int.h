/* group_int: one Raft group as group.c, guards.c, fsm.c, read.c and snapshot.c share it, and the
 * simulator watches it. */
#ifndef FANFARE_CONSENSUS_GROUP_INT_H
#define FANFARE_CONSENSUS_GROUP_INT_H

#include <raft.h>

#include "base/map.h"
#include "consensus/group/shared.h"
#include "consensus/group/fsm.h"
#include "consensus/link/message.h"
#include "consensus/log/wal.h"

enum {
    GROUP_SERVERS_MAX = ENGINE_SERVERS_MAX,
    GROUP_NOBODY = 0x7fffffff, /* a replica id that no replica has */
};

enum group_state {
    GROUP_STARTING, /* waits for the log to be durable and for the state machine to be restored */
    GROUP_RUNNING,
    GROUP_STOPPED, /* its contract was broken: it does nothing until it is closed or deleted */
};

/* What a flush in flight, or the one to come, makes durable of this group's entries. */
struct group_write {
    uint64_t batch; /* 0: nothing */
    uint64_t last_index;
};

/* After a failure: not again before `until_ms`, which is further off with each. */
struct snapshot_backoff {
    uint64_t until_ms;
    unsigned failure_count;
};

struct group_peer {
    uint64_t id;
    uint64_t stamp_ms; /* the newest stamp of ours that it acknowledged in this term */
    uint64_t round;    /* the newest quorum round in which its term was not above ours */
    uint64_t heard_ms; /* it last answered an AppendEntries of this term; 0: never */
    uint64_t told_ms;  /* the same, and the library was told */
    uint64_t match;    /* the newest entry that it said it has, as we have it */
    bool is_ailing;    /* it said then: its disk is not fit to lead */
};

struct group {
    struct map_node node;
    struct list link; /* groups.open */
    struct list busy; /* groups.busy */
    struct groups *all;
    uint64_t id;
    uint64_t self;
    enum group_state state;
    const char *stop_reason;
    struct raft raft;
    struct wal_log *log;
    uint32_t guards_off; /* simulator only: bit per enum guard */

    /* durability */
    struct group_write writes[2]; /* older, newer */
    uint64_t ballot_batch;        /* the batch with the last term or vote */
    uint64_t start_batch;         /* START waits for it */

    /* messages out */
    struct list
        awaiting_flush; /* struct awaiting_flush: messages that wait for their gate, in order */
    size_t awaiting_flush_count;
    size_t awaiting_flush_bytes;
    struct list
        awaiting_read; /* struct awaiting_read: AppendEntries whose entries are being read */
    size_t awaiting_read_count;

    /* configuration */
    uint64_t conf_scanned; /* configurations up to here were reported committed */
    uint64_t promotee;     /* catching up, then to be promoted; 0: none */
    uint64_t transferee; /* leadership is to move there; nothing is submitted meanwhile; 0: none */
    uint64_t transfer_until_ms;
    uint64_t yielded_to; /* the last one that was asked to lead in our place; 0: none */
    bool needs_barrier;

    /* time */
    uint64_t started_ms;
    uint64_t heard_ms; /* last message of a leader */
    uint64_t tick_ms;
    uint64_t beat_ms;  /* leader: its last heartbeats were due then; 0: there were none */
    uint64_t asked_ms; /* leader: and the library was asked then */
    uint64_t due_ms;   /* filed in groups.due under this, at this place */
    size_t due_at;

    /* proposals */
    struct list queued;   /* no entry yet */
    struct list proposed; /* in an entry, by index */
    size_t queued_bytes;
    /* Leadership was lost with proposals in entries: in doubt from then on; 0: none. */
    uint64_t orphaned_until_ms;

    /* leases and reads */
    struct group_peer peers[GROUP_SERVERS_MAX];
    size_t peer_count;
    bool lease_is_void; /* this term's, by a transfer */
    uint64_t void_ms;   /* since then */
    uint64_t heard_term;
    uint64_t heard_from;
    uint64_t heard_stamp_ms;
    struct list reads;  /* struct read_request, waiting */
    struct list reader; /* groups.readers, while there are any */

    /* state machine */
    const struct fsm_ops *fsm_ops;
    void *fsm;
    uint64_t applied;
    struct fsm_batch batch;      /* in flight; last_index 0: none; the commands are this group's */
    size_t batch_bytes;          /* of its entries */
    uint64_t batch_conf_index;   /* of the last configuration among them; 0: none */
    uint64_t batch_ms;           /* handed over then */
    size_t unapplied_bytes;      /* of entries committed and not applied */
    uint64_t drain_until_ms;     /* nothing is handed over before; 0: no matter */
    bool is_deleted;             /* so is its log, once the batch in flight has come back */
    struct engine_view *view;    /* NULL: nobody looks */
    uint64_t applied_conf_index; /* the configuration as of `applied` */
    struct buf applied_conf;

    /* snapshots */
    struct snapshot_take *take;
    struct snapshot_fetch *fetch;
    struct snapshot_restore *restore;
    bool is_installing;  /* a snapshot replaces log and state: nothing is applied or read */
    bool restore_is_due; /* once install_batch is durable */
    uint64_t install_batch;
    uint64_t pulled_ms;    /* a piece of our snapshot was last asked for, or handed out */
    struct list pins;      /* struct snapshot_pin: former snapshots that somebody still fetches */
    uint64_t damaged_file; /* this file of our snapshot is damaged: a new one is due; 0: none */
    bool image_is_wanted;  /* somebody needs our snapshot, which has no file */
    uint64_t checked_ms;   /* somebody said so, and the file was read */
    struct snapshot_backoff take_backoff;
    struct snapshot_backoff fetch_backoff;
};

/* Log view helpers. */
uint64_t group_now_ms(const struct group *g);
bool group_is_leader(const struct group *g);
bool group_owns_term(const struct group *g); /* leader with an entry of its own term committed */
const struct raft_server *group_server(const struct group *g, uint64_t id);
/* May that node speak for the replica? It hosts it, or the replica is not known here. */
bool group_is_host(const struct group *g, uint64_t id, const char *node_name);
uint64_t group_commit_index(const struct group *g);
/* What this leader knows of a member beside the library; NULL: nothing yet. */
const struct group_peer *group_peer(const struct group *g, uint64_t id);

/* Break: the library or our driving of it did what it must not. Logs and stops the group. */
void group_stop(struct group *g, const char *reason);

/* Something happened to the group: the next turn looks at it. */
void group_touch(struct group *g);

/* Step one event; false: the library refused or the group was stopped; *rv (may be NULL) says which
 * error. */
bool group_step(struct group *g, struct raft_event *event, int *rv);

/* Send a message of this group to the replica `to` at node `to_name`, once the batch `gate` is
 * durable: now, if it is. Fills in message->group, from and to. */
void group_send(struct group *g, uint64_t to, const char *to_name, struct message *message,
                uint64_t gate);

/* wal_read's on_done, with the group: goes on with what waited for entries, messages and
 * application alike. */
void group_on_read(void *group, enum err err);

/* Take a message that the library made: complete it and put it in the queue. */
void group_take_message(struct group *g, const struct raft_message *from);
void group_out_end(struct group *g); /* drop what waits */

/* Answer the proposals that have no entry; or those in entries from `index` on. */
void group_end_queued(struct group *g, enum err err);
void group_end_proposed(struct group *g, uint64_t index, enum err err);

/* Submit one entry as leader; `data` is copied. Errors: ERR_NOT_LEADER, ERR_SLOW (a change that may
 * not be made now), ERR_INDOUBT (the group stopped over it). */
enum err group_submit(struct group *g, int type, struct slice data);

/* Term and vote, as the library has them, to the log. */
void group_put_ballot(struct group *g);
/* Take a higher term without being elected and without a vote. False: the group was stopped. */
bool group_bump_term(struct group *g, uint64_t term);

/* snapshot.c finished restoring, or installing. */
void group_restored(struct group *g);
/* An event with a snapshot's metadata: `conf` is decoded into memory that the library takes. */
bool group_metadata(struct raft_snapshot_metadata *meta, const struct manifest *manifest);
void group_conf_encode(const struct raft_configuration *conf, struct buf *out);
bool group_conf_decode(struct slice bytes, struct raft_configuration *conf);
/* The configuration in force at `upto`; empty: none. */
struct slice group_conf_at(const struct group *g, uint64_t upto, uint64_t *index);
/* Bytes for the library, which does not write to them. */
struct raft_buffer group_borrow(struct slice bytes);

#endif
