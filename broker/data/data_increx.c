/* data_increx: INCREX, a number that grows within bounds, and its deadline. */
#include <float.h>
#include <math.h>

#include "data/data_args.h"
#include "data/data_expiry.h"
#include "data/data_text.h"

struct increx {
    struct data_call *call;
    struct data_key key;
    bool is_float;
    uint32_t by_at;    /* in argv; 0: by one */
    uint32_t lower_at; /* 0: none */
    uint32_t upper_at;
    bool saturates;
    bool has_expiry;
    uint32_t expiry_at;
    struct expiry_unit unit;
    uint64_t expire_ms;
    bool is_persist;
    bool is_enx; /* a deadline only where there is none */
};

/* ---- arguments ---- */

/* BYINT, BYFLOAT, LBOUND, UBOUND, each once, with a value. False: it is none of them. */
static bool number_option(struct increx *incr, uint32_t *i)
{
    const struct data_call *call = incr->call;
    bool is_float = arg_is_with_value(call, *i, "BYFLOAT");
    if ((is_float || arg_is_with_value(call, *i, "BYINT")) && incr->by_at == 0) {
        incr->is_float = is_float;
        incr->by_at = ++*i;
    } else if (arg_is_with_value(call, *i, "LBOUND") && incr->lower_at == 0) {
        incr->lower_at = ++*i;
    } else if (arg_is_with_value(call, *i, "UBOUND") && incr->upper_at == 0) {
        incr->upper_at = ++*i;
    } else {
        return false;
    }
    return true;
}

static bool options_read(struct increx *incr)
{
    struct data_call *call = incr->call;
    for (uint32_t i = 2; i < call->argc; i++) {
        bool has_deadline = incr->has_expiry || incr->is_persist;
        if (number_option(incr, &i)) { continue; }
        if (arg_is(call, i, "SATURATE")) {
            incr->saturates = true;
        } else if (arg_is(call, i, "ENX")) {
            incr->is_enx = true;
        } else if (arg_is(call, i, "PERSIST") && !has_deadline) {
            incr->is_persist = true;
        } else if (!has_deadline && arg_is_expiry(call, i, &incr->unit)) {
            incr->has_expiry = true;
            incr->expiry_at = ++i;
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    if (incr->is_enx && !incr->has_expiry) {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    return !incr->has_expiry || arg_expiry(call, incr->expiry_at, incr->unit, &incr->expire_ms);
}

static bool bounds_are_good(const struct increx *incr, bool is_good)
{
    if (!is_good) {
        reply_error(incr->call->reply, "ERR LBOUND must be less than or equal to UBOUND");
    }
    return is_good;
}

/* ---- the result ---- */

/* The number is written, and the deadline as it is asked for. */
static void write_number(struct increx *incr, struct slice text)
{
    struct data_call *call = incr->call;
    struct data_key *key = &incr->key;
    bool had_deadline = key->is_there && key->object.expire_ms != 0;
    text_assign(key, text);
    key_save(key, incr->is_float ? "incrbyfloat" : "incrby", EVENT_STRING);
    if (incr->has_expiry && !(incr->is_enx && had_deadline)) {
        if (incr->expire_ms <= store_txn_now_ms(call->txn)) {
            key_remove(key, "del", EVENT_GENERIC);
            return;
        }
        store_key_set_expiry(call->txn, &key->ref, &key->object, incr->expire_ms);
        key_changed(call, key->ref.name, "expire", EVENT_GENERIC);
    } else if (incr->is_persist && had_deadline) {
        store_key_set_expiry(call->txn, &key->ref, &key->object, 0);
        key_changed(call, key->ref.name, "persist", EVENT_GENERIC);
    }
}

/* ---- integers ---- */

static bool int_at(const struct data_call *call, uint32_t i, int64_t *v)
{
    return i == 0 || arg_int(call, i, v);
}

static bool int_value(struct increx *incr, int64_t *v)
{
    struct buf scratch = {0};
    *v = 0;
    bool is_number = !incr->key.is_there || (incr->key.object.count <= STORE_INLINE_MAX &&
                                             slice_to_int64(text_of(&incr->key, &scratch), v));
    buf_fini(&scratch);
    if (!is_number) { reply_error(incr->call->reply, data_not_an_integer); }
    return is_number;
}

static void int_reply(const struct increx *incr, int64_t value, int64_t by)
{
    reply_array(incr->call->reply, 2);
    reply_int(incr->call->reply, value);
    reply_int(incr->call->reply, by);
}

static void increment_int(struct increx *incr)
{
    struct data_call *call = incr->call;
    int64_t by = 1;
    int64_t lower = INT64_MIN;
    int64_t upper = INT64_MAX;
    int64_t old;
    if (!int_at(call, incr->by_at, &by) || !int_at(call, incr->lower_at, &lower) ||
        !int_at(call, incr->upper_at, &upper) || !bounds_are_good(incr, lower <= upper) ||
        !int_value(incr, &old)) {
        return;
    }
    __int128 next = (__int128)old + by;
    bool is_outside = next < lower || next > upper;
    if (is_outside && !incr->saturates) {
        int_reply(incr, old, 0);
        return;
    }
    if (is_outside) { next = next < lower ? lower : upper; }
    int64_t applied;
    if (__builtin_sub_overflow((int64_t)next, old, &applied)) {
        reply_error(call->reply, "ERR increment or decrement would overflow");
        return;
    }
    struct buf text = {0};
    buf_appendf(&text, "%ld", (long)next);
    write_number(incr, buf_slice(&text));
    buf_fini(&text);
    int_reply(incr, (int64_t)next, applied);
}

/* ---- fractions ---- */

static bool float_at(const struct data_call *call, uint32_t i, long double *v)
{
    if (i == 0 || text_to_long_double(call->argv[i], v)) { return true; }
    reply_error(call->reply, data_not_a_float);
    return false;
}

static bool float_value(struct increx *incr, long double *v)
{
    struct buf scratch = {0};
    *v = 0;
    bool is_number = !incr->key.is_there || text_to_long_double(text_of(&incr->key, &scratch), v);
    buf_fini(&scratch);
    if (!is_number) { reply_error(incr->call->reply, data_not_a_float); }
    return is_number;
}

static void float_reply(const struct increx *incr, long double value, long double by)
{
    struct reply *reply = incr->call->reply;
    char text[FLOAT_TEXT_MAX];
    reply_array(reply, 2);
    reply_double_text(reply, slice_of(text, long_double_to_text(value, text)));
    reply_double_text(reply, slice_of(text, long_double_to_text(by, text)));
}

static void increment_float(struct increx *incr)
{
    struct data_call *call = incr->call;
    long double by = 1;
    long double lower = -LDBL_MAX;
    long double upper = LDBL_MAX;
    long double old;
    if (!float_at(call, incr->by_at, &by) || !float_at(call, incr->lower_at, &lower) ||
        !float_at(call, incr->upper_at, &upper) || !bounds_are_good(incr, lower <= upper) ||
        !float_value(incr, &old)) {
        return;
    }
    long double next = old + by;
    bool is_outside = next < lower || next > upper;
    if (is_outside && incr->saturates) { next = next < lower ? lower : upper; }
    if (isnan(next) || isinf(next) || isinf(next - old)) {
        reply_error(call->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    if (is_outside && !incr->saturates) {
        float_reply(incr, old, 0);
        return;
    }
    char text[FLOAT_TEXT_MAX];
    write_number(incr, slice_of(text, long_double_to_text(next, text)));
    float_reply(incr, next, is_outside ? next - old : by);
}

void data_increx(struct data_call *call)
{
    struct increx incr = {.call = call};
    if (!key_open(call, call->argv[1], STORE_STRING, &incr.key)) { return; }
    if (!options_read(&incr)) { return; }
    if (incr.is_float) {
        increment_float(&incr);
    } else {
        increment_int(&incr);
    }
}
