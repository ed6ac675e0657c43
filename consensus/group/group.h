/* group: one Raft group, driven event by event through libraft's pure core. Thread: the raft
 * thread. */
#ifndef FANFARE_CONSENSUS_GROUP_H
#define FANFARE_CONSENSUS_GROUP_H

#include "consensus/group/shared.h"
#include "consensus/group/fsm.h"
#include "consensus/link/message.h"
#include "consensus/log/wal.h"

struct group;

/* A group over `log`, not yet started. */
struct group *group_new(struct groups *all, struct wal_log *log, const struct fsm_ops *ops,
                        void *fsm);
/* What waits ends with an error, and nothing is done any more. With a batch in flight it must live on
 * until that has come back. */
void group_end(struct group *g);
void group_free(struct group *g); /* the same, and all of its memory; NULL is allowed */

/* Check that log and state machine fit, and start as soon as everything is durable. Errors:
 * ERR_CORRUPT. */
MUST_USE enum err group_open(struct group *g);

void group_receive(struct group *g, const char *from_name, const struct message *message);
void group_flushed(struct group *g, uint64_t batch); /* everything up to this batch is durable */
void group_tick(struct group *g, uint64_t now_ms);
uint64_t group_next_ms(const struct group *g);

/* The parts of a turn. */
void group_service(struct group *g);      /* submit what waits */
void group_send_flushed(struct group *g); /* send what waited for a flush */
/* Does something of it wait, so that each turn and the end of each flush must look at it? */
bool group_is_waiting(const struct group *g);

void group_propose(struct group *g, struct proposal *p);
MUST_USE enum err group_change(struct group *g, enum engine_change change, uint64_t id,
                               const char *node_name);
MUST_USE enum err group_transfer(struct group *g, uint64_t id);

#endif
