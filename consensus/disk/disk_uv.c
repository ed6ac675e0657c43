/* disk_uv: file operations on a thread for the log and on the thread pool.
 * Owns: the descriptor of the directory, the log's thread. Thread: submit and on_done on the raft
 * thread, the operations on the others.
 * Always: ERR_FULL is reported only where nothing is lost by it; whatever else fails, a flush above
 * all, is ERR_SYSTEM: after it the page cache and the disk may differ. */
#include "consensus/disk/disk_uv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

static enum err failed(const char *what, const char *name)
{
    int error = errno;
    if (error == ENOSPC || error == EDQUOT) { return ERR_FULL; }
    LOG_ERROR("a file operation failed", LOG_STR("what", what), LOG_STR("file", name),
              LOG_STR("error", strerror(error)));
    return ERR_SYSTEM;
}

bool disk_write_at(int fd, struct slice data, uint64_t offset)
{
    while (data.len > 0) {
        ssize_t n = pwrite(fd, data.data, data.len, (off_t)offset);
        if (n < 0 && errno != EINTR) { return false; }
        size_t bytes = n > 0 ? (size_t)n : 0;
        data = slice_of(data.data + bytes, data.len - bytes);
        offset += bytes;
    }
    return true;
}

static enum err write_data(int fd, const struct disk_job *job)
{
    static const char zeros[64 << 10];
    uint64_t at = job->offset + job->len;
    bool ok = disk_write_at(fd, slice_of(job->data, job->len), job->offset);
    for (size_t rest = job->zero_bytes; rest > 0 && ok;) {
        size_t bytes = rest < sizeof zeros ? rest : sizeof zeros;
        ok = disk_write_at(fd, slice_of(zeros, bytes), at);
        at += bytes;
        rest -= bytes;
    }
    return ok ? ERR_OK : failed("write", job->name);
}

static enum err flush(const struct disk_uv *du, int fd, const struct disk_job *job)
{
    if (job->sync && fdatasync(fd) != 0) {
        (void)failed("fdatasync", job->name);
        return ERR_SYSTEM;
    }
    bool name_too = job->create_bytes > 0 || job->sync_name;
    if (job->sync && name_too && fsync(du->dir_fd) != 0) {
        (void)failed("fsync of the directory", job->name);
        return ERR_SYSTEM;
    }
    return ERR_OK;
}

/* A descriptor for the job; the kept one, if it is of this file. */
static int open_for_write(struct disk_uv *du, const struct disk_job *job)
{
    if (job->keep_open && job->create_bytes == 0 && du->kept_fd >= 0 &&
        strcmp(du->kept_name, job->name) == 0) {
        return du->kept_fd;
    }
    int flags = O_WRONLY | O_CLOEXEC | (job->create_bytes > 0 ? O_CREAT | O_TRUNC : 0);
    int fd = openat(du->dir_fd, job->name, flags, 0600);
    if (fd < 0 || !job->keep_open) { return fd; }
    if (du->kept_fd >= 0) { close(du->kept_fd); }
    du->kept_fd = fd;
    memcpy(du->kept_name, job->name, sizeof du->kept_name);
    return fd;
}

static enum err run_write(struct disk_uv *du, const struct disk_job *job)
{
    int fd = open_for_write(du, job);
    if (fd < 0) { return failed("open", job->name); }
    enum err err = ERR_OK;
    if (job->create_bytes > 1) {
        errno = posix_fallocate(fd, 0, (off_t)job->create_bytes);
        err = errno != 0 ? failed("reserve", job->name) : ERR_OK;
    }
    if (err == ERR_OK) { err = write_data(fd, job); }
    if (err == ERR_OK) { err = flush(du, fd, job); }
    if (!job->keep_open) { close(fd); }
    return err;
}

static enum err run_read(const struct disk_uv *du, struct disk_job *job)
{
    int fd = openat(du->dir_fd, job->name, O_RDONLY | O_CLOEXEC);
    job->done_len = 0;
    if (fd < 0) { return failed("open", job->name); }
    enum err err = ERR_OK;
    while (job->done_len < job->len && err == ERR_OK) {
        ssize_t n = pread(fd, job->data + job->done_len, job->len - job->done_len,
                          (off_t)(job->offset + job->done_len));
        if (n == 0) { break; }
        if (n < 0 && errno != EINTR) { err = failed("read", job->name); }
        job->done_len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return err;
}

static enum err run_remove(const struct disk_uv *du, const struct disk_job *job)
{
    if (unlinkat(du->dir_fd, job->name, 0) != 0 && errno != ENOENT) {
        return failed("remove", job->name);
    }
    return fsync(du->dir_fd) == 0 ? ERR_OK : failed("fsync of the directory", job->name);
}

static enum err run(struct disk *disk, struct disk_job *job)
{
    struct disk_uv *du = CONTAINER_OF(disk, struct disk_uv, disk);
    if (job->before != NULL) { job->before(job); }
    switch (job->op) {
    case DISK_WRITE: job->err = run_write(du, job); break;
    case DISK_READ: job->err = run_read(du, job); break;
    case DISK_REMOVE: job->err = run_remove(du, job); break;
    }
    return job->err;
}

static void job_ended(struct disk_uv *du, struct disk_job *job, uint64_t start_ns)
{
    if (job->op == DISK_WRITE && job->sync) {
        metric_observe(METRIC_HISTOGRAM_raft_disk_sync_seconds, clock_mono_ns() - start_ns);
    }
    du->inflight_count--;
    job->on_done(job);
}

/* ---- the log's thread ---- */

static void log_main(void *arg)
{
    struct disk_uv *du = arg;
    struct disk_uv_log *log = &du->log;
    for (;;) {
        uv_sem_wait(&log->has_work);
        if (log->is_ending) { return; }
        (void)run(&du->disk, log->job);
        atomic_store_explicit(&log->is_done, true, memory_order_release);
        bell_ring(&log->has_ended);
    }
}

static void on_log_ended(void *arg)
{
    struct disk_uv *du = arg;
    struct disk_uv_log *log = &du->log;
    if (!atomic_load_explicit(&log->is_done, memory_order_acquire)) { return; }
    struct disk_job *job = log->job;
    atomic_store_explicit(&log->is_done, false, memory_order_relaxed);
    log->job = NULL;
    bell_unref(&log->has_ended);
    job_ended(du, job, log->start_ns);
}

static void log_submit(struct disk_uv *du, struct disk_job *job)
{
    CHECK(du->log.job == NULL);
    du->log.job = job;
    du->log.start_ns = clock_mono_ns();
    bell_ref(&du->log.has_ended);
    uv_sem_post(&du->log.has_work);
}

static void log_start(struct disk_uv *du)
{
    CHECK(uv_sem_init(&du->log.has_work, 0) == 0);
    bell_init(&du->log.has_ended, du->loop, on_log_ended, du);
    bell_unref(&du->log.has_ended);
    thread_start(&du->log.thread, "log", log_main, du);
}

/* ---- the pool ---- */

struct work {
    uv_work_t request;
    struct disk_uv *du;
    struct disk_job *job;
    uint64_t start_ns;
};

static void on_work(uv_work_t *request)
{
    struct work *work = request->data;
    (void)!run(&work->du->disk, work->job);
}

static void on_worked(uv_work_t *request, int status)
{
    struct work *work = request->data;
    CHECK(status == 0); /* nothing is cancelled */
    struct work ended = *work;
    mem_free(work);
    job_ended(ended.du, ended.job, ended.start_ns);
}

static void submit(struct disk *disk, struct disk_job *job)
{
    struct disk_uv *du = CONTAINER_OF(disk, struct disk_uv, disk);
    du->inflight_count++;
    if (job->op == DISK_WRITE && job->keep_open) {
        log_submit(du, job);
        return;
    }
    struct work *work = mem_new0(sizeof *work);
    work->request.data = work;
    work->du = du;
    work->job = job;
    work->start_ns = clock_mono_ns();
    CHECK(uv_queue_work(du->loop, &work->request, on_work, on_worked) == 0);
}

static enum err list_files(struct disk *disk,
                           void (*found)(void *arg, const char *name, uint64_t bytes), void *arg)
{
    const struct disk_uv *du = CONTAINER_OF(disk, struct disk_uv, disk);
    int fd = openat(du->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        enum err err = failed("list", ".");
        if (fd >= 0) { close(fd); }
        return err;
    }
    enum err err = ERR_OK;
    while (err == ERR_OK) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL && errno != 0) { err = failed("list", "."); }
        if (entry == NULL) { break; }
        struct stat st;
        if (fstatat(du->dir_fd, entry->d_name, &st, 0) != 0) {
            err = failed("look at", entry->d_name);
        } else if (S_ISREG(st.st_mode) && strlen(entry->d_name) < DISK_NAME_BYTES) {
            found(arg, entry->d_name, (uint64_t)st.st_size);
        }
    }
    closedir(dir);
    return err;
}

static uint64_t free_bytes(struct disk *disk)
{
    const struct disk_uv *du = CONTAINER_OF(disk, struct disk_uv, disk);
    struct statvfs st;
    return fstatvfs(du->dir_fd, &st) == 0 ? (uint64_t)st.f_bavail * st.f_frsize : 0;
}

static const struct disk_ops disk_uv_ops = {submit, run, list_files, free_bytes};

enum err disk_uv_init(struct disk_uv *du, uv_loop_t *loop, const char *dir)
{
    *du = (struct disk_uv){.disk = {&disk_uv_ops}, .loop = loop, .dir_fd = -1, .kept_fd = -1};
    if (loop != NULL) { log_start(du); }
    if (loop != NULL && mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return failed("make the directory", dir);
    }
    du->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return du->dir_fd >= 0 ? ERR_OK : failed("open the directory", dir);
}

void disk_uv_close(struct disk_uv *du)
{
    CHECK(du->inflight_count == 0);
    bell_close(&du->log.has_ended);
}

void disk_uv_fini(struct disk_uv *du)
{
    CHECK(du->inflight_count == 0);
    if (du->loop != NULL) {
        du->log.is_ending = true;
        uv_sem_post(&du->log.has_work);
        thread_join(&du->log.thread);
        uv_sem_destroy(&du->log.has_work);
        bell_fini(&du->log.has_ended);
    }
    if (du->dir_fd >= 0) { close(du->dir_fd); }
    if (du->kept_fd >= 0) { close(du->kept_fd); }
}
