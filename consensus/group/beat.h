/* beat: heartbeats that say nothing new, of all groups between two nodes in one message, and without
 * a step of the library where the step would change nothing but a clock. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_BEAT_H
#define FANFARE_CONSENSUS_BEAT_H

#include "consensus/group/shared.h"
#include "consensus/link/message.h"

struct group;

/* An AppendEntries is to leave: if it is a heartbeat that can leave with others, it does when the turn ends.
 * False: it is to be sent by itself. */
bool beat_send(struct group *g, uint64_t to, const char *to_name,
               const struct raft_append_entries *append);
/* The same for the answer that `index` and all before is on the disk, to a leader of this term. */
bool beat_send_reply(struct group *g, uint64_t to, const char *to_name, uint64_t index,
                     uint64_t stamp_ms);
/* The leader's time has come: if all members have all of the log and answered the last time, they get their
 * heartbeats, and the library need not be asked. False: it is to be. */
bool beat_tick(struct group *g, uint64_t now_ms);

/* A message came. True: that was all; false: it is for the library. */
bool beat_receive(struct group *g, const char *from_name, const struct message *m);
bool beat_receive_reply(struct group *g, const struct message *m);

void beat_flush(struct groups *all); /* the turn ends: what was gathered leaves */
void beat_end(struct groups *all);   /* the engine ends */

#endif
