/* backup: a partition at one index as an RDB file, for whoever reads it piece by piece (cmd/cmd_backup.c).
 *
 * The file comes from a read transaction of the leader's store that is begun behind all that was acknowledged, and is walked on a
 * thread of its own at low priority, a little ahead of whoever reads. Writing goes on; pages that are freed meanwhile are not used
 * again before the walk has ended. So it does not go on for ever: who does not read for `backup_idle_ms`, or lets the store grow by more than
 * `backup_growth_bytes`, is cut off.
 *
 *   BACKUP BEGIN partition                  [id, index, the last entry's time in ms, keys]
 *   BACKUP READ partition id offset bytes   [is that the end?, CRC32C, the next bytes: perhaps fewer, or none yet]
 *   BACKUP END partition id                 [keys, bytes] that were written
 *
 * An offset is the end of what was read before, or, once more, the beginning of that. Another leader knows nothing of it.
 * Owns: the threads and what they hold. Thread: the partition's store thread.
 * Bound: BACKUPS_MAX at a time, of all partitions; what is beyond is refused. BACKUP_READY_BYTES ahead, and a value's element. */
#ifndef FANFARE_PARTITION_BACKUP_H
#define FANFARE_PARTITION_BACKUP_H

#include "partition/partition_int.h"

enum {
    BACKUP_READY_BYTES = 4 << 20,
    BACKUP_READ_BYTES_MAX = 4 << 20,
    BACKUP_IDLE_MS = 30000,
    BACKUP_GROWTH_BYTES = 2 << 29, /* 1 GiB, or half of what is in use, if that is more */
};

/* Is the request about a backup? */
bool backup_is(const struct partition_request *request);
/* READ and END. False: it begins one, for which backup_begin is called where a read would be executed. */
MUST_USE bool backup_go_on(struct partition *p, struct partition_request *request);
void backup_begin(struct partition *p, struct partition_request *request);

/* This node leads no more: they end. */
void backups_cancel(struct partition *p);
/* The same, and they have ended. */
void backups_stop(struct partition *p);

#endif
