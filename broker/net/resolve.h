/* resolve: names of hosts to addresses, off the loops: one thread asks the system's resolver, which may take
 * seconds, one name after the other.
 * Owns: the thread and the requests. Thread: as stated. */
#ifndef FANFARE_NET_RESOLVE_H
#define FANFARE_NET_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/mailbox.h"

enum { RESOLVE_ADDRESSES_MAX = 8 };

struct address {
    struct sockaddr_storage storage;
    socklen_t bytes;
};

struct resolved {
    struct address
        address[RESOLVE_ADDRESSES_MAX]; /* in the order of preference; what is over is left out */
    uint32_t count;                     /* 0: see why */
    const char *why;                    /* static: why there is none */
};

struct resolver;
struct resolve; /* a request */

/* Gives: one with its thread. Thread: any; one for the process is enough. */
MUST_USE struct resolver *resolver_new(void);

/* Every request has been answered or cancelled; the mailboxes still exist. Waits for the name that is being
 * asked for, if any. NULL is allowed. */
void resolver_free(struct resolver *resolver);

/* If `host` is an address in digits (an IPv6 one without brackets): set *out, and there is no need to ask.
 * Thread: any. */
MUST_USE bool resolve_literal(const char *host, uint16_t port, struct address *out);

/* Look up `host` (copied), then call on_done once by a task of `mailbox`; resolved is valid for that call.
 * Thread: the one that runs the mailbox; what it asks for at once is its own to bound. */
struct resolve_opts {
    const char *host;
    uint16_t port;
    struct mailbox *mailbox;
    void (*on_done)(void *arg, const struct resolved *resolved);
    void *arg;
};
MUST_USE struct resolve *resolve_start(struct resolver *resolver, const struct resolve_opts *opts);

/* Before on_done: it is not called any more; the request is gone. Thread: as resolve_start. */
void resolve_cancel(struct resolve *request);

#endif
