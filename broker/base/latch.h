/* latch: wait until others have counted it down. For the ends of threads' work at start and stop, never
 * in a loop thread. Thread: latch_wait one, the rest any. */
#ifndef FANFARE_BASE_LATCH_H
#define FANFARE_BASE_LATCH_H

#include <pthread.h>
#include <stdint.h>

#include "base/check.h"

struct latch {
    pthread_mutex_t mutex;
    pthread_cond_t is_open;
    uint32_t left;
};

static inline void latch_init(struct latch *latch, uint32_t count)
{
    CHECK(pthread_mutex_init(&latch->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&latch->is_open, NULL) == 0);
    latch->left = count;
}

static inline void latch_count_down(struct latch *latch)
{
    CHECK(pthread_mutex_lock(&latch->mutex) == 0);
    CHECK(latch->left > 0);
    if (--latch->left == 0) { CHECK(pthread_cond_signal(&latch->is_open) == 0); }
    CHECK(pthread_mutex_unlock(&latch->mutex) == 0);
}

static inline void latch_wait(struct latch *latch)
{
    CHECK(pthread_mutex_lock(&latch->mutex) == 0);
    while (latch->left > 0) {
        CHECK(pthread_cond_wait(&latch->is_open, &latch->mutex) == 0);
    }
    CHECK(pthread_mutex_unlock(&latch->mutex) == 0);
}

static inline void latch_fini(struct latch *latch)
{
    CHECK(pthread_cond_destroy(&latch->is_open) == 0);
    CHECK(pthread_mutex_destroy(&latch->mutex) == 0);
}

#endif
