/* mailbox: a compare-and-swap stack that the consumer takes whole and reverses.
 * Producer: push, then read is_sleeping. Consumer: write is_sleeping, then read the stack. Both
 * sequentially consistent, so at least one of them sees the other and no wake-up is lost. */
#include "base/mailbox.h"

void mailbox_init(struct mailbox *mb, void (*wake)(void *arg), void *wake_arg)
{
    atomic_init(&mb->newest, NULL);
    atomic_init(&mb->is_sleeping, false);
    mb->wake = wake;
    mb->wake_arg = wake_arg;
}

void mailbox_push(struct mailbox *mb, struct task *task)
{
    struct task *newest = atomic_load_explicit(&mb->newest, memory_order_relaxed);
    do {
        task->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&mb->newest, &newest, task,
                                                    memory_order_seq_cst, memory_order_relaxed));
}

void mailbox_wake(struct mailbox *mb)
{
    if (atomic_load_explicit(&mb->is_sleeping, memory_order_seq_cst) &&
        atomic_exchange_explicit(&mb->is_sleeping, false, memory_order_seq_cst)) {
        mb->wake(mb->wake_arg);
    }
}

void mailbox_post(struct mailbox *mb, struct task *task)
{
    mailbox_push(mb, task);
    mailbox_wake(mb);
}

struct task *mailbox_take(struct mailbox *mb)
{
    if (mailbox_is_empty(mb)) { return NULL; }
    struct task *newest = atomic_exchange_explicit(&mb->newest, NULL, memory_order_acquire);
    struct task *oldest = NULL;
    while (newest != NULL) {
        struct task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

unsigned mailbox_run(struct mailbox *mb)
{
    unsigned count = 0;
    struct task *task = mailbox_take(mb);
    while (task != NULL) {
        struct task *next = task->next;
        task->run(task);
        task = next;
        count++;
    }
    return count;
}

void mailbox_sleeping(struct mailbox *mb, bool is_sleeping)
{
    atomic_store_explicit(&mb->is_sleeping, is_sleeping, memory_order_seq_cst);
}
