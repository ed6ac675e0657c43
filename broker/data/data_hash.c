/* data_hash: hashes. */
#include "data/data_hash.h"

#include <math.h>

#include "data/data_args.h"
#include "data/data_encoding.h"
#include "data/data_random.h"
#include "data/data_scan.h"
#include "store/store_hash.h"

/* ---- writing ---- */

void hash_put(struct data_key *key, struct slice field, struct slice value, uint64_t expire_ms)
{
    struct store_object *hash = key_make(key, STORE_HASH);
    (void)store_hash_put_until(key->call->txn, hash, field, value, expire_ms);
    encoding_note(hash, field);
    encoding_note(hash, value);
}

uint64_t hash_expiry(const struct data_key *key, struct slice field)
{
    uint64_t expire_ms = 0;
    bool has = key->is_there && store_hash_expiry(key->call->txn, &key->object, field, &expire_ms);
    return has ? expire_ms : 0;
}

static void field_put(struct data_key *key, struct slice field, struct slice value)
{
    hash_put(key, field, value, 0);
}

/* A field's number becomes another one: its deadline stays. */
static void field_change(struct data_key *key, struct slice field, struct slice value)
{
    hash_put(key, field, value, hash_expiry(key, field));
}

static bool fields_set(struct data_call *call, const char *name, int64_t *added)
{
    struct data_key key;
    if (call->argc % 2 != 0) {
        reply_errorf(call->reply, "ERR wrong number of arguments for '%s' command", name);
        return false;
    }
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return false; }
    uint64_t before = key.object.count;
    for (uint32_t i = 2; i < call->argc; i += 2) {
        field_put(&key, call->argv[i], call->argv[i + 1]);
    }
    *added = (int64_t)(key.object.count - before);
    key_save(&key, "hset", EVENT_HASH);
    return true;
}

void data_hset(struct data_call *call)
{
    int64_t added;
    if (fields_set(call, "hset", &added)) { reply_int(call->reply, added); }
}

void data_hmset(struct data_call *call)
{
    int64_t added;
    if (fields_set(call, "hmset", &added)) { reply_ok(call->reply); }
}

void data_hsetnx(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    bool is_free = !key.is_there || !store_hash_has(call->txn, &key.object, call->argv[2], NULL);
    if (is_free) {
        field_put(&key, call->argv[2], call->argv[3]);
        key_save(&key, "hset", EVENT_HASH);
    }
    reply_int(call->reply, is_free);
}

void data_hdel(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    int64_t deleted = 0;
    for (uint32_t i = 2; key.is_there && i < call->argc; i++) {
        deleted += store_hash_delete(call->txn, &key.object, call->argv[i]);
    }
    if (deleted > 0) { key_save(&key, "hdel", EVENT_HASH); }
    reply_int(call->reply, deleted);
}

void data_hincrby(struct data_call *call)
{
    int64_t by;
    int64_t v = 0;
    struct data_key key;
    if (!arg_int(call, 3, &by)) { return; }
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    struct buf old = {0};
    bool has = key.is_there && store_hash_get(call->txn, &key.object, call->argv[2], &old);
    bool is_number = !has || slice_to_int64(buf_slice(&old), &v);
    buf_fini(&old);
    if (!is_number) {
        reply_error(call->reply, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(v, by, &v)) {
        reply_error(call->reply, "ERR increment or decrement would overflow");
        return;
    }
    struct buf text = {0};
    buf_appendf(&text, "%ld", v);
    field_change(&key, call->argv[2], buf_slice(&text));
    buf_fini(&text);
    key_save(&key, "hincrby", EVENT_HASH);
    reply_int(call->reply, v);
}

void data_hincrbyfloat(struct data_call *call)
{
    long double by;
    long double v = 0;
    struct data_key key;
    if (!text_to_long_double(call->argv[3], &by)) {
        reply_error(call->reply, data_not_a_float);
        return;
    }
    if (isinf(by)) {
        reply_error(call->reply, "ERR value is NaN or Infinity");
        return;
    }
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    struct buf old = {0};
    bool has = key.is_there && store_hash_get(call->txn, &key.object, call->argv[2], &old);
    bool is_number = !has || text_to_long_double(buf_slice(&old), &v);
    buf_fini(&old);
    if (!is_number) {
        reply_error(call->reply, "ERR hash value is not a float");
        return;
    }
    v += by;
    if (isnan(v) || isinf(v)) {
        reply_error(call->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[FLOAT_TEXT_MAX];
    struct slice out = slice_of(text, long_double_to_text(v, text));
    field_change(&key, call->argv[2], out);
    key_save(&key, "hincrbyfloat", EVENT_HASH);
    reply_bulk(call->reply, out);
}

/* ---- reading ---- */

void hash_reply(const struct data_key *key, struct slice field)
{
    struct buf out = {0};
    if (key->is_there && store_hash_get(key->call->txn, &key->object, field, &out)) {
        reply_bulk(key->call->reply, buf_slice(&out));
    } else {
        reply_null(key->call->reply);
    }
    buf_fini(&out);
}

void data_hget(struct data_call *call)
{
    struct data_key key;
    if (key_open(call, call->argv[1], STORE_HASH, &key)) { hash_reply(&key, call->argv[2]); }
}

void data_hmget(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    reply_array(call->reply, call->argc - 2);
    for (uint32_t i = 2; i < call->argc; i++) {
        hash_reply(&key, call->argv[i]);
    }
}

void data_hlen(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    reply_int(call->reply, (int64_t)key.object.count);
}

void data_hexists(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    reply_int(call->reply,
              key.is_there && store_hash_has(call->txn, &key.object, call->argv[2], NULL));
}

void data_hstrlen(struct data_call *call)
{
    struct data_key key;
    uint64_t len = 0;
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    if (key.is_there) { (void)store_hash_has(call->txn, &key.object, call->argv[2], &len); }
    reply_int(call->reply, (int64_t)len);
}

enum hash_part { HASH_FIELDS = 1, HASH_VALUES = 2 };

static void all_reply(struct data_call *call, unsigned parts)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    if (parts == (HASH_FIELDS | HASH_VALUES)) {
        reply_map(call->reply, key.object.count);
    } else {
        reply_array(call->reply, key.object.count);
    }
    if (!key.is_there) { return; }
    struct store_walk walk;
    bool any = store_hash_walk(&walk, call->txn, &key.object, 0);
    for (; any; any = store_walk_next(&walk)) {
        if ((parts & HASH_FIELDS) != 0) { reply_bulk(call->reply, store_walk_name(&walk)); }
        if ((parts & HASH_VALUES) != 0) { reply_bulk(call->reply, store_walk_value(&walk)); }
    }
    store_walk_end(&walk);
}

void data_hgetall(struct data_call *call)
{
    all_reply(call, HASH_FIELDS | HASH_VALUES);
}

void data_hkeys(struct data_call *call)
{
    all_reply(call, HASH_FIELDS);
}

void data_hvals(struct data_call *call)
{
    all_reply(call, HASH_VALUES);
}

/* ---- HRANDFIELD, HSCAN ---- */

struct fields_out {
    struct reply *reply;
    bool has_values;
    bool is_nested;
};

static void field_out(void *arg, struct store_walk *walk)
{
    struct fields_out *out = arg;
    if (out->is_nested) { reply_array(out->reply, 2); }
    reply_bulk(out->reply, store_walk_name(walk));
    if (out->has_values) { reply_bulk(out->reply, store_walk_value(walk)); }
}

void data_hrandfield(struct data_call *call)
{
    struct random_options options;
    struct data_key key;
    if (!random_options_read(call, "WITHVALUES", &options)) { return; }
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    if (!key.is_there) {
        if (options.has_count) {
            reply_array(call->reply, 0);
        } else {
            reply_null(call->reply);
        }
        return;
    }
    uint64_t count = options.count;
    if (options.is_distinct && count > key.object.count) { count = key.object.count; }
    bool is_nested = options.has_word && call->reply->version >= 3;
    struct fields_out out = {call->reply, options.has_word, is_nested};
    if (options.has_count) {
        reply_array(call->reply, count * (options.has_word && !is_nested ? 2 : 1));
    }
    random_visit(&key, count, options.is_distinct, field_out, &out);
}

static void scan_visit(void *arg, struct store_walk *walk)
{
    struct scan *scan = arg;
    if (!scan_matches(scan, store_walk_name(walk))) { return; }
    reply_bulk(&scan->reply, store_walk_name(walk));
    scan->found_count++;
    if (scan->has_no_values) { return; }
    reply_bulk(&scan->reply, store_walk_value(walk));
    scan->found_count++;
}

void data_hscan(struct data_call *call)
{
    struct scan scan;
    struct data_key key;
    if (!scan_begin_key(&scan, call, STORE_HASH, &key)) { return; }
    uint64_t next = store_hash_scan(call->txn, &key.object, scan.cursor,
                                    scan_count(&scan, &key.object), scan_visit, &scan);
    scan_end(&scan, next);
}
