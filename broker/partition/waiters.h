/* waiters: the parked calls of a partition that this node leads, in the order of their tickets, by the keys that they wait
 * for.
 * Owns: their records. Not: their requests. Thread: the partition's store thread.
 * Always: of what waits nothing is in the log. Who waits for a key that is written to is served by an entry, the one of the
 * write if that can be foreseen, and goes on waiting in its place if the entry finds nothing for it; who only reads is
 * answered from the store. */
#ifndef FANFARE_PARTITION_WAITERS_H
#define FANFARE_PARTITION_WAITERS_H

#include "partition/partition_int.h"

struct waiter;

/* Through the words of a call. */
struct waiters_walk {
    uint32_t word;
    uint32_t taken; /* of who waits for this one */
};

void waiters_init(struct partition *p);
void waiters_fini(struct partition *p);

/* A parked call came, for the first time or again. */
void waiters_park(struct partition *p, struct partition_request *request);
/* It is not wanted any more. */
void waiters_unpark(struct partition *p, const struct partition_origin *origin);
/* What waits is refused, but for what is in an entry on its way. */
void waiters_end(struct partition *p, enum err err);

/* A key is written to, in the transaction that is open. */
void waiters_touch(struct partition *p, uint16_t db, struct slice name);
/* Databases changed places. */
void waiters_touch_all(struct partition *p);
/* Behind a commit: who waits for what was touched, in its turn. */
void waiters_turn(struct partition *p);
/* Time goes on: what others had for too long may be claimed by who waits with XREADGROUP's CLAIM. Looked at every
 * WAITERS_LOOK_MS, so many of them at a time. Gives: when the next look is due, by store_thread_now_ms. */
enum { WAITERS_LOOK_MS = 100, WAITERS_LOOK_MAX = 64 };
uint64_t waiters_idle_turn(struct partition *p);

/* The next one to be put into an entry as it is made; NULL: there is none. */
struct waiter *waiters_take(struct partition *p);
bool waiters_are_due(const struct partition *p);
/* The same of those who wait for a word of the call, which is in the entry: at most as many as it may have something for.
 * *at is zeroed in the beginning. */
struct waiter *waiters_take_for(struct partition *p, const struct partition_call *call,
                                struct waiters_walk *at);

struct partition_request *waiter_request(const struct waiter *waiter);
/* The transaction that is open has executed it, with waiter_request's err and reply; or has not, being aborted. */
void waiter_execute(struct waiter *waiter, bool is_executed);
/* Its entry was applied; or was refused, and is it to be put into another one? */
void waiter_applied(struct partition *p, struct waiter *waiter);
void waiter_failed(struct partition *p, struct waiter *waiter, enum err err, bool is_again);

#endif
