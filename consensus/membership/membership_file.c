/* membership_file: a few lines of text, written beside and renamed.
 * Owns: `cluster` and `cluster.tmp`. Thread: any, one at a time. */
#include "consensus/membership/membership_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "consensus/disk/disk_uv.h"

enum { FILE_BYTES_MAX = 64 << 10 };

static const char *const words[] = {
    [CLUSTER_NONE] = "none",         [CLUSTER_PROMISED] = "promised",
    [CLUSTER_FOUNDING] = "founding", [CLUSTER_JOINING] = "joining",
    [CLUSTER_MEMBER] = "member",     [CLUSTER_RECOVERING] = "recovering",
};

static enum err fail(const char *dir, const char *what)
{
    enum err err = errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_SYSTEM;
    LOG_LIMITED(LOG_LEVEL_ERROR, "the cluster file cannot be used", LOG_STR("dir", dir),
                LOG_STR("call", what), LOG_STR("error", strerror(errno)));
    return err;
}

/* ---- reading ---- */

static bool read_head(const char *line, struct cluster_file *out)
{
    char word[16];
    if (sscanf(line, "cluster %16" SCNx64 " %15s", &out->cluster_id, word) != 2) { return false; }
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (strcmp(words[i], word) == 0) {
            out->state = (enum cluster_state)i;
            return (out->cluster_id != 0) == (out->state != CLUSTER_NONE);
        }
    }
    return false;
}

static bool read_line(const char *line, struct cluster_file *out)
{
    if (strncmp(line, "cluster ", 8) == 0) { return read_head(line, out); }
    if (strncmp(line, "founder ", 8) == 0) {
        return sscanf(line, "founder %16" SCNx64 " %63s", &out->founder_id, out->founder) == 2;
    }
    if (strncmp(line, "peer ", 5) == 0 && out->peer_count < PMAP_NODES_MAX) {
        struct pmap_address *peer = &out->peer[out->peer_count++];
        return sscanf(line, "peer %255s %5" SCNu16, peer->host, &peer->port) == 2 &&
               peer->port != 0;
    }
    return false;
}

static bool parse(char *text, struct cluster_file *out)
{
    char *rest = text;
    const char *line = strsep(&rest, "\n");
    if (line == NULL || strcmp(line, "fanfare cluster file 1") != 0) { return false; }
    bool has_end = false;
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (strcmp(line, "end") == 0) {
            has_end = true;
            break;
        }
        if (!read_line(line, out)) { return false; }
    }
    return has_end && (out->state == CLUSTER_PROMISED) == (out->founder_id != 0);
}

enum err cluster_file_load(const char *dir, struct cluster_file *out)
{
    static const char file[] = "/cluster";
    char path[4096];
    char text[FILE_BYTES_MAX + 1];
    *out = (struct cluster_file){0};
    snprintf(path, sizeof path, "%s%s", dir, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { return errno == ENOENT ? ERR_OK : fail(dir, "open"); }
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0 && len < FILE_BYTES_MAX) {
        n = read(fd, text + len, FILE_BYTES_MAX - len);
        len += n > 0 ? (size_t)n : 0;
    }
    enum err err = n < 0 ? fail(dir, "read") : ERR_OK;
    close(fd);
    if (err != ERR_OK) { return err; }
    text[len] = '\0';
    if (!parse(text, out)) {
        LOG_ERROR("the cluster file is damaged", LOG_STR("path", path));
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* ---- writing ---- */

static void print(const struct cluster_file *file, struct buf *out)
{
    buf_appendf(out, "fanfare cluster file 1\ncluster %016" PRIx64 " %s\n", file->cluster_id,
                words[file->state]);
    if (file->state == CLUSTER_PROMISED) {
        buf_appendf(out, "founder %016" PRIx64 " %s\n", file->founder_id, file->founder);
    }
    for (uint32_t i = 0; i < file->peer_count; i++) {
        buf_appendf(out, "peer %s %u\n", file->peer[i].host, (unsigned)file->peer[i].port);
    }
    buf_append_str(out, "end\n");
}

bool cluster_file_equal(const struct cluster_file *a, const struct cluster_file *b)
{
    struct buf text_a = {0};
    struct buf text_b = {0};
    print(a, &text_a);
    print(b, &text_b);
    bool equal = slice_equal(buf_slice(&text_a), buf_slice(&text_b));
    buf_fini(&text_a);
    buf_fini(&text_b);
    return equal;
}

static enum err write_file(int dir_fd, const char *dir, struct slice bytes)
{
    int fd = openat(dir_fd, "cluster.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) { return fail(dir, "create"); }
    bool ok = disk_write_at(fd, bytes, 0) && fsync(fd) == 0;
    enum err err = ok ? ERR_OK : fail(dir, "write");
    close(fd);
    if (err != ERR_OK) { return err; }
    if (renameat(dir_fd, "cluster.tmp", dir_fd, "cluster") != 0) { return fail(dir, "rename"); }
    return fsync(dir_fd) == 0 ? ERR_OK : fail(dir, "fsync the directory");
}

enum err cluster_file_save(const char *dir, const struct cluster_file *file)
{
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) { return fail(dir, "open the directory"); }
    struct buf text = {0};
    print(file, &text);
    CHECK(text.len <= FILE_BYTES_MAX);
    enum err err = write_file(dir_fd, dir, buf_slice(&text));
    buf_fini(&text);
    close(dir_fd);
    return err;
}
