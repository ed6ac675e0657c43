/* sim_fsm: the state machine of a simulated replica. What it holds is on its node's disk by other means than the log:
 * the world empties it when the power fails. */
#include "base/mem.h"
#include "sim/sim.h"

enum { BODY_BYTES = 300, KEPT_ENTRIES = 16 };

static void store(struct sim_fsm *fsm, const struct fsm_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        oracle_applied(fsm, batch->commands[i].index, batch->commands[i].data);
        const char *p = batch->commands[i].data.data;
        for (size_t k = 0; k < batch->commands[i].data.len; k++) {
            fsm->hash = (fsm->hash ^ (unsigned char)p[k]) * 1099511628211ULL;
        }
        fsm->count++;
        fsm->sim->stats.applied++;
    }
    fsm->applied = batch->last_index;
    if (fsm->applied / KEPT_ENTRIES > fsm->kept.applied / KEPT_ENTRIES) { /* now and then */
        fsm->kept = (struct sim_kept){fsm->applied, fsm->hash, fsm->count};
    }
    oracle_state(fsm);
}

/* ---- batches ---- */

static enum fsm_answer fsm_apply_batch(void *arg, const struct fsm_batch *batch)
{
    struct sim_fsm *fsm = arg;
    struct sim *sim = fsm->sim;
    if (fsm->batch != NULL) { sim_fail(sim, "%s is given a second batch", fsm->node->name); }
    if (!sim->applies_later) {
        store(fsm, batch);
        return FSM_DONE;
    }
    fsm->batch = batch;
    fsm->is_stored = false;
    fsm->due_ms = sim->now_ms + sim_roll(sim, sim_roll(sim, 10) ? 8 : 400);
    return FSM_TAKEN;
}

uint64_t sim_fsm_next_ms(const struct sim_fsm *fsm)
{
    uint64_t next = fsm->batch != NULL ? fsm->due_ms : UINT64_MAX;
    if (fsm->image != NULL && fsm->image_due_ms < next) { next = fsm->image_due_ms; }
    if (fsm->is_restored && fsm->restored_due_ms < next) { next = fsm->restored_due_ms; }
    return next;
}

static void answer(const struct fsm_batch *batch, enum err err)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct proposal *p = batch->commands[i].origin;
        if (p != NULL) { p->on_done(p, err); }
    }
}

static void reopen(struct sim_fsm *fsm)
{
    if (fsm->reopen_is_due) {
        fsm->reopen_is_due = false;
        sim_open(fsm->node, fsm->group);
    }
}

static void batch_step(struct sim_fsm *fsm)
{
    if (!fsm->is_stored) {
        store(fsm, fsm->batch);
        answer(fsm->batch, ERR_OK);
        fsm->is_stored = true;
        fsm->due_ms = fsm->sim->now_ms + sim_roll(fsm->sim, 6);
        return;
    }
    uint64_t last = fsm->batch->last_index;
    fsm->batch = NULL;
    engine_applied(fsm->node->e, fsm->group, last);
    reopen(fsm);
}

void sim_fsm_step(struct sim_fsm *fsm)
{
    uint64_t now_ms = fsm->sim->now_ms;
    if (fsm->image != NULL && fsm->image_due_ms <= now_ms) {
        void *image = fsm->image;
        fsm->image = NULL;
        engine_snapshot_begun(fsm->node->e, fsm->group, image);
    } else if (fsm->is_restored && fsm->restored_due_ms <= now_ms) {
        fsm->is_restored = false;
        engine_restored(fsm->node->e, fsm->group, fsm->restored);
        reopen(fsm);
    } else {
        batch_step(fsm);
    }
}

void sim_fsm_drop(struct sim_fsm *fsm)
{
    if (fsm->batch != NULL && !fsm->is_stored) { answer(fsm->batch, ERR_INDOUBT); }
    fsm->batch = NULL;
    mem_free(fsm->image);
    fsm->image = NULL;
    fsm->is_restored = false;
    fsm->reopen_is_due = false;
}

bool sim_fsm_is_busy(const struct sim_fsm *fsm)
{
    return fsm->batch != NULL || fsm->is_restored;
}

void sim_fsm_empty(struct sim_fsm *fsm)
{
    fsm->applied = 0;
    fsm->hash = 0;
    fsm->count = 0;
    fsm->kept = (struct sim_kept){0};
    fsm->restoring.len = 0;
}

void sim_fsm_reload(struct sim_fsm *fsm)
{
    struct sim_kept kept = fsm->kept;
    sim_fsm_empty(fsm);
    if (!fsm->sim->keeps_itself) { return; }
    fsm->applied = kept.applied;
    fsm->hash = kept.hash;
    fsm->count = kept.count;
    fsm->kept = kept;
}

static void fsm_on_closed(void *arg)
{
    struct sim_fsm *fsm = arg;
    if (sim_fsm_is_busy(fsm)) { sim_fail(fsm->sim, "%s closes under a batch", fsm->node->name); }
    if (fsm->reset_is_due) { sim_fsm_empty(fsm); }
    fsm->reset_is_due = false;
}

/* ---- the rest ---- */

static uint64_t fsm_applied_index(void *arg)
{
    return ((struct sim_fsm *)arg)->applied;
}

static uint64_t fsm_durable_index(void *arg)
{
    return ((struct sim_fsm *)arg)->kept.applied;
}

struct image {
    char data[24 + BODY_BYTES];
    size_t at;
};

static void *fsm_snapshot_begin(void *arg)
{
    struct sim_fsm *fsm = arg;
    if (fsm->batch != NULL) { sim_fail(fsm->sim, "%s is copied under a batch", fsm->node->name); }
    struct image *image = mem_new0(sizeof *image);
    memcpy(image->data, &fsm->applied, 8);
    memcpy(image->data + 8, &fsm->hash, 8);
    memcpy(image->data + 16, &fsm->count, 8);
    memset(image->data + 24, (int)(1 + fsm->applied % 255), BODY_BYTES);
    fsm->sim->stats.snapshots++;
    if (!fsm->sim->applies_later) { return image; }
    if (fsm->image != NULL) { sim_fail(fsm->sim, "%s makes two images", fsm->node->name); }
    fsm->image = image;
    fsm->image_due_ms = fsm->sim->now_ms + sim_roll(fsm->sim, sim_roll(fsm->sim, 10) ? 8 : 400);
    return NULL;
}

static enum err fsm_snapshot_read(void *arg, char *out, size_t bytes_max, size_t *bytes)
{
    struct image *image = arg;
    size_t rest = sizeof image->data - image->at;
    *bytes = rest < bytes_max ? rest : bytes_max;
    memcpy(out, image->data + image->at, *bytes);
    image->at += *bytes;
    return ERR_OK;
}

static void check_alone(const struct sim_fsm *fsm)
{
    if (sim_fsm_is_busy(fsm)) {
        sim_fail(fsm->sim, "%s is restored while it is busy", fsm->node->name);
    }
}

/* A step of a restore is done: now, or so the engine is told later. */
static enum err restored(struct sim_fsm *fsm, enum err err)
{
    if (!fsm->sim->applies_later) { return err; }
    fsm->is_restored = true;
    fsm->restored = err;
    fsm->restored_due_ms = fsm->sim->now_ms + sim_roll(fsm->sim, sim_roll(fsm->sim, 10) ? 8 : 200);
    return ERR_SLOW;
}

static void fsm_restore_begin(void *arg)
{
    check_alone(arg);
    sim_fsm_empty(arg);
}

static enum err fsm_restore_write(void *arg, struct slice bytes)
{
    struct sim_fsm *fsm = arg;
    check_alone(fsm);
    buf_append(&fsm->restoring, bytes);
    return restored(fsm, ERR_OK);
}

static enum err fsm_restore_end(void *arg, uint64_t index)
{
    struct sim_fsm *fsm = arg;
    uint64_t applied;
    check_alone(fsm);
    if (fsm->restoring.len != sizeof(((struct image *)0)->data)) {
        return restored(fsm, ERR_CORRUPT);
    }
    memcpy(&applied, fsm->restoring.data, 8);
    memcpy(&fsm->hash, fsm->restoring.data + 8, 8);
    memcpy(&fsm->count, fsm->restoring.data + 16, 8);
    fsm->applied = index;
    fsm->restoring.len = 0;
    fsm->sim->stats.installs++;
    oracle_state(fsm);
    return restored(fsm, applied == index ? ERR_OK : ERR_CORRUPT);
}

static void fsm_on_leader(void *arg, bool is_leader, uint64_t term)
{
    struct sim_fsm *fsm = arg;
    SIM_LOG(fsm->sim, "%s group %lu %s term %lu", fsm->node->name, (unsigned long)fsm->group,
            is_leader ? "leads" : "leads no more", (unsigned long)term);
    if (!is_leader) { return; }
    fsm->sim->stats.elections++;
    fsm->sim->truth[fsm->group].is_won = true;
}

#define OPS                                                                   \
    .apply = fsm_apply_batch, .applied_index = fsm_applied_index,             \
    .snapshot_begin = fsm_snapshot_begin, .snapshot_read = fsm_snapshot_read, \
    .snapshot_end = mem_free, .restore_begin = fsm_restore_begin,             \
    .restore_write = fsm_restore_write, .restore_end = fsm_restore_end,       \
    .on_leader = fsm_on_leader, .on_closed = fsm_on_closed

static const struct fsm_ops lost = {OPS};
static const struct fsm_ops kept = {OPS, .durable_index = fsm_durable_index};

const struct fsm_ops *sim_fsm_ops(const struct sim *sim)
{
    return sim->keeps_itself ? &kept : &lost;
}
