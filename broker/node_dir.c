/* node_dir: files `lock` (the process id of the holder, for people) and `node-id` (one line: the id as
 * the cluster shows it, whose first 16 hexadecimal digits are the id itself). */
#include "node_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/node_name.h"

enum { ID_DIGITS = 16 };

static enum err refuse(const char *path, const char *what, const char *why)
{
    LOG_ERROR("cannot use the data directory", LOG_STR("dir", path), LOG_STR("what", what),
              LOG_STR("why", why));
    return ERR_SYSTEM;
}

/* Read the id of the directory. ERR_CLOSED: there is none yet. */
static enum err id_read(int dir_fd, const char *path, uint64_t *node_id)
{
    int fd = openat(dir_fd, "node-id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? ERR_CLOSED : refuse(path, "open node-id", strerror(errno));
    }
    char text[NODE_NAME_HEX + 2] = "";
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    bool is_whole = n >= NODE_NAME_HEX && (n == NODE_NAME_HEX || text[NODE_NAME_HEX] == '\n') &&
                    strspn(text, "0123456789abcdef") >= NODE_NAME_HEX;
    text[ID_DIGITS] = '\0';
    uint64_t id = strtoull(text, NULL, 16);
    if (!is_whole || id == 0) {
        return refuse(path, "read node-id", "it is damaged; remove it to give this node a new id");
    }
    *node_id = id;
    return ERR_OK;
}

/* Make a new id durable: a crash leaves it whole or not there. */
static enum err id_write(int dir_fd, const char *path, uint64_t *node_id)
{
    uint64_t id = 0;
    while (id == 0) {
        CHECK(getrandom(&id, sizeof id, 0) == sizeof id);
    }
    char name[NODE_NAME_BYTES];
    node_name_print(id, name);
    char line[NODE_NAME_HEX + 2];
    int len = snprintf(line, sizeof line, "%s\n", name);
    int fd = openat(dir_fd, "node-id.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) { return refuse(path, "write node-id", strerror(errno)); }
    bool is_good = write(fd, line, (size_t)len) == len && fsync(fd) == 0 &&
                   renameat(dir_fd, "node-id.new", dir_fd, "node-id") == 0 && fsync(dir_fd) == 0;
    int error = errno;
    close(fd);
    if (!is_good) { return refuse(path, "write node-id", strerror(error)); }
    *node_id = id;
    return ERR_OK;
}

static enum err lock(int dir_fd, const char *path, int *lock_fd)
{
    int fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) { return refuse(path, "open lock", strerror(errno)); }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        close(fd);
        return refuse(path, "lock",
                      error == EWOULDBLOCK
                          ? "another fanfare process uses it; give this one its own --dir"
                          : strerror(error));
    }
    if (ftruncate(fd, 0) == 0) { dprintf(fd, "%d\n", (int)getpid()); }
    *lock_fd = fd;
    return ERR_OK;
}

enum err node_dir_open(const char *path, int *lock_fd, uint64_t *node_id)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return refuse(path, "create", strerror(errno));
    }
    int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) { return refuse(path, "open", strerror(errno)); }
    int fd = -1;
    enum err err = lock(dir_fd, path, &fd);
    if (err == ERR_OK) {
        err = id_read(dir_fd, path, node_id);
        if (err == ERR_CLOSED) { err = id_write(dir_fd, path, node_id); }
    }
    close(dir_fd);
    if (err == ERR_OK) {
        *lock_fd = fd;
    } else if (fd >= 0) {
        close(fd);
    }
    return err;
}
