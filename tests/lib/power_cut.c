/* power_cut: preloaded into a process, writes down how to undo what it has written to files and not yet flushed, so that
 * after a kill -9 a power cut can be made of it: lib/power_cut.py takes back what no fsync had covered.
 *
 * POWER_CUT_ROOT: the folder whose files are watched. POWER_CUT_DIR: where the notes go; on the same file system. In it, by
 * device and inode: N.undo, records of what a write replaced, in order, emptied by an fsync of the file; N.names, lines of
 * what became of names in a folder, emptied by an fsync of the folder; saved.N, links to files that lost their name.
 * POWER_CUT_BOOT_ID: what is read in place of the kernel's boot id, for after a cut the machine has been started anew.
 *
 * What a mapping of a file changes is not seen. One lock for all: a write waits for a flush that is under way.
 * Errors: a note that cannot be written ends the process, for its tests would prove nothing. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, NOTE_BYTES = 64 };

struct record {
    uint64_t offset, length; /* of what follows: what was there, as far as the file reached */
    uint64_t size;           /* of the file before */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned saved_count;

#define REAL(name)                                                     \
    static __typeof__(name) *real;                                     \
    if (real == NULL) { *(void **)(&real) = dlsym(RTLD_NEXT, #name); } \
    (void)real

static int real_open(const char *path, int flags, mode_t mode)
{
    static int (*real)(const char *, int, ...);
    if (real == NULL) { *(void **)&real = dlsym(RTLD_NEXT, "open"); }
    return real(path, flags, mode);
}

static ssize_t real_write(int fd, const void *bytes, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL) { *(void **)&real = dlsym(RTLD_NEXT, "write"); }
    return real(fd, bytes, size);
}

__attribute__((noreturn)) static void fail(const char *what)
{
    dprintf(STDERR_FILENO, "power_cut: %s: %s\n", what, strerror(errno));
    abort();
}

static void add(int fd, const void *bytes, size_t size)
{
    if (real_write(fd, bytes, size) != (ssize_t)size) { fail("note"); }
}

/* Is what the descriptor is for in the root? Its path goes to `path`. */
static bool is_watched(int fd, char path[PATH_BYTES])
{
    const char *root = getenv("POWER_CUT_ROOT");
    char link[NOTE_BYTES];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = root != NULL ? readlink(link, path, PATH_BYTES - 1) : -1;
    if (length <= 0) { return false; }
    path[length] = '\0';
    size_t root_length = strlen(root);
    return strncmp(path, root, root_length) == 0 &&
           (path[root_length] == '/' || path[root_length] == '\0');
}

static void note_path(const struct stat *st, const char *kind, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%llx-%llx.%s", getenv("POWER_CUT_DIR"),
             (unsigned long long)st->st_dev, (unsigned long long)st->st_ino, kind);
}

static int note_open(const struct stat *st, const char *kind)
{
    char path[PATH_BYTES];
    note_path(st, kind, path);
    int fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) { fail(path); }
    return fd;
}

/* ---- contents ---- */

/* What `size` bytes at `offset` are about to replace. */
static void note_replaced(const struct stat *st, const char *path, uint64_t offset, uint64_t size)
{
    uint64_t before = (uint64_t)st->st_size;
    uint64_t there = offset >= before ? 0 : before - offset < size ? before - offset : size;
    struct record record = {offset, there, before};
    int note = note_open(st, "undo");
    int from = there > 0 ? real_open(path, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (there > 0 && from < 0) { fail(path); }
    add(note, &record, sizeof record);
    char bytes[1 << 14];
    while (there > 0) {
        ssize_t got =
            pread(from, bytes, there < sizeof bytes ? there : sizeof bytes, (off_t)offset);
        if (got <= 0) { fail("read"); }
        add(note, bytes, (size_t)got);
        there -= (uint64_t)got;
        offset += (uint64_t)got;
    }
    if (from >= 0) { close(from); }
    close(note);
}

/* Take the lock; note what a write is going to replace. offset < 0: where the descriptor is. */
static void before_write(int fd, off_t offset, size_t size)
{
    int kept = errno;
    char path[PATH_BYTES];
    struct stat st;
    pthread_mutex_lock(&lock);
    int flags = fcntl(fd, F_GETFL);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !(flags & (O_DSYNC | O_SYNC)) &&
        is_watched(fd, path)) {
        if (offset < 0) { offset = flags & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR); }
        note_replaced(&st, path, (uint64_t)offset, size);
    }
    errno = kept;
}

static void after_write(void)
{
    pthread_mutex_unlock(&lock);
}

static size_t size_of(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    return size;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    before_write(fd, -1, size);
    ssize_t result = real_write(fd, bytes, size);
    after_write();
    return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    REAL(pwrite);
    before_write(fd, offset, size);
    ssize_t result = real(fd, bytes, size, offset);
    after_write();
    return result;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    return pwrite(fd, bytes, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(writev);
    before_write(fd, -1, size_of(parts, count));
    ssize_t result = real(fd, parts, count);
    after_write();
    return result;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    REAL(pwritev);
    before_write(fd, offset, size_of(parts, count));
    ssize_t result = real(fd, parts, count, offset);
    after_write();
    return result;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return pwritev(fd, parts, count, offset);
}

int ftruncate(int fd, off_t size)
{
    REAL(ftruncate);
    struct stat st;
    bool shrinks = fstat(fd, &st) == 0 && st.st_size > size;
    before_write(fd, size, shrinks ? (size_t)(st.st_size - size) : 0);
    int result = real(fd, size);
    after_write();
    return result;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    REAL(posix_fallocate);
    before_write(fd, offset, 0);
    int result = real(fd, offset, size);
    after_write();
    return result;
}

int posix_fallocate64(int fd, off64_t offset, off64_t size)
{
    return posix_fallocate(fd, offset, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    REAL(fallocate);
    before_write(fd, offset, mode & ~FALLOC_FL_KEEP_SIZE ? (size_t)size : 0);
    int result = real(fd, mode, offset, size);
    after_write();
    return result;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    return fallocate(fd, mode, offset, size);
}

/* ---- flushes ---- */

/* The links to files that a folder's names no longer lead to: nothing can bring them back now. */
static void forget_saved(const char *names)
{
    FILE *lines = fopen(names, "re");
    char saved[PATH_BYTES];
    char *line = NULL;
    size_t room = 0;
    while (lines != NULL && getline(&line, &room, lines) > 0) {
        char *last = strrchr(line, '\t');
        if (last == NULL || last[1] == '-') { continue; }
        last[strcspn(last, "\n")] = '\0';
        struct stat st;
        snprintf(saved, sizeof saved, "%s/%s", getenv("POWER_CUT_DIR"), last + 1);
        if (stat(saved, &st) == 0 && st.st_nlink == 1) {
            char undo[PATH_BYTES];
            note_path(&st, "undo", undo);
            (void)remove(undo);
        }
        (void)remove(saved);
    }
    free(line);
    if (lines != NULL) { fclose(lines); }
}

static void flushed(int fd)
{
    int kept = errno;
    char path[PATH_BYTES], note[PATH_BYTES];
    struct stat st;
    if (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) &&
        is_watched(fd, path)) {
        note_path(&st, S_ISDIR(st.st_mode) ? "names" : "undo", note);
        if (S_ISDIR(st.st_mode)) { forget_saved(note); }
        if (remove(note) != 0 && errno != ENOENT) { fail(note); }
    }
    errno = kept;
}

int fsync(int fd)
{
    REAL(fsync);
    pthread_mutex_lock(&lock);
    int result = real(fd);
    if (result == 0) { flushed(fd); }
    pthread_mutex_unlock(&lock);
    return result;
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    pthread_mutex_lock(&lock);
    int result = real(fd);
    if (result == 0) { flushed(fd); }
    pthread_mutex_unlock(&lock);
    return result;
}

/* ---- names ---- */

/* The folder of a path, as a descriptor, if it is watched; the last part of the path goes to `name`. */
static int folder_of(int dir_fd, const char *path, const char **name)
{
    char folder[PATH_BYTES], real_path[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    *name = slash != NULL ? slash + 1 : path;
    snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path + 1) : 1,
             slash != NULL ? path : ".");
    static int (*real)(int, const char *, int, ...);
    if (real == NULL) { *(void **)&real = dlsym(RTLD_NEXT, "openat"); }
    int fd = real(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && !is_watched(fd, real_path)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void note_name(int folder, const char *what, const char *one, const char *two,
                      const char *saved)
{
    struct stat st;
    char line[PATH_BYTES];
    if (fstat(folder, &st) != 0) { fail("folder"); }
    int size = snprintf(line, sizeof line, "%s\t%s\t%s\t%s\n", what, one, two, saved);
    int note = note_open(&st, "names");
    add(note, line, (size_t)size);
    close(note);
}

/* Another name for a file that is about to lose this one; "-" if there is none. */
static void save(int folder, const char *name, char saved[NOTE_BYTES])
{
    char path[PATH_BYTES];
    snprintf(saved, NOTE_BYTES, "saved.%d.%u", (int)getpid(), saved_count++);
    snprintf(path, sizeof path, "%s/%s", getenv("POWER_CUT_DIR"), saved);
    if (linkat(folder, name, AT_FDCWD, path, 0) != 0) {
        if (errno != ENOENT) { fail(path); }
        memcpy(saved, "-", 2);
    }
}

static void before_open(int dir_fd, const char *path, int flags)
{
    const char *name;
    int kept = errno;
    pthread_mutex_lock(&lock);
    int folder = flags & (O_CREAT | O_TRUNC) ? folder_of(dir_fd, path, &name) : -1;
    struct stat st;
    if (folder >= 0 && fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (flags & O_CREAT) { note_name(folder, "create", name, "-", "-"); }
    } else if (folder >= 0 && flags & O_TRUNC && S_ISREG(st.st_mode)) {
        char whole[PATH_BYTES];
        snprintf(whole, sizeof whole, "/proc/self/fd/%d/%s", folder, name);
        note_replaced(&st, whole, 0, (uint64_t)st.st_size);
    }
    if (folder >= 0) { close(folder); }
    errno = kept;
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    static int (*real)(int, const char *, int, ...);
    if (real == NULL) { *(void **)&real = dlsym(RTLD_NEXT, "openat"); }
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    const char *boot_id = getenv("POWER_CUT_BOOT_ID");
    if (boot_id != NULL && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) { path = boot_id; }
    before_open(dir_fd, path, flags);
    int fd = real(dir_fd, path, flags, mode);
    pthread_mutex_unlock(&lock);
    return fd;
}

int openat64(int dir_fd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return openat(dir_fd, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return openat(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return openat(AT_FDCWD, path, flags, mode);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    REAL(renameat);
    const char *old_name, *new_name;
    char saved[NOTE_BYTES];
    pthread_mutex_lock(&lock);
    int folder = folder_of(from_fd, from, &old_name);
    int target = folder_of(to_fd, to, &new_name);
    if (folder >= 0 && target >= 0) {
        save(target, new_name, saved);
        note_name(target, "rename", old_name, new_name, saved); /* within one folder */
    }
    int result = real(from_fd, from, to_fd, to);
    int kept = errno;
    if (folder >= 0) { close(folder); }
    if (target >= 0) { close(target); }
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    REAL(unlinkat);
    const char *name;
    char saved[NOTE_BYTES];
    pthread_mutex_lock(&lock);
    int folder = flags == 0 ? folder_of(dir_fd, path, &name) : -1;
    if (folder >= 0) {
        save(folder, name, saved);
        if (saved[0] != '-') { note_name(folder, "unlink", name, "-", saved); }
    }
    int result = real(dir_fd, path, flags);
    int kept = errno;
    if (folder >= 0) { close(folder); }
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}
