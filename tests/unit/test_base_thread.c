/* Named threads and their identity. */
#include "base/thread.h"

#include <criterion/criterion.h>
#include <signal.h>

struct fixture {
    struct thread self;
    struct thread other;
    char name[16];
    bool is_self;
    bool is_other;
    bool blocks_signals;
};

static void observe(void *arg)
{
    struct fixture *f = arg;
    sigset_t blocked;
    f->is_self = thread_is_current(&f->self);
    f->is_other = thread_is_current(&f->other);
    pthread_getname_np(pthread_self(), f->name, sizeof f->name);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    f->blocks_signals = sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGHUP) == 1;
    ON_THREAD(&f->self);
}

Test(base_thread, a_thread_knows_itself_by_identity_and_name_and_blocks_signals)
{
    struct fixture f = {.is_self = false};
    thread_start(&f.self, "worker-12", observe, &f);
    thread_join(&f.self);
    cr_assert(f.is_self);
    cr_assert_not(f.is_other);
    cr_assert_str_eq(f.name, "worker-12");
    cr_assert(f.blocks_signals);
    cr_assert_not(thread_is_current(&f.self));
}

Test(base_thread, starting_a_thread_leaves_the_signals_of_its_starter_alone)
{
    struct fixture f = {.is_self = false};
    sigset_t before;
    sigset_t after;
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    cr_assert_eq(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    thread_start(&f.self, "a-name-longer-than-fifteen", observe, &f);
    thread_join(&f.self);
    cr_assert_eq(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    cr_assert_eq(sigismember(&after, SIGUSR1), 1);
    cr_assert_eq(sigismember(&after, SIGTERM), 0);
    cr_assert_str_eq(f.name, "a-name-longer-t");
}

Test(base_thread, a_test_may_play_a_thread)
{
    struct thread thread = {.name = ""};
    struct thread other = {.name = ""};
    cr_assert_not(thread_is_current(&thread));
    thread_adopt(&thread, "worker-0");
    ON_THREAD(&thread);
    cr_assert_str_eq(thread.name, "worker-0");
    thread_adopt(&other, "worker-1");
    cr_assert_not(thread_is_current(&thread));
}

Test(base_thread, touching_what_belongs_to_another_thread_stops_the_process, .signal = SIGABRT)
{
    struct thread thread = {.name = ""};
    struct thread other = {.name = ""};
    thread_adopt(&thread, "worker-0");
    ON_THREAD(&other);
}
