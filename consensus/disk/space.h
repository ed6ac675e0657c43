/* space: the disk's free space, watched: a mark below which nothing new is begun, and a ballast for
 * the log in case it meets the end of the disk all the same. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_SPACE_H
#define FANFARE_CONSENSUS_SPACE_H

#include "consensus/disk/disk.h"

struct space_opts {
    struct disk *disk;
    uint64_t reserve_bytes;         /* with less than this free the disk is low */
    uint64_t ballast_bytes;         /* 0: no ballast */
    bool (*log_is_full)(void *arg); /* a write of the log waits for space */
    void (*log_retry)(void *arg);   /* try it again */
    void (*on_failed)(void *arg, const char *what);
    void *arg;
};

struct space {
    struct space_opts opts;
    bool is_low; /* proposals are refused */
    bool has_ballast;
    bool is_busy; /* ballast_job is in flight */
    uint64_t checked_ms;
    struct disk_job ballast_job;
};

/* At start; blocks. Borrows: opts->disk. Errors: ERR_SYSTEM. */
MUST_USE enum err space_init(struct space *space, const struct space_opts *opts);
void space_tick(struct space *space, uint64_t now_ms);
uint64_t space_next_ms(const struct space *space); /* when space_tick has something to do */

/* May `bytes` more be written by who is not the log? Asks the disk: the mark stays untouched, and so
 * does the room of a ballast that was given up and is not back yet. */
bool space_has_room(const struct space *space, uint64_t bytes);

#endif
