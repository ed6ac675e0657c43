/* groups: the life of a node's Raft groups over its one log, and the parts of their turn. The engine on top brings events
 * and time. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_GROUPS_H
#define FANFARE_CONSENSUS_GROUPS_H

#include "consensus/group/shared.h"

void groups_init(struct groups *all, const struct engine_opts *opts,
                 const struct engine_world *world);
/* What waits ends with an error, and the log is closed: nothing may be in flight on the disk, or it must end by on_drop. */
void groups_fini(struct groups *all);

/* What engine.h says of a group. */
MUST_USE enum err groups_create(struct groups *all, uint64_t group, uint64_t self,
                                const struct fsm_ops *ops, void *fsm,
                                const struct engine_server *servers, size_t server_count);
MUST_USE enum err groups_open(struct groups *all, uint64_t group, const struct fsm_ops *ops,
                              void *fsm);
MUST_USE enum err groups_force(struct groups *all, uint64_t group);
void groups_close(struct groups *all, uint64_t group);
void groups_close_all(struct groups *all);
void groups_delete(struct groups *all, uint64_t group);
void groups_applied(struct groups *all, uint64_t group, uint64_t index);
void groups_restored(struct groups *all, uint64_t group, enum err err);
bool groups_are_drained(const struct groups *all);
void groups_show(struct groups *all, uint64_t group, struct engine_view *view);
bool groups_status(const struct groups *all, uint64_t group, struct engine_status *out);

/* Everything up to this batch is durable. */
void groups_flushed(struct groups *all, uint64_t batch);
void groups_tick(struct groups *all, uint64_t now_ms);
uint64_t groups_next_ms(const struct groups *all); /* when groups_tick has something to do */
void groups_turn(struct groups *all);              /* submit, start the flush, send, apply */

#endif
