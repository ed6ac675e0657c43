/* snapshot_serve: offers snapshots and hands them out piece by piece.
 * Owns: requests for pieces, and the former snapshots that are kept for who has begun with them.
 * Thread: the raft thread; pieces are read on the disk's threads.
 * Always: no more than bulk_bytes_per_s leave this node, and no more than SERVING_MAX pieces are
 * being read; a transfer that has begun can be finished although there is a newer snapshot. */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/group/group.h"
#include "consensus/group/guards.h"
#include "consensus/group/snapshot/snapshot_int.h"

enum {
    PULLS_MAX = 1024,
    SERVING_MAX = 32,
    PULLED_HOLD_FACTOR = 5, /* election timeouts without a request until nobody fetches any more */
};

/* ---- former snapshots ---- */

struct snapshot_pin {
    struct list link;
    struct manifest manifest;
    uint64_t pulled_ms; /* a piece was last asked for, or handed out */
};

static bool is_recent(const struct group *g, uint64_t pulled_ms, uint64_t now_ms)
{
    return pulled_ms != 0 &&
           now_ms < pulled_ms + (uint64_t)g->all->opts.election_ms * PULLED_HOLD_FACTOR;
}

uint64_t snapshot_pulled_index(const struct group *g, uint64_t now_ms, uint64_t *bytes)
{
    const struct manifest *oldest = NULL;
    if (is_recent(g, g->pulled_ms, now_ms)) { oldest = wal_log_snapshot(g->log); }
    LIST_EACH (at, &g->pins) {
        const struct manifest *pinned = &CONTAINER_OF(at, struct snapshot_pin, link)->manifest;
        if (oldest == NULL || pinned->index < oldest->index) { oldest = pinned; }
    }
    if (oldest == NULL) { return 0; }
    *bytes = oldest->bytes;
    return oldest->index;
}

bool snapshot_has_image(const struct group *g, const struct manifest *snapshot)
{
    return snapshot->file != 0 && snapshot->file != g->damaged_file;
}

static void pin_free(struct group *g, struct snapshot_pin *pin)
{
    snapshot_forget(g->all, pin->manifest.file);
    list_remove(&pin->link);
    manifest_fini(&pin->manifest);
    mem_free(pin);
}

void snapshot_pins_end(struct group *g)
{
    while (!list_is_empty(&g->pins)) {
        pin_free(g, CONTAINER_OF(g->pins.next, struct snapshot_pin, link));
    }
}

void snapshot_pins_tick(struct group *g, uint64_t now_ms)
{
    LIST_EACH (at, &g->pins) {
        struct snapshot_pin *pin = CONTAINER_OF(at, struct snapshot_pin, link);
        if (!is_recent(g, pin->pulled_ms, now_ms)) { pin_free(g, pin); }
    }
}

static size_t pin_count(const struct group *g)
{
    size_t count = 0;
    LIST_EACH (at, &g->pins) {
        count++;
    }
    return count;
}

void snapshot_retire(struct group *g)
{
    const struct manifest *old = wal_log_snapshot(g->log);
    if (old == NULL) { return; }
    bool is_wanted = is_recent(g, g->pulled_ms, group_now_ms(g)) && snapshot_has_image(g, old);
    if (is_wanted && pin_count(g) < SNAPSHOT_PINS_MAX) {
        struct snapshot_pin *pin = mem_new0(sizeof *pin);
        manifest_copy(&pin->manifest, old);
        pin->pulled_ms = g->pulled_ms;
        list_push_back(&g->pins, &pin->link);
    } else {
        snapshot_forget(g->all, old->file);
    }
    g->pulled_ms = 0;
    g->damaged_file = 0;
    g->image_is_wanted = false;
}

/* The snapshot that a request is about, and when it was last asked for; NULL: it is not here. */
static const struct manifest *find_served(struct group *g, uint64_t index, uint32_t crc,
                                          uint64_t **pulled_ms)
{
    const struct manifest *newest = wal_log_snapshot(g->log);
    if (newest != NULL && newest->index == index && (crc == 0 || crc == newest->crc)) {
        *pulled_ms = &g->pulled_ms;
        return snapshot_has_image(g, newest) ? newest : NULL;
    }
    LIST_EACH (at, &g->pins) {
        struct snapshot_pin *pin = CONTAINER_OF(at, struct snapshot_pin, link);
        if (pin->manifest.index == index && (crc == 0 || crc == pin->manifest.crc)) {
            *pulled_ms = &pin->pulled_ms;
            return &pin->manifest;
        }
    }
    return NULL;
}

/* ---- damage ---- */

/* The one file that is read because somebody says that it is damaged. */
struct snapshot_check {
    struct disk_job job;
    struct groups *all;
    uint64_t group;
    uint64_t file;
    uint64_t bytes;
    uint32_t want_crc;
    uint32_t crc;
    uint64_t offset;
};

enum { CHECK_AGAIN_MS = 60000 }; /* a file that was found whole is believed for so long */

static void found_damaged(struct group *g, uint64_t file)
{
    char name[DISK_NAME_BYTES];
    const struct manifest *newest = wal_log_snapshot(g->log);
    snapshot_file_name(name, file);
    if (newest != NULL && newest->file == file) {
        if (g->damaged_file == file) { return; }
        g->damaged_file = file;
        g->take_backoff = (struct snapshot_backoff){0};
    }
    LIST_EACH (at, &g->pins) {
        struct snapshot_pin *pin = CONTAINER_OF(at, struct snapshot_pin, link);
        if (pin->manifest.file == file) { pin_free(g, pin); }
    }
    metric_add(METRIC_raft_snapshots_damaged_total, 1);
    LOG_ERROR("a snapshot on this disk is damaged: a new one is taken; look after the disk",
              LOG_UINT("group", g->id), LOG_STR("file", name));
}

static void check_free(struct snapshot_check *check)
{
    mem_free(check->job.data);
    mem_free(check);
}

static void check_drop(struct disk_job *job)
{
    check_free(job->owner);
}

static void check_step(struct snapshot_check *check);

static void on_check_read(struct disk_job *job)
{
    struct snapshot_check *check = job->owner;
    struct groups *all = check->all;
    check->crc = crc32c(check->crc, job->data, job->done_len);
    check->offset += job->done_len;
    bool is_cut = job->err != ERR_OK || job->done_len < job->len;
    if (!is_cut && check->offset < check->bytes) {
        check_step(check);
        return;
    }
    struct group *g = groups_find(all, check->group);
    all->checking = NULL;
    if (g != NULL && (is_cut || check->crc != check->want_crc)) { found_damaged(g, check->file); }
    check_free(check);
}

static void check_step(struct snapshot_check *check)
{
    uint64_t rest = check->bytes - check->offset;
    struct disk_job *job = &check->job;
    char *buffer = job->data;
    *job = (struct disk_job){
        .op = DISK_READ,
        .offset = check->offset,
        .data = buffer,
        .on_done = on_check_read,
        .on_drop = check_drop,
        .owner = check,
    };
    job->len = rest < check->all->opts.chunk_bytes ? rest : check->all->opts.chunk_bytes;
    snapshot_file_name(job->name, check->file);
    disk_submit(check->all->world.disk, job);
}

static void check_start(struct group *g, const struct manifest *snapshot)
{
    struct groups *all = g->all;
    struct snapshot_check *check = mem_new0(sizeof *check);
    check->all = all;
    check->group = g->id;
    check->file = snapshot->file;
    check->bytes = snapshot->bytes;
    check->want_crc = snapshot->crc;
    check->job.data = mem_new(all->opts.chunk_bytes);
    all->checking = check;
    g->checked_ms = group_now_ms(g);
    check_step(check);
}

void snapshot_on_damaged(struct group *g, const struct message *m)
{
    uint64_t *pulled_ms;
    const struct manifest *snapshot = find_served(g, m->index, m->snapshot_crc, &pulled_ms);
    bool is_known = g->checked_ms != 0 && group_now_ms(g) < g->checked_ms + CHECK_AGAIN_MS;
    if (snapshot == NULL || g->all->checking != NULL || is_known) { return; }
    check_start(g, snapshot);
}

/* ---- pieces ---- */

/* A request for a piece of one of our snapshots. */
struct snapshot_pull {
    struct list link; /* engine->pulls while it waits for the rate */
    struct disk_job job;
    struct groups *all;
    uint64_t group;
    uint64_t to;
    char to_name[ENGINE_NAME_BYTES];
    uint64_t index;
    uint32_t snapshot_crc;
};

static void pull_free(struct disk_job *job)
{
    mem_free(job->data);
    mem_free(job->owner);
}

static void pull_send(const struct snapshot_pull *pull, const struct group *g)
{
    const struct disk_job *job = &pull->job;
    struct message chunk = {
        .group = pull->group,
        .from = g->self,
        .to = pull->to,
        .kind = MESSAGE_SNAPSHOT_CHUNK,
        .index = pull->index,
        .snapshot_crc = pull->snapshot_crc,
        .offset = job->offset,
        .data = slice_of(job->data, job->done_len),
        .crc = crc32c(0, job->data, job->done_len),
    };
    struct buf frame = {0};
    message_encode(&frame, &chunk);
    pull->all->world.send(pull->all->world.arg, pull->to_name, buf_slice(&frame), true);
    buf_fini(&frame);
    metric_add(METRIC_raft_snapshot_sent_bytes_total, job->done_len);
}

static void on_pull_read(struct disk_job *job)
{
    struct snapshot_pull *pull = job->owner;
    struct group *g = groups_find(pull->all, pull->group);
    uint64_t *pulled_ms;
    const struct manifest *snapshot =
        g != NULL ? find_served(g, pull->index, pull->snapshot_crc, &pulled_ms) : NULL;
    pull->all->serving_count--;
    if (snapshot != NULL && job->err == ERR_OK && job->done_len == job->len) {
        *pulled_ms = group_now_ms(g);
        pull_send(pull, g);
    } else if (snapshot != NULL) {
        found_damaged(g, snapshot->file);
    } /* else it went meanwhile */
    pull_free(job);
}

/* Has the same piece been asked for by the same replica? */
static bool is_asked_again(const struct snapshot_pull *pull, const struct group *g,
                           const struct message *m)
{
    return pull->group == g->id && pull->to == m->from && pull->index == m->index &&
           pull->job.offset == m->offset;
}

static bool may_queue(const struct group *g, const struct message *m)
{
    size_t waiting = 0;
    LIST_EACH (at, &g->all->pulls) {
        if (is_asked_again(CONTAINER_OF(at, struct snapshot_pull, link), g, m)) { return false; }
        waiting++;
    }
    return waiting < PULLS_MAX;
}

void snapshot_on_pull(struct group *g, const char *from_name, const struct message *m)
{
    struct groups *all = g->all;
    uint64_t *pulled_ms;
    if (g->is_installing || wal_log_snapshot(g->log) == NULL) { return; }
    const struct manifest *snapshot = find_served(g, m->index, m->snapshot_crc, &pulled_ms);
    if (snapshot == NULL || m->offset >= snapshot->bytes) {
        if (group_is_leader(g)) {
            snapshot_offer(g, m->from, from_name);
        } /* there is another one */
        return;
    }
    *pulled_ms = group_now_ms(g);
    if (!may_queue(g, m)) { return; }
    struct snapshot_pull *pull = mem_new0(sizeof *pull);
    uint64_t rest = snapshot->bytes - m->offset;
    pull->all = all;
    pull->group = g->id;
    pull->to = m->from;
    pull->index = m->index;
    pull->snapshot_crc = snapshot->crc;
    snprintf(pull->to_name, sizeof pull->to_name, "%s", from_name);
    pull->job = (struct disk_job){
        .op = DISK_READ, .offset = m->offset, .on_done = on_pull_read, .on_drop = pull_free};
    pull->job.len = rest < all->opts.chunk_bytes ? rest : all->opts.chunk_bytes;
    pull->job.owner = pull;
    snapshot_file_name(pull->job.name, snapshot->file);
    list_push_back(&all->pulls, &pull->link);
}

void snapshot_serve_tick(struct groups *all, uint64_t now_ms)
{
    double burst = (double)all->opts.chunk_bytes * 4;
    all->bulk_tokens += (double)(now_ms - all->bulk_ms) * (double)all->opts.bulk_bytes_per_s / 1000;
    all->bulk_tokens = all->bulk_tokens > burst ? burst : all->bulk_tokens;
    all->bulk_ms = now_ms;
    while (all->bulk_tokens > 0 && all->serving_count < SERVING_MAX &&
           !list_is_empty(&all->pulls)) {
        struct snapshot_pull *pull =
            CONTAINER_OF(list_pop_front(&all->pulls), struct snapshot_pull, link);
        all->bulk_tokens -= (double)pull->job.len;
        all->serving_count++;
        pull->job.data = mem_new(pull->job.len);
        disk_submit(all->world.disk, &pull->job);
    }
}

void snapshot_serve_end(struct groups *all)
{
    while (!list_is_empty(&all->pulls)) {
        pull_free(&CONTAINER_OF(list_pop_front(&all->pulls), struct snapshot_pull, link)->job);
    }
}

void snapshot_offer(struct group *g, uint64_t id, const char *node_name)
{
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    if (snapshot == NULL) {
        group_stop(g, "a snapshot is wanted and there is none");
        return;
    }
    if (!snapshot_has_image(g, snapshot)) { /* wait for the next */
        g->image_is_wanted = true;
        return;
    }
    struct message offer = {
        .kind = MESSAGE_SNAPSHOT_OFFER, .term = raft_current_term(&g->raft), .manifest = *snapshot};
    g->pulled_ms = group_now_ms(g);
    metric_add(METRIC_raft_snapshots_offered_total, 1);
    group_send(g, id, node_name, &offer, guard_term_gate(g));
}
