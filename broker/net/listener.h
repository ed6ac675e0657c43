/* listener: the sockets that accept clients: TCP over IPv4 and IPv6, and unix sockets.
 * Owns: the listening descriptors; they are polled on worker 0, and each accepted socket is handed,
 * by mailbox, to the worker that the layer above chooses. Thread: listener_open, listener_close:
 * see below. */
#ifndef FANFARE_NET_LISTENER_H
#define FANFARE_NET_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"
#include "net/worker.h"

struct listener;

struct listener_opts {
    const char *address; /* "127.0.0.1:6379", "[::1]:6379", "*:6379", "unix:/run/fanfare.sock"; port
                            0: any */
    int backlog;
    mode_t unix_mode;
    int unsent_bytes_max; /* of one TCP connection, which the kernel takes and cannot send yet; 0: as much as the
                             kernel likes */
    /* A client has connected. Takes: fd (non-blocking, close-on-exec, TCP_NODELAY set). Thread:
     * worker 0's. */
    void (*on_accept)(void *arg, int fd);
    void *arg;
};

/* Bind and listen; nothing is accepted before listener_start. Thread: main, before the workers
 * start. Errors: ERR_INVALID for an address that does not parse or resolve, ERR_SYSTEM for one that
 * cannot be bound; *why is a text for people, static or errno's. */
MUST_USE enum err listener_open(struct listener **out, const struct listener_opts *opts,
                                const char **why);

/* Accept on `worker`'s loop from now on. Thread: main, before the workers start. */
void listener_start(struct listener *listener, struct worker *worker);

/* Stop accepting and close the descriptor; a unix socket's file is removed. Thread: the worker it
 * was started on. */
void listener_stop(struct listener *listener);

/* After listener_stop, or instead of listener_start. NULL is allowed. */
void listener_free(struct listener *listener);

/* The address it is bound to, with the real port. */
const char *listener_address(const struct listener *listener);
uint16_t listener_port(const struct listener *listener); /* 0 for a unix socket */

#endif
