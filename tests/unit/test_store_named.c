/* Hashes and sets: what they hold, and scans that miss nothing that was there throughout. */
#include "base/mem.h"
#include "store/store_hash.h"
#include "store/store_set.h"
#include "store_scratch.h"

enum { FIELDS = 900 };

static struct slice field_text(char *out, size_t room, unsigned number)
{
    int len = snprintf(out, room, "field:%u", number);
    if (number % 32 == 0) { /* longer than a key; two that differ at their ends only */
        memset(out + len, 'f', 600);
        out[len + 600] = 0;
        len += 600;
    }
    return slice_of(out, (size_t)len);
}

static struct slice value_text(char *out, size_t room, unsigned number, unsigned version)
{
    int len = snprintf(out, room, "value:%u:%u", number, version);
    size_t more = (number + version) % 40 == 0 ? 5000 : 0;
    memset(out + len, 'v', more);
    return slice_of(out, (size_t)len + more);
}

Test(store_hash, fields_hold_what_was_put_last)
{
    struct scratch s;
    scratch_init(&s, 1);
    struct store_object hash;
    const struct store_ref ref = {0, 0, SLICE("hash")};
    store_key_create(s.txn, STORE_HASH, &hash);
    unsigned version[FIELDS] = {0};
    uint64_t count = 0;
    char field[700];
    char value[6000];
    for (unsigned i = 0; i < 20000; i++) {
        unsigned number = (unsigned)(scratch_random(&s) % FIELDS);
        struct slice name = field_text(field, sizeof field, number);
        if (scratch_random(&s) % 3 == 0) {
            cr_assert_eq(store_hash_delete(s.txn, &hash, name), version[number] != 0);
            count -= version[number] != 0;
            version[number] = 0;
        } else {
            bool is_new =
                store_hash_put(s.txn, &hash, name, value_text(value, sizeof value, number, i + 1));
            cr_assert_eq(is_new, version[number] == 0);
            count += is_new;
            version[number] = i + 1;
        }
        cr_assert_eq(hash.count, count);
    }
    for (unsigned number = 0; number < FIELDS; number++) {
        struct buf out = {0};
        bool is_there = store_hash_get(s.txn, &hash, field_text(field, sizeof field, number), &out);
        cr_assert_eq(is_there, version[number] != 0);
        struct slice expected = value_text(value, sizeof value, number, version[number]);
        cr_assert(!is_there || slice_equal(buf_slice(&out), expected));
        buf_fini(&out);
    }
    store_key_save(s.txn, &ref, &hash);
    scratch_next(&s);
    store_key_remove(s.txn, &ref, &hash);
    scratch_expect_empty(&s);
    scratch_fini(&s);
}

struct seen {
    unsigned char member[FIELDS];
    uint64_t count;
};

static void see(void *arg, struct store_walk *walk)
{
    struct seen *seen = arg;
    unsigned number = number_in(store_walk_name(walk));
    cr_assert_lt(number, FIELDS);
    seen->member[number] = 1;
    seen->count++;
}

/* Even numbers stay; odd ones come and go between the calls. */
Test(store_set, a_scan_visits_all_that_are_there_throughout)
{
    struct scratch s;
    scratch_init(&s, 2);
    struct store_object set;
    const struct store_ref ref = {0, 0, SLICE("set")};
    store_key_create(s.txn, STORE_SET, &set);
    char field[700];
    for (unsigned number = 0; number < FIELDS; number += 2) {
        cr_assert(store_set_add(s.txn, &set, field_text(field, sizeof field, number)));
    }
    struct seen seen = {.count = 0};
    uint64_t cursor = 0;
    unsigned calls = 0;
    do {
        cursor = store_set_scan(s.txn, &set, cursor, 10, see, &seen);
        for (unsigned i = 0; i < 20; i++) {
            unsigned number = (unsigned)(scratch_random(&s) % FIELDS) | 1;
            struct slice name = field_text(field, sizeof field, number % FIELDS | 1);
            if (!store_set_add(s.txn, &set, name)) {
                cr_assert(store_set_delete(s.txn, &set, name));
            }
        }
        cr_assert_lt(++calls, FIELDS);
    } while (cursor != 0);
    for (unsigned number = 0; number < FIELDS; number += 2) {
        cr_assert(seen.member[number], "%u was missed", number);
    }
    store_key_save(s.txn, &ref, &set);
    store_key_remove(s.txn, &ref, &set);
    scratch_expect_empty(&s);
    scratch_fini(&s);
}

Test(store_set, a_random_walk_begins_anywhere)
{
    struct scratch s;
    scratch_init(&s, 3);
    struct store_object set;
    const struct store_ref ref = {0, 0, SLICE("set")};
    store_key_create(s.txn, STORE_SET, &set);
    char field[700];
    unsigned hits[64] = {0};
    for (unsigned number = 0; number < 64; number++) {
        cr_assert(store_set_add(s.txn, &set, field_text(field, sizeof field, number)));
    }
    for (unsigned i = 0; i < 6400; i++) {
        struct store_walk walk;
        cr_assert(store_set_walk(&walk, s.txn, &set, (uint32_t)store_txn_random(s.txn)));
        for (uint64_t skip = store_txn_random(s.txn) % 16; skip > 0; skip--) {
            if (!store_walk_next(&walk)) { break; }
        }
        if (walk.is_there) { hits[number_in(store_walk_name(&walk))]++; }
        store_walk_end(&walk);
    }
    for (unsigned number = 0; number < 64; number++) {
        cr_assert_gt(hits[number], 10, "%u was met %u times of 6400", number, hits[number]);
    }
    store_key_save(s.txn, &ref, &set);
    store_key_remove(s.txn, &ref, &set);
    scratch_expect_empty(&s);
    scratch_fini(&s);
}

/* ---- deadlines of fields ---- */

static uint64_t expired_hashes;

static void note_expired(void *arg, uint16_t db, struct slice name, enum store_expired what)
{
    (void)db;
    cr_assert(slice_equal(name, SLICE("hash")));
    *(bool *)arg = what == STORE_EXPIRED_LAST;
    expired_hashes++;
}

struct model {
    unsigned version[FIELDS]; /* 0: not there */
    uint64_t until[FIELDS];
};

static void model_pass(struct model *model, uint64_t now_ms)
{
    for (unsigned i = 0; i < FIELDS; i++) {
        if (model->until[i] != 0 && model->until[i] < now_ms) { model->version[i] = 0; }
        if (model->version[i] == 0) { model->until[i] = 0; }
    }
}

static void expect_model(struct scratch *s, const struct store_ref *ref, const struct model *model)
{
    struct store_object hash;
    char field[700];
    uint64_t count = 0;
    uint64_t walked = 0;
    for (unsigned i = 0; i < FIELDS; i++) {
        count += model->version[i] != 0;
    }
    cr_assert_eq(store_key_find(s->txn, ref, &hash), count > 0);
    if (count == 0) { return; }
    cr_assert_eq(hash.count, count);
    for (unsigned i = 0; i < FIELDS; i++) {
        uint64_t until = 0;
        bool has = store_hash_expiry(s->txn, &hash, field_text(field, sizeof field, i), &until);
        cr_assert_eq(has, model->version[i] != 0);
        cr_assert(!has || until == model->until[i]);
    }
    struct store_walk walk;
    for (bool any = store_hash_walk(&walk, s->txn, &hash, 0); any; any = store_walk_next(&walk)) {
        cr_assert_neq(model->version[number_in(slice_of(store_walk_name(&walk).data, 10))], 0);
        walked++;
    }
    store_walk_end(&walk);
    cr_assert_eq(walked, count);
}

/* One change of one field, in the store and in the model. */
static void change_field(struct scratch *s, struct store_object *hash, struct model *model,
                         unsigned version)
{
    char field[700];
    char value[6000];
    unsigned i = (unsigned)(scratch_random(s) % FIELDS);
    struct slice name = field_text(field, sizeof field, i);
    uint64_t until = scratch_random(s) % 3 == 0 ? 0 : s->now_ms + scratch_random(s) % 300;
    switch (scratch_random(s) % 4) {
    case 0:
        cr_assert_eq(store_hash_delete(s->txn, hash, name), model->version[i] != 0);
        model->version[i] = 0;
        model->until[i] = 0;
        break;
    case 1:
        cr_assert_eq(store_hash_set_expiry(s->txn, hash, name, until), model->version[i] != 0);
        model->until[i] = model->version[i] != 0 ? until : 0;
        break;
    default:
        cr_assert_eq(store_hash_put_until(s->txn, hash, name,
                                          value_text(value, sizeof value, i, version), until),
                     model->version[i] == 0);
        model->version[i] = version;
        model->until[i] = until;
    }
}

Test(store_hash, fields_end_at_their_deadlines_whatever_is_done_meanwhile)
{
    struct scratch s;
    scratch_init(&s, 5);
    static struct model model;
    const struct store_ref ref = {0, 0, SLICE("hash")};
    bool is_last;
    for (unsigned round = 1; round <= 400; round++) {
        struct store_object hash;
        if (!store_key_find(s.txn, &ref, &hash)) { store_key_create(s.txn, STORE_HASH, &hash); }
        for (unsigned i = 0; i < 30; i++) {
            change_field(&s, &hash, &model, round);
        }
        if (hash.count > 0) {
            store_key_save(s.txn, &ref, &hash);
        } else if (hash.version > 0) {
            store_key_remove(s.txn, &ref, &hash);
        }
        expect_model(&s, &ref, &model);
        s.now_ms += scratch_random(&s) % 40;
        scratch_next(&s);
        model_pass(&model, s.now_ms);
        expect_model(&s, &ref, &model);
        if (round % 3 == 0) { (void)store_key_expire(s.txn, 5, note_expired, &is_last); }
        if (round % 7 == 0) {
            while (store_key_expire(s.txn, 100, note_expired, &is_last) == 100) {}
            cr_assert(store_key_next_expiry(s.txn) == 0 ||
                      store_key_next_expiry(s.txn) >= s.now_ms);
        }
        expect_model(&s, &ref, &model);
    }
    cr_assert_gt(expired_hashes, 50);
    s.now_ms += 1000;
    scratch_next(&s);
    model_pass(&model, s.now_ms);
    expect_model(&s, &ref, &model);
    struct store_object hash;
    if (store_key_find(s.txn, &ref, &hash)) { store_key_remove(s.txn, &ref, &hash); }
    while (store_key_expire(s.txn, 100, note_expired, &is_last) > 0) {}
    scratch_expect_empty(&s);
    scratch_fini(&s);
}

Test(store_hash, all_fields_due_at_once_go_in_pieces_and_the_last_takes_the_key)
{
    struct scratch s;
    scratch_init(&s, 6);
    const struct store_ref ref = {0, 0, SLICE("hash")};
    struct store_object hash;
    char field[700];
    bool is_last = false;
    expired_hashes = 0;
    store_key_create(s.txn, STORE_HASH, &hash);
    for (unsigned i = 0; i < FIELDS; i++) {
        (void)store_hash_put_until(s.txn, &hash, field_text(field, sizeof field, i), SLICE("v"),
                                   2000);
    }
    store_key_save(s.txn, &ref, &hash);
    cr_assert_eq(store_key_next_expiry(s.txn), 2000);
    s.now_ms = 2001;
    scratch_next(&s);
    struct store_txn *reader;
    cr_assert_eq(store_reader_new(s.store, &reader), ERR_OK);
    cr_assert_eq(store_reader_begin(reader, 2001, 1), ERR_OK);
    cr_assert_not(store_key_find(reader, &ref, &hash), "it has no field that anybody sees");
    cr_assert(store_reader_hid(reader), "by a clock that no entry has told yet");
    store_reader_end(reader);
    store_reader_free(reader);
    while (store_key_expire(s.txn, 100, note_expired, &is_last) > 0) {
        scratch_next(&s);
    }
    cr_assert_eq(expired_hashes, FIELDS / 100);
    cr_assert(is_last);
    scratch_expect_empty(&s);
    scratch_fini(&s);
}
