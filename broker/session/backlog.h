/* backlog: the sessions of one worker whose clients read more slowly than they are written to.
 * A session enters when its backlog passes service_options.watch_bytes. Past the hard limit of its
 * class, or over the soft one for too long, it is closed (P7). It is read meanwhile, as in Redis: a
 * client may send a pipeline of any depth before it reads the first answer.
 * Owns: the list. Thread: its worker; no locks. A zeroed struct is an empty one. */
#ifndef FANFARE_CMD_BACKLOG_H
#define FANFARE_CMD_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

struct service;
struct session;

enum { BACKLOG_WATCH_BYTES = 64 << 10 };

struct backlog_entry {
    struct session *session;
    uint64_t over_soft_since_ns; /* 0: it is not */
};

struct backlog {
    struct backlog_entry *entry;
    uint32_t count;
    uint32_t cap;
};

/* Bytes were queued, and the backlog is above watch_bytes: watch or close. */
void backlog_grew(struct session *session);

/* Every 100 ms: soft limits; forget those that have caught up. */
void backlog_tick(struct service *service);

/* The session is going away. */
void backlog_forget(struct session *session);

void backlog_fini(struct backlog *backlog);

#endif
