/* sim_disk: a disk in memory that behaves like a bad one on request.
 * A power cut keeps what was synced, and of the rest any sectors, in any order; a name, or that it
 * is gone, only once the directory was synced. A flush that fails leaves what it should have
 * written in the page cache, clean: a later flush does not write it, a later read may still see it.
 * Thread: one. */
#ifndef FANFARE_TESTS_SIM_DISK_H
#define FANFARE_TESTS_SIM_DISK_H

#include "base/buf.h"
#include "consensus/disk/disk.h"

enum { SIM_SECTOR_BYTES = 512 };

struct sim_file {
    struct list link;
    char name[DISK_NAME_BYTES];
    struct buf now;     /* as the process sees it */
    struct buf durable; /* as a power cut leaves it */
    struct buf lost;    /* a byte per sector; not 0: clean in the cache, and not on the platter */
    bool is_named;      /* its name is durable */
};

struct sim_disk {
    struct disk disk;
    struct list files;
    struct list ghosts; /* removed, and may come back: the directory was not synced since */
    struct list jobs;   /* in flight, by time */
    uint64_t random;    /* state of the generator */
    uint64_t now_ms;
    uint64_t delay_ms_max;      /* a job takes 0 to this, now and then ten times as long */
    uint64_t sync_delay_ms_max; /* one that syncs so much longer */
    uint64_t capacity_bytes;
    enum err fail_with; /* ERR_OK, or what every write answers */
    uint64_t sync_count;
    uint64_t syncs_to_fail; /* of those to come */
    bool is_broken;         /* one did, since the process began */
    uint64_t stop_in; /* of the jobs that are run at start-up, the so-manyth is the last; 0: none */
    bool is_stopped;  /* it was, and happened in part: the process has died there */
    bool is_interrupted;
};

void sim_disk_init(struct sim_disk *sd, uint64_t seed);
void sim_disk_fini(struct sim_disk *sd);

/* When the next job ends; UINT64_MAX: none. */
uint64_t sim_disk_next_ms(const struct sim_disk *sd);
/* End the first job, if it is due at now_ms. */
bool sim_disk_step(struct sim_disk *sd, uint64_t now_ms);
/* End all jobs, also those that they start. */
void sim_disk_drain(struct sim_disk *sd);

/* Stop in the middle of the jobs in flight: a part of each may have happened. To be called before
 * their owners are freed, if these are freed before the crash. */
void sim_disk_interrupt(struct sim_disk *sd);
/* The machine loses power: jobs in flight vanish (on_drop). */
void sim_disk_crash(struct sim_disk *sd);
/* The process dies: jobs in flight vanish, the files stay as the process saw them. */
void sim_disk_kill(struct sim_disk *sd);
/* The page cache drops clean pages: what a failed flush has lost is seen to be lost. */
void sim_disk_evict(struct sim_disk *sd);

/* Flip one bit of a file's synced content, at `at` or behind it, in a byte that is not zero. False
 * if the file has none. */
bool sim_disk_flip(struct sim_disk *sd, const char *name, uint64_t at);
struct sim_file *sim_disk_find(struct sim_disk *sd, const char *name);
bool sim_disk_holds(struct sim_disk *sd,
                    const char *name); /* also where it was removed, and may come back */
uint64_t sim_disk_used_bytes(const struct sim_disk *sd);

/* xorshift: the next number below `below`. */
uint64_t sim_random(uint64_t *state, uint64_t below);

#endif
