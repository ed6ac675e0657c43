/* sim_disk: see sim_disk.h. Always: `durable` changes only at a sync and a crash. */
#include "sim/sim_disk.h"

#include <stdio.h>

#include "base/mem.h"

struct sim_job { /* a job in flight and when it ends, in job->link's list */
    struct list link;
    struct disk_job *job;
    void (*on_drop)(struct disk_job *job); /* the job itself may be gone by then */
    uint64_t due_ms;
};

uint64_t sim_random(uint64_t *state, uint64_t below)
{
    uint64_t x = *state != 0 ? *state : 0x9E3779B97F4A7C15ULL;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return below > 0 ? (x >> 11) % below : 0;
}

struct sim_file *sim_disk_find(struct sim_disk *sd, const char *name)
{
    LIST_EACH (at, &sd->files) {
        struct sim_file *file = CONTAINER_OF(at, struct sim_file, link);
        if (strcmp(file->name, name) == 0) { return file; }
    }
    return NULL;
}

static void file_free(struct sim_file *file)
{
    list_remove(&file->link);
    buf_fini(&file->now);
    buf_fini(&file->durable);
    buf_fini(&file->lost);
    mem_free(file);
}

static void resize(struct buf *buf, size_t len)
{
    if (len > buf->len) { memset(buf_reserve(buf, len - buf->len), 0, len - buf->len); }
    buf->len = len;
}

static void copy(struct buf *to, const struct buf *from)
{
    to->len = 0;
    buf_append(to, buf_slice(from));
}

/* Call `each` for the sectors of the file that are not on the platter as the process sees them. */
static void each_dirty(struct sim_file *file, void (*each)(struct sim_file *, size_t at, size_t n))
{
    for (size_t at = 0; at < file->now.len; at += SIM_SECTOR_BYTES) {
        size_t bytes =
            file->now.len - at < SIM_SECTOR_BYTES ? file->now.len - at : SIM_SECTOR_BYTES;
        if (memcmp(file->durable.data + at, file->now.data + at, bytes) != 0) {
            each(file, at, bytes);
        }
    }
}

static void sector_lose(struct sim_file *file, size_t at, size_t bytes)
{
    (void)bytes;
    file->lost.data[at / SIM_SECTOR_BYTES] = 1;
}

static void sector_sync(struct sim_file *file, size_t at, size_t bytes)
{
    if (file->lost.data[at / SIM_SECTOR_BYTES] == 0) {
        memcpy(file->durable.data + at, file->now.data + at, bytes);
    }
}

/* One that fails leaves what it should have written as if it had: seen by everybody, and clean. */
static enum err sync_file(struct sim_disk *sd, struct sim_file *file)
{
    bool fails = sd->syncs_to_fail > 0;
    sd->syncs_to_fail -= fails;
    sd->sync_count += !fails;
    resize(&file->durable, file->now.len);
    each_dirty(file, fails ? sector_lose : sector_sync);
    return fails ? ERR_SYSTEM : ERR_OK;
}

uint64_t sim_disk_used_bytes(const struct sim_disk *sd)
{
    uint64_t bytes = 0;
    LIST_EACH (at, &sd->files) {
        const struct sim_file *file = CONTAINER_OF(at, struct sim_file, link);
        bytes += file->now.len;
    }
    return bytes;
}

static enum err run_write(struct sim_disk *sd, struct disk_job *job)
{
    if (sd->fail_with != ERR_OK) { return sd->fail_with; }
    struct sim_file *file = sim_disk_find(sd, job->name);
    if (file != NULL && job->create_bytes > 0) { file->now.len = 0; }
    uint64_t want = job->offset + job->len;
    want = want > job->create_bytes ? want : job->create_bytes;
    uint64_t have = file != NULL ? file->now.len : 0;
    if (want > have && sim_disk_used_bytes(sd) + want - have > sd->capacity_bytes) {
        return ERR_FULL;
    }
    if (file == NULL) {
        if (job->create_bytes == 0) { return ERR_SYSTEM; }
        file = mem_new0(sizeof *file);
        snprintf(file->name, sizeof file->name, "%s", job->name);
        list_push_back(&sd->files, &file->link);
    }
    if (want > have) { resize(&file->now, want); }
    memcpy(file->now.data + job->offset, job->data, job->len);
    resize(&file->lost, file->now.len / SIM_SECTOR_BYTES + 1);
    size_t sectors = (job->offset + job->len + SIM_SECTOR_BYTES - 1) / SIM_SECTOR_BYTES;
    for (size_t i = job->offset / SIM_SECTOR_BYTES; i < sectors; i++) {
        file->lost.data[i] = 0;
    }
    return job->sync ? sync_file(sd, file) : ERR_OK;
}

static enum err run_read(struct sim_disk *sd, struct disk_job *job)
{
    struct sim_file *file = sim_disk_find(sd, job->name);
    if (file == NULL) { return ERR_SYSTEM; }
    job->done_len = 0;
    if (job->offset < file->now.len) {
        size_t have = file->now.len - job->offset;
        job->done_len = have < job->len ? have : job->len;
        memcpy(job->data, file->now.data + job->offset, job->done_len);
    }
    return ERR_OK;
}

static enum err run(struct disk *disk, struct disk_job *job)
{
    struct sim_disk *sd = CONTAINER_OF(disk, struct sim_disk, disk);
    if (job->before != NULL) { job->before(job); }
    struct sim_file *file = sim_disk_find(sd, job->name);
    job->err = ERR_OK;
    switch (job->op) {
    case DISK_WRITE: job->err = run_write(sd, job); break;
    case DISK_READ: job->err = run_read(sd, job); break;
    case DISK_REMOVE:
        if (file != NULL) { file_free(file); }
        break;
    }
    return job->err;
}

static void submit(struct disk *disk, struct disk_job *job)
{
    struct sim_disk *sd = CONTAINER_OF(disk, struct sim_disk, disk);
    struct sim_job *sj = mem_new0(sizeof *sj);
    uint64_t delay = sim_random(&sd->random, sd->delay_ms_max + 1);
    if (sim_random(&sd->random, 20) == 0) { delay *= 10; }
    sj->job = job;
    sj->on_drop = job->on_drop;
    sj->due_ms = sd->now_ms + delay;
    struct list *before = &sd->jobs;
    LIST_EACH (at, &sd->jobs) {
        if (CONTAINER_OF(at, struct sim_job, link)->due_ms > sj->due_ms) {
            before = at;
            break;
        }
    }
    list_push_back(before, &sj->link);
}

static enum err list_files(struct disk *disk,
                           void (*found)(void *arg, const char *name, uint64_t bytes), void *arg)
{
    struct sim_disk *sd = CONTAINER_OF(disk, struct sim_disk, disk);
    LIST_EACH (at, &sd->files) {
        struct sim_file *file = CONTAINER_OF(at, struct sim_file, link);
        found(arg, file->name, file->now.len);
    }
    return ERR_OK;
}

static uint64_t free_bytes(struct disk *disk)
{
    struct sim_disk *sd = CONTAINER_OF(disk, struct sim_disk, disk);
    uint64_t used = sim_disk_used_bytes(sd);
    return used < sd->capacity_bytes ? sd->capacity_bytes - used : 0;
}

static const struct disk_ops sim_disk_ops = {submit, run, list_files, free_bytes};

void sim_disk_init(struct sim_disk *sd, uint64_t seed)
{
    *sd = (struct sim_disk){
        .disk = {&sim_disk_ops}, .random = seed, .delay_ms_max = 4, .capacity_bytes = 1 << 30};
    list_init(&sd->files);
    list_init(&sd->jobs);
}

static void drop_jobs(struct sim_disk *sd)
{
    while (!list_is_empty(&sd->jobs)) {
        struct sim_job *sj = CONTAINER_OF(list_pop_front(&sd->jobs), struct sim_job, link);
        if (sj->on_drop != NULL) { sj->on_drop(sj->job); }
        mem_free(sj);
    }
}

void sim_disk_fini(struct sim_disk *sd)
{
    drop_jobs(sd);
    while (!list_is_empty(&sd->files)) {
        file_free(CONTAINER_OF(sd->files.next, struct sim_file, link));
    }
}

uint64_t sim_disk_next_ms(const struct sim_disk *sd)
{
    return list_is_empty(&sd->jobs) ? UINT64_MAX
                                    : CONTAINER_OF(sd->jobs.next, struct sim_job, link)->due_ms;
}

bool sim_disk_step(struct sim_disk *sd, uint64_t now_ms)
{
    if (sim_disk_next_ms(sd) > now_ms) { return false; }
    struct sim_job *sj = CONTAINER_OF(list_pop_front(&sd->jobs), struct sim_job, link);
    struct disk_job *job = sj->job;
    mem_free(sj);
    (void)run(&sd->disk, job);
    job->on_done(job);
    return true;
}

void sim_disk_drain(struct sim_disk *sd)
{
    while (!list_is_empty(&sd->jobs)) {
        sd->now_ms = sim_disk_next_ms(sd);
        (void)sim_disk_step(sd, sd->now_ms);
    }
}

/* Which of the sectors that were written but not synced did reach the platter? */
enum keep { KEEP_NONE, KEEP_ALL, KEEP_PREFIX, KEEP_SOME, KEEP_END };

static void file_crash(struct sim_disk *sd, struct sim_file *file)
{
    enum keep keep = (enum keep)sim_random(&sd->random, KEEP_END);
    if (file->now.len > file->durable.len && keep != KEEP_NONE) {
        resize(&file->durable, file->now.len);
    }
    for (size_t at = 0; at < file->durable.len && at < file->now.len; at += SIM_SECTOR_BYTES) {
        size_t bytes =
            file->durable.len - at < SIM_SECTOR_BYTES ? file->durable.len - at : SIM_SECTOR_BYTES;
        bool is_kept = keep == KEEP_ALL || (keep != KEEP_NONE && sim_random(&sd->random, 2) == 0);
        if (memcmp(file->durable.data + at, file->now.data + at, bytes) == 0) { continue; }
        if (is_kept && file->lost.data[at / SIM_SECTOR_BYTES] == 0) {
            memcpy(file->durable.data + at, file->now.data + at, bytes);
        } else if (keep == KEEP_PREFIX) {
            break;
        }
    }
    copy(&file->now, &file->durable);
    memset(file->lost.data, 0, file->lost.len);
}

void sim_disk_interrupt(struct sim_disk *sd)
{
    if (sd->is_interrupted) { return; }
    sd->is_interrupted = true;
    LIST_EACH (at, &sd->jobs) {
        struct disk_job *job = CONTAINER_OF(at, struct sim_job, link)->job;
        if (job->op == DISK_WRITE && job->before == NULL && sim_random(&sd->random, 2) == 0) {
            bool sync = job->sync;
            job->sync = false;
            (void)run_write(sd, job);
            job->sync = sync;
        }
    }
}

void sim_disk_crash(struct sim_disk *sd)
{
    sim_disk_interrupt(sd);
    drop_jobs(sd);
    sd->is_interrupted = false;
    LIST_EACH (at, &sd->files) {
        struct sim_file *file = CONTAINER_OF(at, struct sim_file, link);
        file_crash(sd, file);
    }
}

void sim_disk_kill(struct sim_disk *sd)
{
    sim_disk_interrupt(sd);
    drop_jobs(sd);
    sd->is_interrupted = false;
}

bool sim_disk_flip(struct sim_disk *sd, const char *name, uint64_t at)
{
    struct sim_file *file = sim_disk_find(sd, name);
    for (; file != NULL && at < file->durable.len; at++) {
        if (file->durable.data[at] != 0) {
            file->durable.data[at] =
                (char)(file->durable.data[at] ^ (1 << sim_random(&sd->random, 8)));
            file->now.data[at] = file->durable.data[at];
            return true;
        }
    }
    return false;
}
