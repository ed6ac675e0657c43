/* snapshot_restore: puts a state machine to the snapshot that its log begins with.
 * Owns: the one restore of a group. Thread: the raft thread; the file is read on the disk's threads.
 * Always: what was restored is what the log names, checked as a whole, or the group stops. */
#include "base/crc32c.h"
#include "base/mem.h"
#include "consensus/group/group.h"
#include "consensus/group/snapshot/snapshot_int.h"

struct snapshot_restore {
    struct disk_job job;
    struct group *group; /* NULL: the group has gone */
    uint64_t offset;
    uint32_t crc;
    char *buffer;
    bool is_held;      /* the state machine has a step of it in hand */
    bool is_ending;    /* the last one */
    bool is_cancelled; /* nobody wants it any more, once that step is done */
};

static void restore_free(struct snapshot_restore *restore)
{
    if (restore->group != NULL) { restore->group->restore = NULL; }
    mem_free(restore->buffer);
    mem_free(restore);
}

static void restore_drop(struct disk_job *job)
{
    restore_free(job->owner);
}

static void restore_failed(struct snapshot_restore *restore)
{
    struct group *g = restore->group;
    restore_free(restore);
    group_stop(g, "the snapshot cannot be restored");
}

static void restore_step(struct snapshot_restore *restore);

/* A step was asked of the state machine, or is done. */
static void step_answered(struct snapshot_restore *restore, enum err err)
{
    struct group *g = restore->group;
    restore->is_held = err == ERR_SLOW;
    if (restore->is_held) { return; }
    if (err != ERR_OK) {
        restore_failed(restore);
    } else if (restore->is_ending) {
        restore_free(restore);
        group_restored(g);
    } else {
        restore_step(restore);
    }
}

static void on_restore_read(struct disk_job *job)
{
    struct snapshot_restore *restore = job->owner;
    struct group *g = restore->group;
    if (g == NULL) {
        restore_free(restore);
        return;
    }
    if (job->err != ERR_OK || job->done_len != job->len) {
        restore_failed(restore);
        return;
    }
    restore->crc = crc32c(restore->crc, job->data, job->len);
    restore->offset += job->len;
    step_answered(restore, g->fsm_ops->restore_write(g->fsm, slice_of(job->data, job->len)));
}

static void restore_end(struct snapshot_restore *restore)
{
    struct group *g = restore->group;
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    if (restore->crc != snapshot->crc) {
        restore_failed(restore);
        return;
    }
    restore->is_ending = true;
    step_answered(restore, g->fsm_ops->restore_end(g->fsm, snapshot->index));
}

static void restore_step(struct snapshot_restore *restore)
{
    struct group *g = restore->group;
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    uint64_t rest = snapshot->bytes - restore->offset;
    if (rest == 0) {
        restore_end(restore);
        return;
    }
    restore->job = (struct disk_job){
        .op = DISK_READ,
        .offset = restore->offset,
        .data = restore->buffer,
        .len = rest < g->all->opts.chunk_bytes ? rest : g->all->opts.chunk_bytes,
        .on_done = on_restore_read,
        .on_drop = restore_drop,
        .owner = restore,
    };
    snapshot_file_name(restore->job.name, snapshot->file);
    disk_submit(g->all->world.disk, &restore->job);
}

void snapshot_restore_start(struct group *g)
{
    struct snapshot_restore *restore = mem_new0(sizeof *restore);
    restore->group = g;
    restore->buffer = mem_new(g->all->opts.chunk_bytes);
    g->restore = restore;
    g->fsm_ops->restore_begin(g->fsm);
    restore_step(restore);
}

bool snapshot_is_restoring(const struct group *g)
{
    return g->restore != NULL && g->restore->is_held;
}

void snapshot_progress_group(const struct group *g, struct snapshot_progress *progress)
{
    progress->restoring += g->restore != NULL;
    snapshot_progress_fetch(g, progress);
}

void snapshot_restored(struct group *g, enum err err)
{
    struct snapshot_restore *restore = g->restore;
    CHECK(snapshot_is_restoring(g) && err != ERR_SLOW);
    if (restore->is_cancelled) {
        restore_free(restore);
    } else {
        step_answered(restore, err);
    }
}

void snapshot_restore_drop(struct group *g)
{
    if (g->restore != NULL) { restore_free(g->restore); }
}

void snapshot_restore_cancel(struct group *g)
{
    struct snapshot_restore *restore = g->restore;
    if (restore == NULL) { return; }
    if (restore->is_held) { /* it has the buffer */
        restore->is_cancelled = true;
        return;
    }
    restore->group = NULL;
    g->restore = NULL;
}
