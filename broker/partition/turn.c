/* turn: see the header. */
#include "partition/turn.h"

#include "base/log.h"
#include "base/metrics.h"
#include "partition/apply.h"
#include "partition/damage.h"
#include "partition/image.h"
#include "partition/pending.h"
#include "partition/propose.h"
#include "partition/reads.h"
#include "partition/store_file.h"
#include "partition/store_thread.h"
#include "partition/waiters.h"

enum { REOPEN_MS = 20 }; /* between looks whether the old one's file is closed */

/* ---- leadership ---- */

static void refuse_all(struct partition *p)
{
    propose_end(p, ERR_NOT_LEADER);
    reads_end(p, ERR_NOT_LEADER);
    waiters_end(p, ERR_NOT_LEADER);
}

void turn_lead(struct partition *p, uint64_t term)
{
    const struct partitions_opts *opts = &p->all->opts;
    if (p->thread->is_stopped || p->term == term) { return; }
    if (p->term == 0) { metric_add(METRIC_partition_leads, 1); }
    if (term == 0) { metric_sub(METRIC_partition_leads, 1); }
    p->term = term;
    atomic_store(&p->leads, term);
    if (term == 0) { refuse_all(p); }
    if (opts->ops != NULL && opts->ops->leads != NULL) { opts->ops->leads(opts->arg, p->id, term); }
    store_thread_touch(p);
}

/* ---- batches ---- */

static void on_applied(struct task *task) /* raft */
{
    struct partition *p = CONTAINER_OF(task, struct partition, applied_task);
    engine_applied(consensus_engine(p->all->opts.consensus), p->group, p->batch_handed->last_index);
}

/* The store is no good: the group is closed, and the batch goes back. */
static void on_failed(struct task *task) /* raft */
{
    struct partition *p = CONTAINER_OF(task, struct partition, applied_task);
    struct engine *e = consensus_engine(p->all->opts.consensus);
    engine_group_close(e, p->group);
    engine_applied(e, p->group, p->batch_handed->last_index);
}

void turn_on_batch(struct task *task)
{
    struct partition *p = CONTAINER_OF(task, struct partition, batch_task);
    if (store_thread_keeps(p, task)) { return; }
    p->batch = p->batch_handed;
    p->batch_at = 0;
    p->batch_retry_ms = 0;
    store_thread_touch(p);
}

static void give_back(struct partition *p, void (*run)(struct task *task))
{
    p->batch = NULL;
    p->retry_ms = 0;
    p->applied_task.run = run;
    store_thread_to_raft_later(p, &p->applied_task);
    if (run != on_applied || atomic_load(&p->view.is_awaited)) { p->thread->has_pushed = true; }
}

static void condemn(struct partition *p, bool is_unknown)
{
    atomic_store(&p->is_damaged, true);
    if (is_unknown) {
        LOG_ERROR("a partition's log has an entry of a newer version: its replica here stops until "
                  "this node has that version",
                  LOG_UINT("partition", p->id), LOG_UINT("applied", atomic_load(&p->applied)));
    } else if (p->rebuilds == REBUILDS_MAX) {
        LOG_ERROR(
            "a partition's store was made anew and is wrong again, another replica has to take "
            "its place",
            LOG_UINT("partition", p->id), LOG_UINT("applied", atomic_load(&p->applied)));
    } else {
        LOG_ERROR("a partition's store is thrown away and made anew from snapshot and log",
                  LOG_UINT("partition", p->id), LOG_UINT("applied", atomic_load(&p->applied)));
        metric_add(METRIC_partition_rebuilds_total, 1);
        p->rebuilds++;
        p->close_removes = true;
        p->close_reopens = true;
    }
}

static void fail(struct partition *p, bool is_unknown)
{
    condemn(p, is_unknown);
    propose_given_up(p, p->batch_at, p->batch->count);
    give_back(p, on_failed);
}

static void on_broken(struct task *task) /* raft */
{
    struct partition *p = CONTAINER_OF(task, struct partition, broken_task);
    engine_group_close(consensus_engine(p->all->opts.consensus), p->group);
}

/* What was answered could not be committed, or is not there any more. It is in the log, from which the store is made anew. */
static uint64_t broken_turn(struct partition *p)
{
    if (p->broken_task.run == NULL) {
        condemn(p, false);
        p->broken_task.run = on_broken;
        store_thread_to_raft(p, &p->broken_task);
    }
    if (p->batch != NULL) {
        propose_given_up(p, p->batch_at, p->batch->count);
        give_back(p, on_failed);
    }
    return UINT64_MAX;
}

/* Who reads the old one elsewhere, or makes an image of it, ends first. */
static uint64_t reopen_turn(struct partition *p)
{
    if (!p->reopen_is_due || p->thread->is_stopped) { return UINT64_MAX; }
    if (atomic_load(&p->is_file_open)) { return store_thread_now_ms() + REOPEN_MS; }
    p->reopen_is_due = false;
    store_thread_to_raft(p, &p->closed_task);
    return UINT64_MAX;
}

/* They look at the store, and write to it to see whether they can. */
static void serve_waiters(struct partition *p)
{
    if (list_is_empty(&p->touched)) { return; }
    (void)apply_show(p, p->executed); /* if not now: what is executed again touches them again */
    waiters_turn(p);
}

/* Gives: when there is more to do. */
static uint64_t apply_turn(struct partition *p)
{
    if (p->is_broken) { return broken_turn(p); }
    if (p->batch == NULL) { return UINT64_MAX; }
    if (p->batch_retry_ms > store_thread_now_ms()) { return p->batch_retry_ms; }
    size_t from = p->batch_at;
    enum apply_end end = apply_some(p);
    switch (end) {
    case APPLY_MORE:
    case APPLY_DONE:
        propose_applied(p, from, p->batch_at);
        if (end == APPLY_MORE) { return 0; }
        give_back(p, on_applied);
        return UINT64_MAX;
    case APPLY_LATER:
        p->batch_retry_ms = store_thread_now_ms() + APPLY_RETRY_MS;
        if (!p->thread->is_stopped) { return p->batch_retry_ms; }
        propose_given_up(p, p->batch_at, p->batch->count); /* the next start goes on from here */
        give_back(p, on_failed);
        return UINT64_MAX;
    case APPLY_ALONE: UNREACHABLE();
    case APPLY_DAMAGED:
    case APPLY_UNKNOWN: fail(p, end == APPLY_UNKNOWN); return UINT64_MAX;
    }
    return UINT64_MAX;
}

void turn_propose(struct partition *p)
{
    (void)propose_turn(p);
}

uint64_t turn_take(struct partition *p)
{
    uint64_t apply_ms = apply_turn(p);
    if (store_thread_back(p)) { apply_ms = 0; }
    serve_waiters(p);
    reads_turn(p);
    uint64_t idle_ms = waiters_idle_turn(p);
    uint64_t propose_ms = propose_turn(p);
    uint64_t reopen_ms = reopen_turn(p);
    if (idle_ms < apply_ms) { apply_ms = idle_ms; }
    if (reopen_ms < apply_ms) { apply_ms = reopen_ms; }
    return apply_ms < propose_ms ? apply_ms : propose_ms;
}

/* ---- the end ---- */

void turn_on_close(struct task *task)
{
    struct partition *p = CONTAINER_OF(task, struct partition, close_task);
    if (store_thread_keeps(p, task)) { return; }
    bool reopens = p->close_reopens && !p->thread->is_stopped;
    turn_lead(p, 0);
    image_drop(p);
    if (!p->close_removes) { (void)apply_commit(p); } /* else the log has it */
    pending_drop(p);
    if (p->file != NULL) {
        store_file_close(p, p->close_removes ? STORE_FILE_REMOVE : STORE_FILE_KEEP);
    }
    p->close_removes = false;
    p->close_reopens = false;
    p->reopen_is_due = reopens;
    if (reopens) { store_thread_touch(p); }
}
