/* crc32c: the Castagnoli checksum. Thread: any. */
#ifndef FANFARE_BASE_CRC32C_H
#define FANFARE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue `crc` (0 at the start) over `bytes` bytes. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
