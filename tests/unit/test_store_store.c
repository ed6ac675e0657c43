/* Transactions: all or nothing, also on a full map; one digest for one history; what is there after the next opening. */
#include "store/store_list.h"
#include "store/store_string.h"
#include "store_scratch.h"

static const struct store_ref list_ref = {0, 0, {"list", 4}};

static void push(struct scratch *s, struct slice bytes)
{
    struct store_object list;
    if (!store_key_find(s->txn, &list_ref, &list)) { store_key_create(s->txn, STORE_LIST, &list); }
    store_list_push(s->txn, &list, STORE_TAIL, bytes);
    store_key_save(s->txn, &list_ref, &list);
}

static uint64_t count(struct scratch *s)
{
    struct store_object list;
    return store_key_find(s->txn, &list_ref, &list) ? list.count : 0;
}

Test(store, an_aborted_transaction_has_not_been)
{
    struct scratch s;
    scratch_init(&s, 1);
    push(&s, SLICE("kept"));
    store_set_applied(s.txn, 7);
    scratch_next(&s);
    uint32_t digest = store_digest(s.txn);
    push(&s, SLICE("dropped"));
    store_set_applied(s.txn, 8);
    store_abort(s.txn);
    scratch_begin(&s);
    cr_assert_eq(count(&s), 1);
    cr_assert_eq(store_applied(s.txn), 7);
    cr_assert_eq(store_digest(s.txn), digest);
    scratch_fini(&s);
}

Test(store, the_next_opening_finds_what_was_committed)
{
    struct scratch s;
    scratch_init(&s, 2);
    push(&s, SLICE("kept"));
    store_set_applied(s.txn, 12);
    uint64_t seed = s.store->hash_seed[0];
    scratch_commit(&s);
    store_close(s.store);
    const struct store_opts other = {
        .path = s.path, .map_bytes = 1 << 26, .readers_max = 4, .hash_seed = {99, 98}};
    cr_assert_eq(store_open(&s.store, &other), ERR_OK);
    cr_assert_eq(s.store->hash_seed[0], seed, "the seed is the store's for life");
    scratch_begin(&s);
    cr_assert_eq(count(&s), 1);
    cr_assert_eq(store_applied(s.txn), 12);
    scratch_fini(&s);
}

Test(store, what_is_no_store_is_not_opened)
{
    struct scratch s;
    scratch_init(&s, 3);
    scratch_commit(&s);
    store_close(s.store);
    FILE *file = fopen(s.path, "r+");
    for (int i = 0; i < 8192; i++) {
        fputc('x', file);
    }
    fclose(file);
    cr_assert_eq(scratch_open(&s, 1 << 26), ERR_CORRUPT);
    const struct store_opts nowhere = {
        .path = "/proc/no-such-folder/data", .map_bytes = 1 << 26, .readers_max = 4};
    cr_assert_eq(store_open(&s.store, &nowhere), ERR_SYSTEM);
}

Test(store, a_full_map_refuses_the_whole_transaction_and_heals)
{
    struct scratch s;
    scratch_init(&s, 4);
    scratch_commit(&s);
    store_close(s.store);
    cr_assert_eq(scratch_open(&s, 1 << 20), ERR_OK);
    scratch_begin(&s);
    char bytes[900] = {0};
    uint64_t committed = 0;
    enum err err = ERR_OK;
    for (unsigned i = 0; i < 200 && err == ERR_OK; i++) {
        for (unsigned j = 0; j < 16; j++) {
            push(&s, slice_of(bytes, sizeof bytes));
        }
        err = store_commit(s.txn);
        scratch_begin(&s);
        if (err == ERR_OK) { committed += 16; }
        cr_assert_eq(count(&s), committed);
    }
    cr_assert_eq(err, ERR_FULL);
    struct store_object list;
    struct buf out = {0};
    cr_assert(store_key_find(s.txn, &list_ref, &list));
    while (list.count > committed / 2) {
        store_list_pop(s.txn, &list, STORE_HEAD, &out);
    }
    store_key_save(s.txn, &list_ref, &list);
    buf_fini(&out);
    scratch_next(&s);
    push(&s, slice_of(bytes, sizeof bytes));
    scratch_next(&s);
    cr_assert_eq(count(&s), committed / 2 + 1);
    scratch_fini(&s);
}

static uint32_t digest_of(unsigned batch, bool is_other)
{
    struct scratch s;
    scratch_init(&s, 5);
    for (unsigned i = 0; i < 3000; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "element:%u", i == 1234 && is_other ? 0 : i);
        store_txn_entry(s.txn, s.now_ms, i);
        push(&s, slice_of(text, (size_t)len));
        const struct store_ref ref = {0, 0, slice_of(text, (size_t)len)};
        struct store_object string;
        store_key_create(s.txn, STORE_STRING, &string);
        store_key_save(s.txn, &ref, &string);
        if (i % batch == 0) { scratch_next(&s); }
    }
    uint32_t digest = store_digest(s.txn);
    scratch_fini(&s);
    return digest;
}

Test(store, one_history_has_one_digest)
{
    cr_assert_eq(digest_of(100, false), digest_of(100, false));
    cr_assert_neq(digest_of(100, false), digest_of(100, true));
    cr_assert_eq(digest_of(100, false), digest_of(7, false),
                 "how entries were batched is no part of the history");
}

Test(store, an_older_format_is_taken_and_a_newer_one_refused)
{
    struct scratch s;
    scratch_init(&s, 1);
    push(&s, SLICE("kept"));
    for (char format = 1; format <= STORE_FORMAT + 1; format++) {
        scratch_commit(&s);
        MDB_txn *txn;
        MDB_val key = {1, (char[]){'!'}};
        MDB_val counters;
        char changed[256];
        cr_assert_eq(mdb_txn_begin(s.store->env, NULL, 0, &txn), 0);
        cr_assert_eq(mdb_get(txn, s.store->dbi, &key, &counters), 0);
        memcpy(changed, counters.mv_data, counters.mv_size);
        changed[0] = format;
        counters.mv_data = changed;
        cr_assert_eq(mdb_put(txn, s.store->dbi, &key, &counters, 0), 0);
        cr_assert_eq(mdb_txn_commit(txn), 0);
        store_close(s.store);
        if (format > STORE_FORMAT) { break; }
        cr_assert_eq(scratch_open(&s, 1ULL << 30), ERR_OK);
        scratch_begin(&s);
        cr_assert_eq(count(&s), 1);
    }
    cr_assert_eq(scratch_open(&s, 1ULL << 30), ERR_CORRUPT);
    unlink(s.path);
    cr_assert_eq(scratch_open(&s, 1ULL << 30), ERR_OK);
    scratch_begin(&s);
    scratch_fini(&s);
}
