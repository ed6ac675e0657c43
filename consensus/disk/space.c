/* space: refuses what is new before the log meets the end of the disk, and keeps a ballast for the
 * case that it does all the same.
 * Owns: the ballast file. Not: the log, which it reaches through two callbacks. Thread: the raft
 * thread.
 * Always: below reserve_bytes proposals are refused and no snapshot grows. A flush that finds no
 * space waits, whole; giving up the ballast makes room for it, and for terms and votes after it,
 * until somebody makes room for more. */
#include "consensus/disk/space.h"

#include <string.h>

#include "base/log.h"

enum { CHECK_MS = 100 };

static const char ballast_name[] = "ballast";

static void on_file(void *arg, const char *name, uint64_t bytes)
{
    struct space *space = arg;
    if (strcmp(name, ballast_name) == 0) { space->has_ballast = bytes > 0; }
}

enum err space_init(struct space *space, const struct space_opts *opts)
{
    *space = (struct space){.opts = *opts};
    return opts->disk->ops->list(opts->disk, on_file, space);
}

uint64_t space_next_ms(const struct space *space)
{
    return space->checked_ms + CHECK_MS;
}

static uint64_t free_bytes(const struct space *space)
{
    return space->opts.disk->ops->free_bytes(space->opts.disk);
}

bool space_has_room(const struct space *space, uint64_t bytes)
{
    uint64_t kept = space->opts.reserve_bytes;
    if (!space->has_ballast) { kept += space->opts.ballast_bytes; }
    return !space->is_low && free_bytes(space) >= kept + bytes;
}

/* ---- ballast ---- */

static void ballast_submit(struct space *space, enum disk_op op);

static void on_ballast(struct disk_job *job)
{
    struct space *space = job->owner;
    const struct space_opts *opts = &space->opts;
    space->is_busy = false;
    space->has_ballast = job->op == DISK_WRITE && job->err == ERR_OK;
    if (job->err == ERR_SYSTEM) {
        opts->on_failed(opts->arg, "the ballast could not be written or removed");
    } else if (job->op == DISK_WRITE && job->err == ERR_FULL) {
        ballast_submit(space, DISK_REMOVE); /* a part of it would be of no use to anybody */
    } else if (job->op == DISK_REMOVE && opts->log_is_full(opts->arg)) {
        opts->log_retry(opts->arg);
    }
}

static void ballast_submit(struct space *space, enum disk_op op)
{
    static char nothing[1];
    space->is_busy = true;
    space->ballast_job =
        (struct disk_job){.op = op, .data = nothing, .on_done = on_ballast, .owner = space};
    space->ballast_job.create_bytes = op == DISK_WRITE ? space->opts.ballast_bytes : 0;
    memcpy(space->ballast_job.name, ballast_name, sizeof ballast_name);
    disk_submit(space->opts.disk, &space->ballast_job);
}

static void keep_ballast(struct space *space, uint64_t bytes_free)
{
    const struct space_opts *opts = &space->opts;
    if (space->is_busy) { return; }
    bool log_is_full = opts->log_is_full(opts->arg);
    if (log_is_full && space->has_ballast) {
        LOG_ERROR("the disk is full: the ballast is given up",
                  LOG_UINT("bytes", opts->ballast_bytes));
        ballast_submit(space, DISK_REMOVE);
        return;
    }
    if (log_is_full) {
        opts->log_retry(opts->arg);
        return;
    }
    bool has_room = bytes_free >= opts->reserve_bytes + opts->ballast_bytes;
    if (!space->has_ballast && opts->ballast_bytes > 0 && has_room) {
        ballast_submit(space, DISK_WRITE);
    }
}

void space_tick(struct space *space, uint64_t now_ms)
{
    if (now_ms < space_next_ms(space)) { return; }
    space->checked_ms = now_ms / CHECK_MS * CHECK_MS; /* as others that look at such intervals */
    uint64_t bytes_free = free_bytes(space);
    bool was_low = space->is_low;
    space->is_low =
        space->opts.log_is_full(space->opts.arg) || bytes_free < space->opts.reserve_bytes;
    if (space->is_low != was_low) {
        LOG_WARN(space->is_low ? "the disk is nearly full: proposals are refused"
                               : "the disk has space again: proposals are accepted",
                 LOG_UINT("free_bytes", bytes_free));
    }
    keep_ballast(space, bytes_free);
}
