/* import_progress: a line about how far it is. */
#include "import/import_progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { TERMINAL_S = 1, FILE_S = 10 };
#define MEGABYTE 1e6

void progress_begin(struct import_progress *progress)
{
    *progress = (struct import_progress){.is_terminal = isatty(STDERR_FILENO) == 1,
                                         .began_ns = clock_mono_ns()};
    progress->told_ns = progress->began_ns;
}

/* True: it is time for a line, whose beginning is written. */
static bool line(struct import_progress *progress)
{
    uint64_t now_ns = clock_mono_ns();
    uint64_t every_ns = (uint64_t)(progress->is_terminal ? TERMINAL_S : FILE_S) * NS_PER_S;
    if (now_ns - progress->told_ns < every_ns) { return false; }
    progress->told_ns = now_ns;
    progress->is_open = progress->is_terminal;
    if (progress->is_terminal) { fputs("\r\033[K", stderr); }
    return true;
}

static void line_end(const struct import_progress *progress)
{
    if (!progress->is_terminal) { fputs("\n", stderr); }
    fflush(stderr);
}

static double rate(const struct import_progress *progress, uint64_t bytes)
{
    return (double)bytes / MEGABYTE /
           ((double)(clock_mono_ns() - progress->began_ns + 1) / (double)NS_PER_S);
}

void progress_transfer(struct import_progress *progress, uint64_t bytes)
{
    if (!line(progress)) { return; }
    fprintf(stderr, "transfer: %.1f MB, %.1f MB/s", (double)bytes / MEGABYTE,
            rate(progress, bytes));
    line_end(progress);
}

void progress_keys(struct import_progress *progress, uint64_t keys, uint64_t bytes)
{
    if (!line(progress)) { return; }
    fprintf(stderr, "keys: %lu of %lu, %.1f of %.1f MB, %.1f MB/s", keys, progress->keys,
            (double)bytes / MEGABYTE, (double)progress->bytes / MEGABYTE, rate(progress, bytes));
    line_end(progress);
}

void progress_follow(struct import_progress *progress, uint64_t commands, uint64_t bytes_behind)
{
    if (!line(progress)) { return; }
    fprintf(stderr, "following: %lu commands, %lu bytes behind", commands, bytes_behind);
    line_end(progress);
}

void progress_end(struct import_progress *progress)
{
    if (progress->is_open) { fputs("\n", stderr); }
    progress->is_open = false;
    progress->began_ns = clock_mono_ns();
}
