/* data_string: GET, SET and their kin. */
#include <math.h>

#include "data/data_args.h"
#include "data/data_expiry.h"
#include "data/data_text.h"
#include "data/data_text_if.h"
#include "store/store_string.h"

/* ---- GET ---- */

void data_get(struct data_call *call)
{
    struct data_key key;
    if (key_open(call, call->argv[1], STORE_STRING, &key)) { text_reply(&key); }
}

void data_mget(struct data_call *call)
{
    reply_array(call->reply, call->argc - 1);
    for (uint32_t i = 1; i < call->argc; i++) {
        struct data_key key = key_find(call, call->argv[i]);
        if (key.object.type != STORE_STRING) { key.is_there = false; }
        text_reply(&key);
    }
}

void data_getdel(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    text_reply(&key);
    if (key.is_there) { key_remove(&key, "del", EVENT_GENERIC); }
}

void data_getset(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    text_reply(&key);
    text_set(&key, call->argv[2], 0);
}

void data_getex(struct data_call *call)
{
    struct expiry_unit unit;
    uint64_t expire_ms = 0;
    bool has_expiry = call->argc > 2 && arg_is_expiry(call, 2, &unit);
    bool is_persist = arg_is(call, 2, "PERSIST");
    if (call->argc > 2 && call->argc != (has_expiry ? 4u : 3u)) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    if (call->argc > 2 && !has_expiry && !is_persist) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    if (!key.is_there) {
        reply_null(call->reply);
        return;
    }
    if (has_expiry && !arg_expiry(call, 3, unit, &expire_ms)) { return; }
    text_reply(&key);
    if (has_expiry && expire_ms < store_txn_now_ms(call->txn)) {
        key_remove(&key, "del", EVENT_GENERIC);
    } else if (has_expiry || (is_persist && key.object.expire_ms != 0)) {
        store_key_set_expiry(call->txn, &key.ref, &key.object, expire_ms);
        key_changed(call, key.ref.name, has_expiry ? "expire" : "persist", EVENT_GENERIC);
    }
}

void data_strlen(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    reply_int(call->reply, (int64_t)key.object.count);
}

void data_getrange(struct data_call *call)
{
    int64_t start;
    int64_t end;
    struct data_key key;
    if (!arg_int(call, 2, &start) || !arg_int(call, 3, &end)) { return; }
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    int64_t len = (int64_t)key.object.count;
    bool is_backward = start < 0 && end < 0 && start > end;
    if (end < 0 && (end += len) < 0) { end = 0; }
    struct buf out = {0};
    if (!is_backward && len > 0 && range_clamp(&start, &end, key.object.count)) {
        store_string_read(call->txn, &key.object, (uint64_t)start, (uint64_t)(end - start + 1),
                          &out);
    }
    reply_bulk(call->reply, buf_slice(&out));
    buf_fini(&out);
}

void data_substr(struct data_call *call)
{
    data_getrange(call);
}

/* ---- SET ---- */

struct set_options {
    bool is_nx;
    bool is_xx;
    struct text_condition condition; /* IFEQ and its kin */
    bool is_get;
    bool keeps_ttl;
    bool has_expiry;
    uint32_t expiry_at; /* in argv */
    struct expiry_unit unit;
};

static bool set_option(const struct data_call *call, uint32_t *i, struct set_options *options)
{
    bool has_ttl = options->keeps_ttl || options->has_expiry;
    bool is_if = options->condition.is_given;
    if (arg_is(call, *i, "NX") && !options->is_xx && !is_if) {
        options->is_nx = true;
    } else if (arg_is(call, *i, "XX") && !options->is_nx && !is_if) {
        options->is_xx = true;
    } else if (!is_if && !options->is_nx && !options->is_xx &&
               arg_is_condition(call, *i, &options->condition)) {
        return text_condition_is_good(call, ++*i, &options->condition);
    } else if (arg_is(call, *i, "GET")) {
        options->is_get = true;
    } else if (arg_is(call, *i, "KEEPTTL") && !options->has_expiry) {
        options->keeps_ttl = true;
    } else if (!has_ttl && arg_is_expiry(call, *i, &options->unit)) {
        options->has_expiry = true;
        options->expiry_at = ++*i;
    } else {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    return true;
}

void data_set(struct data_call *call)
{
    struct set_options options = {.is_nx = false};
    uint64_t expire_ms = 0;
    for (uint32_t i = 3; i < call->argc; i++) {
        if (!set_option(call, &i, &options)) { return; }
    }
    if (options.has_expiry && !arg_expiry(call, options.expiry_at, options.unit, &expire_ms)) {
        return;
    }
    struct data_key key = key_find(call, call->argv[1]);
    bool is_read = options.is_get || options.condition.is_given;
    if (is_read && key.is_there && key.object.type != STORE_STRING) {
        reply_error(call->reply, data_wrong_type);
        return;
    }
    if (options.is_get) { text_reply(&key); }
    bool may = options.condition.is_given
                   ? text_condition_holds(&options.condition, &key)
                   : !(options.is_nx && key.is_there) && !(options.is_xx && !key.is_there);
    if (!may) {
        if (!options.is_get) { reply_null(call->reply); }
        return;
    }
    text_set(&key, call->argv[2], options.keeps_ttl ? key.object.expire_ms : expire_ms);
    if (options.has_expiry) { key_changed(call, key.ref.name, "expire", EVENT_GENERIC); }
    if (!options.is_get) { reply_ok(call->reply); }
}

void data_setnx(struct data_call *call)
{
    struct data_key key = key_find(call, call->argv[1]);
    bool is_new = !key.is_there;
    if (is_new) { text_set(&key, call->argv[2], 0); }
    reply_int(call->reply, is_new);
}

static void set_for(struct data_call *call, bool is_seconds)
{
    const struct expiry_unit unit = {.is_seconds = is_seconds};
    uint64_t expire_ms;
    if (!arg_expiry(call, 2, unit, &expire_ms)) { return; }
    struct data_key key = key_find(call, call->argv[1]);
    text_set(&key, call->argv[3], expire_ms);
    key_changed(call, key.ref.name, "expire", EVENT_GENERIC);
    reply_ok(call->reply);
}

void data_setex(struct data_call *call)
{
    set_for(call, true);
}

void data_psetex(struct data_call *call)
{
    set_for(call, false);
}

static bool has_pairs(struct data_call *call, const char *name)
{
    if (call->argc % 2 == 1) { return true; }
    reply_errorf(call->reply, "ERR wrong number of arguments for '%s' command", name);
    return false;
}

static void set_pairs(struct data_call *call)
{
    for (uint32_t i = 1; i < call->argc; i += 2) {
        struct data_key key = key_find(call, call->argv[i]);
        text_set(&key, call->argv[i + 1], 0);
    }
}

void data_mset(struct data_call *call)
{
    if (!has_pairs(call, "mset")) { return; }
    set_pairs(call);
    reply_ok(call->reply);
}

void data_msetnx(struct data_call *call)
{
    if (!has_pairs(call, "msetnx")) { return; }
    bool is_free = true;
    for (uint32_t i = 1; i < call->argc; i += 2) {
        is_free = is_free && !key_find(call, call->argv[i]).is_there;
    }
    if (is_free) { set_pairs(call); }
    reply_int(call->reply, is_free);
}

/* ---- in place ---- */

/* Write bytes into the text, and save it. */
static void text_write(struct data_key *key, uint64_t at, struct slice bytes, const char *event)
{
    struct buf scratch = {0};
    bool was_there = key->is_there;
    struct store_object *object = key_make(key, STORE_STRING);
    store_string_write(key->call->txn, object, at, bytes, &scratch);
    if (was_there) { object->encoding = TEXT_ENCODING_RAW; }
    key_save(key, event, EVENT_STRING);
    buf_fini(&scratch);
}

void data_append(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    if (!text_may_be(call, key.object.count + call->argv[2].len)) { return; }
    if (key.is_there) {
        text_write(&key, key.object.count, call->argv[2], "append");
    } else {
        text_assign(&key, call->argv[2]);
        key_save(&key, "append", EVENT_STRING);
    }
    reply_int(call->reply, (int64_t)key.object.count);
}

void data_setrange(struct data_call *call)
{
    int64_t at;
    if (!arg_int(call, 2, &at)) { return; }
    if (at < 0) {
        reply_error(call->reply, "ERR offset is out of range");
        return;
    }
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    struct slice bytes = call->argv[3];
    if (bytes.len > 0) {
        bool is_far = (uint64_t)at > TEXT_BYTES_MAX;
        if (!text_may_be(call, is_far ? (uint64_t)at : (uint64_t)at + bytes.len)) { return; }
        text_write(&key, (uint64_t)at, bytes, "setrange");
        key.object.encoding = TEXT_ENCODING_RAW;
    }
    reply_int(call->reply, (int64_t)key.object.count);
}

/* ---- numbers ---- */

/* The key's text becomes another one; its deadline stays. */
static void text_replace(struct data_key *key, struct slice text, const char *event)
{
    text_assign(key, text);
    key_save(key, event, EVENT_STRING);
}

static void increment(struct data_call *call, int64_t by)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    struct buf scratch = {0};
    int64_t v = 0;
    bool is_number = !key.is_there || (key.object.count <= STORE_INLINE_MAX &&
                                       slice_to_int64(text_of(&key, &scratch), &v));
    buf_fini(&scratch);
    if (!is_number) {
        reply_error(call->reply, data_not_an_integer);
        return;
    }
    if (__builtin_add_overflow(v, by, &v)) {
        reply_error(call->reply, "ERR increment or decrement would overflow");
        return;
    }
    struct buf text = {0};
    buf_appendf(&text, "%ld", v);
    text_replace(&key, buf_slice(&text), "incrby");
    buf_fini(&text);
    reply_int(call->reply, v);
}

void data_incr(struct data_call *call)
{
    increment(call, 1);
}

void data_decr(struct data_call *call)
{
    increment(call, -1);
}

void data_incrby(struct data_call *call)
{
    int64_t by;
    if (arg_int(call, 2, &by)) { increment(call, by); }
}

void data_decrby(struct data_call *call)
{
    int64_t by;
    if (!arg_int(call, 2, &by)) { return; }
    if (by == INT64_MIN) {
        reply_error(call->reply, "ERR decrement would overflow");
        return;
    }
    increment(call, -by);
}

void data_incrbyfloat(struct data_call *call)
{
    struct data_key key;
    long double v = 0;
    long double by;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    struct buf scratch = {0};
    bool is_number = (!key.is_there || text_to_long_double(text_of(&key, &scratch), &v)) &&
                     text_to_long_double(call->argv[2], &by);
    buf_fini(&scratch);
    if (!is_number) {
        reply_error(call->reply, data_not_a_float);
        return;
    }
    v += by;
    if (isnan(v) || isinf(v)) {
        reply_error(call->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[FLOAT_TEXT_MAX];
    struct slice out = slice_of(text, long_double_to_text(v, text));
    text_replace(&key, out, "incrbyfloat");
    reply_bulk(call->reply, out);
}
