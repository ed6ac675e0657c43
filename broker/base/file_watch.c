/* file_watch: two looks are compared as bytes, gaps included. */
#include "base/file_watch.h"

#include <string.h>
#include <sys/stat.h>

static void look(struct file_looks *out, const char *const *path, unsigned count)
{
    CHECK(count <= FILE_WATCH_MAX);
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < count; i++) {
        struct stat st;
        if (path[i] == NULL || stat(path[i], &st) != 0) { continue; }
        out->of[i].device = st.st_dev;
        out->of[i].inode = st.st_ino;
        out->of[i].bytes = st.st_size;
        out->of[i].changed = st.st_ctim;
    }
}

void file_watch_begin(struct file_watch *watch, const char *const *path, unsigned count)
{
    look(&watch->looked, path, count);
    memcpy(&watch->loaded, &watch->looked, sizeof watch->loaded);
}

bool file_watch_is_due(struct file_watch *watch, const char *const *path, unsigned count)
{
    struct file_looks now;
    look(&now, path, count);
    bool is_at_rest = memcmp(&now, &watch->looked, sizeof now) == 0;
    bool is_due = is_at_rest && memcmp(&now, &watch->loaded, sizeof now) != 0;
    memcpy(&watch->looked, &now, sizeof now);
    if (is_due) { memcpy(&watch->loaded, &now, sizeof now); }
    return is_due;
}
