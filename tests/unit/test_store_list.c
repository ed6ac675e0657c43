/* Lists beside an array: every index and both ends, with and without a ladder, and where there is no room between two. */
#include "store/store_list.h"

#include "base/mem.h"
#include "store_scratch.h"

enum { ELEMENTS_MAX = 6000 };

struct run {
    struct scratch scratch;
    struct store_ref ref;
    struct store_object list;
    char *at[ELEMENTS_MAX];
    size_t count;
};

static struct run *run_new(uint64_t seed)
{
    struct run *run = mem_new0(sizeof *run);
    scratch_init(&run->scratch, seed);
    run->ref = (struct store_ref){0, 0, SLICE("list")};
    store_key_create(run->scratch.txn, STORE_LIST, &run->list);
    return run;
}

static void run_free(struct run *run)
{
    store_key_save(run->scratch.txn, &run->ref, &run->list);
    store_key_remove(run->scratch.txn, &run->ref, &run->list);
    scratch_expect_empty(&run->scratch);
    scratch_fini(&run->scratch);
    for (size_t i = 0; i < run->count; i++) {
        mem_free(run->at[i]);
    }
    mem_free(run);
}

/* Mostly short, of few values so that some are equal; one in fifty has chunks of its own. */
static char *element_new(struct run *run)
{
    uint64_t number = scratch_random(&run->scratch) % 400;
    size_t len = number % 50 == 0 ? 1500 + number * 20 : 0;
    char *element = mem_new(len + 32);
    int head = snprintf(element, 32, "element:%lu", number);
    memset(element + head, 'e', len);
    element[(size_t)head + len] = 0;
    return element;
}

static void model_insert(struct run *run, size_t index, char *element)
{
    cr_assert_lt(run->count, ELEMENTS_MAX);
    memmove(&run->at[index + 1], &run->at[index], (run->count++ - index) * sizeof run->at[0]);
    run->at[index] = element;
}

static void model_remove(struct run *run, size_t index)
{
    mem_free(run->at[index]);
    memmove(&run->at[index], &run->at[index + 1], (--run->count - index) * sizeof run->at[0]);
}

static void push(struct run *run)
{
    char *element = element_new(run);
    enum store_end end = scratch_random(&run->scratch) % 3 == 0 ? STORE_HEAD : STORE_TAIL;
    store_list_push(run->scratch.txn, &run->list, end, slice_of_str(element));
    model_insert(run, end == STORE_HEAD ? 0 : run->count, element);
}

static void pop(struct run *run)
{
    if (run->count == 0) { return; }
    enum store_end end = scratch_random(&run->scratch) % 3 == 0 ? STORE_TAIL : STORE_HEAD;
    size_t index = end == STORE_HEAD ? 0 : run->count - 1;
    struct buf out = {0};
    store_list_pop(run->scratch.txn, &run->list, end, &out);
    cr_assert(slice_equal(buf_slice(&out), slice_of_str(run->at[index])));
    buf_fini(&out);
    model_remove(run, index);
}

static void insert(struct run *run)
{
    char *element = element_new(run);
    size_t index = scratch_random(&run->scratch) % (run->count + 1);
    store_list_insert(run->scratch.txn, &run->list, index, slice_of_str(element));
    model_insert(run, index, element);
}

static void set(struct run *run)
{
    if (run->count == 0) { return; }
    char *element = element_new(run);
    size_t index = scratch_random(&run->scratch) % run->count;
    cr_assert(store_list_set(run->scratch.txn, &run->list, index, slice_of_str(element)));
    mem_free(run->at[index]);
    run->at[index] = element;
}

static void remove_some(struct run *run)
{
    if (run->count == 0) { return; }
    size_t index = scratch_random(&run->scratch) % run->count;
    size_t count = 1 + scratch_random(&run->scratch) % 4;
    if (count > run->count - index) { count = run->count - index; }
    store_list_remove(run->scratch.txn, &run->list, index, count);
    while (count-- > 0) {
        model_remove(run, index);
    }
}

static void remove_equal(struct run *run)
{
    char *element = element_new(run);
    uint64_t count = 1 + scratch_random(&run->scratch) % 3;
    bool is_head = scratch_random(&run->scratch) % 2 == 0;
    uint64_t removed = store_list_remove_equal(run->scratch.txn, &run->list, slice_of_str(element),
                                               count, is_head ? STORE_HEAD : STORE_TAIL);
    uint64_t expected = 0;
    for (size_t n = 0, left = run->count; n < left && expected < count;) {
        size_t index = is_head ? n : left - 1 - n;
        if (strcmp(run->at[index], element) != 0) {
            n++;
            continue;
        }
        model_remove(run, index);
        left--;
        expected++;
    }
    cr_assert_eq(removed, expected);
    mem_free(element);
}

static void check(struct run *run)
{
    cr_assert_eq(run->list.count, run->count);
    struct store_walk walk;
    size_t seen = 0;
    bool any = store_list_walk(&walk, run->scratch.txn, &run->list, 0, STORE_UP);
    for (; any; any = store_walk_next(&walk), seen++) {
        cr_assert(slice_equal(store_walk_value(&walk), slice_of_str(run->at[seen])));
    }
    store_walk_end(&walk);
    cr_assert_eq(seen, run->count);
    for (size_t i = 0; i < run->count; i += 1 + run->count / 40) {
        struct buf out = {0};
        cr_assert(store_list_get(run->scratch.txn, &run->list, i, &out));
        cr_assert(slice_equal(buf_slice(&out), slice_of_str(run->at[i])));
        buf_fini(&out);
    }
    struct buf out = {0};
    cr_assert_not(store_list_get(run->scratch.txn, &run->list, run->count, &out));
    cr_assert_eq(store_txn_err(run->scratch.txn), ERR_OK);
}

/* `grow` of ten changes add. */
static void change(struct run *run, unsigned changes, unsigned grow)
{
    static void (*const adds[])(struct run *) = {push, push, push, insert};
    static void (*const others[])(struct run *) = {pop, pop, pop, remove_some, remove_equal, set};
    for (unsigned i = 0; i < changes; i++) {
        uint64_t random = scratch_random(&run->scratch);
        if (random % 10 < grow) {
            adds[random / 10 % COUNT_OF(adds)](run);
        } else {
            others[random / 10 % COUNT_OF(others)](run);
        }
        if (i % 250 == 0) { check(run); }
    }
    check(run);
}

Test(store_list, every_index_is_that_of_an_array)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct run *run = run_new(seed);
        change(run, 500, 6);
        change(run, 4000, 9);
        cr_assert_gt(run->list.levels, 1);
        change(run, 2000, 5);
        change(run, 5000, 1);
        cr_assert_eq(run->list.levels, 0);
        change(run, 300, 5);
        run_free(run);
    }
}

/* Always before the same element: after twenty there is no room left, and neighbours move apart. */
Test(store_list, there_is_always_room_between_two)
{
    struct run *run = run_new(4);
    while (run->count < 3000) {
        push(run);
    }
    for (unsigned i = 0; i < 2000; i++) {
        char *element = element_new(run);
        size_t index = i % 2 == 0 ? 1500 : 1500 + i;
        store_list_insert(run->scratch.txn, &run->list, index, slice_of_str(element));
        model_insert(run, index, element);
    }
    check(run);
    run_free(run);
}
