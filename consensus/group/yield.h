/* yield: a leader whose disk is full, or does not flush, gives its groups to one that can lead.
 * Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_YIELD_H
#define FANFARE_CONSENSUS_YIELD_H

#include "consensus/group/shared.h"

struct group;
struct raft_server;

void yield_watch(struct groups *all, uint64_t now_ms); /* after the flush of a turn was started */
void yield_tick(struct groups *all, uint64_t now_ms);
void yield_leader(struct group *g, uint64_t now_ms); /* at each tick of one that leads */
/* Is the disk in no state for this node to lead anything? Told to the leaders it follows. */
bool yield_is_ailing(const struct groups *all);
/* Where this replica leads: would that other voter lead as well, or better? */
bool yield_is_fit(const struct group *g, const struct raft_server *server, uint64_t now_ms);

#endif
