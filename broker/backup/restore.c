/* restore: `fanfare restore`: all of a backup is looked at; then its partitions are written, key by key, by ordinary commands, as
 * `fanfare import` writes those of an RDB file. So the cluster that is written to may have another layout. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "backup/backup.h"
#include "backup/backup_file.h"
#include "backup/backup_options.h"
#include "backup/backup_signals.h"
#include "backup/restore_notes.h"
#include "backup/restore_users.h"
#include "import/import_progress.h"
#include "import/import_spool.h"
#include "import/import_survey.h"
#include "import/import_write.h"

enum { COPY_BYTES = 1 << 20 };

struct restore {
    struct backup_options options;
    const char *name;  /* of the file, for people */
    struct slice file; /* mapped */
    struct backup_directory directory;
    struct import_target target;
    struct import_idle idle;
    struct import_write write;
    struct import_progress progress;
    uint64_t keys; /* of the partitions that are written */
    uint64_t bytes;
    struct restore_notes notes;
    bool looks;
    int stop_fd;
};

static int complain(const char *what, const char *why, int exit)
{
    fprintf(stderr, "fanfare restore: %s%s%s\n", what, *why != 0 ? ": " : "", why);
    return exit;
}

static bool on_idle(void *arg, bool is_readable)
{
    struct restore *restore = arg;
    (void)is_readable;
    progress_keys(&restore->progress, restore->keys + restore->write.keys,
                  restore->bytes + rdb_file_at(&restore->write.file));
    return !backup_signals_have_come(restore->stop_fd);
}

static bool on_survey(void *arg)
{
    return !backup_signals_have_come(((struct restore *)arg)->stop_fd);
}

/* ---- the file ---- */

static bool map_file(struct restore *restore, int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0) { return false; }
    if (st.st_size == 0) {
        errno = ENODATA;
        return false;
    }
    void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED) { return false; }
    (void)madvise(at, (size_t)st.st_size, MADV_SEQUENTIAL);
    restore->file = slice_of(at, (size_t)st.st_size);
    return true;
}

/* A pipe is read to its end first: a backup says only there whether it is whole. */
static bool spool_input(struct restore *restore)
{
    struct import_spool spool;
    struct buf in = {0};
    if (!import_spool_open(&spool, restore->options.spool_dir)) { return false; }
    ssize_t n;
    do {
        in.len = 0;
        n = read(STDIN_FILENO, buf_reserve(&in, COPY_BYTES), COPY_BYTES);
    } while ((n < 0 && errno == EINTR) ||
             (n > 0 && import_spool_append(&spool, slice_of(in.data, (size_t)n))));
    bool is_mapped = n == 0 && map_file(restore, spool.fd);
    buf_fini(&in);
    import_spool_close(&spool);
    return is_mapped;
}

static int open_file(struct restore *restore)
{
    struct stat st;
    int fd = STDIN_FILENO;
    restore->name = restore->options.file != NULL ? restore->options.file : "standard input";
    if (restore->options.file != NULL) { fd = open(restore->options.file, O_RDONLY | O_CLOEXEC); }
    bool is_open = fd >= 0 && fstat(fd, &st) == 0;
    bool is_mapped =
        is_open && (S_ISREG(st.st_mode) || restore->options.file != NULL ? map_file(restore, fd)
                                                                         : spool_input(restore));
    int error = errno;
    if (fd > STDIN_FILENO) { close(fd); }
    return is_mapped ? BACKUP_DONE : complain(restore->name, strerror(error), BACKUP_BAD_FILE);
}

static int damaged(const struct restore *restore, uint64_t at, const char *why)
{
    if (why == rdb_stopped) { return complain("stopped", "", BACKUP_FAILED); }
    fprintf(stderr, "fanfare restore: %s is damaged at byte %lu: %s; nothing was restored\n",
            restore->name, at, why);
    return BACKUP_BAD_FILE;
}

static struct slice section_bytes(const struct restore *restore, uint32_t partition)
{
    const struct backup_section *section = &restore->directory.section[partition];
    return slice_of(restore->file.data + section->at, section->bytes);
}

/* ---- before anything is written ---- */

static void print(const struct restore *restore, const struct import_survey *found)
{
    char when[32];
    time_t seconds = (time_t)(restore->directory.begun_ms / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL ||
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
        when[0] = 0;
    }
    printf("backup of %s, of %u partitions, by %s (fanfare %s)\n", when,
           restore->directory.partition_count, restore->directory.node, restore->directory.version);
    import_survey_print(found, stdout);
    fflush(stdout);
}

/* What is there, and can all of it be restored? */
static int survey(struct restore *restore)
{
    struct import_survey found = {.keys = 0};
    const char *why;
    uint64_t at;
    int exit = BACKUP_DONE;
    if (!backup_file_read(&restore->directory, restore->file, &why, &at)) {
        return damaged(restore, at, why);
    }
    for (uint32_t i = 0; i < restore->directory.partition_count && exit == BACKUP_DONE; i++) {
        const struct import_survey_opts opts = {
            .file = section_bytes(restore, i), .only_db = -1, .on_turn = on_survey, .arg = restore};
        if (!import_survey_add(&found, &opts, &why, &at)) {
            exit = damaged(restore, restore->directory.section[i].at + at, why);
        }
    }
    if (exit == BACKUP_DONE) {
        print(restore, &found);
        bool is_left = import_survey_left_out(&found) > 0;
        restore->looks = is_left || found.empty > 0;
        restore->progress.keys = found.keys;
        restore->progress.bytes = restore->file.len;
        if (is_left && !restore->options.skips) {
            exit =
                complain("nothing was written; --skip goes on without these", "", BACKUP_LEFT_OUT);
        }
    }
    import_survey_fini(&found);
    return exit;
}

static int check_target(struct restore *restore)
{
    uint64_t keys;
    if (!target_connect(&restore->target) || !target_keys(&restore->target, &keys)) {
        return complain("the target", restore->target.why.data, BACKUP_FAILED);
    }
    bool is_free = target_is_free("restore", keys, restore->options.replaces);
    return is_free ? BACKUP_DONE : BACKUP_FAILED;
}

/* ---- writing ---- */

static enum target_state write_section(struct restore *restore, uint32_t partition)
{
    struct slice section = section_bytes(restore, partition);
    bool is_begun = import_write_begin(&restore->write, section, &restore->target, -1);
    CHECK(is_begun); /* the survey has read it */
    restore->write.looks = restore->looks;
    restore->write.on_note = restore_note;
    restore->write.arg = &restore->notes;
    enum target_state state = import_write_all(&restore->write);
    restore->keys += restore->write.keys;
    restore->bytes += section.len;
    import_write_end(&restore->write);
    restore->write = (struct import_write){.keys = 0};
    return state;
}

/* Users that were made when a connection was lost are made again. */
static enum target_state write_users(struct restore *restore, uint64_t *users)
{
    const struct backup_directory *directory = &restore->directory;
    struct slice lines = slice_of(restore->file.data + directory->users_at, directory->users_bytes);
    *users = 0;
    if (!restore->options.with_users) { return TARGET_GOOD; }
    while (restore_users(&restore->target, lines, users) == TARGET_LOST) {
        if (!target_connect(&restore->target)) { break; }
    }
    return restore->target.state;
}

static int write_all(struct restore *restore)
{
    uint64_t users = 0;
    enum target_state state = TARGET_GOOD;
    uint32_t count = restore->directory.partition_count;
    uint32_t done = 0;
    for (; done < count && state == TARGET_GOOD; done++) {
        state = write_section(restore, done);
    }
    if (state == TARGET_GOOD) { state = write_users(restore, &users); }
    progress_end(&restore->progress);
    if (state == TARGET_GOOD) {
        printf("%lu keys, %lu scripts and %lu users restored\n", restore->keys,
               restore->notes.scripts, users);
        if (restore->target.answers_short > 0) {
            printf("%lu entries of large streams were pending and are deleted: they are not "
                   "pending here\n",
                   restore->target.answers_short);
        }
        fflush(stdout);
        return BACKUP_DONE;
    }
    fprintf(stderr,
            "fanfare restore: %s; it ended in partition %u of %u, after %lu keys: what is there "
            "is not the backup. Run it again with --replace\n",
            state == TARGET_ENDED ? "stopped" : restore->target.why.data, done - 1, count,
            restore->keys);
    return BACKUP_FAILED;
}

static int run(struct restore *restore)
{
    int exit = open_file(restore);
    if (exit == BACKUP_DONE) { exit = survey(restore); }
    if (exit != BACKUP_DONE || restore->options.is_dry) { return exit; }
    exit = check_target(restore);
    return exit == BACKUP_DONE ? write_all(restore) : exit;
}

int restore_main(int argc, char **argv)
{
    struct restore restore = {.stop_fd = -1};
    if (!restore_options_read(&restore.options, argc, argv)) { return BACKUP_USAGE; }
    restore.stop_fd = backup_signals_take();
    restore.idle = (struct import_idle){.fd = -1, .run = on_idle, .arg = &restore};
    target_init(&restore.target, &restore.options.server, &restore.idle);
    progress_begin(&restore.progress);
    int exit = run(&restore);
    target_fini(&restore.target);
    backup_directory_fini(&restore.directory);
    restore_notes_fini(&restore.notes);
    if (restore.file.len > 0) {
        (void)munmap((void *)(uintptr_t)restore.file.data, restore.file.len);
    }
    close(restore.stop_fd);
    return exit;
}
