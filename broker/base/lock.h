/* lock: a mutex, for the few places whose design note allows one (the directory's stripes, the
 * config's texts). */
#ifndef FANFARE_BASE_LOCK_H
#define FANFARE_BASE_LOCK_H

#include <pthread.h>

#include "base/check.h"

struct lock {
    pthread_mutex_t mutex;
};

static inline void lock_init(struct lock *lock)
{
    CHECK(pthread_mutex_init(&lock->mutex, NULL) == 0);
}

static inline void lock_fini(struct lock *lock)
{
    CHECK(pthread_mutex_destroy(&lock->mutex) == 0);
}

static inline void lock_take(struct lock *lock)
{
    CHECK(pthread_mutex_lock(&lock->mutex) == 0);
}

static inline void lock_release(struct lock *lock)
{
    CHECK(pthread_mutex_unlock(&lock->mutex) == 0);
}

#endif
