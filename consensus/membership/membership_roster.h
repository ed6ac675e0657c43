/* membership_roster: the cluster's users as this node knows them, in the file `users` of its data directory: what is in force
 * until the node has joined again after a start, and for as long as it is cut off.
 * Thread: the raft thread; load: any, before that runs. */
#ifndef FANFARE_CONSENSUS_MEMBERSHIP_ROSTER_H
#define FANFARE_CONSENSUS_MEMBERSHIP_ROSTER_H

#include <uv.h>

#include "base/err.h"
#include "consensus/map/roster.h"

/* Gives: what the file holds, in *out; NULL: there is no file. Errors: ERR_SYSTEM, ERR_CORRUPT (logged). */
MUST_USE enum err roster_file_load(const char *dir, struct roster **out);
/* Replace it: durable when this returns ERR_OK; the old or the new one otherwise. Blocks. Errors: ERR_SYSTEM (logged). */
MUST_USE enum err roster_file_save(const char *dir, const struct roster *roster);

/* Writes them on libuv's pool, the newest last; one that cannot be written is tried again when the next tick asks. */
struct roster_keeper {
    uv_loop_t *loop;
    const char *dir;
    void (*on_kept)(void *arg);
    void *arg;
    struct roster *wanted;  /* a reference; NULL: none yet */
    struct roster *writing; /* likewise; the pool's meanwhile */
    uint64_t kept_version;  /* of what is on the disk; 0: not of this life of the process */
    uint64_t failed_ms; /* when it could not be written last; 1: since the last tick; 0: it could */
    enum err err;
    uv_work_t work;
};

/* This one is to be kept. Takes a reference. */
void roster_keep(struct roster_keeper *keeper, const struct roster *roster);
/* Has something still to be written, that could not be? Then try again, now and then. */
void roster_keep_tick(struct roster_keeper *keeper, uint64_t now_ms);
void roster_keeper_fini(struct roster_keeper *keeper); /* after the loop has ended */

#endif
