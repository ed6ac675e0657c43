/* slowlog: the newest entries stay, whatever happens to the ring's size, and what is kept is
 * bounded. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "cmd/slowlog.h"

static void add(struct slowlog *log, uint32_t entries_max, uint64_t id)
{
    char word[32];
    int len = snprintf(word, sizeof word, "word-%llu", (unsigned long long)id);
    const struct slice argv[] = {SLICE("ECHO"), slice_of(word, (size_t)len)};
    const struct slowlog_entry entry = {
        .id = id, .duration_us = id * 10, .argc = 2, .argv = argv, .address = SLICE("1.2.3.4:5")};
    slowlog_add(log, entries_max, &entry);
}

static void assert_ids(const struct slowlog *log, uint64_t newest, uint32_t count)
{
    cr_assert_eq(log->count, count);
    for (uint32_t i = 0; i < count; i++) {
        char word[32];
        const struct slowlog_entry *entry = slowlog_newest(log, i);
        snprintf(word, sizeof word, "word-%llu", (unsigned long long)(newest - i));
        cr_assert_eq(entry->id, newest - i);
        cr_assert_eq(entry->duration_us, entry->id * 10);
        cr_assert(slice_equal(entry->argv[1], slice_of_str(word)));
        cr_assert(slice_equal(entry->address, SLICE("1.2.3.4:5")));
    }
}

Test(cmd_slowlog, the_oldest_entries_make_room)
{
    struct slowlog log = {0};
    for (uint64_t id = 1; id <= 25; id++) {
        add(&log, 10, id);
        assert_ids(&log, id, id < 10 ? (uint32_t)id : 10);
    }
    slowlog_clear(&log);
    cr_assert_eq(log.count, 0);
}

Test(cmd_slowlog, a_changed_size_keeps_the_newest)
{
    struct slowlog log = {0};
    for (uint64_t id = 1; id <= 15; id++) {
        add(&log, 10, id);
    }
    add(&log, 4, 16);
    assert_ids(&log, 16, 4);
    for (uint64_t id = 17; id <= 20; id++) {
        add(&log, 100, id);
    }
    assert_ids(&log, 20, 8);
    add(&log, 0, 21);
    cr_assert_eq(log.count, 0);
    slowlog_clear(&log);
}

Test(cmd_slowlog, long_and_many_arguments_are_cut_with_a_note)
{
    struct slowlog log = {0};
    char *text = mem_new(1000);
    memset(text, 'x', 1000);
    struct slice argv[SLOWLOG_ARGS_MAX];
    for (uint32_t i = 0; i < SLOWLOG_ARGS_MAX; i++) {
        argv[i] = slice_of(text, 1000);
    }
    argv[1] = slice_of(text, SLOWLOG_ARG_BYTES_MAX);
    argv[2] = SLICE("");
    const struct slowlog_entry entry = {.argc = 100, .argv = argv, .name = SLICE("me")};
    slowlog_add(&log, 5, &entry);
    mem_free(text); /* the log has copies */
    const struct slowlog_entry *kept = slowlog_newest(&log, 0);
    cr_assert_eq(kept->argc, SLOWLOG_ARGS_MAX);
    cr_assert_eq(kept->argv[0].len, SLOWLOG_ARG_BYTES_MAX + strlen("... (872 more bytes)"));
    cr_assert(slice_equal(slice_of(kept->argv[0].data + SLOWLOG_ARG_BYTES_MAX, 20),
                          SLICE("... (872 more bytes)")));
    cr_assert_eq(kept->argv[1].len, SLOWLOG_ARG_BYTES_MAX);
    cr_assert_eq(kept->argv[2].len, 0);
    cr_assert(slice_equal(kept->argv[SLOWLOG_ARGS_MAX - 1], SLICE("... (69 more arguments)")));
    cr_assert(slice_equal(kept->name, SLICE("me")));
    slowlog_clear(&log);
}
