/* data_set: sets. */
#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_encoding.h"
#include "data/data_key.h"
#include "data/data_random.h"
#include "data/data_scan.h"
#include "store/store_set.h"

void data_sadd(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_SET, &key)) { return; }
    int64_t added = 0;
    for (uint32_t i = 2; i < call->argc; i++) {
        struct store_object *set = key_make(&key, STORE_SET);
        if (!store_set_add(call->txn, set, call->argv[i])) { continue; }
        encoding_note(set, call->argv[i]);
        added++;
    }
    if (added > 0) { key_save(&key, "sadd", EVENT_SET); }
    reply_int(call->reply, added);
}

void data_srem(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_SET, &key)) { return; }
    int64_t removed = 0;
    for (uint32_t i = 2; key.is_there && i < call->argc; i++) {
        removed += store_set_delete(call->txn, &key.object, call->argv[i]);
    }
    if (removed > 0) { key_save(&key, "srem", EVENT_SET); }
    reply_int(call->reply, removed);
}

void data_smove(struct data_call *call)
{
    struct data_key from;
    struct data_key to;
    if (!key_open(call, call->argv[1], STORE_SET, &from)) { return; }
    if (!from.is_there) {
        reply_int(call->reply, 0);
        return;
    }
    if (!key_open(call, call->argv[2], STORE_SET, &to)) { return; }
    struct slice member = call->argv[3];
    if (slice_equal(call->argv[1], call->argv[2])) {
        reply_int(call->reply, store_set_has(call->txn, &from.object, member));
        return;
    }
    bool is_there = store_set_delete(call->txn, &from.object, member);
    if (is_there) {
        key_save(&from, "srem", EVENT_SET);
        struct store_object *set = key_make(&to, STORE_SET);
        if (store_set_add(call->txn, set, member)) {
            encoding_note(set, member);
            key_save(&to, "sadd", EVENT_SET);
        }
    }
    reply_int(call->reply, is_there);
}

void data_scard(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_SET, &key)) { return; }
    reply_int(call->reply, (int64_t)key.object.count);
}

void data_sismember(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_SET, &key)) { return; }
    reply_int(call->reply, key.is_there && store_set_has(call->txn, &key.object, call->argv[2]));
}

void data_smismember(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_SET, &key)) { return; }
    reply_array(call->reply, call->argc - 2);
    for (uint32_t i = 2; i < call->argc; i++) {
        reply_int(call->reply,
                  key.is_there && store_set_has(call->txn, &key.object, call->argv[i]));
    }
}

/* ---- by chance ---- */

static void member_out(void *arg, struct store_walk *walk)
{
    reply_bulk(arg, store_walk_name(walk));
}

/* Pop one member that is there, and reply with it. */
static void pop_one(struct data_key *key)
{
    struct data_call *call = key->call;
    struct store_walk walk;
    random_walk(&walk, key);
    struct slice name = store_walk_name(&walk);
    char *copy = mem_copy(name.data, name.len);
    store_walk_end(&walk);
    reply_bulk(call->reply, slice_of(copy, name.len));
    (void)store_set_delete(call->txn, &key->object, slice_of(copy, name.len));
    mem_free(copy);
}

void data_spop(struct data_call *call)
{
    int64_t count = 1;
    struct data_key key;
    if (call->argc > 3) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    if (!arg_count(call, 2, &count)) { return; }
    if (!key_open(call, call->argv[1], STORE_SET, &key)) { return; }
    if (call->argc == 2) {
        if (key.is_there) {
            pop_one(&key);
            key_save(&key, "spop", EVENT_SET);
        } else {
            reply_null(call->reply);
        }
        return;
    }
    uint64_t pops = (uint64_t)count < key.object.count ? (uint64_t)count : key.object.count;
    reply_set(call->reply, pops);
    if (pops > 0 && pops == key.object.count) {
        random_visit(&key, pops, true, member_out, call->reply);
        key_remove(&key, "spop", EVENT_SET);
        key_changed(call, call->argv[1], "del", EVENT_GENERIC);
        return;
    }
    for (uint64_t i = 0; i < pops && store_txn_err(call->txn) == ERR_OK; i++) {
        pop_one(&key);
    }
    if (pops > 0) { key_save(&key, "spop", EVENT_SET); }
}

void data_srandmember(struct data_call *call)
{
    struct random_options options;
    struct data_key key;
    if (!random_options_read(call, NULL, &options)) { return; }
    if (!key_open(call, call->argv[1], STORE_SET, &key)) { return; }
    if (!key.is_there && !options.has_count) {
        reply_null(call->reply);
        return;
    }
    uint64_t count = key.is_there ? options.count : 0;
    if (options.is_distinct && count > key.object.count) { count = key.object.count; }
    if (options.has_count) { reply_array(call->reply, count); }
    if (count > 0) { random_visit(&key, count, options.is_distinct, member_out, call->reply); }
}

/* ---- SSCAN ---- */

static void scan_visit(void *arg, struct store_walk *walk)
{
    struct scan *scan = arg;
    if (!scan_matches(scan, store_walk_name(walk))) { return; }
    reply_bulk(&scan->reply, store_walk_name(walk));
    scan->found_count++;
}

void data_sscan(struct data_call *call)
{
    struct scan scan;
    struct data_key key;
    if (!scan_begin_key(&scan, call, STORE_SET, &key)) { return; }
    uint64_t next = store_set_scan(call->txn, &key.object, scan.cursor,
                                   scan_count(&scan, &key.object), scan_visit, &scan);
    scan_end(&scan, next);
}

void data_smembers(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_SET, &key)) { return; }
    reply_set(call->reply, key.object.count);
    if (!key.is_there) { return; }
    struct store_walk walk;
    bool any = store_set_walk(&walk, call->txn, &key.object, 0);
    for (; any; any = store_walk_next(&walk)) {
        reply_bulk(call->reply, store_walk_name(&walk));
    }
    store_walk_end(&walk);
}
