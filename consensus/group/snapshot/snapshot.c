/* snapshot: the files of snapshots, and the time at which the others of this folder work.
 * Owns: names and removal of the files. Not: taking, serving, fetching and restoring them.
 * Thread: the raft thread.
 * Always: a snapshot that the log names is whole and durable in its file; a file that it names no
 * more goes when the log that says so is durable. */
#include "consensus/group/snapshot/snapshot.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "consensus/group/snapshot/snapshot_int.h"

enum {
    SWEEP_MS = 10, /* between looks at all groups */
    BACKOFF_MS_MIN = 1000,
    BACKOFF_MS_MAX = 16000,
};
enum { LOG_FOR_IMAGES_BYTES_MAX = 1 << 30 }; /* as much is read at a start within some seconds */

void snapshot_file_name(char name[DISK_NAME_BYTES], uint64_t file)
{
    snprintf(name, DISK_NAME_BYTES, "snap-%" PRIu64, file);
}

/* ---- removing files ---- */

/* A snapshot file that nothing will name once `batch` is durable. */
struct stale_file {
    struct list link;
    uint64_t file;
    uint64_t batch;
};

static void job_free(struct disk_job *job)
{
    mem_free(job);
}

void snapshot_remove_file(struct groups *all, uint64_t file)
{
    struct disk_job *job = mem_new0(sizeof *job);
    job->op = DISK_REMOVE;
    snapshot_file_name(job->name, file);
    job->on_done = job_free;
    job->on_drop = job_free;
    disk_submit(all->world.disk, job);
}

struct cleaning {
    struct groups *all;
    struct list stale;
};

static bool is_named(const struct groups *all, uint64_t file)
{
    for (struct wal_log *log = wal_log_next(all->wal, NULL); log != NULL;
         log = wal_log_next(all->wal, log)) {
        if (wal_log_snapshot(log) != NULL && wal_log_snapshot(log)->file == file) { return true; }
    }
    return false;
}

static void on_clean_file(void *arg, const char *name, uint64_t bytes)
{
    struct cleaning *cleaning = arg;
    struct groups *all = cleaning->all;
    uint64_t file;
    (void)bytes;
    if (sscanf(name, "snap-%" SCNu64, &file) != 1) { return; }
    all->next_file = file >= all->next_file ? file + 1 : all->next_file;
    if (!is_named(all, file)) {
        struct stale_file *stale = mem_new0(sizeof *stale);
        stale->file = file;
        list_push_back(&cleaning->stale, &stale->link);
    }
}

enum err snapshot_clean(struct groups *all)
{
    struct cleaning cleaning = {.all = all};
    all->next_file = 1;
    list_init(&cleaning.stale);
    enum err err = all->world.disk->ops->list(all->world.disk, on_clean_file, &cleaning);
    while (!list_is_empty(&cleaning.stale)) {
        struct stale_file *stale =
            CONTAINER_OF(list_pop_front(&cleaning.stale), struct stale_file, link);
        struct disk_job job = {.op = DISK_REMOVE};
        snapshot_file_name(job.name, stale->file);
        if (err == ERR_OK) { err = disk_run(all->world.disk, &job); }
        mem_free(stale);
    }
    return err;
}

void snapshot_forget(struct groups *all, uint64_t file)
{
    if (file == 0) { return; }
    struct stale_file *stale = mem_new0(sizeof *stale);
    stale->file = file;
    stale->batch = wal_batch(all->wal);
    list_push_back(&all->stale_files, &stale->link);
}

void snapshot_flushed(struct groups *all, uint64_t batch)
{
    LIST_EACH (at, &all->stale_files) {
        struct stale_file *stale = CONTAINER_OF(at, struct stale_file, link);
        if (stale->batch <= batch) {
            list_remove(at);
            snapshot_remove_file(all, stale->file);
            mem_free(stale);
        }
    }
}

/* ---- life and time ---- */

void snapshot_backoff_fail(struct snapshot_backoff *backoff, uint64_t now_ms)
{
    uint64_t delay_ms = (uint64_t)BACKOFF_MS_MIN << backoff->failure_count;
    if (delay_ms < BACKOFF_MS_MAX) {
        backoff->failure_count++;
    } else {
        delay_ms = BACKOFF_MS_MAX;
    }
    backoff->until_ms = now_ms + delay_ms;
}

void snapshot_end(struct groups *all)
{
    while (!list_is_empty(&all->stale_files)) {
        mem_free(CONTAINER_OF(list_pop_front(&all->stale_files), struct stale_file, link));
    }
    snapshot_serve_end(all);
    snapshot_take_end(all);
}

void snapshot_cancel(struct group *g)
{
    snapshot_take_cancel(g);
    snapshot_restore_cancel(g);
    snapshot_fetch_cancel(g);
    snapshot_pins_end(g);
}

/* Of the log, in segments: what the options say; or, because a snapshot costs its whole image, so many that what is needed may
 * be as long as all images are. */
static uint64_t segments_max(const struct groups *all)
{
    uint64_t image_bytes = 0;
    LIST_EACH (at, &all->open) {
        const struct manifest *last = wal_log_snapshot(CONTAINER_OF(at, struct group, link)->log);
        image_bytes += last != NULL ? last->bytes : 0;
    }
    if (image_bytes > LOG_FOR_IMAGES_BYTES_MAX) { image_bytes = LOG_FOR_IMAGES_BYTES_MAX; }
    uint64_t needed = image_bytes / 3 * 4 / all->opts.segment_bytes; /* three quarters are in use */
    return needed > all->opts.segments_max ? needed : all->opts.segments_max;
}

void snapshot_tick(struct groups *all, uint64_t now_ms)
{
    snapshot_serve_tick(all, now_ms);
    if (now_ms < all->swept_ms + SWEEP_MS) { return; }
    all->swept_ms = now_ms;
    uint64_t log_segments_max = segments_max(all);
    if (all->space.is_low) {
        wal_drop_trailing(all->wal);
    } else {
        wal_clean(all->wal, log_segments_max);
    }
    LIST_EACH (at, &all->open) {
        struct group *g = CONTAINER_OF(at, struct group, link);
        if (g->state == GROUP_RUNNING) {
            snapshot_fetch_tick(g);
            snapshot_pins_tick(g, now_ms);
        }
    }
    snapshot_take_tick(all, now_ms, log_segments_max);
}
