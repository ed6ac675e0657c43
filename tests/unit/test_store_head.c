/* The promise of store/store_head.h: whoever looks a key up, in the entry that wrote to it or later, finds what was put last, be it a
 * row by then or not; and the rows are those of the entries, however many share a transaction. */
#include "store/store_list.h"
#include "store/store_string.h"
#include "store_scratch.h"

enum { NAMES = 7, STEPS = 4000 };

struct model {
    enum store_type type[NAMES];
    uint64_t count[NAMES]; /* elements of a list, bytes of a string */
};

static const char *const names[NAMES] = {"a", "b", "c", "d", "e", "f", "g"};

static struct store_ref ref_of(unsigned i)
{
    return (struct store_ref){0, 0, slice_of_str(names[i])};
}

static void expect_like(struct store_txn *txn, const struct model *model)
{
    uint64_t keys = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        const struct store_ref ref = ref_of(i);
        struct store_object object;
        bool is_there = store_key_find(txn, &ref, &object);
        cr_assert_eq(is_there, model->type[i] != STORE_NONE, "%s", names[i]);
        keys += is_there;
        if (!is_there) { continue; }
        cr_assert_eq(object.type, model->type[i]);
        cr_assert_eq(object.count, model->count[i]);
    }
    cr_assert_eq(store_db_count(txn, 0).keys, keys);
}

static void push(struct store_txn *txn, struct model *model, unsigned i)
{
    const struct store_ref ref = ref_of(i);
    struct store_object list;
    if (model->type[i] == STORE_STRING) { return; }
    if (!store_key_find(txn, &ref, &list)) { store_key_create(txn, STORE_LIST, &list); }
    store_list_push(txn, &list, STORE_TAIL, SLICE("element"));
    store_key_save(txn, &ref, &list);
    model->type[i] = STORE_LIST;
    model->count[i]++;
}

static void set(struct store_txn *txn, struct model *model, unsigned i)
{
    const struct store_ref ref = ref_of(i);
    struct store_object string;
    if (store_key_find(txn, &ref, &string)) { store_key_remove(txn, &ref, &string); }
    store_key_create(txn, STORE_STRING, &string);
    store_string_set(txn, &string, SLICE("text"));
    store_key_save(txn, &ref, &string);
    model->type[i] = STORE_STRING;
    model->count[i] = 4;
}

static void delete (struct store_txn *txn, struct model *model, unsigned i)
{
    const struct store_ref ref = ref_of(i);
    struct store_object object;
    if (store_key_find(txn, &ref, &object)) { store_key_remove(txn, &ref, &object); }
    model->type[i] = STORE_NONE;
    model->count[i] = 0;
}

static void rename_to(struct store_txn *txn, struct model *model, unsigned i, unsigned to)
{
    const struct store_ref from_ref = ref_of(i);
    const struct store_ref to_ref = ref_of(to);
    struct store_object object;
    if (i == to || model->type[i] == STORE_NONE) { return; }
    delete (txn, model, to);
    cr_assert(store_key_find(txn, &from_ref, &object));
    store_key_rename(txn, &from_ref, &to_ref, &object);
    model->type[to] = model->type[i];
    model->count[to] = model->count[i];
    model->type[i] = STORE_NONE;
    model->count[i] = 0;
}

/* Gives: the digest behind all entries, of which so many share a transaction. */
static uint32_t run(uint64_t seed, unsigned entries_of_txn)
{
    struct scratch s;
    struct model model = {0};
    scratch_init(&s, seed);
    for (unsigned i = 1; i <= STEPS; i++) {
        uint64_t random = scratch_random(&s);
        unsigned at = (unsigned)(random >> 8) % NAMES;
        switch (random % 8) {
        case 0: delete (s.txn, &model, at); break;
        case 1: set(s.txn, &model, at); break;
        case 2: rename_to(s.txn, &model, at, (unsigned)(random >> 16) % NAMES); break;
        default: push(s.txn, &model, at); break;
        }
        expect_like(s.txn, &model);
        if (i % 10 != 0) { continue; }
        store_txn_entry(s.txn, s.now_ms, i);
        if (i / 10 % entries_of_txn == 0) { scratch_next(&s); }
        expect_like(s.txn, &model);
    }
    scratch_next(&s);
    expect_like(s.txn, &model);
    uint32_t digest = store_digest(s.txn);
    scratch_fini(&s);
    return digest;
}

Test(store_head, what_was_put_last_is_found_and_rows_are_those_of_the_entries)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        uint32_t digest = run(seed, 1);
        cr_assert_eq(run(seed, 7), digest);
        cr_assert_eq(run(seed, 1000), digest);
    }
}
