/* dial: one outgoing TCP connection in the making.
 * Owns: the descriptor until it is connected, and handed over. Thread: the worker, for every call; no locks.
 * A zeroed struct is idle. */
#ifndef FANFARE_NET_DIAL_H
#define FANFARE_NET_DIAL_H

#include <stdint.h>

#include "net/resolve.h"
#include "net/worker.h"

struct dial_opts {
    struct address address;
    uint32_t timeout_ms; /* give up after */
    /* The connection, once made, ends when bytes sent stay unacknowledged, or the peer's window closed, for
     * so long (TCP_USER_TIMEOUT). 0: the kernel's default. */
    uint32_t user_timeout_ms;
};

struct dial {
    struct event *event;
    int fd;
    int error; /* of a connect that failed at once */
    void (*on_done)(struct dial *dial, int fd, int error);
};

/* Connect. on_done, from the loop and never from inside dial_start, has a non-blocking socket with TCP_NODELAY
 * and keepalive, which is then the callee's; or -1 and an errno. The dial is idle again by then. */
void dial_start(struct dial *dial, struct worker *worker, const struct dial_opts *opts,
                void (*on_done)(struct dial *dial, int fd, int error));

/* on_done is not called any more. Also when idle. */
void dial_cancel(struct dial *dial);

#endif
