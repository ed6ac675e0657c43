/* membership_roster: a line that says what it is, one with the checksum, and the bytes; written beside and renamed.
 * Owns: `users` and `users.tmp`. */
#include "consensus/membership/membership_roster.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/disk/disk_uv.h"
#include "consensus/map/control.h"

enum {
    RETRY_MS = 1000,
    PATH_BYTES = 4096,
    SUM_HEX = 8,
    /* The texts, and what is around each of them. */
    FILE_BYTES_MAX = 2 * ROSTER_BYTES_MAX + (64 << 10),
};

static const struct slice magic = {"fanfare users 1\n", 16};

static enum err fail(const char *dir, const char *what)
{
    LOG_LIMITED(LOG_LEVEL_ERROR, "the file of the cluster's users cannot be used",
                LOG_STR("dir", dir), LOG_STR("call", what), LOG_STR("error", strerror(errno)));
    return ERR_SYSTEM;
}

/* ---- reading ---- */

static struct roster *parse(struct slice text)
{
    const size_t head_bytes = magic.len + SUM_HEX + 1;
    char sum[SUM_HEX + 1];
    if (text.len < head_bytes || !slice_starts_with(text, magic)) { return NULL; }
    struct slice bytes = slice_of(text.data + head_bytes, text.len - head_bytes);
    snprintf(sum, sizeof sum, "%08" PRIx32, crc32c(0, bytes.data, bytes.len));
    if (memcmp(sum, text.data + magic.len, SUM_HEX) != 0) { return NULL; }
    return control_load_users(bytes);
}

static enum err read_all(const char *dir, int fd, struct buf *out)
{
    enum { PIECE = 65536 };
    ssize_t n = 1;
    while (n > 0 && out->len <= FILE_BYTES_MAX) {
        n = read(fd, buf_reserve(out, PIECE), PIECE);
        out->len += n > 0 ? (size_t)n : 0;
    }
    return n < 0 ? fail(dir, "read") : ERR_OK;
}

enum err roster_file_load(const char *dir, struct roster **out)
{
    char path[PATH_BYTES];
    struct buf text = {0};
    *out = NULL;
    snprintf(path, sizeof path, "%s/users", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return errno == ENOENT ? ERR_OK : fail(dir, "open"); }
    enum err err = read_all(dir, fd, &text);
    close(fd);
    if (err == ERR_OK) {
        *out = parse(buf_slice(&text));
        if (*out == NULL) {
            LOG_ERROR("the file of the cluster's users is damaged; without it the node has its own "
                      "users until it has joined",
                      LOG_STR("path", path));
            err = ERR_CORRUPT;
        }
    }
    buf_fini(&text);
    return err;
}

/* ---- writing ---- */

static enum err write_file(int dir_fd, const char *dir, struct slice bytes)
{
    int fd = openat(dir_fd, "users.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) { return fail(dir, "create"); }
    bool ok = disk_write_at(fd, bytes, 0) && fsync(fd) == 0;
    enum err err = ok ? ERR_OK : fail(dir, "write");
    close(fd);
    if (err != ERR_OK) { return err; }
    if (renameat(dir_fd, "users.tmp", dir_fd, "users") != 0) { return fail(dir, "rename"); }
    return fsync(dir_fd) == 0 ? ERR_OK : fail(dir, "fsync the directory");
}

enum err roster_file_save(const char *dir, const struct roster *roster)
{
    struct buf bytes = {0};
    struct buf text = {0};
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) { return fail(dir, "open the directory"); }
    control_save_users(roster, &bytes);
    buf_append(&text, magic);
    buf_appendf(&text, "%08" PRIx32 "\n", crc32c(0, bytes.data, bytes.len));
    buf_append(&text, buf_slice(&bytes));
    enum err err = write_file(dir_fd, dir, buf_slice(&text));
    buf_fini(&text);
    buf_fini(&bytes);
    close(dir_fd);
    return err;
}

/* ---- on the pool ---- */

static void on_write(uv_work_t *work)
{
    struct roster_keeper *keeper = work->data;
    keeper->err = roster_file_save(keeper->dir, keeper->writing);
}

static void write_wanted(struct roster_keeper *keeper);

static void on_written(uv_work_t *work, int status)
{
    struct roster_keeper *keeper = work->data;
    CHECK(status == 0); /* nothing is cancelled */
    struct roster *written = keeper->writing;
    keeper->writing = NULL;
    if (keeper->err == ERR_OK) {
        keeper->kept_version = written->version;
        keeper->on_kept(keeper->arg);
    } else {
        keeper->failed_ms = 1; /* the next tick tells the time */
    }
    bool is_newest = written == keeper->wanted;
    roster_unref(written);
    if (!is_newest) { write_wanted(keeper); }
}

static void write_wanted(struct roster_keeper *keeper)
{
    if (keeper->writing != NULL || keeper->wanted == NULL ||
        keeper->wanted->version == keeper->kept_version) {
        return;
    }
    keeper->writing = roster_ref(keeper->wanted);
    keeper->failed_ms = 0;
    keeper->work.data = keeper;
    CHECK(uv_queue_work(keeper->loop, &keeper->work, on_write, on_written) == 0);
}

void roster_keep(struct roster_keeper *keeper, const struct roster *roster)
{
    roster_unref(keeper->wanted);
    keeper->wanted = roster_ref(roster);
    write_wanted(keeper);
}

void roster_keep_tick(struct roster_keeper *keeper, uint64_t now_ms)
{
    if (keeper->failed_ms == 0) { return; }
    if (keeper->failed_ms == 1) { keeper->failed_ms = now_ms; }
    if (now_ms >= keeper->failed_ms + RETRY_MS) { write_wanted(keeper); }
}

void roster_keeper_fini(struct roster_keeper *keeper)
{
    CHECK(keeper->writing == NULL);
    roster_unref(keeper->wanted);
}
