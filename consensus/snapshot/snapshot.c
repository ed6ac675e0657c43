/* snapshot: takes and serves snapshots, one chunk at a time (snapshot_fetch.c: the other end).
 * Owns: the snapshot files. Not: their contents, which are the state machine's, nor when the
 * library wants one. Thread: the raft thread; chunks are read and written on the disk's threads.
 * Always: a snapshot that the log names is whole and durable in its file; no more than
 * bulk_bytes_per_s leave this node. */
#include "consensus/snapshot/snapshot.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/crc32c.h"
#include "consensus/group/group.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"
#include "consensus/snapshot/snapshot_int.h"

enum {
    PULLS_MAX = 64,
    SYNC_BYTES = 4 << 20,
    SWEEP_MS = 10, /* between looks at all groups */
    PULLED_HOLD_FACTOR =
        5,                 /* election timeouts: a snapshot that somebody fetches is not replaced */
    PULLED_LOG_FACTOR = 4, /* unless the log has grown to this many times its limit */
};

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

void snapshot_remove_file(struct engine *e, uint64_t file)
{
    struct disk_job *job = mem_new0(sizeof *job);
    job->op = DISK_REMOVE;
    snapshot_file_name(job->name, file);
    job->on_done = job_free;
    job->on_drop = job_free;
    disk_submit(e->world.disk, job);
}

struct cleaning {
    struct engine *e;
    struct list stale;
};

static bool is_named(const struct engine *e, uint64_t file)
{
    for (struct wal_log *log = wal_log_next(e->wal, NULL); log != NULL;
         log = wal_log_next(e->wal, log)) {
        if (wal_log_snapshot(log) != NULL && wal_log_snapshot(log)->file == file) { return true; }
    }
    return false;
}

static void on_clean_file(void *arg, const char *name, uint64_t bytes)
{
    struct cleaning *cleaning = arg;
    struct engine *e = cleaning->e;
    uint64_t file;
    (void)bytes;
    if (sscanf(name, "snap-%" SCNu64, &file) != 1) { return; }
    e->next_file = file >= e->next_file ? file + 1 : e->next_file;
    if (!is_named(e, file)) {
        struct stale_file *stale = mem_new0(sizeof *stale);
        stale->file = file;
        list_push_back(&cleaning->stale, &stale->link);
    }
}

enum err snapshot_clean(struct engine *e)
{
    struct cleaning cleaning = {.e = e};
    e->next_file = 1;
    list_init(&cleaning.stale);
    enum err err = e->world.disk->ops->list(e->world.disk, on_clean_file, &cleaning);
    while (!list_is_empty(&cleaning.stale)) {
        struct stale_file *stale =
            CONTAINER_OF(list_pop_front(&cleaning.stale), struct stale_file, link);
        struct disk_job job = {.op = DISK_REMOVE};
        snapshot_file_name(job.name, stale->file);
        if (err == ERR_OK) { err = disk_run(e->world.disk, &job); }
        mem_free(stale);
    }
    return err;
}

void snapshot_forget(struct engine *e, uint64_t file)
{
    struct stale_file *stale = mem_new0(sizeof *stale);
    stale->file = file;
    stale->batch = wal_batch(e->wal);
    list_push_back(&e->stale_files, &stale->link);
}

void snapshot_flushed(struct engine *e, uint64_t batch)
{
    LIST_EACH (at, &e->stale_files) {
        struct stale_file *stale = CONTAINER_OF(at, struct stale_file, link);
        if (stale->batch <= batch) {
            list_remove(at);
            snapshot_remove_file(e, stale->file);
            mem_free(stale);
        }
    }
}

/* ---- taking ---- */

struct snapshot_take {
    struct disk_job job;
    struct engine *engine;
    struct group *group; /* NULL: the group has gone, or does not want it any more */
    const struct fsm_ops *ops;
    void *image;
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
    g->engine->taking = NULL;
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

static void take_finish(struct snapshot_take *take)
{
    struct group *g = take->group;
    if (g == NULL || g->state != GROUP_RUNNING || g->is_installing) {
        snapshot_remove_file(take->engine, take->manifest.file);
        take_free(take);
        return;
    }
    uint64_t index = take->manifest.index;
    uint64_t first = index > take->trailing ? index - take->trailing + 1 : 1;
    first = first > wal_log_first_index(g->log) ? first : wal_log_first_index(g->log);
    struct raft_event event = {.type = RAFT_SNAPSHOT, .snapshot.trailing = take->trailing};
    CHECK(group_metadata(&event.snapshot.metadata, &take->manifest)); /* it was in force */
    const struct manifest *old = wal_log_snapshot(g->log);
    if (old != NULL) { snapshot_forget(take->engine, old->file); }
    wal_put_snapshot(take->engine->wal, g->log, &take->manifest, first, false);
    metric_add(METRIC_raft_snapshots_taken_total, 1);
    (void)group_step(g, &event, NULL);
    take_free(take);
}

static void take_step(struct snapshot_take *take);

static void on_take_written(struct disk_job *job)
{
    struct snapshot_take *take = job->owner;
    if (take->group == NULL || job->err == ERR_FULL || take->read_err != ERR_OK) {
        LOG_WARN("a snapshot was given up", LOG_STR("err", err_word(job->err)));
        snapshot_remove_file(take->engine, take->manifest.file);
        take_free(take);
        return;
    }
    if (job->err != ERR_OK) {
        engine_fail(take->engine, "a snapshot could not be written");
        take_free(take);
        return;
    }
    take->manifest.bytes += job->len;
    if (take->is_ended) {
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
    disk_submit(take->engine->world.disk, job);
}

/* Is none being taken on this node, and would one hold anything new? */
static bool may_take(const struct group *g)
{
    const struct manifest *old = wal_log_snapshot(g->log);
    bool is_new = g->applied > (old != NULL ? old->index : 0) && g->applied_conf.len > 0;
    /* A volatile machine may be ahead of what is durable here; what stands for the log is not. */
    bool is_durable = g->applied <= g->raft.last_stored && g->applied <= g->conf_scanned;
    return g->engine->taking == NULL && g->fetch == NULL && !g->is_installing &&
           g->state == GROUP_RUNNING && is_new && is_durable;
}

/* Take a snapshot of what is applied. */
static void take_start(struct group *g, unsigned trailing)
{
    CHECK(may_take(g));
    struct snapshot_take *take = mem_new0(sizeof *take);
    take->engine = g->engine;
    take->group = g;
    take->ops = g->fsm_ops;
    take->trailing = trailing;
    take->chunk_bytes = g->engine->opts.chunk_bytes;
    take->buffer = mem_new(take->chunk_bytes);
    take->manifest = (struct manifest){.index = g->applied, .conf_index = g->applied_conf_index};
    take->manifest.file = g->engine->next_file++;
    take->manifest.term = wal_log_term(g->log, g->applied);
    CHECK(take->manifest.term != 0);
    buf_append(&take->manifest.conf, buf_slice(&g->applied_conf));
    take->image = g->fsm_ops->snapshot_begin(g->fsm);
    g->take = take;
    g->engine->taking = take;
    take_step(take);
}

/* ---- serving ---- */

/* A request for a piece of our snapshot. */
struct snapshot_pull {
    struct list link; /* engine->pulls while it waits for the rate */
    struct disk_job job;
    struct engine *engine;
    uint64_t group;
    uint64_t to;
    char to_name[ENGINE_NAME_BYTES];
    uint64_t index;
};

static void pull_free(struct disk_job *job)
{
    mem_free(job->data);
    mem_free(job->owner);
}

static void on_pull_read(struct disk_job *job)
{
    struct snapshot_pull *pull = job->owner;
    struct group *g = engine_group(pull->engine, pull->group);
    if (g != NULL && job->err == ERR_OK && job->done_len > 0) {
        struct message chunk = {
            .group = pull->group,
            .from = g->self,
            .to = pull->to,
            .kind = MESSAGE_SNAPSHOT_CHUNK,
            .index = pull->index,
            .offset = job->offset,
            .data = slice_of(job->data, job->done_len),
            .crc = crc32c(0, job->data, job->done_len),
        };
        struct buf frame = {0};
        message_encode(&frame, &chunk);
        pull->engine->world.send(pull->engine->world.arg, pull->to_name, buf_slice(&frame), true);
        buf_fini(&frame);
        metric_add(METRIC_raft_snapshot_sent_bytes_total, job->done_len);
    }
    pull_free(job);
}

static void pull_serve(struct snapshot_pull *pull)
{
    struct disk_job *job = &pull->job;
    job->data = mem_new(job->len);
    disk_submit(pull->engine->world.disk, job);
}

void snapshot_on_pull(struct group *g, const char *from_name, const struct message *m)
{
    struct engine *e = g->engine;
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    if (snapshot == NULL || g->is_installing) { return; }
    if (snapshot->index != m->index || m->offset >= snapshot->bytes) {
        if (group_is_leader(g)) {
            snapshot_offer(g, m->from, from_name); /* there is a newer one */
        }
        return;
    }
    size_t waiting = 0;
    LIST_EACH (at, &e->pulls) {
        struct snapshot_pull *other = CONTAINER_OF(at, struct snapshot_pull, link);
        waiting++;
        if (other->group == g->id && other->to == m->from) { return; /* asked twice */ }
    }
    if (waiting >= PULLS_MAX) { return; }
    struct snapshot_pull *pull = mem_new0(sizeof *pull);
    uint64_t rest = snapshot->bytes - m->offset;
    pull->engine = e;
    pull->group = g->id;
    pull->to = m->from;
    pull->index = m->index;
    snprintf(pull->to_name, sizeof pull->to_name, "%s", from_name);
    pull->job = (struct disk_job){
        .op = DISK_READ, .offset = m->offset, .on_done = on_pull_read, .on_drop = pull_free};
    pull->job.len = rest < e->opts.chunk_bytes ? rest : e->opts.chunk_bytes;
    pull->job.owner = pull;
    snapshot_file_name(pull->job.name, snapshot->file);
    g->pulled_ms = group_now_ms(g);
    list_push_back(&e->pulls, &pull->link);
}

static void serve_pulls(struct engine *e, uint64_t now_ms)
{
    double burst = (double)e->opts.chunk_bytes * 4;
    e->bulk_tokens += (double)(now_ms - e->bulk_ms) * (double)e->opts.bulk_bytes_per_s / 1000;
    e->bulk_tokens = e->bulk_tokens > burst ? burst : e->bulk_tokens;
    e->bulk_ms = now_ms;
    while (e->bulk_tokens > 0 && !list_is_empty(&e->pulls)) {
        struct snapshot_pull *pull =
            CONTAINER_OF(list_pop_front(&e->pulls), struct snapshot_pull, link);
        e->bulk_tokens -= (double)pull->job.len;
        pull_serve(pull);
    }
}

void snapshot_end(struct engine *e)
{
    while (!list_is_empty(&e->stale_files)) {
        mem_free(CONTAINER_OF(list_pop_front(&e->stale_files), struct stale_file, link));
    }
    while (!list_is_empty(&e->pulls)) {
        pull_free(&CONTAINER_OF(list_pop_front(&e->pulls), struct snapshot_pull, link)->job);
    }
}

void snapshot_offer(struct group *g, uint64_t id, const char *node_name)
{
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    if (snapshot == NULL) {
        group_stop(g, "a snapshot is wanted and there is none");
        return;
    }
    struct message offer = {
        .kind = MESSAGE_SNAPSHOT_OFFER, .term = raft_current_term(&g->raft), .manifest = *snapshot};
    g->pulled_ms = group_now_ms(g);
    metric_add(METRIC_raft_snapshots_offered_total, 1);
    group_send(g, id, node_name, &offer, guard_term_gate(g));
}

void snapshot_cancel(struct group *g)
{
    snapshot_take_cancel(g);
    snapshot_fetch_cancel(g);
}

/* ---- time ---- */

/* How many entries to keep behind a snapshot: as many as wanted, but no more than half of the bytes
 * at which the next one is due. */
static unsigned trailing_entries(const struct group *g)
{
    const struct engine_opts *opts = &g->engine->opts;
    uint64_t bytes = 0;
    unsigned count = 0;
    for (; count < opts->trailing_entries && count < g->applied; count++) {
        const struct wal_entry *entry = wal_log_entry(g->log, g->applied - count);
        if (entry == NULL || bytes + entry->len > opts->snapshot_log_bytes / 2) { break; }
        bytes += entry->len;
    }
    return count;
}

static void tick_take(struct group *g, uint64_t now_ms)
{
    const struct engine_opts *opts = &g->engine->opts;
    uint64_t bytes = wal_log_live_bytes(g->log);
    bool is_pulled = g->pulled_ms != 0 &&
                     now_ms < g->pulled_ms + (uint64_t)opts->election_ms * PULLED_HOLD_FACTOR;
    if (bytes >= opts->snapshot_log_bytes && may_take(g) &&
        (!is_pulled || bytes >= opts->snapshot_log_bytes * PULLED_LOG_FACTOR)) {
        take_start(g, trailing_entries(g));
    }
}

/* What the groups need may fill three quarters of the log: above that the one with the most takes a
 * snapshot with nothing behind it. */
static void tick_most(struct engine *e)
{
    const struct engine_opts *opts = &e->opts;
    if (wal_live_bytes(e->wal) <= opts->segments_max * opts->segment_bytes / 4 * 3) { return; }
    struct group *most = NULL;
    LIST_EACH (at, &e->groups) {
        struct group *g = CONTAINER_OF(at, struct group, link);
        bool is_more = most == NULL || wal_log_live_bytes(g->log) > wal_log_live_bytes(most->log);
        if (may_take(g) && is_more) { most = g; }
    }
    if (most != NULL) { take_start(most, 0); }
}

void snapshot_tick(struct engine *e, uint64_t now_ms)
{
    serve_pulls(e, now_ms);
    if (now_ms < e->swept_ms + SWEEP_MS) { return; }
    e->swept_ms = now_ms;
    if (e->space.is_low) {
        wal_drop_trailing(e->wal);
    } else {
        wal_clean(e->wal, e->opts.segments_max);
        tick_most(e);
    }
    LIST_EACH (at, &e->groups) {
        struct group *g = CONTAINER_OF(at, struct group, link);
        if (g->state == GROUP_RUNNING) {
            snapshot_fetch_tick(g, now_ms);
            tick_take(g, now_ms);
        }
    }
}
