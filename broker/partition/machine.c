/* machine: see the header. */
#include "partition/machine.h"

#include "base/log.h"
#include "base/mem.h"
#include "partition/image.h"
#include "partition/store_file.h"
#include "partition/store_thread.h"
#include "partition/turn.h"

static struct engine *engine_of(const struct partition *p)
{
    return consensus_engine(p->all->opts.consensus);
}

/* ---- the state machine ---- */

static enum fsm_answer on_batch(void *fsm, const struct fsm_batch *batch)
{
    struct partition *p = fsm;
    p->batch_handed = batch;
    p->batch_task.run = turn_on_batch;
    mailbox_post(&p->thread->mailbox, &p->batch_task);
    return FSM_TAKEN;
}

static uint64_t applied_index(void *fsm)
{
    return atomic_load(&((struct partition *)fsm)->applied);
}

struct lead_event {
    struct task task;
    struct partition *partition;
    uint64_t term;
};

static void on_lead_event(struct task *task) /* store */
{
    struct lead_event *event = CONTAINER_OF(task, struct lead_event, task);
    if (store_thread_keeps(event->partition, task)) { return; }
    turn_lead(event->partition, event->term);
    mem_free(event);
}

static void tell_leads(struct partition *p, uint64_t term)
{
    struct lead_event *event = mem_new0(sizeof *event);
    *event = (struct lead_event){{.run = on_lead_event}, p, term};
    mailbox_post(&p->thread->mailbox, &event->task);
}

static void on_barrier(struct read_request *request, enum err err)
{
    struct partition *p = CONTAINER_OF(request, struct partition, barrier);
    if (err == ERR_OK && p->is_leader) { tell_leads(p, p->barrier_term); }
}

static void on_leader(void *fsm, bool is_leader, uint64_t term)
{
    struct partition *p = fsm;
    bool was_leader = p->is_leader;
    p->is_leader = is_leader;
    if (is_leader) {
        p->barrier_term = term;
        p->barrier = (struct read_request){.group = p->group, .on_done = on_barrier};
        engine_read(engine_of(p), &p->barrier);
    } else if (was_leader) {
        tell_leads(p, 0);
    }
}

static void on_closed(void *fsm)
{
    struct partition *p = fsm;
    p->is_open = false;
    p->is_leader = false;
    p->close_task.run = turn_on_close;
    mailbox_post(&p->thread->mailbox, &p->close_task);
}

static const struct fsm_ops machine_ops = {
    .apply = on_batch,
    .applied_index = applied_index,
    .snapshot_begin = image_begin,
    .snapshot_read = image_read,
    .snapshot_end = image_end,
    .restore_begin = image_restore_begin,
    .restore_write = image_restore_write,
    .restore_end = image_restore_end,
    .on_leader = on_leader,
    .on_closed = on_closed,
};

/* ---- life ---- */

static void on_store_closed(struct task *task) /* raft: a store that was no good is gone */
{
    struct partition *p = CONTAINER_OF(task, struct partition, closed_task);
    enum err err = machine_open(p);
    if (err != ERR_OK) {
        LOG_ERROR("a partition's replica here cannot be made anew by itself, another has to take "
                  "its place",
                  LOG_UINT("partition", p->id), LOG_STR("err", err_word(err)));
    }
}

/* A store that nothing is asked of yet. */
static enum err open_store(struct partition *p, bool is_new)
{
    if (p->is_open) { return ERR_INVALID; }
    if (atomic_load(&p->is_file_open)) { return ERR_SLOW; }
    enum err err = store_file_open(p, is_new);
    if (err != ERR_OK) { return err; }
    memset(p->digests, 0, DIGESTS_KEPT * sizeof *p->digests);
    p->digest_index = 0;
    p->closed_task.run = on_store_closed;
    return ERR_OK;
}

static void show(struct partition *p)
{
    p->is_open = true;
    atomic_store(&p->is_damaged, false);
    engine_group_show(engine_of(p), p->group, &p->view);
}

enum err machine_create(struct partition *p, uint64_t replica, bool is_founder)
{
    struct engine_server server = {replica, p->all->node_name};
    enum err err = open_store(p, true);
    if (err != ERR_OK) { return err; }
    err = engine_group_create(engine_of(p), p->group, replica, &machine_ops, p, &server,
                              is_founder ? 1 : 0);
    if (err != ERR_OK) {
        store_file_close(p, STORE_FILE_REMOVE);
        return err;
    }
    show(p);
    return ERR_OK;
}

enum err machine_open(struct partition *p)
{
    enum err err = open_store(p, false);
    if (err != ERR_OK) { return err; }
    err = engine_group_open(engine_of(p), p->group, &machine_ops, p);
    if (err != ERR_OK) {
        store_file_close(p, STORE_FILE_KEEP);
        return err;
    }
    show(p);
    return ERR_OK;
}

void machine_delete(struct partition *p)
{
    p->close_removes = true;
    engine_group_delete(engine_of(p), p->group);
}
