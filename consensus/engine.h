/* engine: all Raft groups of a node over one log, driven by events; it waits for nothing and knows
 * no event loop. loop.c drives it in a broker, tests/sim in simulation. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_ENGINE_H
#define FANFARE_CONSENSUS_ENGINE_H

#include "consensus/group/engine_types.h"
#include "consensus/group/fsm.h"
#include "consensus/log/wal.h"

struct engine;

/* Good values for a broker; name, id and seed are the caller's. */
struct engine_opts engine_opts_default(void);

/* Errors: as wal_open. Borrows: world, opts->node_name. */
MUST_USE enum err engine_open(struct engine **out, const struct engine_opts *opts,
                              const struct engine_world *world, struct wal_report *report);
/* Proposals and reads that wait end with ERR_INDOUBT or ERR_NOT_LEADER. Nothing may be in flight on
 * the disk, or it must end by on_drop. `e` may be NULL. */
void engine_free(struct engine *e);

/* Groups. `self` is the id of this replica: never used before in this group, on any node. */

/* A new replica. With servers (its first voters, itself among them): the group is created here, now,
 * for the first time ever. Without: it waits to be added. It takes part once its creation is durable;
 * whoever may create only once remembers that it did when engine_status shows a commit above 0.
 * Errors: ERR_INVALID (the group is here already, the state machine is not empty, or the servers are
 * too many, have no id, a long name or the same id). */
MUST_USE enum err engine_group_create(struct engine *e, uint64_t group, uint64_t self,
                                      const struct fsm_ops *ops, void *fsm,
                                      const struct engine_server *servers, size_t server_count);
/* A replica that is in the log. Errors: ERR_INVALID (no such), ERR_CORRUPT (state machine and log
 * do not fit), ERR_SLOW (it was closed and its batch has not come back). */
MUST_USE enum err engine_group_open(struct engine *e, uint64_t group, const struct fsm_ops *ops,
                                    void *fsm);
/* Before it is opened: a replica that is in the log goes on as the only one of its group, with all it
 * holds; what it does not hold is lost, and the others must never run again. For when a majority of
 * disks is gone. Errors: ERR_INVALID (no such, or open). */
MUST_USE enum err engine_group_force(struct engine *e, uint64_t group);
/* Stop running it here; it stays in the log. fsm->on_closed tells when the state machine is not
 * touched any more: from inside, but for a machine that holds a batch. */
void engine_group_close(struct engine *e, uint64_t group);
void engine_close_groups(struct engine *e); /* all of them */
/* Remove it from this node for good; open or not. The caller removes the state machine's data, after
 * on_closed. A crash soon after may leave the replica in the log: one whose data is removed is not opened
 * again, but deleted again. */
void engine_group_delete(struct engine *e, uint64_t group);
/* A batch that the group's state machine had taken, up to `index`, is applied. */
void engine_applied(struct engine *e, uint64_t group, uint64_t index);
bool engine_is_drained(const struct engine *e); /* no group that was closed waits for its batch */

/* Show the open group there from now on, NULL: no more. Borrows: view, until then or on_closed. */
void engine_group_show(struct engine *e, uint64_t group, struct engine_view *view);
/* Walk the groups in the log: the one after `group`, or 0; the first for 0. */
uint64_t engine_group_next(const struct engine *e, uint64_t group);

/* What the group's state machine does elsewhere (fsm.h) is done: the image that it was asked for, or
 * a step of a restore. */
void engine_snapshot_begun(struct engine *e, uint64_t group, void *image);
void engine_restored(struct engine *e, uint64_t group, enum err err);

/* Takes `p` until on_done, which may be called from inside. Callbacks may propose and read, but not
 * create, close or delete groups: they post a task for that. */
void engine_propose(struct engine *e, struct proposal *p);

/* Takes `request` until on_done. */
void engine_read(struct engine *e, struct read_request *request);

/* Change the membership by one server. ERR_OK: begun; look at engine_status for the outcome.
 * Errors: ERR_NOT_LEADER, ERR_SLOW (another change, or a new leader's first entry, is not
 * finished; or, in a removal, the voters that stay and answered lately are no majority), ERR_INVALID
 * (the server is not in a state for it; a voter other than the leader is removed, never demoted; a
 * leader moves away first), ERR_INDOUBT (the group stopped over it). */
MUST_USE enum err engine_change(struct engine *e, uint64_t group, enum engine_change change,
                                uint64_t id, const char *node_name);
/* Move leadership to a voter. ERR_OK: begun. Errors: ERR_NOT_LEADER, ERR_SLOW, ERR_INVALID. */
MUST_USE enum err engine_transfer(struct engine *e, uint64_t group, uint64_t id);

/* False: no such group. */
bool engine_status(const struct engine *e, uint64_t group, struct engine_status *out);

/* Events. After any of them, and before waiting, call engine_turn. */
/* What frames carry beside the engine's own messages; without a handler it is dropped. */
void engine_note_handler(struct engine *e,
                         void (*on_note)(void *arg, const char *from_name, struct slice note),
                         void *arg);
MUST_USE enum err engine_receive(struct engine *e, const char *from_name,
                                 struct slice frame); /* ERR_INVALID: garbage */
void engine_tick(struct engine *e);                   /* at engine_next_ms, or any time */
uint64_t engine_next_ms(const struct engine *e);      /* when engine_tick has something to do */
void engine_turn(struct engine *e);                   /* submit, start the flush, send, apply */

uint64_t engine_flush_count(const struct engine *e);
bool engine_is_full(const struct engine *e); /* the disk is: proposals are refused */
/* What was put into the log is not durable after an election timeout: whoever leads hands over. */
bool engine_is_stuck(const struct engine *e);

#endif
