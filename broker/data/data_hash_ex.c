/* data_hash_ex: HGETEX and HSETEX: values and deadlines of fields at once. */
#include "data/data_args.h"
#include "data/data_expiry.h"
#include "data/data_hash.h"
#include "store/store_hash.h"

enum deadline { DEADLINE_NONE, DEADLINE_SET, DEADLINE_GONE, DEADLINE_KEPT };

/* The options of both, in any order. */
struct ex {
    struct data_call *call;
    bool is_set;         /* HSETEX */
    uint32_t fields_at;  /* the first one */
    uint32_t fields_end; /* behind the last one, or its value */
    enum deadline deadline;
    uint32_t expiry_at; /* in argv */
    struct expiry_unit unit;
    uint64_t expire_ms;
    bool is_fnx;
    bool is_fxx;
};

static bool refuse(const struct ex *ex, const char *error)
{
    reply_error(ex->call->reply, error);
    return false;
}

/* FIELDS numfields field ... False: it is no good, and the reply says so. */
static bool fields_read(struct ex *ex, uint32_t *i)
{
    const struct data_call *call = ex->call;
    int64_t count;
    int64_t words = call->argc - *i - 2;
    int64_t each = ex->is_set ? 2 : 1;
    if (!arg_int_in(call, *i + 1, 1, INT32_MAX, "ERR invalid number of fields", &count)) {
        return false;
    }
    if (count * each > words || ex->fields_at != 0) {
        return refuse(ex, "ERR wrong number of arguments");
    }
    ex->fields_at = *i + 2;
    ex->fields_end = (uint32_t)(ex->fields_at + count * each);
    *i = ex->fields_end - 1;
    return true;
}

static bool is_deadline_word(const struct data_call *call, uint32_t i)
{
    return arg_is(call, i, "EX") || arg_is(call, i, "PX") || arg_is(call, i, "EXAT") ||
           arg_is(call, i, "PXAT");
}

static bool deadline_option(struct ex *ex, uint32_t *i)
{
    const struct data_call *call = ex->call;
    if (ex->deadline != DEADLINE_NONE) {
        return refuse(ex, ex->is_set
                              ? "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be "
                                "specified"
                              : "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be "
                                "specified");
    }
    if (arg_is(call, *i, "PERSIST")) {
        ex->deadline = DEADLINE_GONE;
    } else if (arg_is(call, *i, "KEEPTTL")) {
        ex->deadline = DEADLINE_KEPT;
    } else if (!arg_is_expiry(call, *i, &ex->unit)) {
        return refuse(ex, "ERR missing expire time");
    } else {
        ex->deadline = DEADLINE_SET;
        ex->expiry_at = ++*i;
    }
    return true;
}

static bool condition_option(struct ex *ex, uint32_t i)
{
    if (ex->is_fnx || ex->is_fxx) {
        return refuse(ex, "ERR Only one of FXX or FNX arguments can be specified");
    }
    ex->is_fnx = arg_is(ex->call, i, "FNX");
    ex->is_fxx = !ex->is_fnx;
    return true;
}

static bool option_read(struct ex *ex, uint32_t *i)
{
    const struct data_call *call = ex->call;
    if (arg_is_with_value(call, *i, "FIELDS")) { return fields_read(ex, i); }
    bool is_deadline =
        is_deadline_word(call, *i) || arg_is(call, *i, ex->is_set ? "KEEPTTL" : "PERSIST");
    if (is_deadline) { return deadline_option(ex, i); }
    bool is_condition = ex->is_set && (arg_is(call, *i, "FNX") || arg_is(call, *i, "FXX"));
    if (is_condition) { return condition_option(ex, *i); }
    /* Behind the fields a word is one too many. */
    if (ex->fields_at != 0) { return refuse(ex, "ERR wrong number of arguments"); }
    reply_errorf(call->reply, "ERR unknown argument: %.*s",
                 (int)(call->argv[*i].len < 128 ? call->argv[*i].len : 128), call->argv[*i].data);
    return false;
}

static bool ex_read(struct ex *ex)
{
    for (uint32_t i = 2; i < ex->call->argc; i++) {
        if (!option_read(ex, &i)) { return false; }
    }
    if (ex->fields_at == 0) { return refuse(ex, "ERR missing FIELDS argument"); }
    return ex->deadline != DEADLINE_SET ||
           arg_expiry(ex->call, ex->expiry_at, ex->unit, &ex->expire_ms);
}

static bool is_past(const struct ex *ex)
{
    return ex->deadline == DEADLINE_SET && ex->expire_ms <= store_txn_now_ms(ex->call->txn);
}

/* ---- HGETEX ---- */

/* What the field's deadline becomes. False: nothing changed. */
static bool field_touch(const struct ex *ex, struct data_key *key, struct slice field)
{
    struct store_txn *txn = ex->call->txn;
    uint64_t old_ms;
    if (!key->is_there || ex->deadline == DEADLINE_NONE ||
        !store_hash_expiry(txn, &key->object, field, &old_ms)) {
        return false;
    }
    if (is_past(ex)) { return store_hash_delete(txn, &key->object, field); }
    if (ex->deadline == DEADLINE_GONE && old_ms == 0) { return false; }
    return store_hash_set_expiry(txn, &key->object, field, ex->expire_ms);
}

void data_hgetex(struct data_call *call)
{
    struct ex ex = {.call = call};
    struct data_key key;
    bool is_changed = false;
    if (!key_open(call, call->argv[1], STORE_HASH, &key) || !ex_read(&ex)) { return; }
    reply_array(call->reply, ex.fields_end - ex.fields_at);
    for (uint32_t i = ex.fields_at; i < ex.fields_end; i++) {
        hash_reply(&key, call->argv[i]);
        bool is_touched = field_touch(&ex, &key, call->argv[i]);
        is_changed = is_changed || is_touched;
    }
    if (!is_changed) { return; }
    const char *event = ex.deadline == DEADLINE_GONE ? "hpersist" : "hexpire";
    key_save(&key, is_past(&ex) ? "hdel" : event, EVENT_HASH);
}

/* ---- HSETEX ---- */

/* Are none of the fields there, or all of them, as is asked for? */
static bool condition_holds(const struct ex *ex, const struct data_key *key)
{
    for (uint32_t i = ex->fields_at; i < ex->fields_end; i += 2) {
        bool has =
            key->is_there && store_hash_has(ex->call->txn, &key->object, ex->call->argv[i], NULL);
        if (has ? ex->is_fnx : ex->is_fxx) { return false; }
    }
    return true;
}

/* With a deadline that is past, what is written is gone at once. */
static void fields_drop(const struct ex *ex, struct data_key *key)
{
    bool is_changed = false;
    for (uint32_t i = ex->fields_at; key->is_there && i < ex->fields_end; i += 2) {
        bool is_gone = store_hash_delete(ex->call->txn, &key->object, ex->call->argv[i]);
        is_changed = is_changed || is_gone;
    }
    if (is_changed) { key_save(key, "hdel", EVENT_HASH); }
}

static void fields_write(const struct ex *ex, struct data_key *key)
{
    for (uint32_t i = ex->fields_at; i < ex->fields_end; i += 2) {
        struct slice field = ex->call->argv[i];
        uint64_t kept_ms = ex->deadline == DEADLINE_KEPT ? hash_expiry(key, field) : 0;
        hash_put(key, field, ex->call->argv[i + 1],
                 ex->deadline == DEADLINE_SET ? ex->expire_ms : kept_ms);
    }
    key_save(key, "hset", EVENT_HASH);
    if (ex->deadline == DEADLINE_SET) {
        key_changed(ex->call, key->ref.name, "hexpire", EVENT_HASH);
    }
}

void data_hsetex(struct data_call *call)
{
    struct ex ex = {.call = call, .is_set = true};
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_HASH, &key) || !ex_read(&ex)) { return; }
    bool may = condition_holds(&ex, &key);
    if (may && is_past(&ex)) {
        fields_drop(&ex, &key);
    } else if (may) {
        fields_write(&ex, &key);
    }
    reply_int(call->reply, may);
}
