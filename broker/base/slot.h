/* slot: the Redis Cluster hash slot of a key or channel. Thread: any. */
#ifndef FANFARE_BASE_SLOT_H
#define FANFARE_BASE_SLOT_H

#include <stdint.h>

#include "base/slice.h"

enum { SLOT_COUNT = 16384 };

/* CRC16 (XMODEM) modulo SLOT_COUNT of the key, or of the part between its first '{' and the next
 * '}' if that part is not empty (Redis Cluster specification, "Hash tags"). */
uint16_t slot_of(struct slice key);

/* The partition of a slot when there are `partition_count`: contiguous ranges, as even as they get. */
static inline uint32_t slot_partition(uint32_t partition_count, uint32_t slot)
{
    return (uint32_t)((uint64_t)slot * partition_count / SLOT_COUNT);
}

/* A partition's first slot; of partition_count itself: SLOT_COUNT. */
static inline uint32_t slot_partition_begin(uint32_t partition_count, uint32_t partition)
{
    return (uint32_t)(((uint64_t)partition * SLOT_COUNT + partition_count - 1) / partition_count);
}

#endif
