/* disk_uv: the real disk, a directory, worked on by libuv's thread pool. Thread: the raft thread.
 * */
#ifndef FANFARE_CONSENSUS_DISK_UV_H
#define FANFARE_CONSENSUS_DISK_UV_H

#include <uv.h>

#include "consensus/disk/disk.h"

struct disk_uv {
    struct disk disk;
    uv_loop_t *loop; /* NULL: only run, list and free_bytes work */
    int dir_fd;
    unsigned inflight_count;
    int kept_fd; /* of the last write with keep_open; -1: none */
    char kept_name[DISK_NAME_BYTES];
};

/* Open the directory, which is made if it is missing and there is a loop. Errors: ERR_SYSTEM
 * (logged). */
MUST_USE enum err disk_uv_init(struct disk_uv *du, uv_loop_t *loop, const char *dir);
/* Nothing may be in flight. */
void disk_uv_fini(struct disk_uv *du);

#endif
