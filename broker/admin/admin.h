/* admin: health and metrics over HTTP, on a thread of its own.
 * Serves GET and HEAD of /livez, /readyz, /startupz to everybody, and /metrics and / (the list of them) to whom the app lets.
 * Owns: its sockets and its thread. Not: the status, which the app keeps up to date.
 * Bounds: connections, the time between two finished requests of one, header and body bytes; and
 * the metrics are printed at most every 100 ms, however often they are asked for. */
#ifndef FANFARE_ADMIN_ADMIN_H
#define FANFARE_ADMIN_ADMIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"

struct admin;
struct bufferevent;
struct event_base;

/* What the app says about itself. Written by any thread at any time. */
struct admin_status {
    atomic_bool is_started;                /* /startupz, and the least for /readyz */
    _Atomic(const char *) unready_because; /* NULL: ready; else a text that lives on */
};

/* Who looks at a page. */
struct admin_visitor {
    int fd;                    /* his socket */
    const char *authorization; /* the header; NULL: none */
};
enum admin_verdict {
    ADMIN_SERVED,
    ADMIN_UNKNOWN,   /* 401: who is he? */
    ADMIN_FORBIDDEN, /* 403: his user may not */
    ADMIN_PROTECTED, /* 403: protected mode */
    ADMIN_TOO_OFTEN, /* 429: wrong passwords from his address */
    ADMIN_VERDICTS
};

struct admin_opts {
    const char *const *listen; /* "127.0.0.1:9121", "[::1]:9121", "*:9121"; port 0: any */
    unsigned listen_count;
    const char *redis_version; /* the one that INFO tells */
    const struct admin_status *status;

    /* When a worker's loop last turned, on the monotonic clock. One that has not for 10 s fails
     * /livez. Thread: admin. */
    uint64_t (*heartbeat_ns)(void *arg, unsigned worker);
    unsigned worker_count;

    /* Why it is not ready although the status says so, static; NULL: it is. NULL: the status knows all.
     * Thread: admin. */
    const char *(*unready_because)(void *arg);
    /* What /readyz says besides "ok", static; NULL: nothing; or the pointer is. Thread: admin. */
    const char *(*note)(void *arg);

    /* Append families that only the app can compute; NULL: none. Thread: admin; at most 10 times a
     * second, so it may take a lock or two. */
    void (*extra_metrics)(void *arg, struct buf *out);
    void *arg;

    /* Gives: what a new connection is read and written by: a bufferevent without a socket. NULL: a plain one. Thread: admin. */
    struct bufferevent *(*connection_new)(void *arg, struct event_base *base);

    /* May this visitor see what is not health? NULL: everybody may. Thread: admin. */
    enum admin_verdict (*judge)(void *arg, const struct admin_visitor *visitor);

    uint32_t connections_max; /* 0: 64. One more closes the one that has been slow the longest. */
    uint32_t request_ms_max;  /* 0: 30,000. From the connection, or the last answer, to the next. */
};

/* Bind the addresses and serve them. Borrows: redis_version and status until admin_stop; listen for
 * the call. Thread: main.
 * Errors: ERR_INVALID for an address that does not parse or resolve, ERR_SYSTEM for one that cannot
 * be bound; *why is a text for people and *out is not set. */
MUST_USE enum err admin_start(struct admin **out, const struct admin_opts *opts, const char **why);

/* Close everything and wait for the thread. NULL is allowed. Thread: main. */
void admin_stop(struct admin *admin);

/* Where listen[index] is bound, with the real port. Any thread, until admin_stop. */
const char *admin_address(const struct admin *admin, unsigned index);

/* For extra_metrics: append a family of one gauge. */
void admin_print_gauge(struct buf *out, const char *name, const char *help, uint64_t value);

#endif
