/* data_hash_expire: deadlines of fields: HEXPIRE and its kin. */
#include "data/data_args.h"
#include "data/data_hash.h"
#include "store/store_hash.h"

/* What a field is answered. */
enum {
    FIELD_ABSENT = -2,
    FIELD_ENDLESS = -1,
    FIELD_REFUSED = 0, /* by the condition */
    FIELD_DONE = 1,
    FIELD_GONE = 2, /* the deadline was past */
};

/* In ms; Redis has 46 bits for it. */
static const int64_t deadline_max = 0xffffffffffff >> 2;

/* FIELDS numfields field ... from argument `at` to the end. False: it is no good, and the reply says so. */
static bool fields_read(const struct data_call *call, uint32_t at, const char *bad_count)
{
    int64_t count;
    if (!arg_is_with_value(call, at, "FIELDS")) {
        reply_error(call->reply,
                    "ERR Mandatory argument FIELDS is missing or not at the right position");
        return false;
    }
    if (!arg_int_in(call, at + 1, 1, INT64_MAX, bad_count, &count)) { return false; }
    if (count == call->argc - at - 2) { return true; }
    reply_error(call->reply, "ERR The `numfields` parameter must match the number of arguments");
    return false;
}

static const char not_positive[] = "ERR Number of fields must be a positive integer";

/* KEY FIELDS numfields field ...: a reply for each field is to follow. False: the reply is there. */
static bool fields_open(struct data_call *call, struct data_key *key)
{
    if (!key_open(call, call->argv[1], STORE_HASH, key) || !fields_read(call, 2, not_positive)) {
        return false;
    }
    reply_array(call->reply, call->argc - 4);
    return true;
}

/* ---- HEXPIRE ---- */

enum condition { IF_ANY, IF_NONE, IF_SOME, IF_GREATER, IF_LESS };

static enum condition condition_read(const struct data_call *call, uint32_t i)
{
    static const char *const words[] = {"NX", "XX", "GT", "LT"};
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        if (arg_is(call, i, words[w])) { return (enum condition)(w + 1); }
    }
    return IF_ANY;
}

/* `old_ms` 0: none, which is longer than all. */
static bool holds(enum condition condition, uint64_t old_ms, uint64_t at_ms)
{
    switch (condition) {
    case IF_ANY: return true;
    case IF_NONE: return old_ms == 0;
    case IF_SOME: return old_ms != 0;
    case IF_GREATER: return old_ms != 0 && at_ms > old_ms;
    case IF_LESS: return old_ms == 0 || at_ms < old_ms;
    }
    return false;
}

static int field_expire(struct data_key *key, struct slice field, enum condition condition,
                        uint64_t at_ms)
{
    struct store_txn *txn = key->call->txn;
    uint64_t old_ms;
    if (!key->is_there || !store_hash_expiry(txn, &key->object, field, &old_ms)) {
        return FIELD_ABSENT;
    }
    if (!holds(condition, old_ms, at_ms)) { return FIELD_REFUSED; }
    if (at_ms <= store_txn_now_ms(txn)) {
        (void)store_hash_delete(txn, &key->object, field);
        return FIELD_GONE;
    }
    (void)store_hash_set_expiry(txn, &key->object, field, at_ms);
    return FIELD_DONE;
}

/* Argument 2 as a moment in ms. `name` is the command's, for the error. */
static bool deadline_read(const struct data_call *call, const char *name, bool is_seconds,
                          bool is_at, uint64_t *at_ms)
{
    int64_t v;
    if (!arg_int(call, 2, &v)) { return false; }
    if (v < 0) {
        reply_error(call->reply, "ERR invalid expire time, must be >= 0");
        return false;
    }
    int64_t now_ms = is_at ? 0 : (int64_t)store_txn_now_ms(call->txn);
    bool is_over = is_seconds && __builtin_mul_overflow(v, 1000, &v);
    if (is_over || v > deadline_max - now_ms) {
        reply_errorf(call->reply, "ERR invalid expire time in '%s' command", name);
        return false;
    }
    *at_ms = (uint64_t)(v + now_ms);
    return true;
}

static void expire(struct data_call *call, const char *name, bool is_seconds, bool is_at)
{
    uint64_t at_ms;
    struct data_key key;
    enum condition condition = condition_read(call, 3);
    uint32_t at = condition == IF_ANY ? 3 : 4;
    if (!key_open(call, call->argv[1], STORE_HASH, &key)) { return; }
    if (!deadline_read(call, name, is_seconds, is_at, &at_ms) ||
        !fields_read(call, at, "ERR Parameter `numFields` should be greater than 0")) {
        return;
    }
    bool is_set = false;
    bool is_gone = false;
    reply_array(call->reply, call->argc - at - 2);
    for (uint32_t i = at + 2; i < call->argc; i++) {
        int result = field_expire(&key, call->argv[i], condition, at_ms);
        is_set = is_set || result == FIELD_DONE;
        is_gone = is_gone || result == FIELD_GONE;
        reply_int(call->reply, result);
    }
    if (is_set || is_gone) { key_save(&key, is_gone ? "hdel" : "hexpire", EVENT_HASH); }
}

void data_hexpire(struct data_call *call)
{
    expire(call, "hexpire", true, false);
}

void data_hpexpire(struct data_call *call)
{
    expire(call, "hpexpire", false, false);
}

void data_hexpireat(struct data_call *call)
{
    expire(call, "hexpireat", true, true);
}

void data_hpexpireat(struct data_call *call)
{
    expire(call, "hpexpireat", false, true);
}

void data_hpersist(struct data_call *call)
{
    struct data_key key;
    bool is_changed = false;
    if (!fields_open(call, &key)) { return; }
    for (uint32_t i = 4; i < call->argc; i++) {
        uint64_t old_ms;
        int result = FIELD_ABSENT;
        if (key.is_there && store_hash_expiry(call->txn, &key.object, call->argv[i], &old_ms)) {
            result = old_ms == 0 ? FIELD_ENDLESS : FIELD_DONE;
        }
        if (result == FIELD_DONE) {
            (void)store_hash_set_expiry(call->txn, &key.object, call->argv[i], 0);
            is_changed = true;
        }
        reply_int(call->reply, result);
    }
    if (is_changed) { key_save(&key, "hpersist", EVENT_HASH); }
}

/* ---- HTTL ---- */

static void time_left(struct data_call *call, bool is_seconds, bool is_at)
{
    struct data_key key;
    int64_t now_ms = is_at ? 0 : (int64_t)store_txn_now_ms(call->txn);
    if (!fields_open(call, &key)) { return; }
    for (uint32_t i = 4; i < call->argc; i++) {
        uint64_t at_ms;
        int64_t v = FIELD_ABSENT;
        if (key.is_there && store_hash_expiry(call->txn, &key.object, call->argv[i], &at_ms)) {
            v = FIELD_ENDLESS;
            if (at_ms != 0) { v = (int64_t)at_ms - now_ms; }
            if (at_ms != 0 && is_seconds) { v = (v + 999) / 1000; }
        }
        reply_int(call->reply, v);
    }
}

void data_httl(struct data_call *call)
{
    time_left(call, true, false);
}

void data_hpttl(struct data_call *call)
{
    time_left(call, false, false);
}

void data_hexpiretime(struct data_call *call)
{
    time_left(call, true, true);
}

void data_hpexpiretime(struct data_call *call)
{
    time_left(call, false, true);
}

/* ---- HGETDEL ---- */

void data_hgetdel(struct data_call *call)
{
    struct data_key key;
    bool is_changed = false;
    if (!fields_open(call, &key)) { return; }
    for (uint32_t i = 4; i < call->argc; i++) {
        hash_reply(&key, call->argv[i]);
        bool is_gone = key.is_there && store_hash_delete(call->txn, &key.object, call->argv[i]);
        is_changed = is_changed || is_gone;
    }
    if (is_changed) { key_save(&key, "hdel", EVENT_HASH); }
}
