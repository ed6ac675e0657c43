/* partition: the data of the partitions on this node: for each its replica of the partition's Raft group, its store, and,
 * where the replica leads, the calls of clients: proposed, applied once, answered.
 *
 * Threads. A store thread has the partitions that are pinned to it: their write transactions, what is proposed and not
 * applied, who is parked on a key, deadlines. The raft thread hands it committed batches and never waits for it. A worker
 * asks by partition_ask and is answered through its mailbox; small reads it runs itself (partition_read), large ones run on
 * threads aside.
 *
 * Exactly once. A write carries its origin: a lane (a worker of a node in one life of that node) and a number in it. The state machine
 * keeps the answer of each number until the origin says that it has it (acked_low, acked); a number that comes again is answered from
 * there. So an origin asks again, here or at the next leader, until it is told.
 *
 * Bound: what is proposed and not applied (PARTITION_BYTES_MAX); past it ERR_SLOW, and the
 * origin asks again. */
#ifndef FANFARE_PARTITION_PARTITION_H
#define FANFARE_PARTITION_PARTITION_H

#include "partition/partition_types.h"

struct partitions;

/* Ask. Only for a partition that this node leads; elsewhere on_done says ERR_NOT_LEADER. on_done is not called from inside.
 * Thread: any. */
void partition_ask(struct partitions *partitions, struct partition_request *request);

/* The same in two parts, for those who ask several things at once: what was pushed is looked at when the store threads are
 * woken, at the latest; woken once for all of it, they put it into the log together. Thread: any. */
void partition_push(struct partitions *partitions, struct partition_request *request);
void partitions_wake(struct partitions *partitions);

/* Run a read at once, on the worker, from its own read transaction: if this node leads, the lease holds and the state is far enough, and
 * if the calls look at little (by their keys' sizes). False: it has to be asked. Thread: worker `worker`.
 * The answer takes the place of what is in request->reply, whose memory is used. */
MUST_USE bool partition_read(struct partitions *partitions, uint32_t worker,
                             struct partition_request *request);

/* The parked request is not wanted any more: on_done comes soon, with is_unparked, or with what was executed meanwhile.
 * Thread: any; also when on_done is under way: then nothing happens. */
void partition_unpark(struct partitions *partitions, uint32_t partition,
                      const struct partition_origin *origin);

/* The term in which this node leads the partition and may be asked; 0: it does not. Thread: any. */
uint64_t partition_leads(const struct partitions *partitions, uint32_t partition);

/* Does this node execute a script right now? Thread: any. */
bool partitions_run_scripts(const struct partitions *partitions);

/* ---- life ---- */

/* Start the store threads; no partition is open yet. The consensus may not run yet. Errors: ERR_SYSTEM (logged). */
MUST_USE enum err partitions_new(struct partitions **out, const struct partitions_opts *opts);
/* Before the consensus stops: what is parked or waits ends with ERR_NOT_LEADER, and nothing is asked any more. */
void partitions_stop(struct partitions *partitions);
/* After the consensus has stopped. NULL is allowed. */
void partitions_free(struct partitions *partitions);

/* The replica on this node. Thread: the raft thread, outside engine callbacks. */
/* A new one, with an empty store; a founder is the first of its group, ever. Errors: as engine_group_create; ERR_SYSTEM,
 * ERR_FULL (logged); ERR_SLOW: a former one is still being closed, try again. */
MUST_USE enum err partitions_create(struct partitions *partitions, uint32_t partition,
                                    uint64_t replica, bool is_founder);
/* One that is in the log. Its store is trusted only if this machine has not stopped since; else it is made anew from the last
 * snapshot and the log. Errors: as engine_group_open and partitions_create. */
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

/* Thread: any. */
void partition_status(struct partitions *partitions, uint32_t partition,
                      struct partition_status *out);

#endif
