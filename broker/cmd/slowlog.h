/* slowlog: the latest commands of one worker that took longer than slowlog-log-slower-than: a ring.
 * Owns: copies of the arguments, cut as Redis cuts them. Thread: its worker, for every call; no
 * locks. */
#ifndef FANFARE_CMD_SLOWLOG_H
#define FANFARE_CMD_SLOWLOG_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum { SLOWLOG_ARGS_MAX = 32, SLOWLOG_ARG_BYTES_MAX = 128 };

struct slowlog_entry {
    uint64_t id;
    uint64_t at_s; /* Unix time */
    uint64_t duration_us;
    uint32_t argc;            /* of those kept */
    const struct slice *argv; /* one allocation with all the bytes */
    struct slice address;
    struct slice name;
};

struct slowlog {
    struct slowlog_entry
        *entry; /* a ring of `cap`; the newest is entry[(first + count - 1) % cap] */
    uint32_t cap;
    uint32_t first;
    uint32_t count;
};

/* Remember a copy of `entry`, forgetting the oldest beyond `entries_max`. Borrows it; its argc may
 * be above SLOWLOG_ARGS_MAX, then only so many of its arguments are there. */
void slowlog_add(struct slowlog *log, uint32_t entries_max, const struct slowlog_entry *entry);

/* The i-th newest, 0 .. count - 1. */
const struct slowlog_entry *slowlog_newest(const struct slowlog *log, uint32_t i);

/* Forget all of them. A zeroed struct is an empty log. */
void slowlog_clear(struct slowlog *log);

#endif
