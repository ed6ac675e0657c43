/* snapshot_int: what the files of snapshot share. */
#ifndef FANFARE_CONSENSUS_SNAPSHOT_INT_H
#define FANFARE_CONSENSUS_SNAPSHOT_INT_H

#include "consensus/group/group_int.h"
#include "consensus/group/snapshot/snapshot.h"

enum { SNAPSHOT_PINS_MAX = 2 }; /* former snapshots of a group that are kept for who fetches them */

void snapshot_file_name(char name[DISK_NAME_BYTES], uint64_t file);
void snapshot_remove_file(struct groups *all, uint64_t file); /* some time later */

void snapshot_backoff_fail(struct snapshot_backoff *backoff, uint64_t now_ms);

/* Taking (snapshot_take.c). */
void snapshot_take_tick(struct groups *all, uint64_t now_ms, uint64_t segments_max);
void snapshot_take_cancel(struct group *g);
void snapshot_take_end(struct groups *all); /* the engine ends */

/* Serving (snapshot_serve.c). */
/* The oldest of our snapshots that somebody fetches, and its size; 0: nobody does. */
uint64_t snapshot_pulled_index(const struct group *g, uint64_t now_ms, uint64_t *bytes);
/* Is there a file that can be handed out? */
bool snapshot_has_image(const struct group *g, const struct manifest *snapshot);
/* The log's snapshot is about to be replaced: it goes, or stays for who fetches it. */
void snapshot_retire(struct group *g);
void snapshot_serve_tick(struct groups *all, uint64_t now_ms);
void snapshot_serve_end(struct groups *all);
void snapshot_pins_tick(struct group *g, uint64_t now_ms);
void snapshot_pins_end(struct group *g);

/* Fetching and restoring (snapshot_fetch.c, snapshot_restore.c). */
void snapshot_fetch_tick(struct group *g);
void snapshot_fetch_cancel(struct group *g);
void snapshot_progress_fetch(const struct group *g, struct snapshot_progress *progress);
void snapshot_restore_cancel(struct group *g);

#endif
