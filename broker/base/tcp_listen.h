/* tcp_listen: an address as people write it to a listening TCP socket. Thread: any; it may wait for a name. */
#ifndef FANFARE_BASE_TCP_LISTEN_H
#define FANFARE_BASE_TCP_LISTEN_H

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

enum { TCP_LISTEN_ADDRESS_BYTES = 160 };

struct tcp_listen {
    int fd; /* non-blocking; the caller closes it */
    uint16_t port;
    char address[TCP_LISTEN_ADDRESS_BYTES]; /* the bound one, with the port that the kernel chose */
};

/* Bind to the first address that `address` (address.h) means, and listen. ERR_INVALID: it is none, or its name
 * is not known; ERR_SYSTEM: the kernel refused. *why then says it, until the thread's next such call. */
MUST_USE enum err tcp_listen(const char *address, int backlog, struct tcp_listen *out,
                             const char **why);

#endif
