/* space: the disk's free space, watched. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_SPACE_H
#define FANFARE_CONSENSUS_SPACE_H

#include "consensus/engine_int.h"

MUST_USE enum err space_init(struct engine *e); /* at start; blocks */
void space_tick(struct engine *e, uint64_t now_ms);
uint64_t space_next_ms(const struct engine *e);

#endif
