/* condition: a mutex and a wait for what it guards, for a thread of its own that works for a loop thread: that one never
 * waits, it only tells. Thread: any. */
#ifndef FANFARE_BASE_CONDITION_H
#define FANFARE_BASE_CONDITION_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "base/lock.h"

struct condition {
    struct lock lock;
    pthread_cond_t changed;
};

static inline void condition_init(struct condition *condition)
{
    pthread_condattr_t attr;
    lock_init(&condition->lock);
    CHECK(pthread_condattr_init(&attr) == 0);
    CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&condition->changed, &attr) == 0);
    CHECK(pthread_condattr_destroy(&attr) == 0);
}

static inline void condition_fini(struct condition *condition)
{
    CHECK(pthread_cond_destroy(&condition->changed) == 0);
    lock_fini(&condition->lock);
}

static inline void condition_take(struct condition *condition)
{
    lock_take(&condition->lock);
}

static inline void condition_release(struct condition *condition)
{
    lock_release(&condition->lock);
}

/* What it guards has changed: the one that waits looks again. It is held. */
static inline void condition_tell(struct condition *condition)
{
    CHECK(pthread_cond_signal(&condition->changed) == 0);
}

/* It is held, and let go of meanwhile. Ends also for no reason. */
static inline void condition_wait(struct condition *condition, uint64_t ms_max)
{
    struct timespec until;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_sec += (time_t)(ms_max / 1000);
    until.tv_nsec += (long)(ms_max % 1000 * 1000000);
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    int rc = pthread_cond_timedwait(&condition->changed, &condition->lock.mutex, &until);
    CHECK(rc == 0 || rc == ETIMEDOUT);
}

#endif
