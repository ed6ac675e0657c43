/* Sorted sets beside an array that is kept sorted: every rank, every place, with and without a ladder. */
#include "store/store_zset.h"

#include "base/mem.h"
#include "store_scratch.h"

enum { MEMBERS_MAX = 4000, NAME_BYTES = 700 };

struct member {
    char name[NAME_BYTES];
    double score;
};

struct model {
    struct member *at[MEMBERS_MAX];
    size_t count;
};

static struct slice name_of(const struct member *member)
{
    return slice_of_str(member->name);
}

static int compare(double a_score, struct slice a, double b_score, struct slice b)
{
    if (a_score != b_score) { return a_score < b_score ? -1 : 1; }
    return slice_compare(a, b);
}

/* Where a member of this score and name is, or would be. */
static size_t model_place(const struct model *model, double score, struct slice name)
{
    size_t low = 0;
    size_t high = model->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct member *at = model->at[middle];
        if (compare(at->score, name_of(at), score, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct member *model_find(const struct model *model, struct slice name)
{
    for (size_t i = 0; i < model->count; i++) {
        if (slice_equal(name_of(model->at[i]), name)) { return model->at[i]; }
    }
    return NULL;
}

static void model_take(struct model *model, struct member *member)
{
    size_t place = model_place(model, member->score, name_of(member));
    cr_assert_eq(model->at[place], member);
    memmove(&model->at[place], &model->at[place + 1],
            (--model->count - place) * sizeof model->at[0]);
}

static void model_insert(struct model *model, struct member *member)
{
    size_t place = model_place(model, member->score, name_of(member));
    memmove(&model->at[place + 1], &model->at[place],
            (model->count++ - place) * sizeof model->at[0]);
    model->at[place] = member;
}

struct run {
    struct scratch scratch;
    struct model model;
    struct store_ref ref;
    struct store_object zset;
};

static struct run *run_new(uint64_t seed)
{
    struct run *run = mem_new0(sizeof *run);
    scratch_init(&run->scratch, seed);
    run->ref = (struct store_ref){0, 0, SLICE("zset")};
    store_key_create(run->scratch.txn, STORE_ZSET, &run->zset);
    return run;
}

static void run_free(struct run *run)
{
    for (size_t i = 0; i < run->model.count; i++) {
        mem_free(run->model.at[i]);
    }
    if (run->zset.version > 0) { store_key_remove(run->scratch.txn, &run->ref, &run->zset); }
    if (run->zset.version > 0) { scratch_expect_empty(&run->scratch); }
    scratch_fini(&run->scratch);
    mem_free(run);
}

/* Most names are short; one in sixteen is longer than a key. */
static void name_random(struct run *run, char *name, uint64_t universe)
{
    uint64_t number = scratch_random(&run->scratch) % universe;
    int len = snprintf(name, NAME_BYTES, "member:%lu", number);
    if (number % 16 == 0) {
        memset(name + len, 'x', 600);
        name[len + 600] = 0;
    }
}

static void put(struct run *run, uint64_t universe)
{
    struct member *member = mem_new0(sizeof *member);
    name_random(run, member->name, universe);
    member->score = (double)(int64_t)(scratch_random(&run->scratch) % 2000) / 4 - 250;
    struct member *old = model_find(&run->model, name_of(member));
    bool is_new = store_zset_put(run->scratch.txn, &run->zset, name_of(member), member->score);
    cr_assert_eq(is_new, old == NULL);
    if (old != NULL) {
        model_take(&run->model, old);
        mem_free(old);
    }
    model_insert(&run->model, member);
}

static void take(struct run *run)
{
    if (run->model.count == 0) { return; }
    struct member *member = run->model.at[scratch_random(&run->scratch) % run->model.count];
    cr_assert(store_zset_delete(run->scratch.txn, &run->zset, name_of(member)));
    cr_assert_not(store_zset_delete(run->scratch.txn, &run->zset, name_of(member)));
    model_take(&run->model, member);
    mem_free(member);
}

static void check_member(struct run *run, size_t index)
{
    const struct member *member = run->model.at[index];
    double score;
    uint64_t rank;
    cr_assert(store_zset_score(run->scratch.txn, &run->zset, name_of(member), &score));
    cr_assert_eq(score, member->score);
    cr_assert(store_zset_rank(run->scratch.txn, &run->zset, name_of(member), &rank));
    cr_assert_eq(rank, index, "%s: rank %lu, not %zu", member->name, rank, index);
    struct store_walk walk;
    cr_assert(store_zset_walk(&walk, run->scratch.txn, &run->zset, index, STORE_UP));
    cr_assert(slice_equal(store_walk_name(&walk), name_of(member)));
    cr_assert_eq(store_walk_score(&walk), member->score);
    store_walk_end(&walk);
}

static void check_bound(struct run *run)
{
    double score = (double)(int64_t)(scratch_random(&run->scratch) % 2100) / 4 - 260;
    size_t below = model_place(&run->model, score, SLICE(""));
    size_t behind = below;
    while (behind < run->model.count && run->model.at[behind]->score == score) {
        behind++;
    }
    struct store_zset_bound bound = {.score = score};
    cr_assert_eq(store_zset_count_below(run->scratch.txn, &run->zset, &bound), below);
    bound.is_behind = true;
    cr_assert_eq(store_zset_count_below(run->scratch.txn, &run->zset, &bound), behind);
    if (behind == below) { return; }
    bound.has_member = true;
    bound.member = name_of(run->model.at[below]);
    cr_assert_eq(store_zset_count_below(run->scratch.txn, &run->zset, &bound), below + 1);
}

static void check_order(struct run *run, enum store_walk_way way)
{
    size_t count = run->model.count;
    struct store_walk walk;
    size_t seen = 0;
    bool any =
        store_zset_walk(&walk, run->scratch.txn, &run->zset, way == STORE_UP ? 0 : count - 1, way);
    for (; any; any = store_walk_next(&walk), seen++) {
        const struct member *member = run->model.at[way == STORE_UP ? seen : count - 1 - seen];
        cr_assert(slice_equal(store_walk_name(&walk), name_of(member)));
    }
    store_walk_end(&walk);
    cr_assert_eq(seen, count);
}

static void save(struct run *run)
{
    struct store_object found;
    store_key_save(run->scratch.txn, &run->ref, &run->zset);
    scratch_next(&run->scratch);
    cr_assert(store_key_find(run->scratch.txn, &run->ref, &found));
    cr_assert_eq(found.count, run->model.count);
    cr_assert_eq(found.levels, run->zset.levels);
}

/* `grow` of ten changes put, the others take. */
static void change(struct run *run, unsigned changes, unsigned grow, uint64_t universe)
{
    for (unsigned i = 0; i < changes; i++) {
        if (scratch_random(&run->scratch) % 10 < grow) {
            put(run, universe);
        } else {
            take(run);
        }
        cr_assert_eq(run->zset.count, run->model.count);
        if (i % 64 == 0 && run->model.count > 0) {
            check_member(run, scratch_random(&run->scratch) % run->model.count);
            check_bound(run);
        }
        if (i % 500 == 0) { save(run); }
    }
    save(run);
    check_order(run, STORE_UP);
    if (run->model.count > 0) { check_order(run, STORE_DOWN); }
}

Test(store_zset, ranks_and_places_are_those_of_a_sorted_array)
{
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct run *run = run_new(seed);
        change(run, 600, 7, 3000);
        change(run, 3000, 8, 3500); /* a ladder is made */
        cr_assert_gt(run->zset.levels, 1);
        for (size_t i = 0; i < run->model.count; i += 7) {
            check_member(run, i);
        }
        change(run, 5000, 3, 3500); /* and goes */
        cr_assert_eq(run->zset.levels, 0);
        change(run, 200, 5, 100);
        run_free(run);
    }
}

Test(store_zset, a_queue_by_time_keeps_its_ladder_small)
{
    struct run *run = run_new(3);
    struct store_txn *txn = run->scratch.txn;
    char name[32];
    for (unsigned i = 0; i < 20000; i++) {
        int len = snprintf(name, sizeof name, "job:%u", i);
        cr_assert(store_zset_put(txn, &run->zset, slice_of(name, (size_t)len), i));
        if (i < 2000) { continue; }
        struct store_walk walk;
        cr_assert(store_zset_walk(&walk, txn, &run->zset, 0, STORE_UP));
        cr_assert_eq(store_walk_score(&walk), i - 2000);
        struct slice first = store_walk_name(&walk);
        len = snprintf(name, sizeof name, "%.*s", SLICE_ARG(first));
        store_walk_end(&walk);
        cr_assert(store_zset_delete(txn, &run->zset, slice_of(name, (size_t)len)));
    }
    store_key_save(txn, &run->ref, &run->zset);
    /* Two rows a member, head, name, counters, database; and a row for every 64 members and more. */
    cr_assert_lt(scratch_rows(&run->scratch), 2000 * 2 + 4 + 64);
    run_free(run);
}

Test(store_zset, scores_keep_their_order_and_zero_has_one_sign)
{
    struct run *run = run_new(4);
    struct store_txn *txn = run->scratch.txn;
    const double scores[] = {-1.0 / 0.0, -1e300, -2.5, -5e-324, 0.0, 5e-324, 1.0, 1e300, 1.0 / 0.0};
    char name[2] = "a";
    for (size_t i = 0; i < COUNT_OF(scores); i++, name[0]++) {
        cr_assert(store_zset_put(txn, &run->zset, slice_of_str(name), scores[i]));
    }
    uint64_t rank;
    for (size_t i = 0; i < COUNT_OF(scores); i++) {
        name[0] = (char)('a' + i);
        cr_assert(store_zset_rank(txn, &run->zset, slice_of_str(name), &rank));
        cr_assert_eq(rank, i);
    }
    cr_assert_not(store_zset_put(txn, &run->zset, SLICE("e"), -0.0));
    double score = 1;
    cr_assert(store_zset_score(txn, &run->zset, SLICE("e"), &score));
    cr_assert(score == 0 && !__builtin_signbit(score));
    store_key_save(txn, &run->ref, &run->zset);
    run_free(run);
}
