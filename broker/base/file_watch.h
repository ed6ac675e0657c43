/* file_watch: have files that belong together changed since they were read, and come to rest? A symlink that is swapped,
 * as Kubernetes does, counts. Thread: one at a time. */
#ifndef FANFARE_BASE_FILE_WATCH_H
#define FANFARE_BASE_FILE_WATCH_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "base/check.h"

enum { FILE_WATCH_MAX = 4 };

/* What tells one state of them from another; of a file that is not there: zeros. */
struct file_looks {
    struct {
        dev_t device;
        ino_t inode;
        off_t bytes;
        struct timespec changed;
    } of[FILE_WATCH_MAX];
};

struct file_watch {
    struct file_looks loaded;
    struct file_looks looked;
};

/* They are about to be read, as they are now. A path that is NULL is none; `count` is at most FILE_WATCH_MAX. */
void file_watch_begin(struct file_watch *watch, const char *const *path, unsigned count);

/* Are they others than those that were read last, and as they were at the look before? Then they are to be read, and count
 * as read, whatever comes of it. */
MUST_USE bool file_watch_is_due(struct file_watch *watch, const char *const *path, unsigned count);

#endif
