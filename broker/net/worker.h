/* worker: one thread = one event loop, one mailbox, and the connections pinned to it.
 * A loop turn: wait for events; handle them; run the mailbox; on_turn_end (the layer above orders
 * and flushes). Thread: worker_new, worker_start, worker_stop, worker_free: the main thread.
 * Everything else as stated. */
#ifndef FANFARE_NET_WORKER_H
#define FANFARE_NET_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mailbox.h"

struct worker;
struct event_base;

struct worker_opts {
    uint32_t index; /* 0.. */
    void (*on_turn_end)(
        void *arg);             /* after events and mailbox of each turn, on the worker's thread */
    void (*on_tick)(void *arg); /* about every 100 ms */
    bool (*is_idle)(
        void *arg); /* may the worker sleep? asked after it has announced its sleep; NULL: yes */
    void *arg;
};

MUST_USE struct worker *worker_new(const struct worker_opts *opts);
void worker_start(struct worker *worker);

/* Ask the loop to end after its present turn; any thread. */
void worker_stop(struct worker *worker);

/* Wait for the thread to end. */
void worker_join(struct worker *worker);

/* After join; every connection of it is closed. */
void worker_free(struct worker *worker);

/* When the last turn began, on the monotonic clock: a liveness stamp. A worker turns at least every
 * 100 ms. Any thread. */
uint64_t worker_heartbeat_ns(const struct worker *worker);

uint32_t worker_index(const struct worker *worker);
bool worker_is_current(const struct worker *worker);

/* Its mailbox: any thread may push, post and wake. */
struct mailbox *worker_mailbox(struct worker *worker);

/* Time at the start of this turn, for what need not be exact. Thread: the worker. */
uint64_t worker_now_ns(const struct worker *worker);

/* Call `task` once, `delay_ms` from now, on this worker. Thread: the worker. Cancel before freeing
 * what embeds it. */
struct worker_timer {
    struct worker *worker;
    struct event *event;
    void (*on_due)(struct worker_timer *timer);
};
void worker_timer_start(struct worker *worker, struct worker_timer *timer, uint64_t delay_ms,
                        void (*on_due)(struct worker_timer *timer));
void worker_timer_cancel(
    struct worker_timer *timer); /* also after it was due, or never started (zeroed) */

#endif
