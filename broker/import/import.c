/* import: a survey, the keys, and what the source executes afterwards. */
#include "import/import.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "import/import_follow.h"
#include "import/import_options.h"
#include "import/import_progress.h"
#include "import/import_source.h"
#include "import/import_survey.h"
#include "import/import_write.h"

enum { QUIET_MS = 3000, IDLE_MS = 100 };

struct import {
    struct import_options options;
    struct import_source source;
    bool has_source;
    struct import_target target;
    struct import_idle idle;
    struct import_write write;
    struct import_follow follow;
    struct import_progress progress;
    struct slice file; /* mapped */
    int stop_fd;       /* SIGINT and SIGTERM */
    unsigned stops;    /* of them: the first ends in order, the second at once */
    uint64_t commands; /* followed when it was last looked, */
    uint64_t quiet_ns; /* and since when there are no more */
    bool is_following;
    bool is_source_gone;
};

static int complain(const char *what, const char *why, int exit)
{
    fprintf(stderr, "fanfare import: %s%s%s\n", what, *why != 0 ? ": " : "", why);
    return exit;
}

/* ---- besides ---- */

static unsigned stops(struct import *import)
{
    struct signalfd_siginfo info;
    while (read(import->stop_fd, &info, sizeof info) == sizeof info) {
        import->stops++;
    }
    return import->stops;
}

/* While the target is waited for: the source is read on, so that it does not give us up. */
static bool on_idle(void *arg, bool is_readable)
{
    struct import *import = arg;
    (void)is_readable;
    if (import->has_source && !import->is_source_gone) {
        import->is_source_gone = !import_source_turn(&import->source);
        import->idle.fd = import->source.fd;
    }
    if (import->is_following) {
        progress_follow(&import->progress, import->follow.commands,
                        import->source.received_at - import->follow.applied.at);
    } else {
        progress_keys(&import->progress, import->write.keys, rdb_file_at(&import->write.file));
    }
    return stops(import) < (import->is_following ? 2 : 1);
}

static bool on_survey(void *arg)
{
    struct import *import = arg;
    if (import->has_source && !import->is_source_gone) {
        import->is_source_gone = !import_source_turn(&import->source);
    }
    return stops(import) == 0;
}

static bool on_transfer(void *arg, uint64_t bytes)
{
    struct import *import = arg;
    progress_transfer(&import->progress, bytes);
    return stops(import) == 0;
}

static void signals_take(struct import *import)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    import->stop_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(import->stop_fd >= 0);
}

/* ---- the file ---- */

static bool map_file(struct import *import, int fd)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) { return false; }
    if (st.st_size == 0) {
        errno = ENODATA;
        return false;
    }
    void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED) { return false; }
    (void)madvise(at, (size_t)st.st_size, MADV_SEQUENTIAL);
    import->file = slice_of(at, (size_t)st.st_size);
    return true;
}

static int open_file(struct import *import)
{
    int fd = open(import->options.file, O_RDONLY | O_CLOEXEC);
    bool is_mapped = map_file(import, fd);
    int error = errno;
    if (fd >= 0) { close(fd); }
    return is_mapped ? IMPORT_DONE
                     : complain(import->options.file, strerror(error), IMPORT_BAD_SOURCE);
}

static int take_source(struct import *import)
{
    import->has_source = true;
    if (!import_source_open(&import->source, &import->options.source, import->options.spool_dir) ||
        !import_source_take_keys(&import->source, on_transfer, import)) {
        return complain(import->source.why, "", IMPORT_BAD_SOURCE);
    }
    progress_end(&import->progress);
    return map_file(import, import->source.keys.fd)
               ? IMPORT_DONE
               : complain("the transfer", strerror(errno), IMPORT_BAD_SOURCE);
}

/* ---- before anything is written ---- */

static int survey(struct import *import)
{
    struct import_survey found;
    const char *why;
    uint64_t at;
    const struct import_survey_opts opts = {
        .file = import->file,
        .only_db = import->options.has_source ? import->options.source.db : -1,
        .on_turn = on_survey,
        .arg = import,
    };
    int exit = IMPORT_DONE;
    if (!import_survey_read(&found, &opts, &why, &at)) {
        fprintf(stderr, "fanfare import: at byte %lu: %s\n", at, why);
        exit = IMPORT_BAD_SOURCE;
    } else {
        import_survey_print(&found, stdout);
        fflush(stdout);
        bool is_left = import_survey_left_out(&found) > 0;
        if (is_left && !import->options.skips) {
            fprintf(stderr, "fanfare import: nothing was written; --skip goes on without these\n");
            exit = IMPORT_LEFT_OUT;
        }
        import->progress.keys = found.keys;
        import->progress.bytes = import->file.len;
        import->write.looks = is_left || found.empty > 0;
    }
    import_survey_fini(&found);
    return exit;
}

/* Is the target empty? */
static int check_target(struct import *import)
{
    uint64_t keys;
    if (!target_keys(&import->target, &keys)) {
        return complain("the target", import->target.why.data, IMPORT_FAILED);
    }
    bool is_free = target_is_free("import", keys, import->options.replaces);
    return is_free ? IMPORT_DONE : IMPORT_FAILED;
}

/* ---- writing ---- */

static int write_keys(struct import *import)
{
    bool looks = import->write.looks;
    int only_db = import->options.has_source ? import->options.source.db : -1;
    if (!import_write_begin(&import->write, import->file, &import->target, only_db)) {
        return complain("the file changed", "", IMPORT_BAD_SOURCE);
    }
    import->write.looks = looks;
    enum target_state state = import_write_all(&import->write);
    progress_end(&import->progress);
    if (state == TARGET_ENDED) {
        return complain("stopped; run it again with --replace", "", IMPORT_FAILED);
    }
    if (state != TARGET_GOOD) {
        fprintf(stderr, "fanfare import: the target: %s (at byte %lu of the keys)\n",
                import->target.why.data, import->target.refused_at.at);
        return IMPORT_FAILED;
    }
    printf("%lu keys written\n", import->write.keys);
    if (import->target.answers_short > 0) {
        printf("%lu entries of large streams were pending and are deleted: they are not pending "
               "here\n",
               import->target.answers_short);
    }
    fflush(stdout);
    return IMPORT_DONE;
}

/* Is that all? Once it is asked to stop: all that the source has by then, if it still says so. Else, if that is wanted, when it
 * has executed nothing for a while: a moment between two writes is no end. */
static bool is_done(struct import *import)
{
    uint64_t end;
    uint64_t now_ns = clock_mono_ns();
    if (import->follow.commands != import->commands || import->quiet_ns == 0) {
        import->commands = import->follow.commands;
        import->quiet_ns = now_ns;
    }
    bool is_quiet = now_ns - import->quiet_ns >= QUIET_MS * NS_PER_MS;
    if (import->stops == 0 && !(import->options.until_caught_up && is_quiet)) { return false; }
    if (!import_source_end(&import->source, &end)) { return import->stops > 0; }
    return import->follow.applied.at >= end;
}

static int follow_on(struct import *import)
{
    struct import_follow *follow = &import->follow;
    for (;;) {
        enum follow_state state = import_follow_turn(follow);
        if (state == FOLLOW_STOPPED) {
            fprintf(stderr, "fanfare import: at offset %lu: %s\n", follow->here.at,
                    follow->why.data);
            return IMPORT_STOPPED;
        }
        if (state == FOLLOW_LOST) {
            return complain("the target", import->target.why.data, IMPORT_FAILED);
        }
        if (!on_idle(import, false)) {
            return complain("stopped before all was executed", "", IMPORT_FAILED);
        }
        if (state == FOLLOW_BUSY) { continue; }
        if (import->is_source_gone) { return complain(import->source.why, "", IMPORT_BAD_SOURCE); }
        if (follow->here.at < import->source.received_at && !follow->here.is_in_transaction &&
            follow->in.len == 0) {
            continue;
        }
        if (is_done(import)) { return IMPORT_DONE; }
        struct pollfd wait[] = {{.fd = import->source.fd, .events = POLLIN},
                                {.fd = import->stop_fd, .events = POLLIN}};
        (void)poll(wait, 2, IDLE_MS);
    }
}

static int follow(struct import *import)
{
    int exit = IMPORT_FAILED;
    int only_db = import->options.source.db;
    if (import_follow_begin(&import->follow, &import->source, &import->target, only_db)) {
        import->follow.skips = import->options.skips;
        import->is_following = true;
        printf("following\n");
        fflush(stdout);
        exit = follow_on(import);
        if (exit != IMPORT_FAILED) { import_follow_end(&import->follow); }
        progress_end(&import->progress);
        printf("%lu commands executed, up to offset %lu of the source\n", import->follow.commands,
               import->follow.applied.at);
    } else {
        exit = complain("the target", import->target.why.data, IMPORT_FAILED);
    }
    import_follow_fini(&import->follow);
    return exit;
}

/* ---- all of it ---- */

static int run(struct import *import)
{
    int exit = import->options.file != NULL ? open_file(import) : take_source(import);
    if (exit == IMPORT_DONE) { exit = survey(import); }
    if (exit != IMPORT_DONE || import->options.is_dry) { return exit; }
    if (!target_connect(&import->target)) {
        return complain("the target", import->target.why.data, IMPORT_FAILED);
    }
    exit = check_target(import);
    if (exit == IMPORT_DONE) { exit = write_keys(import); }
    if (exit == IMPORT_DONE && import->options.follows) { exit = follow(import); }
    return exit;
}

int import_main(int argc, char **argv)
{
    struct import import = {.stop_fd = -1};
    if (!import_options_read(&import.options, argc, argv)) { return IMPORT_USAGE; }
    import.idle = (struct import_idle){.fd = -1, .run = on_idle, .arg = &import};
    target_init(&import.target, &import.options.target, &import.idle);
    signals_take(&import);
    progress_begin(&import.progress);
    int exit = run(&import);
    if (import.write.target != NULL) { import_write_end(&import.write); }
    target_fini(&import.target);
    if (import.has_source) { import_source_close(&import.source); }
    if (import.file.len > 0) { (void)munmap((void *)(uintptr_t)import.file.data, import.file.len); }
    close(import.stop_fd);
    return exit;
}
