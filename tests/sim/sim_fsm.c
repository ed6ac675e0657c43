/* sim_fsm: the state machine of a simulated replica. What it holds is on its node's disk by other means than the log:
 * the world empties it when the power fails. */
#include "base/mem.h"
#include "sim/sim.h"

enum { BODY_BYTES = 300 };

static void fsm_apply_batch(void *arg, const struct fsm_batch *batch)
{
    struct sim_fsm *fsm = arg;
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
    oracle_state(fsm);
}

static uint64_t fsm_applied_index(void *arg)
{
    return ((struct sim_fsm *)arg)->applied;
}

struct image {
    char data[24 + BODY_BYTES];
    size_t at;
};

static void *fsm_snapshot_begin(void *arg)
{
    const struct sim_fsm *fsm = arg;
    struct image *image = mem_new0(sizeof *image);
    memcpy(image->data, &fsm->applied, 8);
    memcpy(image->data + 8, &fsm->hash, 8);
    memcpy(image->data + 16, &fsm->count, 8);
    memset(image->data + 24, (int)(1 + fsm->applied % 255), BODY_BYTES);
    fsm->sim->stats.snapshots++;
    return image;
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

static void fsm_restore_begin(void *arg)
{
    struct sim_fsm *fsm = arg;
    fsm->applied = 0;
    fsm->hash = 0;
    fsm->count = 0;
    fsm->restoring.len = 0;
}

static enum err fsm_restore_write(void *arg, struct slice bytes)
{
    buf_append(&((struct sim_fsm *)arg)->restoring, bytes);
    return ERR_OK;
}

static enum err fsm_restore_end(void *arg, uint64_t index)
{
    struct sim_fsm *fsm = arg;
    uint64_t applied;
    if (fsm->restoring.len != sizeof(((struct image *)0)->data)) { return ERR_CORRUPT; }
    memcpy(&applied, fsm->restoring.data, 8);
    memcpy(&fsm->hash, fsm->restoring.data + 8, 8);
    memcpy(&fsm->count, fsm->restoring.data + 16, 8);
    fsm->applied = index;
    fsm->restoring.len = 0;
    fsm->sim->stats.installs++;
    oracle_state(fsm);
    return applied == index ? ERR_OK : ERR_CORRUPT;
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

const struct fsm_ops sim_fsm_ops = {
    .apply = fsm_apply_batch,
    .applied_index = fsm_applied_index,
    .snapshot_begin = fsm_snapshot_begin,
    .snapshot_read = fsm_snapshot_read,
    .snapshot_end = mem_free,
    .restore_begin = fsm_restore_begin,
    .restore_write = fsm_restore_write,
    .restore_end = fsm_restore_end,
    .on_leader = fsm_on_leader,
};
