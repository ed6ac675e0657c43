/* aside: see the header. */
#include "partition/aside.h"

#include "base/latch.h"
#include "base/mem.h"
#include "partition/damage.h"
#include "partition/look.h"
#include "partition/small.h"
#include "partition/store_file.h"
#include "partition/store_thread.h"

struct aside {
    struct task task;
    struct partition *partition;
    struct store_file *file;
    struct reader_slot slot; /* its lock is not used: nobody else has it */
    struct partition_request *request;
    void (*on_hid)(struct task *task);
};

static void nothing_to_propose(struct partition *p)
{
    (void)p;
}

static uint64_t nothing_to_do(struct partition *p)
{
    (void)p;
    return UINT64_MAX;
}

static uint64_t nothing_put_off(struct store_thread *thread)
{
    (void)thread;
    return UINT64_MAX;
}

/* A loop without partitions. */
static const struct store_thread_ops ops = {nothing_to_propose, nothing_to_do, nothing_put_off};

enum err aside_start(struct partitions *all)
{
    for (uint32_t i = 0; i < ASIDE_THREADS; i++) {
        enum err err = store_thread_start(&all->aside[i], all, i, "read", &ops);
        if (err != ERR_OK) { return err; }
    }
    return ERR_OK;
}

void aside_stop(struct partitions *all)
{
    for (uint32_t i = 0; i < ASIDE_THREADS; i++) {
        store_thread_stop(&all->aside[i]);
    }
}

struct draining {
    struct task task;
    struct latch *latch;
};

static void on_drained(struct task *task) /* read */
{
    latch_count_down(CONTAINER_OF(task, struct draining, task)->latch);
}

void aside_drain(struct partitions *all)
{
    struct draining draining[ASIDE_THREADS];
    struct latch latch;
    latch_init(&latch, ASIDE_THREADS);
    for (uint32_t i = 0; i < ASIDE_THREADS; i++) {
        draining[i] = (struct draining){{.run = on_drained}, &latch};
        mailbox_post(&all->aside[i].mailbox, &draining[i].task);
    }
    latch_wait(&latch);
    latch_fini(&latch);
}

static void aside_free(struct aside *aside)
{
    struct partitions *all = aside->partition->all;
    store_reader_free(aside->slot.reader);
    store_file_unref(aside->file);
    atomic_fetch_sub(&all->aside_count, 1);
    mem_free(aside);
}

static void on_failed(struct task *task) /* store */
{
    struct aside *aside = CONTAINER_OF(task, struct aside, task);
    struct partition *p = aside->partition;
    if (store_thread_keeps(p, task)) { return; }
    damage_found(p, aside->file);
    store_thread_answer(p, aside->request, ERR_NOT_LEADER);
    aside_free(aside);
}

static void on_read(struct task *task) /* read */
{
    struct aside *aside = CONTAINER_OF(task, struct aside, task);
    struct partition_request *request = aside->request;
    struct partition *p = aside->partition;
    void (*on_hid)(struct task * task) = aside->on_hid;
    enum look_end end = look_run(p, &aside->slot, request);
    store_reader_end(aside->slot.reader);
    if (end == LOOK_FAILED) {
        aside->task.run = on_failed;
        mailbox_post(&p->thread->mailbox, &aside->task);
        return;
    }
    aside_free(aside);
    if (end == LOOK_HID) {
        request->task.run = on_hid;
        mailbox_post(&p->thread->mailbox, &request->task);
    } else {
        request_answer(request, ERR_OK);
    }
}

bool aside_take(struct partition *p, struct partition_request *request, bool by_entry,
                void (*on_hid)(struct task *task))
{
    struct partitions *all = p->all;
    struct reader_slot *own = partition_own_slot(p);
    if (p->thread->is_stopped || request->ask != PARTITION_READ ||
        small_is(p, own->reader, request)) {
        return false;
    }
    if (atomic_fetch_add(&all->aside_count, 1) >= ASIDE_MAX) {
        atomic_fetch_sub(&all->aside_count, 1);
        return false;
    }
    struct aside *aside = mem_new0(sizeof *aside);
    *aside = (struct aside){.task = {.run = on_read},
                            .partition = p,
                            .file = store_file_ref(p->file),
                            .slot = {.random = store_thread_random(p->thread)},
                            .request = request,
                            .on_hid = on_hid};
    if (store_reader_new(p->file->store, &aside->slot.reader) != ERR_OK ||
        look_begin(&aside->slot, by_entry) != ERR_OK) {
        aside_free(aside);
        return false;
    }
    uint32_t at = p->thread->aside_next++ % ASIDE_THREADS;
    mailbox_post(&all->aside[at].mailbox, &aside->task);
    return true;
}
