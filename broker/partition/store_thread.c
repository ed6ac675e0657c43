/* store_thread: see the header. */
#include "partition/store_thread.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "data/data_rights.h"
#include "script/script.h"

enum { WAKE_NS = 250000 }; /* so old are answers, at most, when their askers are woken */

uint64_t store_thread_now_ms(void)
{
    return clock_mono_ns() / NS_PER_MS;
}

static void wake(void *arg)
{
    uint64_t one = 1;
    ssize_t ignored = write(((struct store_thread *)arg)->event_fd, &one, sizeof one);
    (void)ignored; /* full: it is awake */
}

static void drain(const struct store_thread *thread)
{
    uint64_t count;
    ssize_t ignored = read(thread->event_fd, &count, sizeof count);
    (void)ignored; /* empty: the time was up */
}

void store_thread_touch(struct partition *p)
{
    if (!list_is_linked(&p->busy)) { list_push_back(&p->thread->busy, &p->busy); }
}

uint64_t store_thread_random(struct store_thread *thread)
{
    thread->random ^= thread->random << 13; /* xorshift64 (Marsaglia, 2003) */
    thread->random ^= thread->random >> 7;
    thread->random ^= thread->random << 17;
    return thread->random;
}

/* ---- answers ---- */

static void on_answered(struct task *task)
{
    struct partition_request *request = CONTAINER_OF(task, struct partition_request, task);
    request->on_done(request);
}

static void owe(const struct partition_request *request, enum err err)
{
    if (request->owed == NULL || err != ERR_OK) { return; }
    atomic_fetch_add_explicit(&request->owed->answered, request->reply.len, memory_order_relaxed);
}

bool request_is_owed_too_much(const struct partition_request *request)
{
    const struct partition_owed *owed = request->owed;
    return owed != NULL && atomic_load_explicit(&owed->answered, memory_order_relaxed) +
                                   atomic_load_explicit(&owed->queued, memory_order_relaxed) >
                               PARTITION_OWED_BYTES_MAX;
}

void store_thread_answer(struct partition *p, struct partition_request *request, enum err err)
{
    struct store_thread *thread = p->thread;
    struct mailbox *home = request->home;
    gates_answer(&p->gates, request, err);
    owe(request, err);
    request->err = err;
    request->task.run = on_answered;
    mailbox_push(home, &request->task);
    for (uint32_t i = 0; i < thread->home_count; i++) {
        if (thread->home[i] == home) { return; }
    }
    if (thread->home_count == HOMES_MAX) {
        mailbox_wake(home);
    } else {
        thread->home[thread->home_count++] = home;
    }
}

void request_answer(struct partition_request *request, enum err err)
{
    owe(request, err);
    request->err = err;
    request->task.run = on_answered;
    mailbox_post(request->home, &request->task);
}

void store_thread_to_raft_later(struct partition *p, struct task *task)
{
    consensus_push(p->all->opts.consensus, task);
}

void store_thread_to_raft(struct partition *p, struct task *task)
{
    store_thread_to_raft_later(p, task);
    p->thread->has_pushed = true;
}

/* Each wake-up costs somebody a switch: not for every partition one, but nobody waits for long either. */
static void wake_others(struct store_thread *thread)
{
    for (uint32_t i = 0; i < thread->home_count; i++) {
        mailbox_wake(thread->home[i]);
    }
    thread->home_count = 0;
    if (thread->has_pushed) { consensus_wake(thread->all->opts.consensus); }
    thread->has_pushed = false;
}

/* ---- the loop ---- */

/* Each partition that is busy has a turn. Gives: when the next one is due. */
static uint64_t turn_all(struct store_thread *thread)
{
    uint64_t due_ms = UINT64_MAX;
    LIST_EACH (at, &thread->busy) {
        struct partition *p = CONTAINER_OF(at, struct partition, busy);
        if (!p->is_away) { thread->ops->propose(p); }
    }
    wake_others(thread);
    uint64_t woken_ns = clock_mono_ns();
    while (!list_is_empty(&thread->busy)) {
        struct list *link = list_pop_front(&thread->busy);
        list_push_back(&thread->turning, link);
    }
    while (!list_is_empty(&thread->turning)) {
        struct partition *p =
            CONTAINER_OF(list_pop_front(&thread->turning), struct partition, busy);
        if (p->is_away) { continue; } /* it is in its turn */
        uint64_t next_ms = thread->ops->turn(p);
        uint64_t now_ns = clock_mono_ns();
        if (now_ns - woken_ns > WAKE_NS) {
            wake_others(thread);
            woken_ns = now_ns;
        }
        if (next_ms == UINT64_MAX) { continue; }
        store_thread_touch(p);
        due_ms = next_ms < due_ms ? next_ms : due_ms;
    }
    uint64_t settled_ms = thread->ops->settle(thread);
    wake_others(thread);
    return settled_ms < due_ms ? settled_ms : due_ms;
}

/* ---- long transactions ---- */

/* What a thread keeps from one call to the next, for the time of others' turns. */
struct kept {
    struct entry_words words;
    struct buf scratch;
    struct buf answer;
    struct store_lanes lanes;
    uint32_t *end;
    uint32_t end_cap;
};

static void keep(struct store_thread *thread, struct kept *kept)
{
    *kept = (struct kept){thread->words, thread->scratch, thread->answer,
                          thread->lanes, thread->end,     thread->end_cap};
    thread->words = (struct entry_words){0};
    thread->scratch = (struct buf){0};
    thread->answer = (struct buf){0};
    memset(&thread->lanes, 0, sizeof thread->lanes);
    thread->end = NULL;
    thread->end_cap = 0;
}

static void kept_fini(struct store_thread *thread)
{
    mem_free(thread->words.word);
    mem_free(thread->end);
    buf_fini(&thread->scratch);
    buf_fini(&thread->answer);
    store_lanes_fini(&thread->lanes);
}

static void give_back(struct store_thread *thread, const struct kept *kept)
{
    kept_fini(thread);
    thread->words = kept->words;
    thread->scratch = kept->scratch;
    thread->answer = kept->answer;
    thread->lanes = kept->lanes;
    thread->end = kept->end;
    thread->end_cap = kept->end_cap;
}

void store_thread_breathe(struct partition *p)
{
    struct store_thread *thread = p->thread;
    struct kept kept;
    bool is_alone = mailbox_is_empty(&thread->mailbox) && list_is_empty(&thread->busy) &&
                    list_is_empty(&thread->turning);
    wake_others(thread);
    if (is_alone || thread->breath_count == BREATHS_MAX) { return; }
    keep(thread, &kept);
    if (thread->breath_count++ == 0) { thread->away_first = p; }
    p->is_away = true;
    p->has_breathed = true;
    (void)mailbox_run(&thread->mailbox);
    uint64_t due_ms = turn_all(thread);
    if (due_ms < thread->breath_due_ms) { thread->breath_due_ms = due_ms; }
    p->is_away = false;
    if (--thread->breath_count == 0) { thread->away_first = NULL; }
    give_back(thread, &kept);
}

bool store_thread_keeps(struct partition *p, struct task *task)
{
    if (LIKELY(!p->has_breathed)) { return false; }
    task->next = NULL;
    *p->kept_end = task;
    p->kept_end = &task->next;
    return true;
}

bool store_thread_back(struct partition *p)
{
    if (LIKELY(!p->has_breathed)) { return false; }
    struct task *task = p->kept;
    p->has_breathed = false;
    p->kept = NULL;
    p->kept_end = &p->kept;
    while (task != NULL) {
        struct task *next = task->next;
        task->run(task);
        task = next;
    }
    return true;
}

/* ---- sleep ---- */

static void sleep_until(struct store_thread *thread, uint64_t due_ms)
{
    mailbox_sleeping(&thread->mailbox, true);
    if (mailbox_is_empty(&thread->mailbox)) {
        uint64_t now_ms = store_thread_now_ms();
        uint64_t rest_ms = due_ms > now_ms ? due_ms - now_ms : 0;
        int timeout = due_ms == UINT64_MAX ? -1 : rest_ms < 60000 ? (int)rest_ms : 60000;
        struct pollfd fd = {thread->event_fd, POLLIN, 0};
        (void)poll(&fd, 1, timeout);
    }
    mailbox_sleeping(&thread->mailbox, false);
    drain(thread);
}

static void main_of(void *arg)
{
    struct store_thread *thread = arg;
    metrics_thread_init();
    while (!thread->is_ending) {
        (void)mailbox_run(&thread->mailbox);
        thread->breath_due_ms = UINT64_MAX;
        uint64_t due_ms = turn_all(thread);
        if (thread->breath_due_ms < due_ms) { due_ms = thread->breath_due_ms; }
        if (!thread->is_ending && due_ms > store_thread_now_ms()) { sleep_until(thread, due_ms); }
    }
}

enum err store_thread_start(struct store_thread *thread, struct partitions *all, uint32_t index,
                            const char *kind, const struct store_thread_ops *ops)
{
    *thread = (struct store_thread){.all = all, .index = index, .ops = ops};
    list_init(&thread->busy);
    list_init(&thread->turning);
    thread->scripts = scripts_new();
    if (all->opts.rights_ops != NULL) {
        thread->rights = data_rights_new(all->opts.rights_ops, all->opts.rights_arg);
    }
    list_init(&thread->pending);
    thread->random = clock_boot_ns() * 0x9e3779b97f4a7c15 + index + 1;
    mailbox_init(&thread->mailbox, wake, thread);
    thread->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (thread->event_fd < 0) {
        LOG_ERROR("no eventfd for a store thread", LOG_INT("errno", errno));
        return ERR_SYSTEM;
    }
    char name[16];
    snprintf(name, sizeof name, "%.8s-%u", kind, index % 1000);
    thread_start(&thread->thread, name, main_of, thread);
    return ERR_OK;
}

struct ending {
    struct task task;
    struct store_thread *thread;
};

static void on_end(struct task *task)
{
    CONTAINER_OF(task, struct ending, task)->thread->is_ending = true;
}

void store_thread_stop(struct store_thread *thread)
{
    struct ending ending = {.task = {.run = on_end}, .thread = thread};
    if (thread->event_fd < 0) { return; }
    mailbox_post(&thread->mailbox, &ending.task);
    thread_join(&thread->thread);
    close(thread->event_fd);
    kept_fini(thread);
    scripts_free(thread->scripts);
    thread->scripts = NULL;
    data_rights_free(thread->rights);
    thread->rights = NULL;
}
