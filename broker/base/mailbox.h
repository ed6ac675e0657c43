/* mailbox: intrusive task queue, many producers and one consumer; the only way across threads.
 * Owns: nothing; tasks live inside the requests that embed them. Posting neither allocates, blocks
 * nor fails. Order: tasks of one producer run in the order posted; two pushes ordered by a common
 * lock stay in that order. Wake-up: push and wake are apart, so that a producer pushes a batch
 * (under a lock, too) and wakes once.
 *
 * The consumer announces that it is about to sleep, and looks once more before it does:
 *     mailbox_sleeping(mb, true); wait(mailbox_is_empty(mb) ? for events : not at all);
 * mailbox_sleeping(mb, false); */
#ifndef FANFARE_BASE_MAILBOX_H
#define FANFARE_BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct task {
    struct task *next; /* while mailbox_run runs it: what is run after it, or NULL */
    void (*run)(struct task *task);
};

struct mailbox {
    _Atomic(struct task *) newest;
    atomic_bool is_sleeping;
    void (*wake)(void *arg); /* makes a sleeping consumer look; called on the producer's thread */
    void *wake_arg;
};

void mailbox_init(struct mailbox *mb, void (*wake)(void *arg), void *wake_arg);

/* Takes `task` until it runs; its `run` is set. Does not wake. Thread: any. */
void mailbox_push(struct mailbox *mb, struct task *task);

/* Wake the consumer if it has said that it sleeps. Thread: any; after the pushes it is for. */
void mailbox_wake(struct mailbox *mb);

/* push and wake. */
void mailbox_post(struct mailbox *mb, struct task *task);

/* Gives: all tasks pushed so far, oldest first, linked by `next`; NULL if none. Thread: the
 * consumer. A task may be freed or pushed again by its `run`: read `next` before running it. */
struct task *mailbox_take(struct mailbox *mb);

/* Run everything that is there when called. Returns the number of tasks run. Thread: the consumer.
 */
unsigned mailbox_run(struct mailbox *mb);

/* Thread: the consumer. */
void mailbox_sleeping(struct mailbox *mb, bool is_sleeping);

static inline bool mailbox_is_empty(const struct mailbox *mb)
{
    return atomic_load_explicit(&mb->newest, memory_order_seq_cst) == NULL;
}

#endif
