/* pending: what was executed and is not in the store's file yet.
 * An entry is on a majority's disks before it is executed: its answer need not wait for the store. So a transaction stays open
 * over several entries, whose cost they share. A process that ends meanwhile executes them again from the log; and so does
 * this one if the file has no room for them, for which they are kept until the commit.
 * Owns: the open transaction and copies of its entries. Thread: the partition's store thread.
 * Always: readers see what is committed. Whoever has to see more has it committed first (apply.h). */
#ifndef FANFARE_PARTITION_PENDING_H
#define FANFARE_PARTITION_PENDING_H

#include "partition/partition_int.h"

void pending_init(struct partition *p);

/* The open transaction, or a new one. Errors: store_begin's. */
MUST_USE enum err pending_begin(struct partition *p, struct store_txn **txn);
/* May a batch of so many bytes be answered before it is committed? Not where readers wait for each commit. */
bool pending_takes(const struct partition *p, size_t bytes);
/* A command was executed in the transaction: a copy is kept. */
void pending_add(struct partition *p, const struct fsm_command *command);
/* Somebody had to wait for a commit: for a while each batch is committed before it is answered. */
void pending_hasten(struct partition *p);
/* The transaction is committed within that time. */
void pending_await(struct partition *p, uint64_t ms);

/* Errors: store_commit's. What was added is still there, and is to be executed again. */
MUST_USE enum err pending_commit(struct partition *p);
void pending_abort(struct partition *p);
/* The same, and nothing will be executed again: the store is closed. */
void pending_drop(struct partition *p);

/* The first of those that have to be executed again; it is taken off the slice. False: there is none. */
bool pending_take(struct slice *commands, struct fsm_command *command);

#endif
