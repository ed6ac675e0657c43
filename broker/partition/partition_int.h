/* partition_int: a partition and its store thread as this module's files see them. */
#ifndef FANFARE_PARTITION_PARTITION_INT_H
#define FANFARE_PARTITION_PARTITION_INT_H

#include <stdatomic.h>

#include "base/lock.h"
#include "base/map.h"
#include "base/thread.h"
#include "consensus/consensus.h"
#include "data/data_limits.h"
#include "partition/entry.h"
#include "partition/gate.h"
#include "partition/partition_types.h"
#include "store/store_image.h"
#include "store/store_lane.h"

enum {
    PROPOSED_MAX = 4,        /* entries of a partition on their way */
    ENTRY_BYTES = 192 << 10, /* what requests are put together to */
    RETRY_MS = 5,            /* after a proposal was refused because too much waits */
    HOMES_MAX = 64,          /* workers to be woken at the end of a turn */
    DIGESTS_KEPT = 4096,     /* entries back that a digest may speak of */
    STATUS_DATABASES = 16,
    ASIDE_THREADS = 2, /* for reads that look at much */
    ASIDE_MAX = 64,    /* of them at a time */
    BACKUPS_MAX = 4,   /* at a time (backup.h) */
    BREATHS_MAX = 4,   /* long transactions within each other */
};

struct waiter;
struct store_thread_ops;
struct partition;
struct partitions;

/* ---- store threads ---- */

struct store_thread {
    struct thread thread;
    struct mailbox mailbox;
    int event_fd;
    bool is_ending;
    bool is_stopped; /* nothing is asked any more */
    uint32_t index;
    struct partitions *all;
    const struct store_thread_ops *ops;
    struct list busy;    /* partitions that something happened to, or that have work left */
    struct list turning; /* those that are yet to have their turn */
    struct list pending; /* those with something to be committed, by the time when it is */
    struct partition *away_first; /* the first whose transaction lets others have turns; or NULL */
    uint32_t breath_count;
    uint64_t breath_due_ms; /* when one of those that had one wants the next */
    struct mailbox *home[HOMES_MAX];
    uint32_t home_count;
    bool has_pushed; /* to the raft thread, who is to be woken */
    uint64_t random;
    uint32_t aside_next; /* thread for a read that looks at much */
    /* Kept from one call to the next. */
    struct entry_words words;
    struct buf scratch;
    struct buf answer;
    struct data_rights *rights; /* of the users of scripts; or NULL */
    struct scripts *scripts;    /* has states for those that run within each other */
    struct store_lanes lanes;
    uint32_t *end; /* of the replies of a batch's calls */
    uint32_t end_cap;
};

/* ---- what is proposed ---- */

/* What a batch of an entry is for. */
struct proposed_batch {
    enum entry_kind kind;
    struct partition_request *request; /* a write's, until it is answered */
    size_t bytes;
    struct waiter *waiter; /* a serve's */
};

struct proposed {
    struct proposal proposal;
    struct task back; /* on the store thread, when it was not executed */
    struct list link; /* partition's proposed, or free */
    struct partition *partition;
    enum err err;
    uint64_t round;
    uint64_t began_ns;
    uint64_t number; /* of the first write in it; 0: there is none */
    struct buf data;
    struct proposed_batch *batch;
    uint32_t batch_count;
    uint32_t batch_cap;
};

/* ---- a store on its file ---- */

/* The store and whoever reads it as an image: the last one closes it. */
struct store_file {
    atomic_uint refs;
    struct partition *partition;
    struct store *store;
    bool is_kept_open; /* the last one says to the partition that the file is closed */
};

/* A worker's reader, or another thread's. */
struct reader_slot {
    struct lock lock;         /* held by whoever reads, or closes the store */
    struct store_txn *reader; /* NULL: the store is not open */
    uint64_t random;
};

/* ---- what is executed and not committed (pending.h) ---- */

struct pending {
    struct store_txn *txn; /* NULL: none is open */
    struct buf commands;   /* those executed since the last commit */
    struct list due;       /* thread's pending */
    uint64_t due_ms;
    uint64_t
        eager_until_ms; /* readers were waiting: each batch is committed before it is answered */
    uint64_t call_count;
    uint64_t worked_ns;
};

struct forget_node {
    uint64_t node_id;
    uint64_t incarnation_below;
};

/* Of a database, as executed. */
struct shown_count {
    atomic_uint_fast64_t keys;
    atomic_uint_fast64_t expiring;
};

struct digest_kept {
    uint64_t index;
    uint32_t digest;
};

struct partition {
    struct partitions *all;
    struct store_thread *thread;
    uint32_t id;
    uint64_t group;

    /* Any thread. */
    struct engine_view view;    /* the raft thread's to write */
    atomic_uint_fast64_t leads; /* the term in which it may be asked */
    atomic_uint_fast64_t
        executed;                 /* the index of the last entry that was, be it committed or not */
    atomic_uint_fast64_t applied; /* what the store's file holds */
    atomic_bool is_file_open;     /* the store's, here or by an image */
    atomic_bool is_damaged;
    atomic_uint_fast64_t applied_batches;
    atomic_uint_fast64_t applied_calls;
    atomic_uint_fast64_t proposed_bytes;
    atomic_uint_fast64_t parked;
    struct shown_count shown[STATUS_DATABASES]; /* keys */
    struct reader_slot *slot; /* one a worker, then the store thread's, then one for status */

    /* The raft thread. */
    bool is_open;
    bool is_leader;
    uint64_t refused_round;
    struct read_request barrier; /* all that was acknowledged before this leadership is applied */
    uint64_t barrier_term;
    const struct fsm_batch *batch_handed;
    struct task closed_task; /* back here, for a store that is made anew */

    /* The store thread. */
    struct list busy;
    bool is_away;      /* in a transaction that lets others have turns */
    bool has_breathed; /* it did */
    struct task *kept; /* what came meanwhile, oldest first */
    struct task **kept_end;
    struct store_file *file; /* NULL: not open */
    uint64_t term;           /* in which it leads, or 0 */
    uint64_t clock_ms;       /* of the newest entry that was applied or proposed */

    /* A batch in flight: borrowed from the raft thread until applied_task has run there. */
    struct task batch_task;
    const struct fsm_batch *batch;
    size_t batch_at;
    uint64_t alone_index; /* of an entry whose scripts are run in states of their own; 0: of none */
    uint64_t batch_retry_ms; /* the disk was full */
    struct task applied_task;
    struct pending pending;
    bool is_broken; /* a commit failed for good, or a read: nothing is executed any more */
    struct task broken_task;
    struct task close_task;
    bool close_removes;
    bool close_reopens;
    bool reopen_is_due; /* it is closed, and a new one is made once nobody has the old one's file */

    /* Snapshots: what is asked, and the answer on its way back. */
    struct task image_task;
    void *image;
    struct task restore_task;
    struct slice restore_bytes;
    bool restore_is_begun;
    bool restore_is_end;
    uint64_t restore_index;
    enum err restore_err;
    struct store_load *load; /* a store that is being made; NULL: none */

    struct gates gates; /* in the order of each lane */

    /* Writes that wait to be proposed, and entries that were. */
    struct list queue;
    uint64_t queue_bytes;
    uint64_t number_last; /* of the writes queued */
    struct list proposed;
    struct list unused;
    uint32_t proposed_count;
    uint64_t round;
    uint64_t retry_ms;

    /* Reads: behind the writes that came before; behind what is committed; behind a quorum round; behind a tick. */
    struct list reads_behind;
    struct list reads_commit; /* their points, in `number`, are not applied yet */
    struct list reads_round;
    struct list reads_asked; /* by the round in flight */
    struct list reads_tick;
    struct list reads_ticked; /* by the tick in flight */
    struct list backups;      /* that are read (backup.h) */
    struct read_request round_request;
    struct task round_back;
    bool round_is_open;
    bool tick_is_open;

    /* The leader's clock. */
    uint64_t next_expiry_ms;
    bool expire_is_open;
    bool purge_is_due;
    bool purge_is_open;
    struct forget_node *forget; /* lives that are over, until that is applied */
    uint32_t forget_count;
    bool forget_is_open;
    bool forget_is_done; /* the first of them, in the transaction that is open */
    uint64_t digest_ms;  /* when a digest was last proposed */
    struct digest_kept *digests;
    uint32_t rebuilds;     /* since a digest was found to be right */
    uint64_t digest_index; /* of the newest entry with one */
    uint32_t digest_value;

    /* Parked calls (waiters.h). */
    struct map waiters;
    struct map waited;   /* keys */
    struct list touched; /* of them, those that were written to */
    struct list due;     /* waiters to be put into an entry */
    struct list idlers;  /* waiters for what time alone may bring them */
    uint64_t idlers_due_ms;

    /* What a transaction did, told once it is committed. */
    struct list finished; /* requests */
    struct buf events;
};

struct partitions {
    struct partitions_opts opts;
    char *dir;
    char *node_name;
    char boot_id[40];
    atomic_bool is_stopped;
    atomic_uint events; /* classes of keyspace events that are wanted */
    struct data_limits limits;
    atomic_uint scripts_running;
    struct store_thread *threads;
    struct store_thread aside[ASIDE_THREADS];
    atomic_uint aside_count;
    atomic_uint backup_count;
    struct partition *partition;
};

static inline struct reader_slot *partition_own_slot(struct partition *p)
{
    return &p->slot[p->all->opts.worker_count];
}

static inline struct reader_slot *partition_status_slot(struct partition *p)
{
    return &p->slot[p->all->opts.worker_count + 1];
}

#endif
