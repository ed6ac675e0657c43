/* partition: the data of the partitions on this node: for each its replica of the partition's Raft group, its store, and,
 * where the replica leads, the calls of clients: proposed, applied once, answered.
 *
 * Threads. A store thread has the partitions that are pinned to it: their write transactions, what is proposed and not
 * applied, who is parked on a key, deadlines. The raft thread hands it committed batches and never waits for it. A worker
 * asks by partition_ask and is answered through its mailbox; small reads it runs itself (partition_read).
 *
 * Exactly once. A write carries its origin: a lane (a worker of a node in one life of that node) and a number in it. The state machine
 * keeps the answer of each number until the origin says that it has it (acked_low, acked); a number that comes again is answered from
 * there. So an origin asks again, here or at the next leader, until it is told.
 *
 * Bound: what is proposed and not applied (PARTITION_BYTES_MAX, PARTITION_UNAPPLIED_MS); past it ERR_SLOW, and the
 * origin asks again. */
#ifndef FANFARE_PARTITION_PARTITION_H
#define FANFARE_PARTITION_PARTITION_H

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "base/slice.h"

struct consensus;
struct partitions;

/* ---- calls ---- */

struct partition_call {
    uint16_t db;
    uint32_t argc;
    const struct slice *argv;
};

/* WATCH: the key had this version (0: it was not there). */
struct partition_check {
    uint16_t db;
    struct slice key;
    uint64_t version;
};

enum partition_ask {
    PARTITION_READ, /* calls that write nothing, answered from one state that holds all that was acknowledged anywhere */
    PARTITION_WRITE,    /* calls that are executed together, in one entry, if the checks hold */
    PARTITION_PARK,     /* one blocking call: executed as soon as it finds something */
    PARTITION_VERSIONS, /* of the checks' keys: request->check[i].version is the answer */
};

/* Whose number it is. Parked calls have a lane of their own, whose numbers are confirmed one by one, because one of them may
 * take hours. */
struct partition_origin {
    uint64_t node_id;
    uint64_t incarnation; /* of the node's life */
    uint16_t worker;
    bool is_parking;
    uint64_t seq;       /* from 1 */
    uint64_t acked_low; /* all below it are confirmed */
};

/* A request. The asker's until partition_ask and again from on_done on; what it points to lives as long. */
struct partition_request {
    enum partition_ask ask;
    uint32_t partition;
    uint8_t resp_version; /* of the replies */
    bool is_checked_in;   /* the module's */
    struct partition_origin origin;
    const uint64_t *acked; /* parking: numbers that are confirmed, of this lane */
    uint32_t acked_count;
    const struct partition_call *call;
    uint32_t call_count;
    struct partition_check *check;
    uint32_t check_count;
    uint64_t
        ticket; /* parking: the place in the queue, in the whole cluster: its arrival by the entry node's clock, in us */

    struct mailbox *home; /* on_done runs there */
    void (*on_done)(struct partition_request *request);

    /* The answer. ERR_OK; ERR_NOT_LEADER, ERR_SLOW, ERR_FULL: certainly not executed under this number here, ask again
     * (ERR_FULL: or say so); ERR_INDOUBT: ask the next leader under the same number; ERR_LIMIT: it was executed, and its
     * answer was too long to be kept until now. */
    enum err err;
    bool is_aborted;  /* a check does not hold: nothing was executed */
    bool is_unparked; /* taken back by partition_unpark: nothing was executed */
    struct buf reply; /* the replies of the calls, one behind the other; the asker frees it */
    uint32_t *
        reply_end; /* where each of them ends; NULL if there is one call; the asker frees it (mem_free) */

    /* the module's */
    struct task task;
    struct list link;
    void *inner;
};

enum {
    PARTITION_CALLS_MAX = 1 << 16,  /* of a request */
    PARTITION_BYTES_MAX = 32 << 20, /* proposed and not applied, of a partition */
    PARTITION_UNAPPLIED_MS = 250,
    PARTITION_RECORD_BYTES_MAX = 64 << 10, /* of an answer that is kept for its origin */
};

/* Ask. Only for a partition that this node leads; elsewhere on_done says ERR_NOT_LEADER. on_done is not called from inside.
 * Thread: any. */
void partition_ask(struct partitions *partitions, struct partition_request *request);

/* Run a read at once, on the worker, from its own read transaction: if this node leads, the lease holds and the state is far enough, and
 * if the calls look at little (by their keys' sizes). False: it has to be asked. Thread: worker `worker`. */
MUST_USE bool partition_read(struct partitions *partitions, uint32_t worker,
                             struct partition_request *request);

/* The parked request is not wanted any more: on_done comes soon, with is_unparked, or with what was executed meanwhile.
 * Thread: any; also when on_done is under way: then nothing happens. */
void partition_unpark(struct partitions *partitions, uint32_t partition,
                      const struct partition_origin *origin);

/* The term in which this node leads the partition and may be asked; 0: it does not. Thread: any. */
uint64_t partition_leads(const struct partitions *partitions, uint32_t partition);

/* ---- life ---- */

/* What a key's change or a leadership's is told to; on a store thread, may be NULL. */
struct partitions_ops {
    /* This node leads from now on (term > 0; all that was acknowledged before is applied), or no more (0). */
    void (*leads)(void *arg, uint32_t partition, uint64_t term);
    /* Keyspace events of what was applied, on the leader only. `classes` of enum data_event is wanted: partitions_set_events. */
    void (*changed)(void *arg, uint16_t db, struct slice key, const char *event, uint32_t class);
};

struct partitions_opts {
    const char *dir; /* exists; a folder in it per partition */
    struct consensus *consensus;
    uint32_t partition_count;
    uint32_t thread_count; /* store threads */
    uint32_t worker_count;
    uint64_t map_bytes;         /* of each store's address space */
    uint64_t sharded_databases; /* bits: databases whose keys are spread by slot */
    const struct partitions_ops *ops;
    void *arg;
};

/* Start the store threads; no partition is open yet. The consensus may not run yet. Errors: ERR_SYSTEM (logged). */
MUST_USE enum err partitions_new(struct partitions **out, const struct partitions_opts *opts);
/* Before the consensus stops: what is parked or waits ends with ERR_NOT_LEADER, and nothing is asked any more. */
void partitions_stop(struct partitions *partitions);
/* After the consensus has stopped. NULL is allowed. */
void partitions_free(struct partitions *partitions);

/* The replica on this node. Thread: the raft thread, outside engine callbacks. */
/* A new one, with an empty store; a founder is the first of its group, ever. Errors: as engine_group_create; ERR_SYSTEM,
 * ERR_FULL (logged). */
MUST_USE enum err partitions_create(struct partitions *partitions, uint32_t partition,
                                    uint64_t replica, bool is_founder);
/* One that is in the log. Its store is trusted only if this machine has not stopped since; else it is made anew from the last
 * snapshot and the log. */
MUST_USE enum err partitions_open(struct partitions *partitions, uint32_t partition);
/* It is no replica any more: its group's part of the log and its store go. */
void partitions_delete(struct partitions *partitions, uint32_t partition);
/* Is there a replica in the log, and with which id? 0: none. */
uint64_t partitions_replica(const struct partitions *partitions, uint32_t partition);

/* The Raft group of a partition, and back. */
uint64_t partitions_group(uint32_t partition);

/* The lives of a node before an incarnation are over: nobody asks for their answers any more. To be said on every node,
 * again by whoever begins to lead (ops.leads): only the leader acts on it. Thread: any. */
void partitions_forget(struct partitions *partitions, uint64_t node_id, uint64_t incarnation_below);

/* Which keyspace events are wanted: classes of enum data_event. Thread: any. */
void partitions_set_events(struct partitions *partitions, uint32_t classes);

/* For INFO, metrics, DBSIZE over all partitions. Thread: any. */
struct partition_status {
    bool is_open;
    bool is_damaged; /* its store differs from the others', or is corrupt: being made anew */
    uint64_t term;   /* in which it leads, or 0 */
    uint64_t applied, commit;
    uint64_t applied_batches, applied_calls;
    uint64_t proposed_bytes;
    uint64_t parked;
    uint64_t used_bytes, file_bytes, reader_lag;
    uint32_t digest; /* at `digest_index` */
    uint64_t digest_index;
    uint64_t keys[16], expiring[16];
};
void partition_status(struct partitions *partitions, uint32_t partition,
                      struct partition_status *out);

#endif
