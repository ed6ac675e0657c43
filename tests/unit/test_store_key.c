/* The keyspace: names of any length, deadlines, renaming, flushing; and that nothing stays behind. */
#include "base/mem.h"
#include "store/store_list.h"
#include "store/store_string.h"
#include "store_scratch.h"

static struct store_ref ref_of(uint16_t db, const char *name)
{
    return (struct store_ref){db, 0, slice_of_str(name)};
}

static void set_text(struct scratch *s, const struct store_ref *ref, struct slice text)
{
    struct store_object object;
    if (!store_key_find(s->txn, ref, &object)) { store_key_create(s->txn, STORE_STRING, &object); }
    store_string_set(s->txn, &object, text);
    store_key_save(s->txn, ref, &object);
}

static void expect_text(struct scratch *s, const struct store_ref *ref, struct slice text)
{
    struct store_object object;
    struct buf out = {0};
    cr_assert(store_key_find(s->txn, ref, &object));
    cr_assert_eq(object.count, text.len);
    store_string_read(s->txn, &object, 0, UINT64_MAX, &out);
    cr_assert(slice_equal(buf_slice(&out), text));
    buf_fini(&out);
}

static bool is_there(struct scratch *s, const struct store_ref *ref)
{
    struct store_object object;
    return store_key_find(s->txn, ref, &object);
}

static void remove_key(struct scratch *s, const struct store_ref *ref)
{
    struct store_object object;
    cr_assert(store_key_find(s->txn, ref, &object));
    store_key_remove(s->txn, ref, &object);
}

Test(store_key, a_name_of_any_length_is_its_own)
{
    struct scratch s;
    scratch_init(&s, 1);
    char *name = mem_new0(70001);
    memset(name, 'n', 70000);
    const size_t lens[] = {0, 1, 479, 480, 481, 482, 511, 512, 70000};
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        const struct store_ref ref = {0, 0, slice_of(name, lens[i])};
        char text[16];
        snprintf(text, sizeof text, "%zu", lens[i]);
        set_text(&s, &ref, slice_of_str(text));
    }
    scratch_next(&s);
    cr_assert_eq(store_db_count(s.txn, 0).keys, COUNT_OF(lens));
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        const struct store_ref ref = {0, 0, slice_of(name, lens[i])};
        char text[16];
        snprintf(text, sizeof text, "%zu", lens[i]);
        expect_text(&s, &ref, slice_of_str(text));
        remove_key(&s, &ref);
    }
    mem_free(name);
    scratch_expect_empty(&s);
    scratch_fini(&s);
}

Test(store_key, texts_grow_shrink_and_have_holes)
{
    struct scratch s;
    scratch_init(&s, 2);
    const struct store_ref ref = ref_of(0, "text");
    enum { TEXT_MAX = 40000 };
    char *model = mem_new0(TEXT_MAX);
    char *bytes = mem_new(TEXT_MAX);
    struct buf scratch = {0};
    size_t len = 0;
    for (unsigned i = 0; i < 600; i++) {
        struct store_object object;
        if (!store_key_find(s.txn, &ref, &object)) {
            store_key_create(s.txn, STORE_STRING, &object);
        }
        uint64_t random = scratch_random(&s);
        size_t at = random % (i % 7 == 0 ? 20000 : 1500);
        size_t part = 1 + random / 32768 % (i % 5 == 0 ? 9000 : 700);
        memset(bytes, (int)('a' + i % 26), part);
        if (random % 11 == 0) {
            memset(model, 0, TEXT_MAX);
            memcpy(model, bytes, part);
            len = part;
            store_string_set(s.txn, &object, slice_of(bytes, part));
        } else {
            memcpy(model + at, bytes, part);
            len = at + part > len ? at + part : len;
            store_string_write(s.txn, &object, at, slice_of(bytes, part), &scratch);
        }
        store_key_save(s.txn, &ref, &object);
        expect_text(&s, &ref, slice_of(model, len));
        if (i % 20 == 0) { scratch_next(&s); }
    }
    remove_key(&s, &ref);
    mem_free(model);
    mem_free(bytes);
    buf_fini(&scratch);
    scratch_expect_empty(&s);
    scratch_fini(&s);
}

static void note_removed(void *arg, uint16_t db, struct slice name, enum store_expired what)
{
    cr_assert_eq(db, 0);
    cr_assert_eq(what, STORE_EXPIRED_KEY);
    buf_append(arg, name);
}

static void expire_at(struct scratch *s, const struct store_ref *ref, uint64_t at_ms)
{
    struct store_object object;
    cr_assert(store_key_find(s->txn, ref, &object));
    store_key_set_expiry(s->txn, ref, &object, at_ms);
}

static void at_ms(struct scratch *s, uint64_t now_ms)
{
    s->now_ms = now_ms;
    scratch_next(s);
}

Test(store_key, a_deadline_hides_at_its_moment_and_removal_follows_it)
{
    struct scratch s;
    scratch_init(&s, 3);
    const struct store_ref soon = ref_of(0, "soon");
    const struct store_ref later = ref_of(0, "later");
    const struct store_ref never = ref_of(0, "never");
    set_text(&s, &soon, SLICE("1"));
    set_text(&s, &later, SLICE("2"));
    set_text(&s, &never, SLICE("3"));
    expire_at(&s, &soon, 2000);
    expire_at(&s, &later, 2000);
    expire_at(&s, &never, 2000);
    expire_at(&s, &later, 5000); /* put off: its row is met at 2000, and set anew */
    expire_at(&s, &never, 0);
    cr_assert_eq(store_db_count(s.txn, 0).expiring, 2);
    struct buf removed = {0};
    at_ms(&s, 2000);
    cr_assert(is_there(&s, &soon));
    cr_assert_eq(store_key_expire(s.txn, 10, note_removed, &removed), 0);
    at_ms(&s, 2001);
    cr_assert_eq(store_key_expire(s.txn, 10, note_removed, &removed), 2);
    cr_assert(slice_equal(buf_slice(&removed), SLICE("soon")));
    cr_assert_not(is_there(&s, &soon));
    expect_text(&s, &later, SLICE("2"));
    cr_assert_eq(store_key_next_expiry(s.txn), 5000);
    at_ms(&s, 5001);
    cr_assert_not(is_there(&s, &later)); /* a write removes it on the way */
    cr_assert_eq(store_key_expire(s.txn, 10, note_removed, &removed), 0);
    expect_text(&s, &never, SLICE("3"));
    remove_key(&s, &never);
    cr_assert_eq(store_db_count(s.txn, 0).expiring, 0);
    buf_fini(&removed);
    scratch_expect_empty(&s);
    scratch_fini(&s);
}

Test(store_key, a_reader_sees_what_was_committed_and_hides_by_its_own_time)
{
    struct scratch s;
    scratch_init(&s, 4);
    const struct store_ref ref = ref_of(3, "key");
    set_text(&s, &ref, SLICE("old"));
    expire_at(&s, &ref, 2000);
    scratch_next(&s);
    struct store_txn *reader;
    struct store_object object;
    cr_assert_eq(store_reader_new(s.store, &reader), ERR_OK);
    cr_assert_eq(store_reader_begin(reader, 1500, 1), ERR_OK);
    set_text(&s, &ref, SLICE("new"));
    scratch_next(&s);
    cr_assert(store_key_find(reader, &ref, &object));
    cr_assert(slice_equal(object.text, SLICE("old")));
    store_reader_end(reader);
    cr_assert_eq(store_reader_begin(reader, 1500, 1), ERR_OK);
    cr_assert(store_key_find(reader, &ref, &object));
    cr_assert(slice_equal(object.text, SLICE("new")));
    store_reader_end(reader);
    cr_assert_eq(store_reader_begin(reader, 2001, 1), ERR_OK);
    cr_assert_not(store_key_find(reader, &ref, &object));
    store_reader_end(reader);
    store_reader_free(reader);
    scratch_fini(&s);
}

static void list_of(struct scratch *s, const struct store_ref *ref, unsigned count)
{
    struct store_object list;
    store_key_create(s->txn, STORE_LIST, &list);
    for (unsigned i = 0; i < count; i++) {
        store_list_push(s->txn, &list, STORE_TAIL, SLICE("element"));
    }
    store_key_save(s->txn, ref, &list);
}

Test(store_key, renaming_moves_the_name_and_nothing_else)
{
    struct scratch s;
    scratch_init(&s, 5);
    const struct store_ref from = ref_of(0, "from");
    const struct store_ref to = ref_of(1, "to");
    struct store_object object;
    list_of(&s, &from, 2000);
    expire_at(&s, &from, 9000);
    cr_assert(store_key_find(s.txn, &from, &object));
    uint64_t oid = object.oid;
    uint64_t version = object.version;
    store_key_rename(s.txn, &from, &to, &object);
    cr_assert_not(is_there(&s, &from));
    cr_assert(store_key_find(s.txn, &to, &object));
    cr_assert_eq(object.oid, oid);
    cr_assert_gt(object.version, version);
    cr_assert_eq(object.count, 2000);
    cr_assert_eq(store_db_count(s.txn, 0).keys, 0);
    cr_assert_eq(store_db_count(s.txn, 1).expiring, 1);
    struct buf removed = {0};
    s.now_ms = 9001;
    scratch_next(&s);
    cr_assert_not(is_there(&s, &to));
    while (store_purge(s.txn, 100)) {
        scratch_next(&s);
    }
    cr_assert_eq(scratch_rows(&s), 3);
    buf_fini(&removed);
    scratch_fini(&s);
}

Test(store_key, a_flushed_database_is_empty_at_once_and_gone_piece_by_piece)
{
    struct scratch s;
    scratch_init(&s, 6);
    char name[32];
    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "key:%u", i);
        const struct store_ref ref = ref_of(0, name);
        if (i % 3 == 0) {
            list_of(&s, &ref, i);
        } else {
            set_text(&s, &ref, SLICE("text"));
        }
        if (i % 2 == 0 && is_there(&s, &ref)) { expire_at(&s, &ref, 5000 + i); }
    }
    scratch_next(&s);
    store_db_flush(s.txn, 0);
    cr_assert_eq(store_db_count(s.txn, 0).keys, 0);
    const struct store_ref kept = ref_of(0, "key:1");
    cr_assert_not(is_there(&s, &kept));
    set_text(&s, &kept, SLICE("after"));
    s.now_ms = 9000;
    scratch_next(&s);
    struct buf removed = {0};
    cr_assert_eq(store_key_expire(s.txn, 20, note_removed, &removed), 20);
    cr_assert_eq(removed.len, 0, "keys of a flushed database have no deadline any more");
    unsigned pieces = 0;
    while (store_purge(s.txn, 50)) {
        scratch_next(&s);
        pieces++;
    }
    cr_assert_gt(pieces, 20);
    expect_text(&s, &kept, SLICE("after"));
    remove_key(&s, &kept);
    scratch_expect_empty(&s);
    scratch_fini(&s);
}

Test(store_key, swapped_databases_exchange_all_keys)
{
    struct scratch s;
    scratch_init(&s, 7);
    const struct store_ref in_0 = ref_of(0, "key");
    const struct store_ref in_9 = ref_of(9, "key");
    set_text(&s, &in_0, SLICE("zero"));
    store_db_swap(s.txn, 0, 9);
    scratch_next(&s);
    cr_assert_not(is_there(&s, &in_0));
    expect_text(&s, &in_9, SLICE("zero"));
    set_text(&s, &in_0, SLICE("other"));
    store_db_swap(s.txn, 9, 0);
    scratch_next(&s);
    expect_text(&s, &in_0, SLICE("zero"));
    expect_text(&s, &in_9, SLICE("other"));
    scratch_fini(&s);
}

static void count_name(void *arg, struct slice name, const struct store_object *object)
{
    unsigned char *seen = arg;
    cr_assert_eq(object->type, STORE_STRING);
    seen[number_in(name)] = 1;
}

Test(store_key, a_scan_visits_what_is_there_throughout_and_ends)
{
    struct scratch s;
    scratch_init(&s, 8);
    char name[32];
    unsigned char seen[1000] = {0};
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "key:%u", i);
        const struct store_ref ref = ref_of(0, name);
        set_text(&s, &ref, SLICE("text"));
    }
    uint64_t cursor = 0;
    unsigned calls = 0;
    do {
        cursor = store_key_scan(s.txn, 0, cursor, 10, count_name, seen);
        snprintf(name, sizeof name, "key:%u", calls * 10 + 501);
        const struct store_ref gone = ref_of(0, name);
        if (is_there(&s, &gone)) { remove_key(&s, &gone); }
        snprintf(name, sizeof name, "key:%lu", scratch_random(&s) % 500);
        const struct store_ref rewritten = ref_of(0, name);
        set_text(&s, &rewritten, SLICE("again"));
        cr_assert_leq(++calls, 101);
    } while (cursor != 0);
    for (unsigned i = 0; i < 501; i++) {
        cr_assert(seen[i], "key:%u was missed", i);
    }
    cr_assert_eq(store_key_scan(s.txn, 5, 0, 10, count_name, seen), 0);
    scratch_fini(&s);
}
