/* import_spool: bytes on their way, in a file without a name. */
#include "import/import_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, DROP_BYTES = 16 << 20 };

bool import_spool_open(struct import_spool *spool, const char *dir)
{
    char path[PATH_BYTES];
    *spool = (struct import_spool){.fd = -1};
    if (snprintf(path, sizeof path, "%s/fanfare-import.XXXXXX", dir) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    spool->fd = mkstemp(path);
    if (spool->fd < 0) { return false; }
    (void)unlink(path);
    return true;
}

void import_spool_close(struct import_spool *spool)
{
    if (spool->fd >= 0) { close(spool->fd); }
    spool->fd = -1;
}

bool import_spool_append(struct import_spool *spool, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = pwrite(spool->fd, bytes.data, bytes.len, (off_t)spool->bytes);
        if (n < 0 && errno == EINTR) { continue; }
        if (n <= 0) { return false; }
        spool->bytes += (uint64_t)n;
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return true;
}

bool import_spool_read(const struct import_spool *spool, uint64_t at, size_t bytes, struct buf *out)
{
    if (at + bytes > spool->bytes) { bytes = spool->bytes - at; }
    while (bytes > 0) {
        ssize_t n = pread(spool->fd, buf_reserve(out, bytes), bytes, (off_t)at);
        if (n < 0 && errno == EINTR) { continue; }
        if (n <= 0) { return false; }
        out->len += (size_t)n;
        at += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return true;
}

void import_spool_drop(struct import_spool *spool, uint64_t at)
{
    if (at - spool->dropped < DROP_BYTES) { return; }
    (void)fallocate(spool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)spool->dropped,
                    (off_t)(at - spool->dropped));
    spool->dropped = at;
}

bool import_spool_cut(struct import_spool *spool, uint64_t bytes)
{
    if (ftruncate(spool->fd, (off_t)bytes) != 0) { return false; }
    spool->bytes = bytes;
    if (spool->dropped > bytes) { spool->dropped = bytes; }
    return true;
}
