/* The promises of consensus/disk.h as the real disk keeps them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "consensus/disk/disk_uv.h"

enum { FILE_BYTES = 256 << 10, ZEROS = 100 << 10 };

struct fixture {
    char dir[32];
    struct disk_uv du;
};

static struct fixture *fixture_new(void)
{
    struct fixture *f = mem_new0(sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/fanfare-disk-XXXXXX");
    cr_assert_not_null(mkdtemp(f->dir));
    cr_assert_eq(disk_uv_init(&f->du, NULL, f->dir), ERR_OK);
    return f;
}

static void remove_file(struct fixture *f, const char *name)
{
    struct disk_job job = {.op = DISK_REMOVE};
    snprintf(job.name, sizeof job.name, "%s", name);
    cr_assert_eq(disk_run(&f->du.disk, &job), ERR_OK);
}

static void fixture_free(struct fixture *f)
{
    disk_uv_fini(&f->du);
    cr_assert_eq(rmdir(f->dir), 0);
    mem_free(f);
}

static void write_at(struct fixture *f, const char *name, uint64_t offset, char *text, bool creates,
                     size_t zero_bytes)
{
    struct disk_job job = {.op = DISK_WRITE,
                           .offset = offset,
                           .create_bytes = creates ? FILE_BYTES : 0,
                           .data = text,
                           .len = strlen(text),
                           .zero_bytes = zero_bytes,
                           .sync = true,
                           .keep_open = true};
    snprintf(job.name, sizeof job.name, "%s", name);
    cr_assert_eq(disk_run(&f->du.disk, &job), ERR_OK);
}

/* Does the file hold `text` at `offset`, with a zero behind it? */
static bool holds(struct fixture *f, const char *name, uint64_t offset, const char *text)
{
    char data[64] = {0};
    struct disk_job job = {
        .op = DISK_READ, .offset = offset, .data = data, .len = strlen(text) + 1};
    snprintf(job.name, sizeof job.name, "%s", name);
    cr_assert_eq(disk_run(&f->du.disk, &job), ERR_OK);
    return job.done_len == job.len && strcmp(data, text) == 0;
}

Test(consensus_disk, zeros_are_written_behind_the_data_and_later_data_over_them)
{
    struct fixture *f = fixture_new();
    write_at(f, "log", 0, (char[]){"first"}, true, ZEROS);
    cr_assert(holds(f, "log", 0, "first"));
    cr_assert(holds(f, "log", 5 + ZEROS - 1, ""));
    write_at(f, "log", 5, (char[]){"second"}, false, 0);
    cr_assert(holds(f, "log", 0, "firstsecond"));
    remove_file(f, "log");
    fixture_free(f);
}

Test(consensus_disk, a_file_that_is_kept_open_is_the_one_that_is_written)
{
    struct fixture *f = fixture_new();
    write_at(f, "a", 0, (char[]){"one"}, true, 0);
    write_at(f, "b", 0, (char[]){"two"}, true, 0);
    write_at(f, "a", 3, (char[]){"more"}, false, 0);
    cr_assert(holds(f, "a", 0, "onemore"));
    cr_assert(holds(f, "b", 0, "two"));
    remove_file(f, "a");
    write_at(f, "a", 0, (char[]){"anew"}, true, 0);
    cr_assert(holds(f, "a", 0, "anew"), "not the one that was removed");
    remove_file(f, "a");
    remove_file(f, "b");
    fixture_free(f);
}

/* ---- the thread of the log ---- */

enum { POOL_THREADS = 4 };

struct crowd { /* jobs that hold all threads of the pool */
    uv_loop_t loop;
    uv_sem_t gate;
    uv_work_t work[POOL_THREADS];
    uv_timer_t patience;
    bool is_open;
    bool log_was_first;
};

static void hold(uv_work_t *work)
{
    uv_sem_wait(&((struct crowd *)work->data)->gate);
}

static void on_held(uv_work_t *work, int status)
{
    (void)work;
    cr_assert_eq(status, 0);
}

static void open_gate(struct crowd *crowd)
{
    if (crowd->is_open) { return; }
    crowd->is_open = true;
    uv_close((uv_handle_t *)&crowd->patience, NULL);
    for (int i = 0; i < POOL_THREADS; i++) {
        uv_sem_post(&crowd->gate);
    }
}

static void on_patience(uv_timer_t *timer)
{
    open_gate(timer->data);
}

static void on_log_written(struct disk_job *job)
{
    struct crowd *crowd = job->owner;
    cr_assert_eq(job->err, ERR_OK);
    crowd->log_was_first = !crowd->is_open;
    open_gate(crowd);
}

Test(consensus_disk, the_log_is_written_while_slow_jobs_hold_the_pool)
{
    struct crowd crowd = {.is_open = false};
    char dir[] = "/tmp/fanfare-disk-XXXXXX";
    struct disk_uv du;
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(uv_loop_init(&crowd.loop), 0);
    cr_assert_eq(disk_uv_init(&du, &crowd.loop, dir), ERR_OK);
    cr_assert_eq(uv_sem_init(&crowd.gate, 0), 0);
    cr_assert_eq(uv_timer_init(&crowd.loop, &crowd.patience), 0);
    crowd.patience.data = &crowd;
    uv_timer_start(&crowd.patience, on_patience, 20000, 0); /* the test has failed by then */
    for (int i = 0; i < POOL_THREADS; i++) {
        crowd.work[i].data = &crowd;
        cr_assert_eq(uv_queue_work(&crowd.loop, &crowd.work[i], hold, on_held), 0);
    }
    struct disk_job job = {.op = DISK_WRITE,
                           .name = "log",
                           .create_bytes = FILE_BYTES,
                           .data = (char[]){"vote"},
                           .len = 4,
                           .sync = true,
                           .keep_open = true,
                           .on_done = on_log_written,
                           .owner = &crowd};
    disk_submit(&du.disk, &job);
    uv_run(&crowd.loop, UV_RUN_DEFAULT);
    cr_assert(crowd.log_was_first);
    job = (struct disk_job){.op = DISK_REMOVE, .name = "log"};
    cr_assert_eq(disk_run(&du.disk, &job), ERR_OK);
    disk_uv_close(&du);
    uv_run(&crowd.loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&crowd.loop), 0);
    disk_uv_fini(&du);
    uv_sem_destroy(&crowd.gate);
    cr_assert_eq(rmdir(dir), 0);
}
