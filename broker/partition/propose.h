/* propose: writes that wait become entries: all that is there, up to a size, in one, a few of them on their way at a time.
 * Owns: the queue and the entries. Thread: the partition's store thread; the raft thread has an entry from its posting until
 * it is refused or applied.
 * Always: writes are executed in the order in which they came: after a refusal nothing that was proposed behind is
 * taken (rounds), and all of it is proposed again. */
#ifndef FANFARE_PARTITION_PROPOSE_H
#define FANFARE_PARTITION_PROPOSE_H

#include "partition/partition_int.h"

void propose_init(struct partition *p);
void propose_fini(struct partition *p);

/* A write that came. */
void propose_write(struct partition *p, struct partition_request *request);
/* The lives of a node that are over: their lanes go. */
void propose_forget(struct partition *p, const struct forget_node *node);
/* What can be proposed is. Gives: when there is more to do, by store_thread_now_ms; UINT64_MAX: when something happens. */
uint64_t propose_turn(struct partition *p);
/* Commands `from` to `to` of the batch in flight are applied; or will not be, here: their askers ask again. */
void propose_applied(struct partition *p, size_t from, size_t to);
void propose_given_up(struct partition *p, size_t from, size_t to);
/* What waits is refused. */
void propose_end(struct partition *p, enum err err);

/* Is the write with this number, and all before it, answered? */
bool propose_is_answered(const struct partition *p, uint64_t number);

#endif
