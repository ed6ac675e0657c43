/* slot: the Redis Cluster hash slot of a key or channel. Thread: any. */
#ifndef FANFARE_BASE_SLOT_H
#define FANFARE_BASE_SLOT_H

#include <stdint.h>

#include "base/slice.h"

enum { SLOT_COUNT = 16384 };

/* CRC16 (XMODEM) modulo SLOT_COUNT of the key, or of the part between its first '{' and the next
 * '}' if that part is not empty (Redis Cluster specification, "Hash tags"). */
uint16_t slot_of(struct slice key);

#endif
