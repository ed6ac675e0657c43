/* rdb_crc64: the checksum at the end of RDB files and DUMP's payloads: CRC-64 with Jones's polynomial, bits reflected.
 * Thread: any. */
#ifndef FANFARE_RDB_RDB_CRC64_H
#define FANFARE_RDB_RDB_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* Continue `crc` (0 at the start) over `bytes` bytes. */
uint64_t rdb_crc64(uint64_t crc, const void *data, size_t bytes);

#endif
