/* disk: the seam between the consensus engine and a data directory. The real one (disk_uv.c) works
 * on the thread pool, the simulated one (tests/sim) forgets what was not synced. A disk is a set of
 * flat, named files.
 * Thread: submit and on_done on the raft thread; `before` and the operation itself anywhere. */
#ifndef FANFARE_CONSENSUS_DISK_H
#define FANFARE_CONSENSUS_DISK_H

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"

enum { DISK_NAME_BYTES = 64 };

enum disk_op {
    DISK_WRITE, /* write all of `data` at `offset`; with create_bytes, make the file first */
    DISK_READ,  /* read up to `len` bytes at `offset` into `data`; `done_len`: there were so many */
    DISK_REMOVE, /* a missing file is no error; durable when done */
};

/* One operation. The caller owns it and everything it points to until on_done. */
struct disk_job {
    enum disk_op op;
    char name[DISK_NAME_BYTES];
    uint64_t offset;
    /* DISK_WRITE: not 0 makes the file anew with this many bytes reserved, or as good as none for 1;
     * with sync its name is durable, too. */
    uint64_t create_bytes;
    char *data;
    size_t len;
    /* DISK_WRITE: write so many zeros behind the data, where the file holds zeros already. Later
     * writes there then change data only, not the file's map of blocks, and flush in half the time.
     * A disk may ignore it. */
    size_t zero_bytes;
    bool sync; /* DISK_WRITE: durable when done */
    /* DISK_WRITE: of the log: more writes to this file are to come, and they wait for nothing else.
     * One such job is in flight at a time. */
    bool keep_open;
    bool sync_name; /* with sync: the file's name, too */
    size_t done_len;
    /* ERR_FULL: no space, nothing harmed, may be tried again. ERR_SYSTEM: the disk is not to be
     * trusted. */
    enum err err;
    /* Where the operation runs, before it: fill the data of a write. May be NULL. */
    void (*before)(struct disk_job *job);
    void (*on_done)(struct disk_job *job);
    /* Instead of on_done when the disk ends first: frees. May be NULL. */
    void (*on_drop)(struct disk_job *job);
    void *owner;      /* the caller's */
    struct list link; /* the disk's, while the job is in flight */
};

struct disk;

struct disk_ops {
    /* Start `job`; on_done is called later on the raft thread, never from inside. */
    void (*submit)(struct disk *disk, struct disk_job *job);
    /* Do `job` now and return its err; on_done is not called. For start-up, when nothing else runs.
     * */
    enum err (*run)(struct disk *disk, struct disk_job *job);
    /* Call `found` for every file. For start-up. */
    enum err (*list)(struct disk *disk, void (*found)(void *arg, const char *name, uint64_t bytes),
                     void *arg);
    /* Space left for new data, in bytes; as of a moment ago. */
    uint64_t (*free_bytes)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops;
};

static inline void disk_submit(struct disk *disk, struct disk_job *job)
{
    disk->ops->submit(disk, job);
}

MUST_USE static inline enum err disk_run(struct disk *disk, struct disk_job *job)
{
    return disk->ops->run(disk, job);
}

#endif
