/* The simulated disk is as bad as its header says (sim/sim_disk.h). */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim_disk.h"

enum { SEEDS = 40 };

static void name_job(struct disk_job *job, const char *name)
{
    snprintf(job->name, sizeof job->name, "%s", name);
}

static enum err write_file(struct sim_disk *sd, const char *name, char fill, bool sync)
{
    char data[SIM_SECTOR_BYTES];
    memset(data, fill, sizeof data);
    struct disk_job job = {.op = DISK_WRITE, .data = data, .len = sizeof data, .sync = sync};
    job.create_bytes = sim_disk_find(sd, name) == NULL;
    name_job(&job, name);
    return disk_run(&sd->disk, &job);
}

/* Write again, in the file that is there, and flush data but no name. */
static enum err flush_file(struct sim_disk *sd, const char *name, char fill)
{
    cr_assert_not_null(sim_disk_find(sd, name));
    return write_file(sd, name, fill, true);
}

static enum err remove_file(struct sim_disk *sd, const char *name)
{
    struct disk_job job = {.op = DISK_REMOVE};
    name_job(&job, name);
    return disk_run(&sd->disk, &job);
}

static void remove_done(struct disk_job *job)
{
    (void)job;
    cr_assert(false, "it was interrupted");
}

static char first_byte(struct sim_disk *sd, const char *name)
{
    const struct sim_file *file = sim_disk_find(sd, name);
    return file != NULL && file->now.len > 0 ? file->now.data[0] : 0;
}

Test(consensus_fakes, a_name_is_durable_once_the_directory_was_synced)
{
    int lost = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_disk sd;
        sim_disk_init(&sd, seed);
        cr_assert_eq(write_file(&sd, "named", 'a', true), ERR_OK);
        cr_assert_eq(write_file(&sd, "unnamed", 'b', false), ERR_OK);
        cr_assert_eq(flush_file(&sd, "unnamed", 'b'), ERR_OK);
        sim_disk_crash(&sd);
        cr_assert_eq(first_byte(&sd, "named"), 'a');
        lost += sim_disk_find(&sd, "unnamed") == NULL;
        sim_disk_fini(&sd);
    }
    cr_assert(lost > 0 && lost < SEEDS);
}

Test(consensus_fakes, a_removal_that_was_interrupted_may_be_seen_and_then_undone)
{
    int came_back = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_disk sd;
        struct disk_job job = {.op = DISK_REMOVE, .on_done = remove_done};
        sim_disk_init(&sd, seed);
        cr_assert_eq(write_file(&sd, "old", 'a', true), ERR_OK);
        name_job(&job, "old");
        disk_submit(&sd.disk, &job);
        sim_disk_kill(&sd);
        bool was_seen = sim_disk_find(&sd, "old") != NULL;
        sim_disk_crash(&sd);
        came_back += !was_seen && first_byte(&sd, "old") == 'a';
        cr_assert_eq(remove_file(&sd, "old"), ERR_OK);
        sim_disk_crash(&sd);
        cr_assert_null(sim_disk_find(&sd, "old"), "a removal that is done is durable");
        sim_disk_fini(&sd);
    }
    cr_assert_gt(came_back, 0);
}

Test(consensus_fakes, a_failed_flush_is_not_made_good_by_the_next_one)
{
    int lost = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_disk sd;
        sim_disk_init(&sd, seed);
        cr_assert_eq(write_file(&sd, "log", 'a', true), ERR_OK);
        sd.syncs_to_fail = 1;
        cr_assert_eq(flush_file(&sd, "log", 'b'), ERR_SYSTEM);
        sim_disk_kill(&sd);
        cr_assert_eq(first_byte(&sd, "log"), 'b', "the next process sees it");
        char nothing[1];
        struct disk_job sync = {.op = DISK_WRITE, .offset = SIM_SECTOR_BYTES, .sync = true};
        sync.data = nothing;
        name_job(&sync, "log");
        cr_assert_eq(disk_run(&sd.disk, &sync), ERR_OK);
        sim_disk_crash(&sd);
        lost += first_byte(&sd, "log") == 'a';
        cr_assert_eq(flush_file(&sd, "log", 'c'), ERR_OK);
        sim_disk_crash(&sd);
        cr_assert_eq(first_byte(&sd, "log"), 'c', "but written again, it is");
        sim_disk_fini(&sd);
    }
    cr_assert(lost > 0 && lost < SEEDS);
}

Test(consensus_fakes, the_cache_may_drop_what_a_failed_flush_has_lost)
{
    bool was_dropped = false;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_disk sd;
        sim_disk_init(&sd, seed);
        cr_assert_eq(write_file(&sd, "log", 'a', true), ERR_OK);
        sd.syncs_to_fail = 1;
        cr_assert_eq(flush_file(&sd, "log", 'b'), ERR_SYSTEM);
        sim_disk_evict(&sd);
        was_dropped = was_dropped || first_byte(&sd, "log") == 'a';
        sim_disk_fini(&sd);
    }
    cr_assert(was_dropped);
}

Test(consensus_fakes, a_start_dies_at_the_operation_it_was_told)
{
    struct sim_disk sd;
    sim_disk_init(&sd, 1);
    sd.stop_in = 2;
    cr_assert_eq(write_file(&sd, "first", 'a', true), ERR_OK);
    cr_assert_eq(write_file(&sd, "second", 'b', true), ERR_SYSTEM);
    cr_assert_eq(write_file(&sd, "third", 'c', true), ERR_SYSTEM);
    cr_assert(sd.is_stopped);
    cr_assert_null(sim_disk_find(&sd, "third"));
    sim_disk_crash(&sd);
    cr_assert_eq(first_byte(&sd, "first"), 'a');
    cr_assert_eq(write_file(&sd, "third", 'c', true), ERR_OK);
    sim_disk_fini(&sd);
}
