/* gauges: what the metrics say of a node's groups. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_GAUGES_H
#define FANFARE_CONSENSUS_GAUGES_H

#include <stdint.h>

struct groups;

void gauges_tick(struct groups *all, uint64_t now_ms);
void gauges_end(struct groups *all); /* nothing is left of it in the gauges */

#endif
