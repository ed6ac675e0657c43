/* damage: a store that a read has found to be damaged. One that a write finds so is turn.c's own.
 * Thread: the partition's store thread. */
#ifndef FANFARE_PARTITION_DAMAGE_H
#define FANFARE_PARTITION_DAMAGE_H

#include "partition/partition_int.h"

enum { REBUILDS_MAX = 2 }; /* in a row: then what a store is made of is wrong */

/* The store of this file is: if the partition still has it, it is made anew at its next turn. After REBUILDS_MAX that is only
 * said, for its other keys can be read. */
void damage_found(struct partition *p, const struct store_file *file);

#endif
