/* data_expire: deadlines of keys. */
#include "data/data_args.h"
#include "data/data_key.h"

enum expire_condition { EXPIRE_NX = 1, EXPIRE_XX = 2, EXPIRE_GT = 4, EXPIRE_LT = 8 };

static bool expire_conditions(struct data_call *call, unsigned *conditions)
{
    *conditions = 0;
    for (uint32_t i = 3; i < call->argc; i++) {
        if (arg_is(call, i, "NX")) {
            *conditions |= EXPIRE_NX;
        } else if (arg_is(call, i, "XX")) {
            *conditions |= EXPIRE_XX;
        } else if (arg_is(call, i, "GT")) {
            *conditions |= EXPIRE_GT;
        } else if (arg_is(call, i, "LT")) {
            *conditions |= EXPIRE_LT;
        } else {
            reply_errorf(call->reply, "ERR Unsupported option %.*s",
                         (int)(call->argv[i].len < 128 ? call->argv[i].len : 128),
                         call->argv[i].data);
            return false;
        }
    }
    if ((*conditions & EXPIRE_NX) != 0 && *conditions != EXPIRE_NX) {
        reply_error(call->reply,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*conditions & EXPIRE_GT) != 0 && (*conditions & EXPIRE_LT) != 0) {
        reply_error(call->reply, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

static bool may_expire(unsigned conditions, uint64_t now_ms, int64_t at_ms)
{
    bool has = now_ms != 0;
    if ((conditions & EXPIRE_NX) != 0 && has) { return false; }
    if ((conditions & EXPIRE_XX) != 0 && !has) { return false; }
    if ((conditions & EXPIRE_GT) != 0 && (!has || at_ms <= (int64_t)now_ms)) { return false; }
    return (conditions & EXPIRE_LT) == 0 || !has || at_ms < (int64_t)now_ms;
}

/* `name` is the command's, for the error. */
static void expire(struct data_call *call, const char *name, bool is_seconds, bool is_at)
{
    unsigned conditions;
    int64_t at_ms;
    if (!expire_conditions(call, &conditions) || !arg_int(call, 2, &at_ms)) { return; }
    int64_t now_ms = (int64_t)store_txn_now_ms(call->txn);
    bool is_over = is_seconds && __builtin_mul_overflow(at_ms, 1000, &at_ms);
    if (is_over || (!is_at && __builtin_add_overflow(at_ms, now_ms, &at_ms))) {
        reply_errorf(call->reply, "ERR invalid expire time in '%s' command", name);
        return;
    }
    struct data_key key = key_find(call, call->argv[1]);
    bool may = key.is_there && may_expire(conditions, key.object.expire_ms, at_ms);
    if (may && at_ms <= now_ms) {
        key_remove(&key, "del", EVENT_GENERIC);
    } else if (may) {
        store_key_set_expiry(call->txn, &key.ref, &key.object, (uint64_t)at_ms);
        key_changed(call, call->argv[1], "expire", EVENT_GENERIC);
    }
    reply_int(call->reply, may);
}

void data_expire(struct data_call *call)
{
    expire(call, "expire", true, false);
}

void data_pexpire(struct data_call *call)
{
    expire(call, "pexpire", false, false);
}

void data_expireat(struct data_call *call)
{
    expire(call, "expireat", true, true);
}

void data_pexpireat(struct data_call *call)
{
    expire(call, "pexpireat", false, true);
}

void data_persist(struct data_call *call)
{
    struct data_key key = key_find(call, call->argv[1]);
    bool has = key.is_there && key.object.expire_ms != 0;
    if (has) {
        store_key_set_expiry(call->txn, &key.ref, &key.object, 0);
        key_changed(call, call->argv[1], "persist", EVENT_GENERIC);
    }
    reply_int(call->reply, has);
}

static void time_left(struct data_call *call, bool is_seconds, bool is_at)
{
    struct data_key key = key_find(call, call->argv[1]);
    if (!key.is_there || key.object.expire_ms == 0) {
        reply_int(call->reply, key.is_there ? -1 : -2);
        return;
    }
    int64_t v = (int64_t)key.object.expire_ms;
    if (!is_at) { v -= (int64_t)store_txn_now_ms(call->txn); }
    if (v < 0) { v = 0; }
    reply_int(call->reply, is_seconds ? (v + 500) / 1000 : v);
}

void data_ttl(struct data_call *call)
{
    time_left(call, true, false);
}

void data_pttl(struct data_call *call)
{
    time_left(call, false, false);
}

void data_expiretime(struct data_call *call)
{
    time_left(call, true, true);
}

void data_pexpiretime(struct data_call *call)
{
    time_left(call, false, true);
}
