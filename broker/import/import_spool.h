/* import_spool: bytes on their way, in a file without a name: appended at its end, read from anywhere.
 * Owns: the file. Thread: main. Bound: the disk. */
#ifndef FANFARE_IMPORT_IMPORT_SPOOL_H
#define FANFARE_IMPORT_IMPORT_SPOOL_H

#include "base/buf.h"

struct import_spool {
    int fd;
    uint64_t bytes;
    uint64_t dropped;
};

/* False: errno says why. */
MUST_USE bool import_spool_open(struct import_spool *spool, const char *dir);
void import_spool_close(struct import_spool *spool);
MUST_USE bool import_spool_append(struct import_spool *spool, struct slice bytes);
/* Append what is there from `at` on, at most `bytes`. */
MUST_USE bool import_spool_read(const struct import_spool *spool, uint64_t at, size_t bytes,
                                struct buf *out);
/* Those before `at` are not read again: the disk gets their room back where the file system can do that. */
void import_spool_drop(struct import_spool *spool, uint64_t at);
/* Only so many are left. */
MUST_USE bool import_spool_cut(struct import_spool *spool, uint64_t bytes);

#endif
