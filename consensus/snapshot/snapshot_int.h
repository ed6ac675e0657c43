/* snapshot_int: what snapshot.c and snapshot_fetch.c share. */
#ifndef FANFARE_CONSENSUS_SNAPSHOT_INT_H
#define FANFARE_CONSENSUS_SNAPSHOT_INT_H

#include "consensus/snapshot/snapshot.h"

void snapshot_file_name(char name[DISK_NAME_BYTES], uint64_t file);
void snapshot_remove_file(struct engine *e, uint64_t file); /* some time later */
void snapshot_take_cancel(struct group *g);
void snapshot_fetch_tick(struct group *g, uint64_t now_ms);
void snapshot_fetch_cancel(struct group *g); /* and a restore */

#endif
