/* data_layout: one line: "partitions 16 sharded 1a" (the databases as bits, in hexadecimal). */
#include "data_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum { LINE_BYTES = 80, PATH_BYTES = 4096 };

static enum err fail(const char *path, const char *what)
{
    LOG_ERROR(what, LOG_STR("path", path), LOG_STR("error", strerror(errno)));
    return ERR_SYSTEM;
}

/* Whole or not at all. */
static enum err layout_write(const char *dir, const char *path, const char *line)
{
    char fresh[PATH_BYTES + 8];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) { return fail(fresh, "cannot write the layout of keys"); }
    size_t len = strlen(line);
    bool is_written = write(fd, line, len) == (ssize_t)len && fsync(fd) == 0;
    CHECK(close(fd) == 0);
    if (!is_written || rename(fresh, path) != 0) {
        return fail(path, "cannot write the layout of keys");
    }
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_kept = dir_fd >= 0 && fsync(dir_fd) == 0;
    if (dir_fd >= 0) { CHECK(close(dir_fd) == 0); }
    return is_kept ? ERR_OK : fail(dir, "cannot write the layout of keys");
}

enum err data_layout_check(const char *dir, uint32_t partition_count, uint64_t sharded_databases)
{
    char path[PATH_BYTES];
    char line[LINE_BYTES];
    char found[LINE_BYTES] = "";
    if (snprintf(path, sizeof path, "%s/layout", dir) >= PATH_BYTES) { return ERR_INVALID; }
    snprintf(line, sizeof line, "partitions %" PRIu32 " sharded %" PRIx64 "\n", partition_count,
             sharded_databases);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? layout_write(dir, path, line)
                               : fail(path, "cannot read the layout of keys");
    }
    ssize_t n = read(fd, found, sizeof found - 1);
    CHECK(close(fd) == 0);
    if (n < 0) { return fail(path, "cannot read the layout of keys"); }
    if (strcmp(found, line) == 0) { return ERR_OK; }
    found[strcspn(found, "\n")] = '\0';
    line[strcspn(line, "\n")] = '\0';
    LOG_ERROR("the options partitions and sharded-databases cannot be changed: keys are divided as "
              "the first "
              "start said",
              LOG_STR("path", path), LOG_STR("was", found), LOG_STR("asked", line));
    return ERR_INVALID;
}
