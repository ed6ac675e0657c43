/* Streams beside an array of ids: ranges both ways, deletions, trimming, entries of any size. */
#include "store/store_stream.h"

#include "base/mem.h"
#include "store_scratch.h"

enum { ENTRIES_MAX = 20000, LONG_BYTES = 9000 };

struct run {
    struct scratch scratch;
    struct store_ref ref;
    struct store_object stream;
    struct store_id at[ENTRIES_MAX];
    size_t count;
    struct store_id next;
    char *text;
};

static struct run *run_new(uint64_t seed)
{
    struct run *run = mem_new0(sizeof *run);
    scratch_init(&run->scratch, seed);
    run->ref = (struct store_ref){0, 0, SLICE("stream")};
    run->text = mem_new(LONG_BYTES);
    memset(run->text, 't', LONG_BYTES);
    store_key_create(run->scratch.txn, STORE_STREAM, &run->stream);
    return run;
}

static void run_free(struct run *run)
{
    store_key_save(run->scratch.txn, &run->ref, &run->stream);
    store_key_remove(run->scratch.txn, &run->ref, &run->stream);
    scratch_expect_empty(&run->scratch);
    scratch_fini(&run->scratch);
    mem_free(run->text);
    mem_free(run);
}

/* What an entry holds follows from its id. */
static uint32_t parts_of(const struct run *run, struct store_id id, struct slice part[8],
                         char number[2][24])
{
    uint32_t part_count = 2 + 2 * (uint32_t)(id.seq % 23 == 0);
    size_t bytes = id.seq % 97 == 5 ? LONG_BYTES : (size_t)(id.seq % 90);
    part[0] = id.seq % 31 == 0 ? SLICE("other") : SLICE("field");
    part[1] = slice_of(run->text, bytes);
    part[2] = SLICE("id");
    int len = snprintf(number[0], sizeof number[0], "%lu", id.ms);
    part[3] = slice_of(number[0], (size_t)len);
    return part_count;
}

static void add(struct run *run)
{
    struct slice part[8];
    char number[2][24];
    uint64_t random = scratch_random(&run->scratch);
    if (random % 3 == 0) {
        run->next.ms += random / 3 % 5;
        run->next.seq = run->next.seq % 1000;
    }
    run->next.seq++;
    if (run->count > 0 && store_id_compare(run->next, run->at[run->count - 1]) <= 0) {
        run->next.ms++;
    }
    if (store_id_compare(run->next, run->stream.stream.last) <= 0) {
        run->next.ms = run->stream.stream.last.ms + 1;
    }
    uint32_t part_count = parts_of(run, run->next, part, number);
    store_stream_add(run->scratch.txn, &run->stream, run->next, part, part_count);
    run->at[run->count++] = run->next;
    if (random % 8 == 0) { store_txn_entry(run->scratch.txn, run->scratch.now_ms, 1); }
}

static void model_remove(struct run *run, size_t index, size_t count)
{
    memmove(&run->at[index], &run->at[index + count],
            (run->count - index - count) * sizeof run->at[0]);
    run->count -= count;
}

static void expect_entry(struct run *run, struct store_entries *entries, struct store_id id)
{
    struct slice part[8];
    char number[2][24];
    cr_assert_eq(store_id_compare(entries->id, id), 0);
    uint32_t part_count = parts_of(run, id, part, number);
    cr_assert_eq(entries->part_count, part_count);
    for (uint32_t i = 0; i < part_count; i++) {
        cr_assert(slice_equal(store_entries_part(entries), part[i]));
    }
}

static void check_from(struct run *run, struct store_id from, enum store_walk_way way)
{
    size_t index = 0; /* of the first one at or above */
    while (index < run->count && store_id_compare(run->at[index], from) < 0) {
        index++;
    }
    bool is_exact = index < run->count && store_id_compare(run->at[index], from) == 0;
    size_t left = way == STORE_UP ? run->count - index : index + is_exact;
    struct store_entries entries;
    bool any = store_entries_begin(&entries, run->scratch.txn, &run->stream, from, way);
    for (size_t i = 0; i < left && i < 400; i++, any = store_entries_next(&entries)) {
        cr_assert(any);
        expect_entry(run, &entries, run->at[way == STORE_UP ? index + i : left - 1 - i]);
    }
    cr_assert(any == (left > 400));
    store_entries_end(&entries);
}

static void check(struct run *run)
{
    cr_assert_eq(run->stream.count, run->count);
    if (run->count > 0) { cr_assert_eq(store_id_compare(run->stream.stream.first, run->at[0]), 0); }
    check_from(run, (struct store_id){0, 0}, STORE_UP);
    check_from(run, STORE_ID_MAX, STORE_DOWN);
    for (unsigned i = 0; i < 6 && run->count > 0; i++) {
        struct store_id from = run->at[scratch_random(&run->scratch) % run->count];
        check_from(run, from, STORE_UP);
        check_from(run, from, STORE_DOWN);
        from.seq++;
        check_from(run, from, STORE_UP);
        check_from(run, from, STORE_DOWN);
    }
    cr_assert_eq(store_txn_err(run->scratch.txn), ERR_OK);
}

static void delete_one(struct run *run)
{
    if (run->count == 0) { return; }
    size_t index = scratch_random(&run->scratch) % run->count;
    if (scratch_random(&run->scratch) % 3 == 0) { index = 0; }
    struct store_id id = run->at[index];
    cr_assert(store_stream_delete(run->scratch.txn, &run->stream, id));
    cr_assert_not(store_stream_delete(run->scratch.txn, &run->stream, id));
    model_remove(run, index, 1);
}

static void trim(struct run *run)
{
    if (run->count == 0) { return; }
    uint64_t some = scratch_random(&run->scratch) % (1 + run->count / 20);
    struct store_trim by_count = {.keep = run->count - some};
    struct store_trim by_id = {.is_by_id = true, .min = run->at[some % run->count]};
    bool is_by_id = scratch_random(&run->scratch) % 2 == 0;
    struct store_trim *how = is_by_id ? &by_id : &by_count;
    how->is_loose = scratch_random(&run->scratch) % 2 == 0;
    uint64_t expected = is_by_id ? some % run->count : some;
    uint64_t removed = store_stream_trim(run->scratch.txn, &run->stream, how);
    if (how->is_loose) {
        cr_assert_leq(removed, expected);
    } else {
        cr_assert_eq(removed, expected);
    }
    model_remove(run, 0, removed);
}

Test(store_stream, ranges_are_those_of_an_array)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct run *run = run_new(seed);
        for (unsigned i = 0; i < 6000; i++) {
            uint64_t random = scratch_random(&run->scratch) % 100;
            if (random < (i < 3000 ? 85 : 40)) {
                add(run);
            } else if (random < 97) {
                delete_one(run);
            } else {
                trim(run);
            }
            if (i % 300 == 0) { check(run); }
            if (i % 100 == 0) {
                store_key_save(run->scratch.txn, &run->ref, &run->stream);
                scratch_next(&run->scratch);
                cr_assert(store_key_find(run->scratch.txn, &run->ref, &run->stream));
            }
        }
        check(run);
        run_free(run);
    }
}

Test(store_stream, a_trim_ends_at_its_limit_and_loosely_takes_whole_blocks_only)
{
    struct run *run = run_new(4);
    for (unsigned i = 0; i < 5000; i++) {
        struct slice part[2] = {SLICE("field"), slice_of(run->text, 100)};
        const struct store_id id = {1, i + 1};
        store_stream_add(run->scratch.txn, &run->stream, id, part, 2);
    }
    struct store_trim loose = {.keep = 4999, .is_loose = true};
    cr_assert_eq(store_stream_trim(run->scratch.txn, &run->stream, &loose), 0);
    struct store_trim limited = {.keep = 0, .is_loose = true, .limit = 100};
    uint64_t removed = store_stream_trim(run->scratch.txn, &run->stream, &limited);
    cr_assert(removed > 0 && removed <= 100);
    run->count = 0;
    run_free(run);
}

Test(store_stream, entries_of_one_batch_share_a_page)
{
    struct run *run = run_new(5);
    struct slice part[2] = {SLICE("field"), slice_of(run->text, 100)};
    for (unsigned i = 0; i < 10000; i++) {
        const struct store_id id = {1, i + 1};
        store_stream_add(run->scratch.txn, &run->stream, id, part, 2);
    }
    size_t rows = scratch_rows(&run->scratch);
    cr_assert_lt(rows, 10000 / 30, "%zu rows for 10,000 entries of 100 bytes", rows);
    run_free(run);
}
