/* data_keys: commands about keys of any type. */
#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_encoding.h"
#include "data/data_key.h"
#include "data/data_scan.h"
#include "data/data_type.h"
#include "store/store_copy.h"

enum { DATABASES = 16 };

static void count_and(struct data_call *call, bool removes)
{
    int64_t count = 0;
    for (uint32_t i = 1; i < call->argc; i++) {
        struct data_key key = key_find(call, call->argv[i]);
        count += key.is_there;
        if (removes && key.is_there) { key_remove(&key, "del", EVENT_GENERIC); }
    }
    reply_int(call->reply, count);
}

void data_del(struct data_call *call)
{
    count_and(call, true);
}

void data_unlink(struct data_call *call)
{
    count_and(call, true);
}

void data_exists(struct data_call *call)
{
    count_and(call, false);
}

void data_touch(struct data_call *call)
{
    count_and(call, false);
}

void data_type(struct data_call *call)
{
    reply_status(call->reply, type_word(key_find(call, call->argv[1]).object.type));
}

void data_dbsize(struct data_call *call)
{
    reply_int(call->reply, (int64_t)store_db_count(call->txn, call->db).keys);
}

void data_randomkey(struct data_call *call)
{
    struct slice name;
    /* A few tries: what is past its deadline is not there. */
    for (unsigned i = 0; i < 100; i++) {
        if (!store_key_random(call->txn, call->db, store_txn_random(call->txn), &name)) { break; }
        char *copy = mem_copy(name.data, name.len);
        bool is_there = key_find(call, slice_of(copy, name.len)).is_there;
        if (is_there) { reply_bulk(call->reply, slice_of(copy, name.len)); }
        mem_free(copy);
        if (is_there) { return; }
    }
    reply_null(call->reply);
}

/* ---- SCAN, KEYS ---- */

static void scan_visit(void *arg, struct slice name, const struct store_object *object)
{
    struct scan *scan = arg;
    if (scan->has_type && object->type != scan->type) { return; }
    if (!scan_matches(scan, name)) { return; }
    reply_bulk(&scan->reply, name);
    scan->found_count++;
}

void data_scan(struct data_call *call)
{
    struct scan scan;
    if (!scan_begin(&scan, call, 1) || !scan_options(&scan, 2)) { return; }
    uint64_t next = store_key_scan(call->txn, call->db, scan.cursor, scan.count, scan_visit, &scan);
    scan_end(&scan, next);
}

void data_keys(struct data_call *call)
{
    struct scan scan = {.call = call};
    scan.reply = (struct reply){.out = &scan.found, .version = call->reply->version};
    scan_set_pattern(&scan, call->argv[1]);
    (void)store_key_scan(call->txn, call->db, 0, UINT64_MAX, scan_visit, &scan);
    reply_array(call->reply, scan.found_count);
    buf_append(call->reply->out, buf_slice(&scan.found));
    buf_fini(&scan.found);
    if (scan.has_pattern) { glob_fini(&scan.pattern); }
}

/* ---- RENAME, COPY, MOVE ---- */

static void rename_key(struct data_call *call, bool is_nx)
{
    struct data_key from = key_find(call, call->argv[1]);
    if (!from.is_there) {
        reply_error(call->reply, "ERR no such key");
        return;
    }
    bool is_same = slice_equal(call->argv[1], call->argv[2]);
    struct data_key to = key_find(call, call->argv[2]);
    if (!is_same && !(is_nx && to.is_there)) {
        if (to.is_there) { store_key_remove(call->txn, &to.ref, &to.object); }
        from = key_find(call, call->argv[1]); /* its text, after a write */
        store_key_rename(call->txn, &from.ref, &to.ref, &from.object);
        key_changed(call, call->argv[1], "rename_from", EVENT_GENERIC);
        key_changed(call, call->argv[2], "rename_to", EVENT_GENERIC);
    }
    if (is_nx) {
        reply_int(call->reply, !to.is_there && !is_same);
    } else {
        reply_ok(call->reply);
    }
}

void data_rename(struct data_call *call)
{
    rename_key(call, false);
}

void data_renamenx(struct data_call *call)
{
    rename_key(call, true);
}

static bool arg_database(struct data_call *call, uint32_t i, uint16_t *db)
{
    int64_t v;
    if (!arg_int(call, i, &v)) { return false; }
    if (v < 0 || v >= DATABASES) {
        reply_error(call->reply, "ERR DB index is out of range");
        return false;
    }
    *db = (uint16_t)v;
    return true;
}

void data_copy(struct data_call *call)
{
    bool replaces = false;
    struct data_call there = *call; /* with the other database */
    for (uint32_t i = 3; i < call->argc; i++) {
        if (arg_is(call, i, "REPLACE")) {
            replaces = true;
        } else if (arg_is_with_value(call, i, "DB")) {
            if (!arg_database(call, ++i, &there.db)) { return; }
        } else {
            reply_error(call->reply, data_syntax_error);
            return;
        }
    }
    if (there.db == call->db && slice_equal(call->argv[1], call->argv[2])) {
        reply_error(call->reply, "ERR source and destination objects are the same");
        return;
    }
    struct data_key from = key_find(call, call->argv[1]);
    struct data_key to = key_find(&there, call->argv[2]);
    if (!from.is_there || (to.is_there && !replaces)) {
        reply_int(call->reply, 0);
        return;
    }
    if (to.is_there) { store_key_remove(call->txn, &to.ref, &to.object); }
    from = key_find(call, call->argv[1]);
    store_key_copy(call->txn, &from.object, &to.ref);
    key_changed(&there, call->argv[2], "copy_to", EVENT_GENERIC);
    reply_int(call->reply, 1);
}

void data_move(struct data_call *call)
{
    struct data_call there = *call;
    if (!arg_database(call, 2, &there.db)) { return; }
    if (there.db == call->db) {
        reply_error(call->reply, "ERR source and destination objects are the same");
        return;
    }
    struct data_key to = key_find(&there, call->argv[1]);
    struct data_key from = key_find(call, call->argv[1]);
    bool moves = from.is_there && !to.is_there;
    if (moves) {
        store_key_rename(call->txn, &from.ref, &to.ref, &from.object);
        key_changed(call, call->argv[1], "move_from", EVENT_GENERIC);
        key_changed(&there, call->argv[1], "move_to", EVENT_GENERIC);
    }
    reply_int(call->reply, moves);
}

/* ---- databases ---- */

/* FLUSHDB and FLUSHALL take ASYNC or SYNC: here all of it is gone at once, and removed afterwards. */
static bool flush_options(struct data_call *call)
{
    bool is_good = call->argc == 1 ||
                   (call->argc == 2 && (arg_is(call, 1, "ASYNC") || arg_is(call, 1, "SYNC")));
    if (!is_good) { reply_error(call->reply, data_syntax_error); }
    return is_good;
}

void data_flushdb(struct data_call *call)
{
    if (!flush_options(call)) { return; }
    store_db_flush(call->txn, call->db);
    reply_ok(call->reply);
}

void data_flushall(struct data_call *call)
{
    if (!flush_options(call)) { return; }
    for (uint16_t db = 0; db < DATABASES; db++) {
        store_db_flush(call->txn, db);
    }
    reply_ok(call->reply);
}

void data_swapdb(struct data_call *call)
{
    int64_t a;
    int64_t b;
    if (!arg_int_in(call, 1, 0, INT32_MAX, "ERR invalid first DB index", &a) ||
        !arg_int_in(call, 2, 0, INT32_MAX, "ERR invalid second DB index", &b)) {
        return;
    }
    if (a >= DATABASES || b >= DATABASES) {
        reply_error(call->reply, "ERR DB index is out of range");
        return;
    }
    if (a != b) { store_db_swap(call->txn, (uint16_t)a, (uint16_t)b); }
    reply_ok(call->reply);
}

/* ---- OBJECT ---- */

static const char *const object_help[] = {
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    The name of the form that Redis would keep the value in.",
    "FREQ <key>",
    "    How often the key is used: not kept.",
    "IDLETIME <key>",
    "    Seconds since the key was used: not kept, always 0.",
    "REFCOUNT <key>",
    "    Always 1.",
    "HELP",
    "    Print this help."};

void data_object(struct data_call *call)
{
    static const struct subcommand verbs[] = {
        {"encoding", 3, 3}, {"freq", 3, 3}, {"idletime", 3, 3}, {"refcount", 3, 3}, {"help", 2, 2}};
    enum { OBJECT_ENCODING, OBJECT_FREQ, OBJECT_IDLETIME, OBJECT_REFCOUNT, OBJECT_HELP };
    int verb = subcommand_find(call, "object", verbs, COUNT_OF(verbs));
    if (verb < 0) { return; }
    if (verb == OBJECT_HELP) {
        reply_array(call->reply, COUNT_OF(object_help));
        for (size_t i = 0; i < COUNT_OF(object_help); i++) {
            reply_status(call->reply, object_help[i]);
        }
        return;
    }
    struct data_key key = key_find(call, call->argv[2]);
    if (!key.is_there) {
        reply_null(call->reply);
    } else if (verb == OBJECT_ENCODING) {
        reply_bulk_str(call->reply, encoding_name(&key.object, call->limits));
    } else if (verb == OBJECT_FREQ) {
        reply_error(call->reply,
                    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                    "Please note that when switching between policies at runtime LRU and LFU data "
                    "will take some time to adjust.");
    } else {
        reply_int(call->reply, verb == OBJECT_REFCOUNT);
    }
}
