/* data_zset_pop: the lowest or highest members taken out of sorted sets, and waiting for some. */
#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_names.h"
#include "data/data_zset.h"

static const char *pop_event(bool is_max)
{
    return is_max ? "zpopmax" : "zpopmin";
}

static void collect(void *arg, struct store_walk *walk)
{
    bool is_new;
    names_add(arg, store_walk_name(walk), &is_new)->score = store_walk_score(walk);
}

/* Take up to `count` members out of a sorted set that is there, in the order in which they are to be told, and save it. */
static void pop(struct data_key *key, bool is_max, uint64_t count, struct data_names *popped)
{
    uint64_t total = key->object.count;
    names_init(popped);
    if (count > total) { count = total; }
    if (count == 0) { return; }
    struct rank_range ranks = {is_max ? total - count : 0, is_max ? total : count};
    range_visit(key, ranks, is_max, collect, popped);
    NAMES_EACH(at, popped)
    {
        (void)store_zset_delete(key->call->txn, &key->object, name_bytes(NAME_OF(at)));
    }
    key_save(key, pop_event(is_max), EVENT_ZSET);
}

static void zpop(struct data_call *call, bool is_max)
{
    int64_t count = 1;
    struct data_key key;
    if (call->argc > 3) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    if (!arg_count(call, 2, &count)) { return; }
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    struct data_names popped;
    names_init(&popped);
    if (key.is_there) { pop(&key, is_max, (uint64_t)count, &popped); }
    struct zset_out out = {call->reply, true, false};
    if (call->argc == 3) {
        zset_out_head(&out, call->reply, true, popped.map.count);
    } else {
        reply_array(call->reply, 2 * popped.map.count);
    }
    NAMES_EACH(at, &popped)
    {
        zset_out_member(&out, name_bytes(NAME_OF(at)), NAME_OF(at)->score);
    }
    names_fini(&popped);
}

void data_zpopmin(struct data_call *call)
{
    zpop(call, false);
}

void data_zpopmax(struct data_call *call)
{
    zpop(call, true);
}

static void bzpop(struct data_call *call, bool is_max)
{
    uint64_t timeout_ms;
    if (!arg_timeout(call, call->argc - 1, &timeout_ms)) { return; }
    for (uint32_t i = 1; i + 1 < call->argc; i++) {
        struct data_key key;
        if (!key_open(call, call->argv[i], STORE_ZSET, &key)) { return; }
        if (!key.is_there) { continue; }
        struct data_names popped;
        pop(&key, is_max, 1, &popped);
        reply_array(call->reply, 3);
        reply_bulk(call->reply, call->argv[i]);
        NAMES_EACH(at, &popped)
        {
            reply_bulk(call->reply, name_bytes(NAME_OF(at)));
            reply_double(call->reply, NAME_OF(at)->score);
        }
        names_fini(&popped);
        return;
    }
    park_or_null(call, true);
}

void data_bzpopmin(struct data_call *call)
{
    bzpop(call, false);
}

void data_bzpopmax(struct data_call *call)
{
    bzpop(call, true);
}

/* ZMPOP from argument `at` (numkeys) on. */
static void pop_of_many(struct data_call *call, uint32_t at, bool may_wait)
{
    static const char *const ends[2] = {"MIN", "MAX"};
    struct pop_of_many many;
    if (!arg_pop_of_many(call, at, ends, &many)) { return; }
    for (uint32_t i = many.keys_at; i < many.keys_end; i++) {
        struct data_key key;
        if (!key_open(call, call->argv[i], STORE_ZSET, &key)) { return; }
        if (!key.is_there) { continue; }
        struct data_names popped;
        pop(&key, many.is_second, many.count, &popped);
        reply_array(call->reply, 2);
        reply_bulk(call->reply, call->argv[i]);
        reply_array(call->reply, popped.map.count);
        struct zset_out out = {call->reply, true, true};
        NAMES_EACH(each, &popped)
        {
            zset_out_member(&out, name_bytes(NAME_OF(each)), NAME_OF(each)->score);
        }
        names_fini(&popped);
        return;
    }
    if (may_wait) {
        park_or_null(call, true);
    } else {
        reply_null_array(call->reply);
    }
}

void data_zmpop(struct data_call *call)
{
    pop_of_many(call, 1, false);
}

void data_bzmpop(struct data_call *call)
{
    uint64_t timeout_ms;
    if (arg_timeout(call, 1, &timeout_ms)) { pop_of_many(call, 2, true); }
}
