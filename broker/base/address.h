/* address: where to listen or to connect to, as people write it; whose a connected socket is. Thread: any. */
#ifndef FANFARE_BASE_ADDRESS_H
#define FANFARE_BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

/* Split "host:port", "[ipv6]:port" or "*:port"; the host is without its brackets. False if it is none of
 * them: an IPv6 address needs its brackets, a port is 0 to 65535. */
MUST_USE bool address_split(struct slice address, struct slice *host, uint16_t *port);

/* Does the peer of this connected socket live on this machine: a unix socket or a loopback address? */
bool address_is_local(int fd);

/* What stands for the peer's machine: its address, of IPv6 the network of 64 bits, zeros for a unix socket. */
enum { ADDRESS_KEY_BYTES = 16 };
void address_key(int fd, unsigned char key[ADDRESS_KEY_BYTES]);

#endif
