/* backlog: the sessions of one worker whose clients read more slowly than they are written to.
 * A session enters when its backlog passes service_options.watch_bytes. Past the hard limit of its
 * class, or over the soft one for too long, it is closed (P7). A client that does not read its own
 * answers is not read either, until it does.
 * Owns: the list. Thread: its worker; no locks. A zeroed struct is an empty one. */
#ifndef FANFARE_CMD_BACKLOG_H
#define FANFARE_CMD_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

struct service;
struct session;

enum {
    BACKLOG_WATCH_BYTES = 64 << 10,
    BACKLOG_CHOKE_BYTES = 1 << 20,     /* of own answers: from here on the client is not read */
    BACKLOG_UNCHOKE_BYTES = 256 << 10, /* and from here down it is again */
};

struct backlog_entry {
    struct session *session;
    uint64_t over_soft_since_ns; /* 0: it is not */
};

struct backlog {
    struct backlog_entry *entry;
    uint32_t count;
    uint32_t cap;
    uint32_t choked_count; /* sessions that are not read */
};

/* Bytes were queued, and the backlog is above watch_bytes: watch, choke or close. */
void backlog_grew(struct session *session);

/* The end of a turn: read those again whose answers have left. */
void backlog_turn_end(struct service *service);

/* Every 100 ms: soft limits; forget those that have caught up. */
void backlog_tick(struct service *service);

/* The session is going away. */
void backlog_forget(struct session *session);

void backlog_fini(struct backlog *backlog);

#endif
