/* The promises of consensus/wal.h, on a disk that forgets. */
#include <criterion/criterion.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/crc32c.h"
#include "consensus/disk/disk_uv.h"
#include "consensus/log/wal.h"
#include "consensus/log/wal_check.h"
#include "sim/sim_disk.h"

enum { GROUPS = 3, OPS_MAX = 4096 };

struct fixture {
    struct sim_disk sd;
    struct wal *wal;
    struct wal_report report;
    uint64_t flushed; /* batch */
    enum err failed;
    uint64_t random;
    /* for the walk: the state after each operation, and how many were in the batches that were
     * flushed */
    uint64_t hash[OPS_MAX];
    uint64_t batch[OPS_MAX];
    size_t op_count;
};

static void on_flushed(void *arg, uint64_t batch)
{
    ((struct fixture *)arg)->flushed = batch;
}

static void on_failed(void *arg, enum err err, const char *file)
{
    (void)file;
    ((struct fixture *)arg)->failed = err;
}

static enum err reopen(struct fixture *f)
{
    struct wal_opts opts = {&f->sd.disk, 7, 16384, on_flushed, on_failed, f, 0, RAFT_CHANGE};
    wal_free(f->wal);
    f->wal = NULL;
    f->flushed = 0;
    return wal_open(&f->wal, &opts, &f->report);
}

static struct fixture *fixture_new(uint64_t seed)
{
    struct fixture *f = mem_new0(sizeof *f);
    sim_disk_init(&f->sd, seed * 77 + 1);
    f->random = seed * 31 + 5;
    cr_assert_eq(reopen(f), ERR_OK);
    return f;
}

static void fixture_free(struct fixture *f)
{
    wal_free(f->wal);
    sim_disk_fini(&f->sd);
    mem_free(f);
}

static void flush(struct fixture *f)
{
    wal_flush(f->wal);
    sim_disk_drain(&f->sd);
}

static void put_text(struct fixture *f, struct wal_log *log, uint64_t term, const char *text)
{
    wal_put_entry(f->wal, log, wal_log_last_index(log) + 1, term, RAFT_COMMAND, slice_of_str(text));
}

static void on_read(void *arg, enum err err)
{
    *(enum err *)arg = err;
}

/* The data of an entry, read back if need be. */
static struct slice entry_data(struct fixture *f, struct wal_log *log, uint64_t index)
{
    const struct wal_entry *entry = wal_log_entry(log, index);
    if (entry->data == NULL) {
        enum err err = ERR_INVALID;
        wal_read(f->wal, log, index, 4096, on_read, &err);
        sim_disk_drain(&f->sd);
        cr_assert_eq(err, ERR_OK);
        entry = wal_log_entry(log, index);
    }
    return slice_of(entry->data, entry->len);
}

Test(consensus_wal, the_checksum_is_castagnoli)
{
    cr_assert_eq(crc32c(0, "123456789", 9), 0xe3069283U);
    cr_assert_eq(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283U);
}

Test(consensus_wal, what_was_flushed_is_there_after_a_crash)
{
    struct fixture *f = fixture_new(1);
    struct wal_log *log = wal_log_create(f->wal, 5, 50);
    wal_put_ballot(f->wal, log, (struct wal_ballot){3, 9});
    put_text(f, log, 2, "first");
    put_text(f, log, 3, "second");
    flush(f);
    sim_disk_crash(&f->sd);
    cr_assert_eq(reopen(f), ERR_OK);
    log = wal_log_find(f->wal, 5);
    cr_assert_not_null(log);
    cr_assert_eq(wal_log_self(log), 50);
    cr_assert_eq(wal_log_ballot(log).term, 3);
    cr_assert_eq(wal_log_ballot(log).vote, 9);
    cr_assert_eq(wal_log_last_index(log), 2);
    cr_assert(slice_equal(entry_data(f, log, 2), SLICE("second")));
    cr_assert_eq(wal_log_term(log, 1), 2);
    fixture_free(f);
}

Test(consensus_wal, an_entry_replaces_all_from_its_index_on)
{
    struct fixture *f = fixture_new(2);
    struct wal_log *log = wal_log_create(f->wal, 5, 50);
    for (int i = 0; i < 5; i++) {
        put_text(f, log, 1, "old");
    }
    flush(f);
    wal_put_entry(f->wal, log, 3, 2, RAFT_COMMAND, SLICE("new"));
    flush(f);
    cr_assert_eq(reopen(f), ERR_OK);
    log = wal_log_find(f->wal, 5);
    cr_assert_eq(wal_log_last_index(log), 3);
    cr_assert(slice_equal(entry_data(f, log, 3), SLICE("new")));
    fixture_free(f);
}

Test(consensus_wal, entries_that_left_memory_are_read_back)
{
    struct fixture *f = fixture_new(3);
    struct wal_log *log = wal_log_create(f->wal, 5, 50);
    for (int i = 0; i < 100; i++) {
        put_text(f, log, 1, i == 60 ? "sixty" : "any");
    }
    flush(f);
    wal_evict(f->wal, log, 100);
    cr_assert_eq(wal_log_cached_bytes(log), 0);
    cr_assert(slice_equal(entry_data(f, log, 61), SLICE("sixty")));
    cr_assert_not_null(wal_log_entry(log, 70)->data, "a read brings the neighbours too");
    fixture_free(f);
}

static struct manifest manifest_at(uint64_t index)
{
    struct manifest m = {.index = index, .term = 1, .conf_index = 1};
    buf_append_str(&m.conf, "servers");
    return m;
}

Test(consensus_wal, segments_go_when_every_group_has_a_snapshot_past_them)
{
    struct fixture *f = fixture_new(4);
    struct wal_log *busy = wal_log_create(f->wal, 5, 50);
    struct wal_log *idle = wal_log_create(f->wal, 6, 60);
    put_text(f, idle, 1, "holds the first segment");
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (int i = 0; i < 200; i++) {
        put_text(f, busy, 1, text);
        flush(f);
    }
    uint64_t before = wal_segment_count(f->wal);
    cr_assert_gt(before, 8);
    struct manifest m = manifest_at(190);
    wal_put_snapshot(f->wal, busy, &m, 180, false);
    flush(f);
    cr_assert_eq(wal_segment_count(f->wal), before, "the idle group needs the first one");
    struct manifest first = manifest_at(1);
    wal_put_snapshot(f->wal, idle, &first, 2, false);
    flush(f);
    cr_assert_lt(wal_segment_count(f->wal), 4);
    sim_disk_crash(&f->sd);
    cr_assert_eq(reopen(f), ERR_OK);
    busy = wal_log_find(f->wal, 5);
    cr_assert_eq(wal_log_first_index(busy), 180);
    cr_assert_eq(wal_log_last_index(busy), 200);
    cr_assert_eq(wal_log_snapshot(busy)->index, 190);
    cr_assert_eq(wal_log_last_index(wal_log_find(f->wal, 6)), 1);
    manifest_fini(&m);
    manifest_fini(&first);
    fixture_free(f);
}

/* Clean and flush until nothing happens any more. */
static void clean(struct fixture *f, uint64_t segments_max)
{
    for (int i = 0; i < 100; i++) {
        wal_clean(f->wal, segments_max);
        sim_disk_drain(&f->sd);
        flush(f);
    }
}

Test(consensus_wal, a_group_that_does_nothing_keeps_no_segment)
{
    struct fixture *f = fixture_new(9);
    struct wal_log *busy = wal_log_create(f->wal, 5, 50);
    struct wal_log *idle = wal_log_create(f->wal, 6, 60);
    struct wal_log *trailing = wal_log_create(f->wal, 7, 70);
    struct manifest m = manifest_at(3);
    char text[1000] = {0};
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 5; i++) {
        put_text(f, idle, 1, i == 3 ? "needed" : text);
        put_text(f, trailing, 1, text);
    }
    flush(f);
    wal_put_snapshot(f->wal, trailing, &m, 1, false);
    wal_evict(f->wal, idle, 5);
    for (int i = 0; i < 100; i++) {
        put_text(f, busy, 1, text);
        flush(f);
    }
    struct manifest most = manifest_at(95);
    wal_put_snapshot(f->wal, busy, &most, 96, false);
    uint64_t before = wal_segment_count(f->wal);
    clean(f, before);
    cr_assert_eq(wal_segment_count(f->wal), before, "so many are allowed");
    clean(f, 3);
    cr_assert_leq(wal_segment_count(f->wal), 3);
    cr_assert_eq(wal_log_first_index(idle), 1);
    cr_assert_eq(wal_log_first_index(trailing), 4, "what is behind the snapshot went");
    for (int crash = 0; crash < 2; crash++) { /* what was moved can be read back, and replayed */
        idle = wal_log_find(f->wal, 6);
        trailing = wal_log_find(f->wal, 7);
        wal_evict(f->wal, idle, 5);
        cr_assert(slice_equal(entry_data(f, idle, 4), SLICE("needed")));
        cr_assert(slice_equal(entry_data(f, idle, 5), slice_of_str(text)));
        cr_assert_eq(wal_log_last_index(idle), 5);
        cr_assert_eq(wal_log_last_index(trailing), 5);
        cr_assert(slice_equal(entry_data(f, trailing, 5), slice_of_str(text)));
        sim_disk_crash(&f->sd);
        cr_assert_eq(reopen(f), ERR_OK, "%s", f->report.damage);
    }
    manifest_fini(&m);
    manifest_fini(&most);
    fixture_free(f);
}

Test(consensus_wal, what_is_behind_a_snapshot_goes_where_the_log_is_too_long)
{
    struct fixture *f = fixture_new(10);
    struct wal_log *log = wal_log_create(f->wal, 5, 50);
    char text[1000] = {0};
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 100; i++) {
        put_text(f, log, 1, text);
        flush(f);
    }
    struct manifest m = manifest_at(90);
    wal_put_snapshot(f->wal, log, &m, 1, false);
    flush(f);
    clean(f, 3);
    cr_assert_eq(wal_log_first_index(log), 91);
    cr_assert_leq(wal_segment_count(f->wal), 3);
    manifest_fini(&m);
    fixture_free(f);
}

Test(consensus_wal, the_cache_is_the_nodes_and_what_was_applied_first_leaves_it_first)
{
    struct fixture *f = fixture_new(11);
    struct wal_opts opts = {&f->sd.disk, 7, 16384, on_flushed, on_failed, f, .cache_bytes = 300};
    wal_free(f->wal);
    cr_assert_eq(wal_open(&f->wal, &opts, &f->report), ERR_OK);
    struct wal_log *logs[4];
    char text[101] = {0};
    memset(text, 'x', sizeof text - 1);
    for (uint64_t i = 0; i < 4; i++) {
        logs[i] = wal_log_create(f->wal, 1 + i, 50);
        put_text(f, logs[i], 1, text);
        put_text(f, logs[i], 1, text);
    }
    flush(f);
    for (int i = 0; i < 4; i++) {
        wal_evict(f->wal, logs[i], i < 3 ? 2 : 0);
    }
    cr_assert_eq(wal_log_cached_bytes(logs[0]), 0);
    cr_assert_eq(wal_log_cached_bytes(logs[1]), 0);
    cr_assert_eq(wal_log_cached_bytes(logs[2]), 100);
    cr_assert_eq(wal_log_cached_bytes(logs[3]), 200, "it is needed still");
    fixture_free(f);
}

Test(consensus_wal, a_full_disk_delays_a_flush_and_loses_nothing)
{
    struct fixture *f = fixture_new(5);
    struct wal_log *log = wal_log_create(f->wal, 5, 50);
    f->sd.fail_with = ERR_FULL;
    put_text(f, log, 1, "waits");
    flush(f);
    cr_assert(wal_is_full(f->wal));
    cr_assert_eq(f->flushed, 0);
    f->sd.fail_with = ERR_OK;
    wal_retry(f->wal);
    sim_disk_drain(&f->sd);
    cr_assert(!wal_is_full(f->wal));
    cr_assert_gt(f->flushed, 0);
    cr_assert_eq(reopen(f), ERR_OK);
    cr_assert(slice_equal(entry_data(f, wal_log_find(f->wal, 5), 1), SLICE("waits")));
    fixture_free(f);
}

Test(consensus_wal, a_broken_disk_is_reported_once_and_nothing_more_is_written)
{
    struct fixture *f = fixture_new(6);
    struct wal_log *log = wal_log_create(f->wal, 5, 50);
    f->sd.fail_with = ERR_SYSTEM;
    flush(f);
    cr_assert_eq(f->failed, ERR_SYSTEM);
    f->sd.fail_with = ERR_OK;
    uint64_t syncs = f->sd.sync_count;
    put_text(f, log, 1, "late");
    flush(f);
    cr_assert_eq(f->sd.sync_count, syncs);
    fixture_free(f);
}

Test(consensus_wal, a_batch_whose_flush_failed_is_written_again_by_the_next_start)
{
    struct fixture *f = fixture_new(8);
    struct wal_log *log = wal_log_create(f->wal, 5, 50);
    put_text(f, log, 1, "flushed");
    flush(f);
    put_text(f, log, 1, "seen by all, and on no platter");
    f->sd.syncs_to_fail = 1;
    flush(f);
    cr_assert_eq(f->failed, ERR_SYSTEM);
    sim_disk_kill(&f->sd);
    cr_assert_eq(reopen(f), ERR_OK);
    cr_assert_eq(wal_log_last_index(wal_log_find(f->wal, 5)), 2);
    sim_disk_crash(&f->sd);
    cr_assert_eq(reopen(f), ERR_OK);
    cr_assert_eq(wal_log_last_index(wal_log_find(f->wal, 5)), 2, "what a start has shown stays");
    fixture_free(f);
}

/* Processes that die over failing flushes and are started again, until one lives; then the power
 * goes. */
static void restarts_then_crash(uint64_t seed)
{
    struct fixture *f = fixture_new(seed);
    struct wal_log *log = wal_log_create(f->wal, 5, 50);
    flush(f);
    for (int round = 0; round < 6; round++) {
        char text[700] = {0};
        for (uint64_t i = sim_random(&f->random, 8); i > 0; i--) {
            memset(text, (int)('a' + i), sim_random(&f->random, sizeof text - 1));
            put_text(f, log, 1, text);
        }
        f->sd.syncs_to_fail = sim_random(&f->random, 3);
        wal_flush(f->wal);
        if (sim_random(&f->random, 2) == 0) { sim_disk_drain(&f->sd); }
        sim_disk_kill(&f->sd);
        while (reopen(f) != ERR_OK) {
            cr_assert_eq(f->report.damage[0], 0, "seed %lu: %s", seed, f->report.damage);
        }
        f->sd.syncs_to_fail = 0;
        log = wal_log_find(f->wal, 5);
    }
    uint64_t last = wal_log_last_index(log);
    sim_disk_crash(&f->sd);
    cr_assert_eq(reopen(f), ERR_OK, "seed %lu: %s", seed, f->report.damage);
    cr_assert_eq(wal_log_last_index(wal_log_find(f->wal, 5)), last, "seed %lu", seed);
    fixture_free(f);
}

Test(consensus_wal, what_a_start_has_shown_is_on_the_disk_whatever_failed_before, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        restarts_then_crash(seed);
    }
}

Test(consensus_wal, a_log_of_another_node_is_refused)
{
    struct fixture *f = fixture_new(7);
    (void)wal_log_create(f->wal, 5, 50);
    flush(f);
    struct wal_opts opts = {&f->sd.disk, 8, 16384, on_flushed, on_failed, f, 0, RAFT_CHANGE};
    struct wal *other = NULL;
    cr_assert_eq(wal_open(&other, &opts, &f->report), ERR_CORRUPT);
    cr_assert_neq(f->report.damage[0], 0);
    fixture_free(f);
}

/* ---- on a real file system ---- */

static void on_job(struct disk_job *job)
{
    *(bool *)job->owner = job->err == ERR_OK;
}

static int check_text(const char *dir, char *text, size_t bytes)
{
    memset(text, 0, bytes);
    FILE *out = fmemopen(text, bytes - 1, "w");
    int code = wal_check_print(dir, out);
    fclose(out);
    return code;
}

Test(consensus_wal, a_log_in_a_directory_is_told_by_wal_check_and_its_damage_too)
{
    char dir[] = "/tmp/test-consensus-wal-XXXXXX";
    char text[2000];
    uv_loop_t loop;
    struct disk_uv du;
    struct wal *wal;
    struct wal_report report;
    struct fixture f = {.failed = ERR_OK};
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(disk_uv_init(&du, &loop, dir), ERR_OK);
    struct wal_opts opts = {&du.disk, 7, 1 << 20, on_flushed, on_failed, &f, 0, RAFT_CHANGE};
    cr_assert_eq(wal_open(&wal, &opts, &report), ERR_OK);
    struct wal_log *log = wal_log_create(wal, 5, 50);
    wal_put_entry(wal, log, 1, 1, RAFT_COMMAND, SLICE("some data"));
    wal_flush(wal);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(f.flushed, 1);
    cr_assert_eq(f.failed, ERR_OK);
    wal_free(wal);
    cr_assert_eq(check_text(dir, text, sizeof text), 0);
    cr_assert_not_null(strstr(text, "group=5 replica=50 "), "%s", text);
    cr_assert_not_null(strstr(text, "state=whole"), "%s", text);
    bool done = false;
    char bad[] = "!";
    struct disk_job job = {.op = DISK_WRITE,
                           .name = "wal-0000000001",
                           .offset = 45,
                           .data = bad,
                           .len = 1,
                           .on_done = on_job,
                           .owner = &done};
    disk_submit(&du.disk, &job);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert(done);
    cr_assert_eq(check_text(dir, text, sizeof text), 1);
    cr_assert_not_null(strstr(text, "damage: "), "%s", text);
    job = (struct disk_job){
        .op = DISK_REMOVE, .name = "wal-0000000001", .on_done = on_job, .owner = &done};
    disk_submit(&du.disk, &job);
    uv_run(&loop, UV_RUN_DEFAULT);
    disk_uv_close(&du);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
    disk_uv_fini(&du);
    cr_assert_eq(rmdir(dir), 0);
    cr_assert_eq(check_text(dir, text, sizeof text), 2);
}

/* ---- a walk of random operations, crashes and damage ---- */

static uint64_t mix(uint64_t h, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++) {
        h = (h ^ p[i]) * 1099511628211ULL;
    }
    return h;
}

static uint64_t mix64(uint64_t h, uint64_t v)
{
    return mix(h, &v, sizeof v);
}

static uint64_t state_hash(struct fixture *f)
{
    uint64_t sum = 0;
    for (struct wal_log *log = wal_log_next(f->wal, NULL); log != NULL;
         log = wal_log_next(f->wal, log)) {
        uint64_t h = mix64(1469598103934665603ULL, wal_log_group(log));
        h = mix64(mix64(h, wal_log_ballot(log).term), wal_log_ballot(log).vote);
        h = mix64(h, wal_log_snapshot(log) != NULL ? wal_log_snapshot(log)->index : 0);
        h = mix64(h, wal_log_first_index(log));
        for (uint64_t i = wal_log_first_index(log); i <= wal_log_last_index(log); i++) {
            struct slice data = entry_data(f, log, i);
            h = mix(mix64(h, wal_log_term(log, i)), data.data, data.len);
        }
        sum += h;
    }
    return sum;
}

static void walk_entry(struct fixture *f, struct wal_log *log)
{
    char data[700];
    size_t len = 1 + sim_random(&f->random, sim_random(&f->random, 8) == 0 ? sizeof data : 60);
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)(1 + sim_random(&f->random, 255));
    }
    uint64_t last = wal_log_last_index(log);
    uint64_t base = wal_log_snapshot(log) != NULL ? wal_log_snapshot(log)->index : 0;
    uint64_t index = last + 1;
    if (sim_random(&f->random, 6) == 0 && last > base) {
        index = base + 1 + sim_random(&f->random, last - base);
    }
    index = index < wal_log_first_index(log) ? wal_log_first_index(log) : index;
    wal_put_entry(f->wal, log, index, 1 + wal_log_ballot(log).term, RAFT_COMMAND,
                  slice_of(data, len));
}

static void walk_op(struct fixture *f)
{
    uint64_t group = 1 + sim_random(&f->random, GROUPS);
    struct wal_log *log = wal_log_find(f->wal, group);
    uint64_t what = sim_random(&f->random, 100);
    if (log == NULL) {
        (void)wal_log_create(f->wal, group, group * 10);
    } else if (what < 75) {
        walk_entry(f, log);
    } else if (what < 88) {
        struct wal_ballot ballot = {wal_log_ballot(log).term + 1, sim_random(&f->random, 4)};
        wal_put_ballot(f->wal, log, ballot);
    } else if (what < 98 && wal_log_last_index(log) > 2) {
        uint64_t base = wal_log_snapshot(log) != NULL ? wal_log_snapshot(log)->index : 1;
        uint64_t index = base + sim_random(&f->random, wal_log_last_index(log) - base + 1);
        struct manifest m = manifest_at(index);
        uint64_t first = index > 3 ? index - sim_random(&f->random, 3) : index + 1;
        first = first < wal_log_first_index(log) ? wal_log_first_index(log) : first;
        wal_put_snapshot(f->wal, log, &m, first, sim_random(&f->random, 8) == 0);
        manifest_fini(&m);
    } else if (what == 99) {
        wal_log_delete(f->wal, log);
    }
}

static void walk(struct fixture *f, size_t ops)
{
    f->op_count = 0;
    f->hash[0] = state_hash(f);
    f->batch[0] = 0;
    for (size_t i = 1; i <= ops; i++) {
        uint64_t batch = wal_batch(f->wal);
        walk_op(f);
        f->batch[i] = batch;
        f->hash[i] = state_hash(f);
        f->op_count = i;
        if (sim_random(&f->random, 3) == 0) { wal_flush(f->wal); }
        f->sd.now_ms += sim_random(&f->random, 6);
        (void)sim_disk_step(&f->sd, f->sd.now_ms);
    }
}

/* Is the state one that some number of operations left, among them all that were flushed? */
static bool is_in_history(struct fixture *f, uint64_t flushed_batch)
{
    uint64_t hash = state_hash(f);
    for (size_t i = 0; i <= f->op_count; i++) {
        bool all_flushed = i == f->op_count || f->batch[i + 1] > flushed_batch;
        if (all_flushed && f->hash[i] == hash) { return true; }
    }
    return false;
}

Test(consensus_wal, a_crash_leaves_all_that_was_flushed_and_a_part_of_the_rest_in_order,
     .timeout = 100)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct fixture *f = fixture_new(seed);
        for (int life = 0; life < 4; life++) {
            walk(f, 30 + sim_random(&f->random, 60));
            uint64_t flushed = f->flushed;
            sim_disk_crash(&f->sd);
            cr_assert_eq(reopen(f), ERR_OK, "seed %lu: %s", seed, f->report.damage);
            cr_assert(is_in_history(f, flushed), "seed %lu life %d", seed, life);
        }
        fixture_free(f);
    }
}

Test(consensus_wal, a_flipped_bit_is_found_or_harmless_and_never_shortens_the_log, .timeout = 100)
{
    int found = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct fixture *f = fixture_new(seed);
        walk(f, 100);
        sim_disk_drain(&f->sd);
        flush(f);
        sim_disk_drain(&f->sd);
        uint64_t before = state_hash(f);
        struct sim_file *file = NULL;
        uint64_t pick = sim_random(&f->random, wal_segment_count(f->wal));
        LIST_EACH (at, &f->sd.files) {
            file = CONTAINER_OF(at, struct sim_file, link);
            if (pick-- == 0) { break; }
        }
        size_t used = file->durable.len;
        while (used > 0 && file->durable.data[used - 1] == 0) {
            used--;
        }
        cr_assert(sim_disk_flip(&f->sd, file->name, sim_random(&f->random, used)));
        enum err err = reopen(f);
        if (err == ERR_OK) {
            cr_assert_eq(state_hash(f), before, "seed %lu: a changed log was accepted", seed);
        } else {
            cr_assert_eq(err, ERR_CORRUPT);
            cr_assert_neq(f->report.damage[0], 0);
            found++;
        }
        fixture_free(f);
    }
    cr_assert_gt(found, 100);
}
