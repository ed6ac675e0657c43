/* backup_file: a backup's bytes, written one after the other, and looked at whole.
 *
 *   "FFBACK1\n"         8 bytes
 *   sections            RDB files, one behind the other: a partition's at one index each. Also what was begun and not finished;
 *                       and the users, as lines of an ACL file, whose passwords are hashes
 *   the directory       numbers of 8 bytes, little-endian:
 *                         format 1, when it was begun (ms), partitions, bits of the databases that are sharded,
 *                         sections, then of each: partition, index, its time (ms), where it begins, bytes, keys;
 *                         where the users begin, and their bytes (0: who made it was not allowed to see them);
 *                         blocks, then of each 1 MiB before the directory (the last may be shorter) its CRC32C (4 bytes);
 *                         and, length first, two texts: the node that answered, and its version
 *   32 bytes            where the directory is, its length, the CRC32C of both numbers and of the directory (8 each), "FFBKEND1"
 *
 * So every byte is under a checksum, a file that was cut has no end, and a partition that had to be begun anew costs nothing but
 * its bytes. Thread: main. */
#ifndef FANFARE_BACKUP_BACKUP_FILE_H
#define FANFARE_BACKUP_BACKUP_FILE_H

#include "base/buf.h"

enum {
    BACKUP_FORMAT = 1,
    BACKUP_BLOCK_BYTES = 1 << 20,
    BACKUP_PARTITIONS_MAX = 1024,
    BACKUP_TEXT_BYTES_MAX = 256,
};

struct backup_section {
    uint32_t partition;
    uint64_t index;
    uint64_t clock_ms;
    uint64_t at;
    uint64_t bytes;
    uint64_t keys;
};

struct backup_directory {
    uint64_t begun_ms;
    uint32_t partition_count;
    uint64_t sharded;
    struct backup_section *section; /* partition_count of them, by partition */
    uint64_t users_at;
    uint64_t users_bytes;
    char node[BACKUP_TEXT_BYTES_MAX + 1];
    char version[BACKUP_TEXT_BYTES_MAX + 1];
};

/* Room for so many partitions. */
void backup_directory_init(struct backup_directory *directory, uint32_t partition_count);
void backup_directory_fini(struct backup_directory *directory);

/* ---- written ---- */

struct backup_out {
    int fd;
    uint64_t at;
    uint32_t crc; /* of the block at hand */
    struct buf crcs;
};

/* False: errno says why; in all of them. The descriptor stays the caller's. */
MUST_USE bool backup_out_begin(struct backup_out *out, int fd);
MUST_USE bool backup_out_write(struct backup_out *out, struct slice bytes);
MUST_USE bool backup_out_end(struct backup_out *out, const struct backup_directory *directory);
void backup_out_fini(struct backup_out *out);

/* ---- read ---- */

/* Look at all of it. False: *why (static) and *at say what is wrong, and about where; there is no directory. Else the caller
 * ends it. What stands in the sections is not looked at. */
MUST_USE bool backup_file_read(struct backup_directory *directory, struct slice file,
                               const char **why, uint64_t *at);

#endif
