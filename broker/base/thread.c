/* thread: start, join, identity. */
#include "base/thread.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NICE = 10 };

static _Thread_local const struct thread *current_thread;

static void *thread_entry(void *arg)
{
    struct thread *thread = arg;
    current_thread = thread;
    (void)pthread_setname_np(pthread_self(), thread->name); /* a name is only for people */
    thread->main(thread->arg);
    return NULL;
}

void thread_start(struct thread *thread, const char *name, void (*main)(void *arg), void *arg)
{
    snprintf(thread->name, sizeof thread->name, "%s", name);
    thread->main = main;
    thread->arg = arg;
    sigset_t all, before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    CHECK(pthread_create(&thread->handle, NULL, thread_entry, thread) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

void thread_join(struct thread *thread)
{
    CHECK(pthread_join(thread->handle, NULL) == 0);
}

void thread_adopt(struct thread *thread, const char *name)
{
    snprintf(thread->name, sizeof thread->name, "%s", name);
    thread->handle = pthread_self();
    current_thread = thread;
}

void thread_yield_to_others(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* of this thread alone, on Linux */
}

bool thread_is_current(const struct thread *thread)
{
    return current_thread == thread;
}
