/* reads: reads that come to the store thread: behind the writes that came before them, and from a state that holds all that
 * was acknowledged anywhere.
 * Owns: the lists of those that wait. Thread: the partition's store thread. */
#ifndef FANFARE_PARTITION_READS_H
#define FANFARE_PARTITION_READS_H

#include "partition/partition_int.h"

void reads_init(struct partition *p);
void reads_ask(struct partition *p, struct partition_request *request);
/* Something was applied or refused. */
void reads_turn(struct partition *p);
/* What waits is refused. */
void reads_end(struct partition *p, enum err err);

#endif
