/* fatal: the world said no (refused, closed, unreadable): say why and leave with EXIT_CANNOT_RUN.
 * A measuring tool has nothing to save, so no error travels further than its first line. */
#ifndef LOAD_FATAL_H
#define LOAD_FATAL_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the process exits with. 0: measured and nothing wrong was seen. */
enum load_exit {
    EXIT_VIOLATION = 1,   /* a message was lost, repeated, reordered or damaged */
    EXIT_CANNOT_RUN = 2,  /* no server, no descriptors, a connection closed */
    EXIT_BAD_OPTION = 64, /* the command line is wrong */
};

/* Print "load: " and the formatted text on stderr and exit with EXIT_CANNOT_RUN. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(EXIT_CANNOT_RUN);
}

/* Zeroed memory for `count` items of `size` bytes. Gives: the caller frees. Exits when there is none. */
static inline void *alloc_or_die(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL) { fatal("no memory for %zu items of %zu bytes", count, size); }
    return memory;
}

#endif
