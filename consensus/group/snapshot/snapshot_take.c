/* snapshot_take: writes a state machine's image to a file, and puts it at the log's beginning.
 * Owns: the one snapshot that is being taken on this node. Not: its contents, which are the state
 * machine's. Thread: the raft thread; the image is read and written on the disk's threads.
 * Always: it grows only while the disk is above its mark; one that fails is not begun again at once. */
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/group/apply.h"
#include "consensus/group/group.h"
#include "consensus/group/snapshot/snapshot_int.h"

enum {
    SYNC_BYTES = 4 << 20,
    /* A log may grow to so many times its limit while its snapshot is fetched, and where the state
     * machine keeps itself, until an image is taken all the same. */
    PULLED_LOG_FACTOR = 4,
    IMAGE_LOG_FACTOR = 4,
};

struct snapshot_take {
    struct disk_job job;
    struct groups *all;
    struct group *group; /* NULL: the group has gone, or does not want it any more */
    const struct fsm_ops *ops;
    uint64_t group_id;
    void *image; /* NULL: the state machine is making it */
    struct manifest manifest;
    unsigned trailing;
    char *buffer;
    size_t chunk_bytes;
    enum err read_err;
    size_t unsynced_bytes;
    bool is_ended; /* the image has no more */
};

void snapshot_take_cancel(struct group *g)
{
    if (g->take == NULL) { return; }
    if (g->take->image != NULL) { g->all->taking = NULL; } /* else it is waited for */
    g->take->group = NULL;
    g->take = NULL;
}

static void take_free(struct snapshot_take *take)
{
    if (take->group != NULL) {
        snapshot_take_cancel(take->group);
    } /* else the engine may be gone, too */
    take->ops->snapshot_end(take->image);
    manifest_fini(&take->manifest);
    mem_free(take->buffer);
    mem_free(take);
}

static void take_drop(struct disk_job *job)
{
    take_free(job->owner);
}

/* On a disk thread, before the write: the next piece of the image, and its checksum. */
static void take_fill(struct disk_job *job)
{
    struct snapshot_take *take = job->owner;
    size_t bytes = 0;
    take->read_err = take->ops->snapshot_read(take->image, take->buffer, take->chunk_bytes, &bytes);
    job->len = take->read_err == ERR_OK ? bytes : 0;
    take->manifest.crc = crc32c(take->manifest.crc, take->buffer, job->len);
    take->is_ended = job->len == 0;
    take->unsynced_bytes += job->len;
    job->sync = take->is_ended || take->unsynced_bytes >= SYNC_BYTES; /* not all at the end */
    job->sync_name = take->is_ended;
    take->unsynced_bytes = job->sync ? 0 : take->unsynced_bytes;
}

static void take_give_up(struct snapshot_take *take, const char *reason)
{
    LOG_WARN("a snapshot was given up", LOG_STR("reason", reason),
             LOG_UINT("bytes", take->manifest.bytes));
    if (take->group != NULL) {
        snapshot_backoff_fail(&take->group->take_backoff, group_now_ms(take->group));
    }
    snapshot_remove_file(take->all, take->manifest.file);
    take_free(take);
}

/* How long the log may get: as long as the last image, so that what is written for images is in proportion to what is
 * written to the log. While somebody fetches a snapshot, as long as that is: who fetches it as fast as the log grows, or
 * faster, then finds in the log what follows it. */
static uint64_t log_bytes_max(const struct group *g, uint64_t now_ms)
{
    const struct manifest *last = wal_log_snapshot(g->log);
    uint64_t bytes = g->all->opts.snapshot_log_bytes;
    uint64_t image_bytes = last != NULL ? last->bytes : 0;
    if (snapshot_pulled_index(g, now_ms, &image_bytes) != 0) { bytes *= PULLED_LOG_FACTOR; }
    return bytes > image_bytes ? bytes : image_bytes;
}

/* The first entry that stays in the log behind, or before, the snapshot at `index`. */
static uint64_t first_kept(const struct group *g, uint64_t index, unsigned trailing)
{
    uint64_t now_ms = group_now_ms(g);
    uint64_t bytes;
    uint64_t pulled = snapshot_pulled_index(g, now_ms, &bytes);
    uint64_t first = index > trailing ? index - trailing + 1 : 1;
    if (pulled != 0 && pulled < first && wal_log_live_bytes(g->log) < log_bytes_max(g, now_ms)) {
        first = pulled + 1;
    }
    return first > wal_log_first_index(g->log) ? first : wal_log_first_index(g->log);
}

/* The log begins with the snapshot from now on, and so does the library's, unless there was one of
 * the same index. */
static void put_snapshot(struct group *g, const struct manifest *snapshot, unsigned trailing)
{
    const struct manifest *old = wal_log_snapshot(g->log);
    bool is_newer = old == NULL || old->index < snapshot->index;
    uint64_t first = first_kept(g, snapshot->index, trailing);
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    event.snapshot.trailing = (unsigned)(snapshot->index + 1 - first);
    if (is_newer) { CHECK(group_metadata(&event.snapshot.metadata, snapshot)); }
    snapshot_retire(g);
    wal_put_snapshot(g->all->wal, g->log, snapshot, first, false);
    if (is_newer) { (void)group_step(g, &event, NULL); }
}

static void take_finish(struct snapshot_take *take)
{
    struct group *g = take->group;
    if (g->state == GROUP_RUNNING && !g->is_installing) {
        g->take_backoff = (struct snapshot_backoff){0};
        metric_add(METRIC_raft_snapshots_taken_total, 1);
        put_snapshot(g, &take->manifest, take->trailing);
    } else {
        snapshot_remove_file(take->all, take->manifest.file);
    }
    take_free(take);
}

static void take_step(struct snapshot_take *take);

static void on_take_written(struct disk_job *job)
{
    struct snapshot_take *take = job->owner;
    if (job->err == ERR_SYSTEM && take->group != NULL) {
        groups_fail(take->all, "a snapshot could not be written");
        take_free(take);
        return;
    }
    take->manifest.bytes += job->len;
    if (take->group == NULL) {
        take_give_up(take, "the group does not want it any more");
    } else if (take->read_err != ERR_OK) {
        take_give_up(take, "the state machine cannot be read");
    } else if (job->err != ERR_OK || !space_has_room(&take->all->space, take->chunk_bytes)) {
        take_give_up(take, "the disk is nearly full");
    } else if (take->is_ended) {
        take_finish(take);
    } else {
        take_step(take);
    }
}

static void take_step(struct snapshot_take *take)
{
    struct disk_job *job = &take->job;
    *job = (struct disk_job){
        .op = DISK_WRITE,
        .offset = take->manifest.bytes,
        .create_bytes = take->manifest.bytes == 0 ? 1 : 0,
        .data = take->buffer,
        .before = take_fill,
        .on_done = on_take_written,
        .on_drop = take_drop,
        .owner = take,
    };
    snapshot_file_name(job->name, take->manifest.file);
    disk_submit(take->all->world.disk, job);
}

/* ---- when ---- */

/* Has the snapshot no file, or a damaged one, and somebody needs it? */
static bool lacks_image(const struct group *g, const struct manifest *snapshot)
{
    return snapshot != NULL && !snapshot_has_image(g, snapshot) &&
           (snapshot->file != 0 || g->image_is_wanted);
}

/* Is none being taken on this node, and would one hold anything new? */
static bool may_take(const struct group *g, uint64_t now_ms)
{
    const struct manifest *old = wal_log_snapshot(g->log);
    bool is_new = g->applied > (old != NULL ? old->index : 0) || lacks_image(g, old);
    /* A volatile machine may be ahead of what is durable here; what stands for the log is not. */
    bool is_durable = g->applied <= g->raft.last_stored && g->applied <= g->conf_scanned;
    return g->all->taking == NULL && g->fetch == NULL && !g->is_installing &&
           g->state == GROUP_RUNNING && is_new && g->applied_conf.len > 0 && is_durable &&
           now_ms >= g->take_backoff.until_ms;
}

/* Take a snapshot of what is applied, if there is room for one like the last. */
static void take_start(struct group *g, unsigned trailing)
{
    const struct manifest *old = wal_log_snapshot(g->log);
    struct groups *all = g->all;
    uint64_t bytes = old != NULL ? old->bytes : 0;
    if (!space_has_room(&all->space, bytes + all->opts.chunk_bytes)) {
        snapshot_backoff_fail(&g->take_backoff, group_now_ms(g));
        return;
    }
    if (!apply_drain(g)) { return; } /* the next tick tries again */
    struct snapshot_take *take = mem_new0(sizeof *take);
    take->all = all;
    take->group = g;
    take->group_id = g->id;
    take->ops = g->fsm_ops;
    take->trailing = trailing;
    take->chunk_bytes = all->opts.chunk_bytes;
    take->buffer = mem_new(take->chunk_bytes);
    take->manifest = (struct manifest){.index = g->applied, .conf_index = g->applied_conf_index};
    take->manifest.file = all->next_file++;
    take->manifest.term = wal_log_term(g->log, g->applied);
    CHECK(take->manifest.term != 0);
    buf_append(&take->manifest.conf, buf_slice(&g->applied_conf));
    g->take = take;
    all->taking = take;
    take->image = g->fsm_ops->snapshot_begin(g->fsm);
    if (take->image != NULL) { take_step(take); }
}

bool snapshot_is_beginning(const struct groups *all)
{
    return all->taking != NULL && all->taking->image == NULL;
}

void snapshot_take_end(struct groups *all)
{
    if (!snapshot_is_beginning(all)) { return; }
    manifest_fini(&all->taking->manifest);
    mem_free(all->taking->buffer);
    mem_free(all->taking);
    all->taking = NULL;
}

void snapshot_begun(struct groups *all, uint64_t group, void *image)
{
    struct snapshot_take *take = all->taking;
    CHECK(take != NULL && take->group_id == group && take->image == NULL && image != NULL);
    take->image = image;
    if (take->group != NULL) {
        take_step(take);
    } else {
        all->taking = NULL;
        take_free(take);
    }
}

/* How many entries to keep behind a snapshot at `index`: as many as wanted, but no more than half of
 * the bytes at which the next one is due. */
static unsigned trailing_entries(const struct group *g, uint64_t index)
{
    const struct engine_opts *opts = &g->all->opts;
    uint64_t bytes = 0;
    unsigned count = 0;
    for (; count < opts->trailing_entries && count < index; count++) {
        const struct wal_entry *entry = wal_log_entry(g->log, index - count);
        if (entry == NULL || bytes + entry->len > opts->snapshot_log_bytes / 2) { break; }
        bytes += entry->len;
    }
    return count;
}

/* What the groups need may fill three quarters of the log: above that the one with the most takes a
 * snapshot with nothing behind it. */
static void take_of_most(struct groups *all, uint64_t now_ms, uint64_t segments_max)
{
    uint64_t log_bytes = segments_max * all->opts.segment_bytes;
    if (wal_live_bytes(all->wal) <= log_bytes / 4 * 3) { return; }
    struct group *most = NULL;
    LIST_EACH (at, &all->open) {
        struct group *g = CONTAINER_OF(at, struct group, link);
        bool is_more = most == NULL || wal_log_live_bytes(g->log) > wal_log_live_bytes(most->log);
        uint64_t bytes;
        bool is_pulled = snapshot_pulled_index(g, now_ms, &bytes) != 0;
        if (is_more && !is_pulled && may_take(g, now_ms)) { most = g; }
    }
    if (most != NULL) { take_start(most, 0); }
}

/* Let the log begin behind what the state machine keeps by itself. False: that is nothing new. */
static bool trim_durable(struct group *g)
{
    const struct manifest *old = wal_log_snapshot(g->log);
    bool may_put = g->take == NULL && g->fetch == NULL && !g->is_installing;
    if (!may_put || g->fsm_ops->durable_index == NULL) { return false; }
    uint64_t index = g->fsm_ops->durable_index(g->fsm);
    index = index < g->raft.last_stored ? index : g->raft.last_stored;
    index = index < g->applied ? index : g->applied;
    if (index <= (old != NULL ? old->index : 0) || index > g->conf_scanned) { return false; }
    struct manifest kept = {.index = index, .term = wal_log_term(g->log, index)};
    buf_append(&kept.conf, group_conf_at(g, index, &kept.conf_index));
    put_snapshot(g, &kept, trailing_entries(g, index));
    manifest_fini(&kept);
    return true;
}

static void tick_group(struct group *g, uint64_t now_ms)
{
    uint64_t bytes = wal_log_live_bytes(g->log);
    uint64_t bytes_max = log_bytes_max(g, now_ms);
    bool keeps_itself = g->fsm_ops->durable_index != NULL;
    if (bytes >= bytes_max && trim_durable(g)) { return; }
    if (keeps_itself) { bytes_max *= IMAGE_LOG_FACTOR; }
    bool is_due = bytes >= bytes_max || lacks_image(g, wal_log_snapshot(g->log));
    if (is_due && may_take(g, now_ms)) { take_start(g, trailing_entries(g, g->applied)); }
}

void snapshot_take_tick(struct groups *all, uint64_t now_ms, uint64_t segments_max)
{
    LIST_EACH (at, &all->open) {
        struct group *g = CONTAINER_OF(at, struct group, link);
        if (g->state == GROUP_RUNNING) { tick_group(g, now_ms); }
    }
    take_of_most(all, now_ms, segments_max);
}

void snapshot_progress_take(const struct groups *all, struct snapshot_progress *progress)
{
    if (all->taking == NULL) { return; }
    progress->taking++;
    progress->taking_bytes += all->taking->manifest.bytes;
}
