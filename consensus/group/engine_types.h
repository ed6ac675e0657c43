/* engine_types: what the engine and those below it, the groups and the snapshots, speak of. engine.h says what is
 * done with it. */
#ifndef FANFARE_CONSENSUS_ENGINE_TYPES_H
#define FANFARE_CONSENSUS_ENGINE_TYPES_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/slice.h"
#include "consensus/disk/disk.h"

enum {
    ENGINE_SERVERS_MAX = 32, /* of a group */
    ENGINE_NAME_BYTES = 64,  /* of a node's name, with its end */
};

/* The seam: what the engine needs of the world. Outlives the engine. */
struct engine_world {
    void *arg;
    struct disk *disk;
    uint64_t (*now_ms)(void *arg); /* goes on while the machine sleeps (CLOCK_BOOTTIME) */
    /* Send a frame to a node; may be lost. Bulk frames (snapshot data) must not delay others.
     * Borrows all. */
    void (*send)(void *arg, const char *node_name, struct slice frame, bool is_bulk);
    void (*on_fatal)(void *arg, const char *what); /* the disk broke: the process must stop */
};

struct engine_opts {
    const char *node_name;
    uint64_t node_id;
    uint64_t random_seed;
    uint32_t election_ms;
    uint32_t heartbeat_ms;
    uint32_t lease_margin_percent; /* clocks may differ in rate by less than this */
    uint64_t segment_bytes;
    size_t entry_bytes_max;         /* commands coalesced into one entry */
    size_t command_bytes_max;       /* of one command, which may have an entry for itself */
    size_t append_bytes_max;        /* entries in one message, at least one */
    unsigned entries_in_flight_max; /* own entries of a group not committed yet */
    size_t queued_bytes_max;        /* proposals of a group that wait */
    size_t
        awaiting_flush_bytes_max; /* messages of the node that wait for a flush; more are as if lost on the way */
    size_t unapplied_bytes_max; /* committed in a group and not applied: more is refused above it */
    uint32_t unapplied_ms_max;  /* the same for a batch that a state machine has taken */
    uint64_t
        cache_bytes; /* applied entries of the node kept in memory; twice that with those to be applied */
    uint64_t snapshot_log_bytes; /* a group takes a snapshot when its log holds this */
    unsigned trailing_entries;   /* kept behind a snapshot for followers that lag */
    size_t chunk_bytes;          /* of snapshot data; the same on all nodes */
    uint64_t bulk_bytes_per_s;   /* snapshot data sent */
    uint64_t
        segments_max; /* of the log, as far as what is needed fits into three quarters; more if images are large */
    uint64_t ballast_bytes; /* a file that is given up when the disk is full; more than a segment */
    uint64_t free_bytes_min; /* below this proposals are refused */
};

struct engine_server {
    uint64_t id;
    const char *node_name;
};

/* What other threads may know of an open group, for reads that need not come by here: whoever loads
 * `commit`, then `lease_until_ms`, and then finds the clock before it, may answer from a state that
 * holds `commit`; what is acknowledged anywhere before that is in it. */
struct engine_view {
    atomic_uint_fast64_t term;   /* in which this node leads, its first entry applied; else 0 */
    atomic_uint_fast64_t commit; /* is here before a batch with it is handed over */
    atomic_uint_fast64_t lease_until_ms; /* 0: none; by engine_world's clock */
    atomic_uint_fast64_t applied;        /* as the engine knows */
    /* Somebody waits for engine_applied, or it will be followed by another batch. Else the raft thread need not be woken for it:
     * post it, then look here, and it hears of it when something else wakes it, before that. */
    atomic_bool is_awaited;
};

/* A linearizable read point: on_done(ERR_OK) when the state machine holds everything that was
 * acknowledged anywhere before the request. ERR_NOT_LEADER otherwise. The requester owns it until
 * on_done. */
struct read_request {
    struct task task;
    struct list link;
    uint64_t group;
    uint64_t index;       /* the state must have been applied up to here; 0: not known yet */
    uint64_t round;       /* waits for this quorum round; 0: none */
    uint64_t round_index; /* what it may use once the round has proved it */
    enum err err;         /* the requester's, to keep the answer on the way back */
    void (*on_done)(struct read_request *request, enum err err);
};

enum engine_change { ENGINE_ADD_STANDBY, ENGINE_PROMOTE, ENGINE_REMOVE };

struct engine_status {
    bool is_open;
    bool is_stopped;
    bool is_leader;
    bool owns_term;          /* leader with an entry of its term committed: may read and change */
    bool is_changing;        /* leader; a change of membership or a transfer is not finished */
    uint64_t lease_until_ms; /* leader: nobody else leads before, by our clock; 0: no lease */
    uint64_t self;
    uint64_t leader; /* replica id; 0: not known */
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    uint64_t last;
    uint64_t snapshot;
    size_t server_count;
    struct {
        uint64_t id;
        int role;       /* 0 standby, 1 voter, 2 spare */
        uint64_t match; /* leader: its log is known to be there up to this index, */
        bool is_fit;    /* it answered lately, and its disk is well: it could lead */
        char node_name[ENGINE_NAME_BYTES];
    } servers[ENGINE_SERVERS_MAX];
};

#endif
