/* partition: the module's face: who asks reaches the partition's store thread, or reads by itself. */
#include "partition/partition.h"

#include "base/latch.h"
#include "base/log.h"
#include "base/mem.h"
#include "partition/apply.h"
#include "partition/aside.h"
#include "partition/backup.h"
#include "partition/machine.h"
#include "partition/propose.h"
#include "partition/look.h"
#include "partition/pending.h"
#include "partition/reads.h"
#include "partition/small.h"
#include "partition/store_file.h"
#include "partition/store_thread.h"
#include "partition/turn.h"
#include "partition/waiters.h"
#include "store/store_key.h"

/* Group 1 is the control group (consensus/membership). */
enum { FIRST_GROUP = 2 };

uint64_t partitions_group(uint32_t partition)
{
    return FIRST_GROUP + partition;
}

static struct partition *find(const struct partitions *all, uint32_t partition)
{
    CHECK(partition < all->opts.partition_count);
    return &all->partition[partition];
}

/* ---- asking ---- */

static void on_asked(struct task *task) /* store */
{
    struct partition_request *request = CONTAINER_OF(task, struct partition_request, task);
    struct partition *p = request->inner;
    if (store_thread_keeps(p, task)) { return; }
    if (p->term == 0 || (request->term != 0 && request->term != p->term)) {
        store_thread_answer(p, request, ERR_NOT_LEADER);
        return;
    }
    if (gates_refuse(&p->gates, request) || request_is_owed_too_much(request)) {
        store_thread_answer(p, request, ERR_SLOW);
        return;
    }
    switch (request->ask) {
    case PARTITION_READ:
    case PARTITION_VERSIONS: reads_ask(p, request); break;
    case PARTITION_WRITE:
    case PARTITION_CONFIRM: propose_write(p, request); break;
    case PARTITION_PARK:
        (void)apply_show(p, p->executed);
        waiters_park(p, request);
        break;
    }
    store_thread_touch(p);
}

static struct partition *push(struct partitions *all, struct partition_request *request)
{
    struct partition *p = find(all, request->partition);
    request->inner = p;
    request->is_aborted = false;
    request->is_unparked = false;
    request->reply = (struct buf){0};
    request->reply_end = NULL;
    request->task.run = on_asked;
    mailbox_push(&p->thread->mailbox, &request->task);
    return p;
}

void partition_push(struct partitions *all, struct partition_request *request)
{
    (void)push(all, request);
}

void partition_ask(struct partitions *all, struct partition_request *request)
{
    mailbox_wake(&push(all, request)->thread->mailbox);
}

void partitions_wake(struct partitions *all)
{
    for (uint32_t i = 0; i < all->opts.thread_count; i++) {
        mailbox_wake(&all->threads[i].mailbox);
    }
}

/* On a reader that holds the read point. */
static bool read_now(struct partition *p, struct reader_slot *slot,
                     struct partition_request *request, uint64_t commit)
{
    if (look_begin(slot, false) != ERR_OK) { return false; }
    bool is_done = store_applied(slot->reader) >= commit && store_clock_ms(slot->reader) != 0 &&
                   small_is(p, slot->reader, request) && look_run(p, slot, request) == LOOK_DONE;
    store_reader_end(slot->reader);
    return is_done;
}

bool partition_read(struct partitions *all, uint32_t worker, struct partition_request *request)
{
    struct partition *p = find(all, request->partition);
    struct reader_slot *slot = &p->slot[worker];
    uint64_t commit;
    CHECK(worker < all->opts.worker_count);
    if (atomic_load(&p->leads) == 0 || !look_point(p, &commit) ||
        atomic_load(&p->applied) < commit) {
        return false;
    }
    request->is_aborted = false;
    request->is_unparked = false;
    request->reply.len = 0;
    request->reply_end = NULL;
    lock_take(&slot->lock);
    bool is_done = slot->reader != NULL && read_now(p, slot, request, commit);
    lock_release(&slot->lock);
    if (!is_done) { buf_fini(&request->reply); }
    request->err = ERR_OK;
    return is_done;
}

struct unparking {
    struct task task;
    struct partition *partition;
    struct partition_origin origin;
};

static void on_unpark(struct task *task) /* store */
{
    struct unparking *unparking = CONTAINER_OF(task, struct unparking, task);
    if (store_thread_keeps(unparking->partition, task)) { return; }
    waiters_unpark(unparking->partition, &unparking->origin);
    mem_free(unparking);
}

void partition_unpark(struct partitions *all, uint32_t partition,
                      const struct partition_origin *origin)
{
    struct partition *p = find(all, partition);
    struct unparking *unparking = mem_new0(sizeof *unparking);
    *unparking = (struct unparking){{.run = on_unpark}, p, *origin};
    mailbox_post(&p->thread->mailbox, &unparking->task);
}

bool partitions_run_scripts(const struct partitions *partitions)
{
    return atomic_load_explicit(&partitions->scripts_running, memory_order_relaxed) > 0;
}

uint64_t partition_leads(const struct partitions *all, uint32_t partition)
{
    return atomic_load_explicit(&find(all, partition)->leads, memory_order_acquire);
}

/* ---- life ---- */

static void partition_init(struct partition *p, struct partitions *all, uint32_t id)
{
    uint32_t slots = all->opts.worker_count + 2;
    p->all = all;
    p->id = id;
    p->group = partitions_group(id);
    p->thread = &all->threads[id % all->opts.thread_count];
    p->slot = mem_new0(slots * sizeof *p->slot);
    for (uint32_t i = 0; i < slots; i++) {
        lock_init(&p->slot[i].lock);
    }
    p->digests = mem_new0(DIGESTS_KEPT * sizeof *p->digests);
    list_init(&p->finished);
    p->kept_end = &p->kept;
    pending_init(p);
    propose_init(p);
    reads_init(p);
    waiters_init(p);
}

static void partition_fini(struct partition *p)
{
    if (p->all == NULL) { return; }
    for (uint32_t i = 0; i < p->all->opts.worker_count + 2; i++) {
        lock_fini(&p->slot[i].lock);
    }
    propose_fini(p);
    waiters_fini(p);
    gates_fini(&p->gates);
    mem_free(p->slot);
    mem_free(p->digests);
    buf_fini(&p->events);
}

static const struct store_thread_ops thread_ops = {turn_propose, turn_take, apply_settle};

enum err partitions_new(struct partitions **out, const struct partitions_opts *opts)
{
    struct partitions *all = mem_new0(sizeof *all);
    data_limits_init(&all->limits);
    CHECK(opts->thread_count > 0 && opts->partition_count > 0);
    all->opts = *opts;
    if (opts->backup_idle_ms == 0) { all->opts.backup_idle_ms = BACKUP_IDLE_MS; }
    all->dir = mem_copy(opts->dir, strlen(opts->dir) + 1);
    all->node_name = mem_copy(opts->node_name, strlen(opts->node_name) + 1);
    store_file_boot_id(all->boot_id);
    if (opts->boot_id != NULL) {
        size_t len = strlen(opts->boot_id);
        CHECK(len < sizeof all->boot_id);
        memcpy(all->boot_id, opts->boot_id, len + 1);
    }
    all->threads = mem_new0(opts->thread_count * sizeof *all->threads);
    all->partition = mem_new0(opts->partition_count * sizeof *all->partition);
    for (uint32_t i = 0; i < opts->thread_count; i++) {
        all->threads[i].event_fd = -1;
    }
    for (uint32_t i = 0; i < ASIDE_THREADS; i++) {
        all->aside[i].event_fd = -1;
    }
    for (uint32_t i = 0; i < opts->partition_count; i++) {
        partition_init(&all->partition[i], all, i);
    }
    enum err err = aside_start(all);
    for (uint32_t i = 0; i < opts->thread_count && err == ERR_OK; i++) {
        err = store_thread_start(&all->threads[i], all, i, "store", &thread_ops);
    }
    if (err != ERR_OK) {
        partitions_free(all);
        return err;
    }
    *out = all;
    return ERR_OK;
}

struct stopping {
    struct task task;
    struct store_thread *thread;
    struct latch *latch;
};

static void on_stop(struct task *task) /* store */
{
    struct stopping *stopping = CONTAINER_OF(task, struct stopping, task);
    struct store_thread *thread = stopping->thread;
    struct partition *away = thread->away_first;
    if (away != NULL && store_thread_keeps(away, task)) { return; }
    for (uint32_t i = 0; i < thread->all->opts.partition_count; i++) {
        struct partition *p = &thread->all->partition[i];
        if (p->thread != thread) { continue; }
        turn_lead(p, 0);
        backups_stop(p);
    }
    thread->is_stopped = true;
    latch_count_down(stopping->latch);
}

/* On all store threads; what they were given before is done. */
static void stop_threads(struct partitions *all)
{
    uint32_t count = all->opts.thread_count;
    struct stopping *stopping = mem_new0(count * sizeof *stopping);
    struct latch latch;
    latch_init(&latch, count);
    for (uint32_t i = 0; i < count; i++) {
        stopping[i] = (struct stopping){{.run = on_stop}, &all->threads[i], &latch};
        mailbox_post(&all->threads[i].mailbox, &stopping[i].task);
    }
    latch_wait(&latch);
    latch_fini(&latch);
    mem_free(stopping);
}

void partitions_stop(struct partitions *all)
{
    stop_threads(all);
    aside_drain(all);
    stop_threads(all); /* what came back from there */
}

void partitions_free(struct partitions *all)
{
    if (all == NULL) { return; }
    for (uint32_t i = 0; i < all->opts.thread_count; i++) {
        store_thread_stop(&all->threads[i]);
    }
    aside_stop(all);
    for (uint32_t i = 0; i < all->opts.partition_count; i++) {
        partition_fini(&all->partition[i]);
    }
    mem_free(all->partition);
    mem_free(all->threads);
    mem_free(all->dir);
    mem_free(all->node_name);
    mem_free(all);
}

enum err partitions_create(struct partitions *all, uint32_t partition, uint64_t replica,
                           bool is_founder)
{
    return machine_create(find(all, partition), replica, is_founder);
}

enum err partitions_open(struct partitions *all, uint32_t partition)
{
    return machine_open(find(all, partition));
}

void partitions_delete(struct partitions *all, uint32_t partition)
{
    machine_delete(find(all, partition));
}

uint64_t partitions_replica(const struct partitions *all, uint32_t partition)
{
    struct engine_status status;
    bool is_there =
        engine_status(consensus_engine(all->opts.consensus), find(all, partition)->group, &status);
    return is_there ? status.self : 0;
}

void partitions_set_events(struct partitions *all, uint32_t classes)
{
    atomic_store(&all->events, classes);
}

void partitions_set_limit(struct partitions *all, enum data_limit limit, int64_t value)
{
    atomic_store(&all->limits.of[limit], value);
}

void partition_status(struct partitions *all, uint32_t partition, struct partition_status *out)
{
    struct partition *p = find(all, partition);
    struct reader_slot *slot = partition_status_slot(p);
    *out = (struct partition_status){
        .is_damaged = atomic_load(&p->is_damaged),
        .term = atomic_load(&p->leads),
        .applied = atomic_load(&p->executed),
        .commit = atomic_load(&p->view.commit),
        .applied_batches = atomic_load(&p->applied_batches),
        .applied_calls = atomic_load(&p->applied_calls),
        .proposed_bytes = atomic_load(&p->proposed_bytes),
        .parked = atomic_load(&p->parked),
    };
    lock_take(&slot->lock);
    out->is_open = slot->reader != NULL && store_reader_begin(slot->reader, 0, 0) == ERR_OK;
    if (out->is_open) {
        for (uint16_t db = 0; db < STATUS_DATABASES; db++) {
            out->keys[db] = atomic_load(&p->shown[db].keys);
            out->expiring[db] = atomic_load(&p->shown[db].expiring);
        }
        out->digest = store_digest(slot->reader);
        out->digest_index = store_applied(slot->reader);
        struct store_size size = store_txn_size(slot->reader);
        out->used_bytes = size.used_bytes;
        out->file_bytes = size.file_bytes;
        out->reader_lag = size.reader_lag;
        store_reader_end(slot->reader);
    }
    lock_release(&slot->lock);
}

/* ---- lives that are over ---- */

struct forgetting {
    struct task task;
    struct partition *partition;
    struct forget_node node;
};

static void on_forget(struct task *task) /* store */
{
    struct forgetting *forgetting = CONTAINER_OF(task, struct forgetting, task);
    if (store_thread_keeps(forgetting->partition, task)) { return; }
    propose_forget(forgetting->partition, &forgetting->node);
    mem_free(forgetting);
}

void partitions_forget(struct partitions *all, uint64_t node_id, uint64_t incarnation_below)
{
    for (uint32_t i = 0; i < all->opts.partition_count; i++) {
        struct partition *p = &all->partition[i];
        if (atomic_load(&p->leads) == 0) { continue; }
        struct forgetting *forgetting = mem_new0(sizeof *forgetting);
        *forgetting = (struct forgetting){{.run = on_forget}, p, {node_id, incarnation_below}};
        mailbox_post(&p->thread->mailbox, &forgetting->task);
    }
}
