/* address: where to listen or to connect to, as people write it. Thread: any. */
#ifndef FANFARE_BASE_ADDRESS_H
#define FANFARE_BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

/* Split "host:port", "[ipv6]:port" or "*:port"; the host is without its brackets. False if it is none of
 * them: an IPv6 address needs its brackets, a port is 0 to 65535. */
MUST_USE bool address_split(struct slice address, struct slice *host, uint16_t *port);

#endif
