/* thread: named threads, and the identity behind ON_THREAD. */
#ifndef FANFARE_BASE_THREAD_H
#define FANFARE_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "base/check.h"

struct thread {
    char name[16]; /* as the kernel shows it */
    void (*main)(void *arg);
    void *arg;
    pthread_t handle;
};

/* Start `main(arg)` on a new thread called `name` (at most 15 characters), all signals blocked.
 * Borrows: thread and arg until thread_join has returned. */
void thread_start(struct thread *thread, const char *name, void (*main)(void *arg), void *arg);

/* Wait for the thread's main to return. */
void thread_join(struct thread *thread);

/* Give the calling thread the identity `thread`: for the main thread and for tests that play a
 * thread themselves. */
void thread_adopt(struct thread *thread, const char *name);

/* The calling thread has less of the processors than others that want them, from now on. */
void thread_yield_to_others(void);

/* Does the caller run on `thread`? */
bool thread_is_current(const struct thread *thread);

/* Assert that the data about to be touched belongs to the calling thread. */
#define ON_THREAD(thread) CHECK(thread_is_current(thread))

#endif
