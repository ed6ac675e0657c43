/* data_list_move: from list to list, from several lists, and waiting for one. */
#include "data/data_args.h"
#include "data/data_encoding.h"
#include "data/data_list.h"

/* Move one element of a source that is there, and reply with it. */
static void move_element(struct data_key *source, enum store_end from, struct slice to_name,
                         enum store_end to)
{
    struct data_call *call = source->call;
    struct data_key target;
    if (!key_open(call, to_name, STORE_LIST, &target)) { return; }
    struct buf element = {0};
    bool is_same = slice_equal(source->ref.name, to_name);
    if (is_same) {
        store_list_pop(call->txn, &source->object, from, &element);
        store_list_push(call->txn, &source->object, to, buf_slice(&element));
        key_save(source, to == STORE_HEAD ? "lpush" : "rpush", EVENT_LIST);
    } else {
        list_pop(source, from, &element);
        struct store_object *list = key_make(&target, STORE_LIST);
        store_list_push(call->txn, list, to, buf_slice(&element));
        encoding_note(list, buf_slice(&element));
        key_save(&target, to == STORE_HEAD ? "lpush" : "rpush", EVENT_LIST);
    }
    reply_bulk(call->reply, buf_slice(&element));
    buf_fini(&element);
}

static void move_or(struct data_call *call, enum store_end from, enum store_end to, bool may_wait)
{
    struct data_key source;
    if (!key_open(call, call->argv[1], STORE_LIST, &source)) { return; }
    if (source.is_there) {
        move_element(&source, from, call->argv[2], to);
    } else if (may_wait) {
        park_or_null(call, false);
    } else {
        reply_null(call->reply);
    }
}

static bool arg_ends(struct data_call *call, enum store_end *from, enum store_end *to)
{
    if (arg_end(call, 3, from) && arg_end(call, 4, to)) { return true; }
    reply_error(call->reply, data_syntax_error);
    return false;
}

void data_lmove(struct data_call *call)
{
    enum store_end from;
    enum store_end to;
    if (arg_ends(call, &from, &to)) { move_or(call, from, to, false); }
}

void data_blmove(struct data_call *call)
{
    enum store_end from;
    enum store_end to;
    uint64_t timeout_ms;
    if (!arg_ends(call, &from, &to) || !arg_timeout(call, 5, &timeout_ms)) { return; }
    move_or(call, from, to, true);
}

void data_rpoplpush(struct data_call *call)
{
    move_or(call, STORE_TAIL, STORE_HEAD, false);
}

void data_brpoplpush(struct data_call *call)
{
    uint64_t timeout_ms;
    if (arg_timeout(call, 3, &timeout_ms)) { move_or(call, STORE_TAIL, STORE_HEAD, true); }
}

/* ---- several keys ---- */

static void blocking_pop(struct data_call *call, enum store_end end)
{
    uint64_t timeout_ms;
    if (!arg_timeout(call, call->argc - 1, &timeout_ms)) { return; }
    for (uint32_t i = 1; i + 1 < call->argc; i++) {
        struct data_key key;
        if (!key_open(call, call->argv[i], STORE_LIST, &key)) { return; }
        if (!key.is_there) { continue; }
        struct buf out = {0};
        list_pop(&key, end, &out);
        reply_array(call->reply, 2);
        reply_bulk(call->reply, call->argv[i]);
        reply_bulk(call->reply, buf_slice(&out));
        buf_fini(&out);
        return;
    }
    park_or_null(call, true);
}

void data_blpop(struct data_call *call)
{
    blocking_pop(call, STORE_HEAD);
}

void data_brpop(struct data_call *call)
{
    blocking_pop(call, STORE_TAIL);
}

/* LMPOP from argument `at` (numkeys) on. */
static void pop_of_many(struct data_call *call, uint32_t at, bool may_wait)
{
    static const char *const ends[2] = {"LEFT", "RIGHT"};
    struct pop_of_many pop;
    if (!arg_pop_of_many(call, at, ends, &pop)) { return; }
    for (uint32_t i = pop.keys_at; i < pop.keys_end; i++) {
        struct data_key key;
        if (!key_open(call, call->argv[i], STORE_LIST, &key)) { return; }
        if (!key.is_there) { continue; }
        reply_array(call->reply, 2);
        reply_bulk(call->reply, call->argv[i]);
        list_pop_many(&key, pop.is_second ? STORE_TAIL : STORE_HEAD, pop.count);
        return;
    }
    if (may_wait) {
        park_or_null(call, true);
    } else {
        reply_null_array(call->reply);
    }
}

void data_lmpop(struct data_call *call)
{
    pop_of_many(call, 1, false);
}

void data_blmpop(struct data_call *call)
{
    uint64_t timeout_ms;
    if (arg_timeout(call, 1, &timeout_ms)) { pop_of_many(call, 2, true); }
}
