/* disk_uv: the real disk, a directory. The log's writes have a thread of their own, since votes wait
 * for them; everything else runs on libuv's thread pool. Thread: the raft thread. */
#ifndef FANFARE_CONSENSUS_DISK_UV_H
#define FANFARE_CONSENSUS_DISK_UV_H

#include <stdatomic.h>
#include <uv.h>

#include "base/thread.h"
#include "consensus/disk/bell.h"
#include "consensus/disk/disk.h"

/* The thread for jobs with keep_open, of which one is in flight at a time. */
struct disk_uv_log {
    struct thread thread;
    uv_sem_t has_work;     /* a job, or the end */
    struct bell has_ended; /* keeps the loop alive while a job is in flight */
    struct disk_job *job;  /* NULL: none */
    uint64_t start_ns;
    atomic_bool is_done;
    bool is_ending;
};

struct disk_uv {
    struct disk disk;
    uv_loop_t *loop; /* NULL: only run, list and free_bytes work */
    int dir_fd;
    unsigned inflight_count;
    int kept_fd; /* of the last write with keep_open; -1: none */
    char kept_name[DISK_NAME_BYTES];
    struct disk_uv_log log;
};

/* Write all of `data` at `offset` of a file. False: errno says why. Thread: any; blocks. */
MUST_USE bool disk_write_at(int fd, struct slice data, uint64_t offset);

/* Open the directory, which is made if it is missing and there is a loop. Errors: ERR_SYSTEM
 * (logged). */
MUST_USE enum err disk_uv_init(struct disk_uv *du, uv_loop_t *loop, const char *dir);
/* Nothing may be in flight: close what is on the loop, which then has to run once more. */
void disk_uv_close(struct disk_uv *du);
/* After disk_uv_close, if there is a loop. */
void disk_uv_fini(struct disk_uv *du);

#endif
