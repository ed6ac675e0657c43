/* snapshot: files that replace the beginning of a group's log, and their way between nodes. Thread:
 * the raft thread. */
#ifndef FANFARE_CONSENSUS_SNAPSHOT_H
#define FANFARE_CONSENSUS_SNAPSHOT_H

#include "consensus/group/shared.h"
#include "consensus/link/message.h"

struct group;

/* The library wants the follower `id` to have our snapshot. */
void snapshot_offer(struct group *g, uint64_t id, const char *node_name);
/* The library accepted the snapshot just fetched: make it the log's beginning, then restore it. */
void snapshot_install(struct group *g);
/* Put the state machine to the log's snapshot; group_restored when done. */
void snapshot_restore_start(struct group *g);
/* The state machine made the image that it was asked for; did the step of a restore. */
void snapshot_begun(struct groups *all, uint64_t group, void *image);
void snapshot_restored(struct group *g, enum err err);
/* Has a state machine an image to make, or a step of a restore in hand? */
bool snapshot_is_beginning(const struct groups *all);
bool snapshot_is_restoring(const struct group *g);
void snapshot_restore_drop(struct group *g); /* the engine ends, whoever has it in hand */
/* The group goes away: whatever is in flight ends without it. */
void snapshot_cancel(struct group *g);

void snapshot_on_offer(struct group *g, const char *from_name, const struct message *m);
void snapshot_on_pull(struct group *g, const char *from_name, const struct message *m);
void snapshot_on_chunk(struct group *g, const struct message *m);
void snapshot_on_damaged(struct group *g, const struct message *m);

/* Timeouts, pulls that may be served now, snapshots that are due. */
void snapshot_tick(struct groups *all, uint64_t now_ms);
void snapshot_end(struct groups *all); /* the engine ends: forget what waits */
/* The file was named by the log until now: it goes when the log that names it no more is durable.
 * */
void snapshot_forget(struct groups *all, uint64_t file);
void snapshot_flushed(struct groups *all, uint64_t batch);

/* Add what is under way, in the engine and in a group. */
void snapshot_progress_take(const struct groups *all, struct snapshot_progress *progress);
void snapshot_progress_group(const struct group *g, struct snapshot_progress *progress);

/* At start: remove the files of unfinished or forgotten snapshots. */
MUST_USE enum err snapshot_clean(struct groups *all);

#endif
