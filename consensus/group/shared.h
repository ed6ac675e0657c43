/* shared: what the groups of a node, and their snapshots, share. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_SHARED_H
#define FANFARE_CONSENSUS_SHARED_H

#include "base/buf.h"
#include "base/map.h"
#include "consensus/disk/space.h"
#include "consensus/group/engine_types.h"
#include "consensus/group/fsm.h"
#include "consensus/log/wal.h"

struct group;

enum { ENGINE_PEERS_MAX = 64 };

/* One quorum round for reads: each voter's node is asked once for the terms of all groups that
 * wait. */
struct read_round {
    uint64_t number; /* 0: none in flight */
    uint64_t sent_ms;
};

struct snapshot_progress {
    uint64_t taking, taking_bytes;
    uint64_t fetching, fetching_bytes, fetching_total_bytes;
    uint64_t restoring;
};

/* What there is now, in the words of base/metrics.def. */
struct gauges {
    uint64_t groups;
    uint64_t led;
    uint64_t stopped;
    uint64_t segments;
    uint64_t live_bytes;
    uint64_t full;
    uint64_t stuck;
    struct snapshot_progress snapshots;
};

/* The open groups, the one that wants a tick first on top. */
struct due_heap {
    struct group **groups;
    size_t count;
    size_t cap;
};

/* What the groups of a node, and their snapshots, share: the log and the disk under them, the world, and whoever of
 * them waits for something. */
struct groups {
    struct engine_opts opts;
    struct engine_world world;
    struct wal *wal;
    struct map by_id;
    struct list open;     /* struct group */
    struct list draining; /* those that were closed while their machine held a batch */
    struct list busy; /* those that the next turn, or the end of a flush, has something to do for */
    struct list readers; /* those with reads that wait */
    struct due_heap due;
    struct beat_peer *beat_peers[ENGINE_PEERS_MAX]; /* beat.c's: what is gathered for each node */
    size_t beat_peer_count;
    size_t awaiting_flush_bytes; /* of all groups */
    bool turn_is_due;            /* a request came since the last turn began */
    uint64_t random;
    uint32_t guards_off; /* simulator only */
    bool is_broken;      /* the disk failed: nothing is done any more */
    struct space space;
    uint64_t watched_batch; /* of the log: not durable since watched_ms, or durable */
    uint64_t watched_ms;
    bool is_stuck;
    uint64_t low_ms; /* the disk's space is low since then; 0: it is not */
    struct read_round round;
    bool round_is_wanted;
    struct snapshot_take *taking;    /* the one snapshot that is taken now */
    unsigned fetch_count;            /* snapshots that are fetched now */
    struct snapshot_check *checking; /* the one snapshot file that is looked at now */
    uint64_t next_file;              /* number of the next snapshot file */
    struct list stale_files;         /* struct stale_file */
    struct list pulls;               /* struct snapshot_pull, to be served when the rate allows */
    unsigned serving_count;          /* those that are being read */
    double bulk_tokens;
    uint64_t bulk_ms;
    struct gauges gauges;
    uint64_t gauges_ms;
    uint64_t swept_ms; /* snapshot_tick looked at all groups */

    /* Memory for one call, kept for the next. */
    struct buf entry_data;              /* of the entry that is submitted */
    struct buf frame;                   /* that is sent */
    struct raft_entry *entries_out;     /* MESSAGE_ENTRIES_MAX, that are sent */
    struct raft_entry *entries_in;      /* the same, that are stepped */
    struct fsm_command *apply_commands; /* that are applied */
    size_t apply_cap;
};

/* The disk broke, or what it holds makes no sense: nothing is done any more, and the world is told. */
void groups_fail(struct groups *all, const char *what);

/* An open one; NULL: there is none. */
struct group *groups_find(const struct groups *all, uint64_t id);

#endif
