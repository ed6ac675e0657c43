/* space: refuses proposals before the log meets the end of the disk, and keeps a ballast for the
 * case that it does all the same.
 * Owns: engine->is_full and the ballast file. Thread: the raft thread.
 * Always: below free_bytes_min proposals are refused. A flush that finds no space waits, whole;
 * giving up the ballast makes room for it, and for terms and votes after it, until somebody makes
 * room for more. */
#include "consensus/space.h"

#include "base/log.h"

enum { CHECK_MS = 100 };

static const char ballast_name[] = "ballast";

static void on_file(void *arg, const char *name, uint64_t bytes)
{
    struct engine *e = arg;
    if (strcmp(name, ballast_name) == 0) { e->has_ballast = bytes > 0; }
}

enum err space_init(struct engine *e)
{
    return e->world.disk->ops->list(e->world.disk, on_file, e);
}

uint64_t space_next_ms(const struct engine *e)
{
    return e->full_checked_ms + CHECK_MS;
}

static void ballast_submit(struct engine *e, enum disk_op op);

static void on_ballast(struct disk_job *job)
{
    struct engine *e = job->owner;
    e->ballast_is_busy = false;
    e->has_ballast = job->op == DISK_WRITE && job->err == ERR_OK;
    if (job->err == ERR_SYSTEM) {
        engine_fail(e, "the ballast could not be written or removed");
    } else if (job->op == DISK_WRITE && job->err == ERR_FULL) {
        ballast_submit(e, DISK_REMOVE); /* a part of it would be of no use to anybody */
    } else if (job->op == DISK_REMOVE && wal_is_full(e->wal)) {
        wal_retry(e->wal);
    }
}

static void ballast_submit(struct engine *e, enum disk_op op)
{
    static char nothing[1];
    e->ballast_is_busy = true;
    e->ballast_job =
        (struct disk_job){.op = op, .data = nothing, .on_done = on_ballast, .owner = e};
    e->ballast_job.create_bytes = op == DISK_WRITE ? e->opts.ballast_bytes : 0;
    memcpy(e->ballast_job.name, ballast_name, sizeof ballast_name);
    disk_submit(e->world.disk, &e->ballast_job);
}

static void keep_ballast(struct engine *e, uint64_t free_bytes)
{
    if (e->ballast_is_busy) { return; }
    if (wal_is_full(e->wal) && e->has_ballast) {
        LOG_ERROR("the disk is full: the ballast is given up",
                  LOG_UINT("bytes", e->opts.ballast_bytes));
        ballast_submit(e, DISK_REMOVE);
        return;
    }
    if (wal_is_full(e->wal)) {
        wal_retry(e->wal);
        return;
    }
    bool has_room = free_bytes >= e->opts.free_bytes_min + e->opts.ballast_bytes;
    if (!e->has_ballast && e->opts.ballast_bytes > 0 && has_room) { ballast_submit(e, DISK_WRITE); }
}

void space_tick(struct engine *e, uint64_t now_ms)
{
    if (now_ms < space_next_ms(e)) { return; }
    e->full_checked_ms = now_ms;
    uint64_t free_bytes = e->world.disk->ops->free_bytes(e->world.disk);
    bool was_full = e->is_full;
    e->is_full = wal_is_full(e->wal) || free_bytes < e->opts.free_bytes_min;
    if (e->is_full != was_full) {
        LOG_WARN(e->is_full ? "the disk is nearly full: proposals are refused"
                            : "the disk has space again: proposals are accepted",
                 LOG_UINT("free_bytes", free_bytes));
    }
    keep_ballast(e, free_bytes);
}
