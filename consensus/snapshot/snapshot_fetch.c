/* snapshot_fetch: gets a snapshot from another node, and puts a state machine to one.
 * Owns: the one fetch and the one restore of a group. Thread: the raft thread; chunks are read and
 * written on the disk's threads.
 * Always: a fetch goes on where it stopped as long as its manifest is the same, its data is checked
 * as a whole before it is used, and a node fetches one snapshot at a time. */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/crc32c.h"
#include "consensus/group/group.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"
#include "consensus/snapshot/snapshot_int.h"

enum { FETCH_STALL_FACTOR = 10 }; /* election timeouts without progress until a fetch is given up */

/* ---- fetching ---- */

struct snapshot_fetch {
    struct disk_job job;
    struct engine *engine;
    struct group *group; /* NULL: the group has gone */
    char from_name[ENGINE_NAME_BYTES];
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
    if (fetch->is_active) { snapshot_remove_file(fetch->engine, fetch->manifest.file); }
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
    if (fetch->job.err == ERR_SYSTEM) {
        engine_fail(fetch->engine, "a snapshot could not be written");
    }
    if (fetch->group == NULL) {
        snapshot_remove_file(fetch->engine, fetch->manifest.file);
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

/* On a disk thread, before the write. */
static void fetch_sum(struct disk_job *job)
{
    struct snapshot_fetch *fetch = job->owner;
    fetch->crc = crc32c(fetch->crc, fetch->chunk, job->len);
}

static void on_fetch_written(struct disk_job *job)
{
    struct snapshot_fetch *fetch = job->owner;
    if (!fetch_job_ended(fetch)) { return; }
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
        .before = fetch_sum,
        .on_done = on_done,
        .on_drop = fetch_drop,
        .owner = fetch,
    };
    snapshot_file_name(fetch->job.name, fetch->manifest.file);
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
    snapshot_take_cancel(g);
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
    snapshot_file_name(restore->job.name, snapshot->file);
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

void snapshot_fetch_cancel(struct group *g)
{
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

void snapshot_fetch_tick(struct group *g, uint64_t now_ms)
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
