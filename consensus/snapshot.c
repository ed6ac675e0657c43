/* snapshot: takes, serves, fetches and restores snapshots, one chunk at a time.
 * Owns: the snapshot files. Not: their contents, which are the state machine's, nor when the library wants one.
 * Thread: the raft thread; chunks are read and written on the disk's threads.
 * Always: a snapshot named in the log is whole and durable in its file; a fetch goes on where it stopped as long as its
 * manifest is the same, and its data is checked as a whole before it is used. A node fetches one snapshot at a time and
 * sends no more than bulk_bytes_per_s. */
#include "consensus/snapshot.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "consensus/crc32c.h"
#include "consensus/group.h"
#include "consensus/group_int.h"
#include "consensus/guards.h"

enum {
    PULLS_MAX = 64,
    FETCH_STALL_FACTOR = 10, /* election timeouts without progress until a fetch is given up */
    PULLED_HOLD_FACTOR =
        5, /* election timeouts for which a snapshot that is being fetched is not replaced */
    PULLED_LOG_FACTOR = 4, /* unless the log has grown to this many times its limit */
};

static void file_name(char name[DISK_NAME_BYTES], uint64_t file)
{
    snprintf(name, DISK_NAME_BYTES, "snap-%" PRIu64, file);
}

static void fail(struct engine *e, const char *what)
{
    if (!e->is_broken) {
        e->is_broken = true;
        e->world.on_fatal(e->world.arg, what);
    }
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

static void remove_file(struct engine *e, uint64_t file)
{
    struct disk_job *job = mem_new0(sizeof *job);
    job->op = DISK_REMOVE;
    file_name(job->name, file);
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
        file_name(job.name, stale->file);
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
            remove_file(e, stale->file);
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
    bool is_ended; /* the image has no more */
};

static void take_free(struct snapshot_take *take)
{
    if (take->group != NULL) { take->group->take = NULL; }
    take->ops->snapshot_end(take->image);
    manifest_fini(&take->manifest);
    mem_free(take->buffer);
    mem_free(take);
}

static void take_drop(struct disk_job *job)
{
    take_free(job->owner);
}

/* On a disk thread, before the write: the next piece of the image. */
static void take_fill(struct disk_job *job)
{
    struct snapshot_take *take = job->owner;
    size_t bytes = 0;
    take->read_err = take->ops->snapshot_read(take->image, take->buffer, take->chunk_bytes, &bytes);
    job->len = take->read_err == ERR_OK ? bytes : 0;
    take->is_ended = job->len == 0;
    job->sync = take->is_ended;
    job->sync_name = take->is_ended;
}

static void take_finish(struct snapshot_take *take)
{
    struct group *g = take->group;
    if (g == NULL || g->state != GROUP_RUNNING || g->is_installing) {
        remove_file(take->engine, take->manifest.file);
        take_free(take);
        return;
    }
    uint64_t old_file = wal_log_snapshot(g->log) != NULL ? wal_log_snapshot(g->log)->file : 0;
    uint64_t index = take->manifest.index;
    uint64_t first = index > take->trailing ? index - take->trailing + 1 : 1;
    first = first > wal_log_first_index(g->log) ? first : wal_log_first_index(g->log);
    struct raft_event event = {.type = RAFT_SNAPSHOT, .snapshot.trailing = take->trailing};
    if (!group_metadata(&event.snapshot.metadata, &take->manifest)) {
        group_stop(g, "the configuration of a snapshot cannot be read");
    } else {
        wal_put_snapshot(take->engine->wal, g->log, &take->manifest, first, false);
        (void)group_step(g, &event, NULL);
    }
    if (old_file != 0) { snapshot_forget(g->engine, old_file); }
    take_free(take);
}

static void take_step(struct snapshot_take *take);

static void on_take_written(struct disk_job *job)
{
    struct snapshot_take *take = job->owner;
    if (take->group == NULL || job->err == ERR_FULL || take->read_err != ERR_OK) {
        LOG_WARN("a snapshot was given up", LOG_STR("err", err_word(job->err)));
        remove_file(take->engine, take->manifest.file);
        take_free(take);
        return;
    }
    if (job->err != ERR_OK) {
        fail(take->engine, "a snapshot could not be written");
        take_free(take);
        return;
    }
    take->manifest.crc = crc32c(take->manifest.crc, take->buffer, job->len);
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
    file_name(job->name, take->manifest.file);
    disk_submit(take->engine->world.disk, job);
}

void snapshot_take_start(struct group *g, unsigned trailing)
{
    const struct manifest *old = wal_log_snapshot(g->log);
    bool is_new = g->applied > (old != NULL ? old->index : 0) && g->applied_conf.len > 0;
    if (g->take != NULL || g->fetch != NULL || g->is_installing || g->state != GROUP_RUNNING ||
        !is_new) {
        return;
    }
    if (g->conf_scanned < g->applied) { return; }
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
    char to_name[64];
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
    file_name(pull->job.name, snapshot->file);
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
    group_send(g, id, node_name, &offer, guard_term_gate(g));
}

/* ---- fetching ---- */

struct snapshot_fetch {
    struct disk_job job;
    struct engine *engine;
    struct group *group; /* NULL: the group has gone */
    char from_name[64];
    uint64_t from;
    uint64_t term; /* of the leader that offered it */
    struct manifest manifest;
    uint64_t offset;
    uint32_t crc;
    uint64_t asked_ms;
    uint64_t progress_ms;
    bool is_active; /* not only remembered */
    bool is_busy;   /* the job is in flight */
    bool is_given_up;
    bool is_whole; /* checked and durable */
    char *chunk;
};

/* Let another group fetch. */
static void fetch_resign(struct snapshot_fetch *fetch)
{
    if (fetch->engine->fetching == fetch) { fetch->engine->fetching = NULL; }
}

static void fetch_free(struct snapshot_fetch *fetch)
{
    if (fetch->group != NULL) { /* else the engine may be gone, too */
        fetch->group->fetch = NULL;
        fetch_resign(fetch);
    }
    manifest_fini(&fetch->manifest);
    mem_free(fetch->chunk);
    mem_free(fetch);
}

static void fetch_drop(struct disk_job *job)
{
    fetch_free(job->owner);
}

/* Give it up; a job in flight ends first. */
static void fetch_abandon(struct snapshot_fetch *fetch)
{
    if (fetch->is_busy) {
        fetch->is_given_up = true;
        return;
    }
    if (fetch->is_active) { remove_file(fetch->engine, fetch->manifest.file); }
    fetch_free(fetch);
}

static void fetch_ask(struct snapshot_fetch *fetch)
{
    struct group *g = fetch->group;
    struct message pull = {
        .kind = MESSAGE_SNAPSHOT_PULL, .index = fetch->manifest.index, .offset = fetch->offset};
    fetch->asked_ms = group_now_ms(g);
    group_send(g, fetch->from, fetch->from_name, &pull, 0);
}

static bool has_already(const struct group *g, const struct manifest *offered)
{
    const struct manifest *own = wal_log_snapshot(g->log);
    return (own != NULL && own->index >= offered->index) ||
           wal_log_term(g->log, offered->index) == offered->term;
}

/* The snapshot is here: one InstallSnapshot tells the library. */
static void fetch_step(struct snapshot_fetch *fetch)
{
    struct group *g = fetch->group;
    struct message stale;
    if (guard_stale_term(g, fetch->term, &stale) || g->is_installing || g->state != GROUP_RUNNING) {
        return; /* a new leader offers it again, or another one */
    }
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = fetch->from};
    message.server_address = fetch->from_name;
    message.install_snapshot = (struct raft_install_snapshot){
        .version = 1,
        .term = fetch->term,
        .last_index = fetch->manifest.index,
        .last_term = fetch->manifest.term,
        .conf_index = fetch->manifest.conf_index,
        .data = {raft_malloc(1), 1},
    };
    if (!group_conf_decode(buf_slice(&fetch->manifest.conf), &message.install_snapshot.conf)) {
        raft_free(message.install_snapshot.data.base);
        fetch_abandon(fetch);
        return;
    }
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message};
    (void)group_step(g, &event, NULL);
    if (g->fetch == fetch) { /* the library had it all: nothing was installed */
        fetch_abandon(fetch);
    }
}

static void fetch_submit(struct snapshot_fetch *fetch)
{
    fetch->is_busy = true;
    disk_submit(fetch->engine->world.disk, &fetch->job);
}

/* Common end of a fetch's jobs. False: there is nothing more to do. */
static bool fetch_job_ended(struct snapshot_fetch *fetch)
{
    fetch->is_busy = false;
    if (fetch->job.err == ERR_SYSTEM) { fail(fetch->engine, "a snapshot could not be written"); }
    if (fetch->group == NULL) {
        remove_file(fetch->engine, fetch->manifest.file);
        fetch_free(fetch);
        return false;
    }
    if (fetch->job.err != ERR_OK || fetch->is_given_up) {
        fetch_abandon(fetch);
        return false;
    }
    return true;
}

static void on_fetch_synced(struct disk_job *job)
{
    struct snapshot_fetch *fetch = job->owner;
    if (fetch_job_ended(fetch)) {
        fetch->is_whole = true;
        fetch_step(fetch);
    }
}

static void fetch_write(struct snapshot_fetch *fetch, size_t bytes,
                        void (*on_done)(struct disk_job *job));

static void fetch_next(struct snapshot_fetch *fetch)
{
    if (fetch->offset < fetch->manifest.bytes) {
        fetch_ask(fetch);
        return;
    }
    if (fetch->crc != fetch->manifest.crc) {
        LOG_WARN("a snapshot arrived damaged", LOG_UINT("group", fetch->group->id),
                 LOG_STR("from", fetch->from_name));
        fetch_abandon(fetch);
        return;
    }
    fetch_write(fetch, 0, on_fetch_synced);
}

static void on_fetch_written(struct disk_job *job)
{
    struct snapshot_fetch *fetch = job->owner;
    if (!fetch_job_ended(fetch)) { return; }
    fetch->crc = crc32c(fetch->crc, fetch->chunk, job->len);
    fetch->offset += job->len;
    fetch->progress_ms = group_now_ms(fetch->group);
    fetch_next(fetch);
}

/* Write `bytes` of the chunk at the offset; no bytes: make all durable. */
static void fetch_write(struct snapshot_fetch *fetch, size_t bytes,
                        void (*on_done)(struct disk_job *job))
{
    fetch->job = (struct disk_job){
        .op = DISK_WRITE,
        .offset = fetch->offset,
        .create_bytes = fetch->offset == 0 ? 1 : 0,
        .data = fetch->chunk,
        .len = bytes,
        .sync = bytes == 0,
        .sync_name = bytes == 0,
        .on_done = on_done,
        .on_drop = fetch_drop,
        .owner = fetch,
    };
    file_name(fetch->job.name, fetch->manifest.file);
    fetch_submit(fetch);
}

static bool is_same(const struct manifest *a, const struct manifest *b)
{
    return a->index == b->index && a->term == b->term && a->bytes == b->bytes && a->crc == b->crc;
}

/* Begin if no other snapshot is being fetched on this node; else it is only remembered. */
static void fetch_begin(struct snapshot_fetch *fetch)
{
    if (fetch->is_active || fetch->engine->fetching != NULL) { return; }
    fetch->engine->fetching = fetch;
    fetch->is_active = true;
    fetch->manifest.file = fetch->engine->next_file++;
    fetch->progress_ms = group_now_ms(fetch->group);
    fetch_next(fetch);
}

static struct snapshot_fetch *fetch_new(struct group *g, const struct manifest *manifest)
{
    struct snapshot_fetch *fetch = mem_new0(sizeof *fetch);
    fetch->engine = g->engine;
    fetch->group = g;
    manifest_copy(&fetch->manifest, manifest);
    fetch->chunk = mem_new(g->engine->opts.chunk_bytes);
    g->fetch = fetch;
    return fetch;
}

void snapshot_on_offer(struct group *g, const char *from_name, const struct message *m)
{
    struct message reply;
    if (guard_stale_term(g, m->term, &reply)) {
        group_send(g, m->from, from_name, &reply, guard_term_gate(g));
        return;
    }
    if (g->is_installing) { return; }
    struct snapshot_fetch *fetch = g->fetch;
    if (fetch != NULL && !is_same(&fetch->manifest, &m->manifest)) {
        fetch_abandon(fetch);
        if (g->fetch != NULL) { return; /* busy: the next offer finds it gone */ }
        fetch = NULL;
    }
    if (fetch == NULL) { fetch = fetch_new(g, &m->manifest); }
    fetch->from = m->from;
    fetch->term = m->term;
    snprintf(fetch->from_name, sizeof fetch->from_name, "%s", from_name);
    g->heard_ms = group_now_ms(g);
    if (fetch->is_whole || (!fetch->is_active && has_already(g, &m->manifest))) {
        fetch_step(fetch);
        return;
    }
    fetch_begin(fetch);
}

void snapshot_on_chunk(struct group *g, const struct message *m)
{
    struct snapshot_fetch *fetch = g->fetch;
    if (fetch == NULL || !fetch->is_active || fetch->is_busy || fetch->is_whole) { return; }
    uint64_t rest = fetch->manifest.bytes - fetch->offset;
    bool fits =
        m->data.len > 0 && m->data.len <= rest && m->data.len <= g->engine->opts.chunk_bytes;
    if (m->index != fetch->manifest.index || m->offset != fetch->offset || !fits) { return; }
    if (crc32c(0, m->data.data, m->data.len) != m->crc) { return; /* asked for again */ }
    memcpy(fetch->chunk, m->data.data, m->data.len);
    fetch_write(fetch, m->data.len, on_fetch_written);
}

void snapshot_install(struct group *g)
{
    struct snapshot_fetch *fetch = g->fetch;
    CHECK(fetch != NULL && fetch->is_whole && !fetch->is_busy);
    const struct manifest *old = wal_log_snapshot(g->log);
    if (old != NULL) { snapshot_forget(g->engine, old->file); }
    if (g->take != NULL) {
        g->take->group = NULL;
        g->take = NULL;
    }
    wal_read_cancel(g->log);
    wal_put_snapshot(g->engine->wal, g->log, &fetch->manifest, fetch->manifest.index + 1, true);
    g->install_batch = wal_batch(g->engine->wal);
    g->restore_is_due = true;
    LOG_INFO("a snapshot is installed", LOG_UINT("group", g->id),
             LOG_UINT("index", fetch->manifest.index), LOG_UINT("bytes", fetch->manifest.bytes));
    fetch_free(fetch);
}

/* ---- restoring ---- */

struct snapshot_restore {
    struct disk_job job;
    struct group *group; /* NULL: the group has gone */
    uint64_t offset;
    uint32_t crc;
    char *buffer;
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
    if (job->len > 0 &&
        g->fsm_ops->restore_write(g->fsm, slice_of(job->data, job->len)) != ERR_OK) {
        restore_failed(restore);
        return;
    }
    restore_step(restore);
}

static void restore_step(struct snapshot_restore *restore)
{
    struct group *g = restore->group;
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    uint64_t rest = snapshot->bytes - restore->offset;
    if (rest == 0) {
        bool ok = restore->crc == snapshot->crc &&
                  g->fsm_ops->restore_end(g->fsm, snapshot->index) == ERR_OK;
        if (!ok) {
            restore_failed(restore);
            return;
        }
        restore_free(restore);
        group_restored(g);
        return;
    }
    restore->job = (struct disk_job){
        .op = DISK_READ,
        .offset = restore->offset,
        .data = restore->buffer,
        .len = rest < g->engine->opts.chunk_bytes ? rest : g->engine->opts.chunk_bytes,
        .on_done = on_restore_read,
        .on_drop = restore_drop,
        .owner = restore,
    };
    file_name(restore->job.name, snapshot->file);
    disk_submit(g->engine->world.disk, &restore->job);
}

void snapshot_restore_start(struct group *g)
{
    struct snapshot_restore *restore = mem_new0(sizeof *restore);
    restore->group = g;
    restore->buffer = mem_new(g->engine->opts.chunk_bytes);
    g->restore = restore;
    g->fsm_ops->restore_begin(g->fsm);
    restore_step(restore);
}

void snapshot_cancel(struct group *g)
{
    if (g->take != NULL) {
        g->take->group = NULL;
        g->take = NULL;
    }
    if (g->restore != NULL) {
        g->restore->group = NULL;
        g->restore = NULL;
    }
    if (g->fetch != NULL) {
        struct snapshot_fetch *fetch = g->fetch;
        if (fetch->is_busy) {
            fetch_resign(fetch);
            fetch->group = NULL;
            g->fetch = NULL;
        } else {
            fetch_free(fetch);
        }
    }
}

/* ---- time ---- */

static void tick_fetch(struct group *g, uint64_t now_ms)
{
    struct snapshot_fetch *fetch = g->fetch;
    uint64_t election_ms = g->engine->opts.election_ms;
    if (fetch == NULL || fetch->is_busy) { return; }
    if (!fetch->is_active) {
        fetch_begin(fetch);
        return;
    }
    if (now_ms >= fetch->progress_ms + election_ms * FETCH_STALL_FACTOR) {
        fetch_abandon(fetch);
    } else if (!fetch->is_whole && now_ms >= fetch->asked_ms + election_ms) {
        fetch_ask(fetch);
    }
}

static void tick_take(struct group *g, uint64_t now_ms)
{
    const struct engine_opts *opts = &g->engine->opts;
    uint64_t bytes = wal_log_live_bytes(g->log);
    bool is_pulled = g->pulled_ms != 0 &&
                     now_ms < g->pulled_ms + (uint64_t)opts->election_ms * PULLED_HOLD_FACTOR;
    if (bytes >= opts->snapshot_log_bytes &&
        (!is_pulled || bytes >= opts->snapshot_log_bytes * PULLED_LOG_FACTOR)) {
        snapshot_take_start(g, opts->trailing_entries);
    }
}

/* A group that holds an old segment back takes a snapshot with nothing behind it; an idle one needs an entry first. */
static void tick_laggard(struct engine *e)
{
    struct group *g = engine_group(e, wal_laggard(e->wal, e->opts.segments_max));
    if (g == NULL || g->state != GROUP_RUNNING) { return; }
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    bool is_idle = snapshot != NULL && snapshot->index == g->applied;
    if (is_idle && group_owns_term(g) && wal_log_last_index(g->log) == g->applied) {
        (void)group_submit(g, RAFT_BARRIER, slice_of("", 0));
    }
    snapshot_take_start(g, 0);
}

void snapshot_tick(struct engine *e, uint64_t now_ms)
{
    serve_pulls(e, now_ms);
    tick_laggard(e);
    LIST_EACH (at, &e->groups) {
        struct group *g = CONTAINER_OF(at, struct group, link);
        if (g->state == GROUP_RUNNING) {
            tick_fetch(g, now_ms);
            tick_take(g, now_ms);
        }
    }
}
