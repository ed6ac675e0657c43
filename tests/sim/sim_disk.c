/* sim_disk: see sim_disk.h. Owns: the files' bytes, the jobs in flight.
 * Always: `durable` changes only by a flush, a crash and a flipped bit; it is as long as `now` or
 * longer where sectors are compared. */
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

/* ---- files ---- */

static struct sim_file *find_in(const struct list *files, const char *name)
{
    LIST_EACH (at, files) {
        struct sim_file *file = CONTAINER_OF(at, struct sim_file, link);
        if (strcmp(file->name, name) == 0) { return file; }
    }
    return NULL;
}

struct sim_file *sim_disk_find(struct sim_disk *sd, const char *name)
{
    return find_in(&sd->files, name);
}

bool sim_disk_holds(struct sim_disk *sd, const char *name)
{
    return find_in(&sd->files, name) != NULL || find_in(&sd->ghosts, name) != NULL;
}

static void file_free(struct sim_file *file)
{
    list_remove(&file->link);
    buf_fini(&file->now);
    buf_fini(&file->durable);
    buf_fini(&file->lost);
    mem_free(file);
}

static void files_free(struct list *files)
{
    while (!list_is_empty(files)) {
        file_free(CONTAINER_OF(files->next, struct sim_file, link));
    }
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

static bool is_lost(const struct sim_file *file, size_t at)
{
    size_t sector = at / SIM_SECTOR_BYTES;
    return sector < file->lost.len && file->lost.data[sector] != 0;
}

static void set_lost(struct sim_file *file, size_t at, bool value)
{
    size_t sector = at / SIM_SECTOR_BYTES;
    if (value && sector >= file->lost.len) { resize(&file->lost, sector + 1); }
    if (sector < file->lost.len) { file->lost.data[sector] = (char)value; }
}

/* Bytes of the sector at `at` that are inside both `buf` and the file. */
static size_t sector_bytes(const struct buf *buf, size_t at)
{
    return buf->len - at < SIM_SECTOR_BYTES ? buf->len - at : SIM_SECTOR_BYTES;
}

static void write_sector(struct sim_file *file, size_t at)
{
    memcpy(file->durable.data + at, file->now.data + at, sector_bytes(&file->now, at));
}

static bool is_dirty(const struct sim_file *file, size_t at)
{
    size_t bytes = sector_bytes(&file->now, at);
    return !is_lost(file, at) && memcmp(file->durable.data + at, file->now.data + at, bytes) != 0;
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

/* ---- flushing ---- */

static void sync_names(struct sim_disk *sd)
{
    LIST_EACH (at, &sd->files) {
        CONTAINER_OF(at, struct sim_file, link)->is_named = true;
    }
    files_free(&sd->ghosts);
}

static void sync_file(struct sim_disk *sd, struct sim_file *file)
{
    sd->sync_count++;
    resize(&file->durable, file->now.len);
    for (size_t at = 0; at < file->now.len; at += SIM_SECTOR_BYTES) {
        if (is_dirty(file, at)) { write_sector(file, at); }
    }
}

/* The flush fails: some of what was due reached the platter, and the cache calls all of it clean. */
static void break_file(struct sim_disk *sd, struct sim_file *file)
{
    sd->is_broken = true;
    resize(&file->durable, file->now.len);
    for (size_t at = 0; at < file->now.len; at += SIM_SECTOR_BYTES) {
        if (!is_dirty(file, at)) { continue; }
        if (sim_random(&sd->random, 2) == 0) {
            write_sector(file, at);
        } else {
            set_lost(file, at, true);
        }
    }
}

static enum err flush(struct sim_disk *sd, const struct disk_job *job, struct sim_file *file)
{
    if (!job->sync) { return ERR_OK; }
    if (sd->syncs_to_fail > 0) {
        sd->syncs_to_fail--;
        break_file(sd, file);
        return ERR_SYSTEM;
    }
    sync_file(sd, file);
    if (job->create_bytes > 0 || job->sync_name) { sync_names(sd); }
    return ERR_OK;
}

/* ---- operations ---- */

static struct sim_file *file_new(struct sim_disk *sd, const char *name)
{
    struct sim_file *file = mem_new0(sizeof *file);
    snprintf(file->name, sizeof file->name, "%s", name);
    list_push_back(&sd->files, &file->link);
    return file;
}

static enum err run_write(struct sim_disk *sd, struct disk_job *job)
{
    if (sd->fail_with != ERR_OK) { return sd->fail_with; }
    struct sim_file *file = sim_disk_find(sd, job->name);
    if (file != NULL && job->create_bytes > 0) { file->now.len = file->lost.len = 0; }
    uint64_t want = job->offset + job->len;
    want = want > job->create_bytes ? want : job->create_bytes;
    uint64_t have = file != NULL ? file->now.len : 0;
    if (want > have && sim_disk_used_bytes(sd) + want - have > sd->capacity_bytes) {
        return ERR_FULL;
    }
    if (file == NULL) {
        if (job->create_bytes == 0) { return ERR_SYSTEM; }
        file = file_new(sd, job->name);
    }
    if (want > have) { resize(&file->now, want); }
    memcpy(file->now.data + job->offset, job->data, job->len);
    for (size_t at = job->offset / SIM_SECTOR_BYTES * SIM_SECTOR_BYTES; at < job->offset + job->len;
         at += SIM_SECTOR_BYTES) {
        set_lost(file, at, false);
    }
    return flush(sd, job, file);
}

static void run_remove(struct sim_disk *sd, const struct disk_job *job)
{
    struct sim_file *file = sim_disk_find(sd, job->name);
    if (file == NULL) { return; }
    list_remove(&file->link);
    list_push_back(&sd->ghosts, &file->link);
}

/* As much of a job as there was time for: nothing, or all of it, not flushed. */
static void run_in_part(struct sim_disk *sd, struct disk_job *job)
{
    if (sim_random(&sd->random, 2) == 0) { return; }
    if (job->op == DISK_WRITE) {
        bool sync = job->sync;
        job->sync = false;
        (void)!run_write(sd, job);
        job->sync = sync;
    } else if (job->op == DISK_REMOVE) {
        run_remove(sd, job);
    }
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

static enum err perform(struct sim_disk *sd, struct disk_job *job)
{
    if (job->before != NULL) { job->before(job); }
    job->err = ERR_OK;
    switch (job->op) {
    case DISK_WRITE: job->err = run_write(sd, job); break;
    case DISK_READ: job->err = run_read(sd, job); break;
    case DISK_REMOVE:
        run_remove(sd, job);
        sync_names(sd);
        break;
    }
    return job->err;
}

static enum err run(struct disk *disk, struct disk_job *job)
{
    struct sim_disk *sd = CONTAINER_OF(disk, struct sim_disk, disk);
    if (sd->stop_in > 0 && --sd->stop_in == 0) {
        sd->is_stopped = true;
        run_in_part(sd, job);
    }
    return sd->is_stopped ? ERR_SYSTEM : perform(sd, job);
}

static uint64_t delay_ms(struct sim_disk *sd, const struct disk_job *job)
{
    uint64_t delay = sim_random(&sd->random, sd->delay_ms_max + 1);
    if (sim_random(&sd->random, 20) == 0) { delay *= 10; }
    bool is_flush = job->op == DISK_WRITE && job->sync && sd->sync_delay_ms_max > 0;
    return is_flush ? delay + sim_random(&sd->random, sd->sync_delay_ms_max + 1) : delay;
}

static void submit(struct disk *disk, struct disk_job *job)
{
    struct sim_disk *sd = CONTAINER_OF(disk, struct sim_disk, disk);
    struct sim_job *sj = mem_new0(sizeof *sj);
    sj->job = job;
    sj->on_drop = job->on_drop;
    sj->due_ms = sd->now_ms + delay_ms(sd, job);
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
    list_init(&sd->ghosts);
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
    files_free(&sd->files);
    files_free(&sd->ghosts);
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
    (void)!perform(sd, job);
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

/* ---- crashes ---- */

/* Which of the sectors that were written but not synced did reach the platter? */
enum keep { KEEP_NONE, KEEP_ALL, KEEP_PREFIX, KEEP_SOME, KEEP_END };

static void file_crash(struct sim_disk *sd, struct sim_file *file)
{
    enum keep keep = (enum keep)sim_random(&sd->random, KEEP_END);
    size_t synced = file->durable.len;
    resize(&file->durable, synced > file->now.len ? synced : file->now.len);
    for (size_t at = 0; at < file->now.len; at += SIM_SECTOR_BYTES) {
        bool is_kept = keep == KEEP_ALL || (keep != KEEP_NONE && sim_random(&sd->random, 2) == 0);
        if (!is_dirty(file, at)) { continue; }
        if (is_kept) {
            write_sector(file, at);
        } else if (keep == KEEP_PREFIX) {
            break;
        }
    }
    if (keep == KEEP_NONE) { file->durable.len = synced; }
    copy(&file->now, &file->durable);
    file->lost.len = 0;
}

/* Names that were not synced stay or go; names whose removal was not synced go or come back. */
static void names_crash(struct sim_disk *sd)
{
    LIST_EACH (at, &sd->files) {
        struct sim_file *file = CONTAINER_OF(at, struct sim_file, link);
        if (!file->is_named && sim_random(&sd->random, 2) == 0) { file_free(file); }
    }
    while (!list_is_empty(&sd->ghosts)) {
        struct sim_file *file = CONTAINER_OF(sd->ghosts.next, struct sim_file, link);
        if (sim_disk_find(sd, file->name) != NULL || sim_random(&sd->random, 2) == 0) {
            file_free(file);
        } else {
            list_remove(&file->link);
            list_push_back(&sd->files, &file->link);
        }
    }
    sync_names(sd);
}

void sim_disk_interrupt(struct sim_disk *sd)
{
    if (sd->is_interrupted) { return; }
    sd->is_interrupted = true;
    LIST_EACH (at, &sd->jobs) {
        struct disk_job *job = CONTAINER_OF(at, struct sim_job, link)->job;
        if (job->before == NULL) { run_in_part(sd, job); }
    }
}

static void process_ends(struct sim_disk *sd)
{
    sim_disk_interrupt(sd);
    drop_jobs(sd);
    sd->is_interrupted = false;
    sd->is_broken = false;
    sd->is_stopped = false;
    sd->stop_in = 0;
}

void sim_disk_crash(struct sim_disk *sd)
{
    process_ends(sd);
    LIST_EACH (at, &sd->files) {
        file_crash(sd, CONTAINER_OF(at, struct sim_file, link));
    }
    LIST_EACH (at, &sd->ghosts) {
        file_crash(sd, CONTAINER_OF(at, struct sim_file, link));
    }
    names_crash(sd);
}

void sim_disk_kill(struct sim_disk *sd)
{
    process_ends(sd);
}

void sim_disk_evict(struct sim_disk *sd)
{
    LIST_EACH (at, &sd->files) {
        struct sim_file *file = CONTAINER_OF(at, struct sim_file, link);
        for (size_t i = 0; i < file->now.len; i += SIM_SECTOR_BYTES) {
            if (is_lost(file, i)) {
                memcpy(file->now.data + i, file->durable.data + i, sector_bytes(&file->now, i));
            }
        }
        file->lost.len = 0;
    }
}

bool sim_disk_flip(struct sim_disk *sd, const char *name, uint64_t at)
{
    struct sim_file *file = sim_disk_find(sd, name);
    for (; file != NULL && at < file->durable.len && at < file->now.len; at++) {
        char was = file->durable.data[at];
        if (was != 0 && file->now.data[at] == was) {
            file->durable.data[at] = (char)(was ^ (1 << sim_random(&sd->random, 8)));
            file->now.data[at] = file->durable.data[at];
            return true;
        }
    }
    return false;
}
