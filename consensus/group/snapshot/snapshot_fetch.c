/* snapshot_fetch: gets a snapshot from another node.
 * Owns: the one fetch of a group. Thread: the raft thread; pieces are written on the disk's threads.
 * Always: a fetch that makes progress is finished, whatever newer snapshot is offered meanwhile and
 * by whom; its data is checked as a whole before it is used; FETCHES_MAX groups of a node fetch at a
 * time, FETCH_WINDOW pieces ahead each, and only while the disk is above its mark. */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/group/apply.h"
#include "consensus/group/group.h"
#include "consensus/group/guards.h"
#include "consensus/group/snapshot/snapshot_int.h"

enum {
    FETCHES_MAX = 4,
    FETCH_WINDOW = 16,
    /* Election timeouts without progress until pieces are asked for again, another offer is taken
     * instead, and the fetch is given up. */
    FETCH_AGAIN_FACTOR = 1,
    FETCH_SWITCH_FACTOR = 2,
    FETCH_STALL_FACTOR = 10,
};

struct snapshot_fetch {
    struct disk_job job;
    struct groups *all;
    struct group *group; /* NULL: the group has gone */
    uint64_t from;       /* who has it */
    char from_name[ENGINE_NAME_BYTES];
    uint64_t leader; /* on whose word it is installed: who offered a snapshot last */
    char leader_name[ENGINE_NAME_BYTES];
    uint64_t term; /* of that leader */
    struct manifest manifest;
    uint64_t offset; /* written up to here */
    uint64_t asked;  /* and asked for up to here, at most the window ahead */
    uint32_t crc;
    uint64_t asked_ms;
    uint64_t progress_ms;
    bool is_active; /* not only remembered */
    bool is_busy;   /* the job is in flight */
    bool is_given_up;
    bool is_whole;               /* checked and durable */
    char *window;                /* FETCH_WINDOW pieces, while it is active */
    uint32_t here[FETCH_WINDOW]; /* the bytes that have come of each; 0: none */
};

/* ---- its end ---- */

/* Let another group fetch. */
static void fetch_resign(struct snapshot_fetch *fetch)
{
    if (fetch->is_active) {
        CHECK(fetch->all->fetch_count > 0);
        fetch->all->fetch_count--;
    }
    fetch->is_active = false;
}

static void fetch_free(struct snapshot_fetch *fetch)
{
    if (fetch->group != NULL) { /* else the engine may be gone, too */
        fetch->group->fetch = NULL;
        fetch_resign(fetch);
    }
    manifest_fini(&fetch->manifest);
    mem_free(fetch->window);
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
    if (fetch->is_active) { snapshot_remove_file(fetch->all, fetch->manifest.file); }
    fetch_free(fetch);
}

static void fetch_fail(struct snapshot_fetch *fetch, const char *reason)
{
    LOG_WARN("the fetching of a snapshot was given up", LOG_UINT("group", fetch->group->id),
             LOG_STR("from", fetch->from_name), LOG_STR("reason", reason),
             LOG_UINT("bytes", fetch->offset), LOG_UINT("of", fetch->manifest.bytes));
    snapshot_backoff_fail(&fetch->group->fetch_backoff, group_now_ms(fetch->group));
    fetch_abandon(fetch);
}

/* ---- asking ---- */

static size_t chunk_bytes(const struct snapshot_fetch *fetch)
{
    return fetch->all->opts.chunk_bytes;
}

/* Of the piece at `offset`. */
static size_t slot_of(const struct snapshot_fetch *fetch, uint64_t offset)
{
    return offset / chunk_bytes(fetch) % FETCH_WINDOW;
}

static size_t piece_bytes(const struct snapshot_fetch *fetch, uint64_t offset)
{
    uint64_t rest = fetch->manifest.bytes - offset;
    return rest < chunk_bytes(fetch) ? rest : chunk_bytes(fetch);
}

static void ask_for(struct snapshot_fetch *fetch, uint64_t offset)
{
    struct message pull = {
        .kind = MESSAGE_SNAPSHOT_PULL,
        .index = fetch->manifest.index,
        .snapshot_crc = fetch->manifest.crc,
        .offset = offset,
    };
    fetch->asked_ms = group_now_ms(fetch->group);
    group_send(fetch->group, fetch->from, fetch->from_name, &pull, 0);
}

/* Ask as far ahead as the window allows. */
static void ask_ahead(struct snapshot_fetch *fetch)
{
    uint64_t end = fetch->offset + FETCH_WINDOW * chunk_bytes(fetch);
    while (fetch->asked < end && fetch->asked < fetch->manifest.bytes) {
        ask_for(fetch, fetch->asked);
        fetch->asked += piece_bytes(fetch, fetch->asked);
    }
}

/* What was asked for did not come. */
static void ask_again(struct snapshot_fetch *fetch)
{
    for (uint64_t at = fetch->offset; at < fetch->asked; at += piece_bytes(fetch, at)) {
        if (fetch->here[slot_of(fetch, at)] == 0) { ask_for(fetch, at); }
    }
}

/* ---- the whole of it ---- */

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
    if (fetch->is_whole && !apply_drain(g)) { return; } /* the next tick tries again */
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = fetch->leader};
    message.server_address = fetch->leader_name;
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
        fetch_fail(fetch, "its configuration cannot be read");
        return;
    }
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message};
    (void)group_step(g, &event, NULL);
    if (g->fetch == fetch) { /* the library had it all: nothing was installed */
        fetch_abandon(fetch);
    }
}

/* Common end of a fetch's jobs. False: there is nothing more to do. */
static bool fetch_job_ended(struct snapshot_fetch *fetch)
{
    fetch->is_busy = false;
    if (fetch->job.err == ERR_SYSTEM) {
        groups_fail(fetch->all, "a snapshot could not be written");
    }
    if (fetch->group == NULL) {
        snapshot_remove_file(fetch->all, fetch->manifest.file);
        fetch_free(fetch);
        return false;
    }
    if (fetch->is_given_up) {
        fetch_abandon(fetch);
        return false;
    }
    if (fetch->job.err != ERR_OK) {
        fetch_fail(fetch, "the disk is full");
        return false;
    }
    return true;
}

static void on_fetch_synced(struct disk_job *job)
{
    struct snapshot_fetch *fetch = job->owner;
    if (fetch_job_ended(fetch)) {
        fetch->is_whole = true;
        fetch->group->fetch_backoff = (struct snapshot_backoff){0};
        fetch_step(fetch);
    }
}

/* Each piece was as it was sent, and yet it is not what was offered: the file there, or here, is
 * not what it was. */
static void fetch_tell_damage(struct snapshot_fetch *fetch)
{
    struct message damaged = {
        .kind = MESSAGE_SNAPSHOT_DAMAGED,
        .index = fetch->manifest.index,
        .snapshot_crc = fetch->manifest.crc,
    };
    group_send(fetch->group, fetch->from, fetch->from_name, &damaged, 0);
    fetch_fail(fetch, "it arrived damaged");
}

static void fetch_write(struct snapshot_fetch *fetch, size_t bytes,
                        void (*on_done)(struct disk_job *job));
static void on_fetch_written(struct disk_job *job);

/* Write the next piece, if it has come; or what remains to be done at the end. */
static void fetch_next(struct snapshot_fetch *fetch)
{
    uint32_t here = fetch->here[slot_of(fetch, fetch->offset)];
    if (fetch->is_busy || fetch->is_whole) { return; }
    if (fetch->offset == fetch->manifest.bytes && fetch->crc != fetch->manifest.crc) {
        fetch_tell_damage(fetch);
    } else if (fetch->offset == fetch->manifest.bytes) {
        fetch_write(fetch, 0, on_fetch_synced);
    } else if (here > 0 && !space_has_room(&fetch->all->space, here)) {
        fetch_fail(fetch, "the disk is nearly full");
    } else if (here > 0) {
        fetch_write(fetch, here, on_fetch_written);
    }
}

/* On a disk thread, before the write. */
static void fetch_sum(struct disk_job *job)
{
    struct snapshot_fetch *fetch = job->owner;
    fetch->crc = crc32c(fetch->crc, job->data, job->len);
}

static void on_fetch_written(struct disk_job *job)
{
    struct snapshot_fetch *fetch = job->owner;
    if (!fetch_job_ended(fetch)) { return; }
    fetch->here[slot_of(fetch, fetch->offset)] = 0;
    fetch->offset += job->len;
    fetch->progress_ms = group_now_ms(fetch->group);
    ask_ahead(fetch);
    fetch_next(fetch);
}

/* Write `bytes` at the offset; no bytes: make all durable. */
static void fetch_write(struct snapshot_fetch *fetch, size_t bytes,
                        void (*on_done)(struct disk_job *job))
{
    fetch->job = (struct disk_job){
        .op = DISK_WRITE,
        .offset = fetch->offset,
        .create_bytes = fetch->offset == 0 ? 1 : 0,
        .data = fetch->window + slot_of(fetch, fetch->offset) * chunk_bytes(fetch),
        .len = bytes,
        .sync = bytes == 0,
        .sync_name = bytes == 0,
        .before = fetch_sum,
        .on_done = on_done,
        .on_drop = fetch_drop,
        .owner = fetch,
    };
    snapshot_file_name(fetch->job.name, fetch->manifest.file);
    fetch->is_busy = true;
    disk_submit(fetch->all->world.disk, &fetch->job);
}

/* ---- offers ---- */

static bool is_same(const struct manifest *a, const struct manifest *b)
{
    return a->index == b->index && a->term == b->term && a->bytes == b->bytes && a->crc == b->crc;
}

/* Begin if the node has a place and room for it; else it is only remembered. */
static void fetch_begin(struct snapshot_fetch *fetch)
{
    struct groups *all = fetch->all;
    struct snapshot_backoff *backoff = &fetch->group->fetch_backoff;
    uint64_t now_ms = group_now_ms(fetch->group);
    if (fetch->is_active || all->fetch_count >= FETCHES_MAX || now_ms < backoff->until_ms) {
        return;
    }
    if (!space_has_room(&all->space, fetch->manifest.bytes)) {
        snapshot_backoff_fail(backoff, now_ms);
        return;
    }
    all->fetch_count++;
    fetch->is_active = true;
    fetch->window = mem_new(FETCH_WINDOW * chunk_bytes(fetch));
    fetch->manifest.file = all->next_file++;
    fetch->progress_ms = now_ms;
    ask_ahead(fetch);
    fetch_next(fetch);
}

static struct snapshot_fetch *fetch_new(struct group *g, const struct manifest *manifest)
{
    struct snapshot_fetch *fetch = mem_new0(sizeof *fetch);
    fetch->all = g->all;
    fetch->group = g;
    manifest_copy(&fetch->manifest, manifest);
    g->fetch = fetch;
    return fetch;
}

static bool is_silent(const struct snapshot_fetch *fetch, uint64_t since_ms, uint64_t factor)
{
    uint64_t election_ms = fetch->all->opts.election_ms;
    return group_now_ms(fetch->group) >= since_ms + election_ms * factor;
}

/* Is there more in finishing this one than in beginning with another? */
static bool is_worth_it(const struct snapshot_fetch *fetch)
{
    return fetch->is_whole || fetch->is_busy ||
           (fetch->is_active && !is_silent(fetch, fetch->progress_ms, FETCH_SWITCH_FACTOR));
}

void snapshot_on_offer(struct group *g, const char *from_name, const struct message *m)
{
    struct message reply;
    if (guard_stale_term(g, m->term, &reply)) {
        group_send(g, m->from, from_name, &reply, guard_term_gate(g));
        return;
    }
    if (g->is_installing) { return; }
    g->heard_ms = group_now_ms(g);
    struct snapshot_fetch *fetch = g->fetch;
    bool is_other = fetch != NULL && !is_same(&fetch->manifest, &m->manifest);
    if (is_other && !is_worth_it(fetch)) {
        fetch_abandon(fetch);
        fetch = NULL;
        is_other = false;
    }
    if (fetch == NULL) { fetch = fetch_new(g, &m->manifest); }
    if (!is_other) { /* who leads has it: resume from there */
        fetch->from = m->from;
        snprintf(fetch->from_name, sizeof fetch->from_name, "%s", from_name);
    }
    fetch->leader = m->from;
    fetch->term = m->term;
    snprintf(fetch->leader_name, sizeof fetch->leader_name, "%s", from_name);
    if (fetch->is_whole || (!fetch->is_active && has_already(g, &m->manifest))) {
        fetch_step(fetch);
        return;
    }
    fetch_begin(fetch);
}

void snapshot_on_chunk(struct group *g, const struct message *m)
{
    struct snapshot_fetch *fetch = g->fetch;
    if (fetch == NULL || !fetch->is_active || fetch->is_whole) { return; }
    bool is_ours = m->index == fetch->manifest.index &&
                   (m->snapshot_crc == 0 || m->snapshot_crc == fetch->manifest.crc);
    bool is_asked = m->offset >= fetch->offset && m->offset < fetch->asked &&
                    m->offset % chunk_bytes(fetch) == 0;
    if (!is_ours || !is_asked || m->data.len != piece_bytes(fetch, m->offset)) { return; }
    size_t slot = slot_of(fetch, m->offset);
    if (fetch->here[slot] > 0) { return; }
    if (crc32c(0, m->data.data, m->data.len) != m->crc) { return; } /* asked for again */
    memcpy(fetch->window + slot * chunk_bytes(fetch), m->data.data, m->data.len);
    fetch->here[slot] = (uint32_t)m->data.len;
    fetch->asked_ms = group_now_ms(g);
    fetch_next(fetch);
}

void snapshot_install(struct group *g)
{
    struct snapshot_fetch *fetch = g->fetch;
    CHECK(fetch != NULL && fetch->is_whole && !fetch->is_busy);
    snapshot_retire(g);
    snapshot_take_cancel(g);
    wal_read_cancel(g->log);
    wal_put_snapshot(g->all->wal, g->log, &fetch->manifest, fetch->manifest.index + 1, true);
    g->install_batch = wal_batch(g->all->wal);
    g->restore_is_due = true;
    LOG_INFO("a snapshot is installed", LOG_UINT("group", g->id),
             LOG_UINT("index", fetch->manifest.index), LOG_UINT("bytes", fetch->manifest.bytes));
    fetch_free(fetch);
}

/* ---- time ---- */

void snapshot_fetch_cancel(struct group *g)
{
    struct snapshot_fetch *fetch = g->fetch;
    if (fetch == NULL) { return; }
    if (fetch->is_busy) {
        fetch_resign(fetch);
        fetch->group = NULL;
        g->fetch = NULL;
    } else {
        fetch_free(fetch);
    }
}

void snapshot_fetch_tick(struct group *g)
{
    struct snapshot_fetch *fetch = g->fetch;
    if (fetch == NULL || fetch->is_busy) { return; }
    if (!fetch->is_active) {
        fetch_begin(fetch);
    } else if (!fetch->is_whole && has_already(g, &fetch->manifest)) {
        fetch_abandon(fetch); /* the entries themselves came */
    } else if (is_silent(fetch, fetch->progress_ms, FETCH_STALL_FACTOR)) {
        fetch_abandon(fetch);
    } else if (fetch->is_whole) {
        fetch_step(fetch);
    } else if (is_silent(fetch, fetch->asked_ms, FETCH_AGAIN_FACTOR)) {
        ask_again(fetch);
    }
}

void snapshot_progress_fetch(const struct group *g, struct snapshot_progress *progress)
{
    const struct snapshot_fetch *fetch = g->fetch;
    if (fetch == NULL || !fetch->is_active) { return; }
    progress->fetching++;
    progress->fetching_bytes += fetch->offset;
    progress->fetching_total_bytes += fetch->manifest.bytes;
}
