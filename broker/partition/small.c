/* small: see the header. */
#include "partition/small.h"

#include "base/slot.h"
#include "store/store_key.h"

enum {
    SMALL_COUNT = 1024,  /* elements looked at, by all calls of a request */
    SMALL_BYTES = 65536, /* of strings */
    SMALL_CALLS = 64,
    SMALL_WORDS = 128,
};

enum reach {
    REACH_ALL,   /* looks at all of its keys' elements: or says so here, for not having a row */
    REACH_ONE,   /* at one of them, or at few */
    REACH_RANGE, /* from word 2 to word 3, by index */
    REACH_COUNT, /* at as many as its COUNT or LIMIT says */
    REACH_DB,    /* at all keys of the database */
};

static const struct {
    const char *name;
    enum reach reach;
} reaches[] = {
    {"dbsize", REACH_ONE},
    {"exists", REACH_ONE},
    {"expiretime", REACH_ONE},
    {"getbit", REACH_ONE},
    {"hexists", REACH_ONE},
    {"hget", REACH_ONE},
    {"hlen", REACH_ONE},
    {"hmget", REACH_ONE},
    {"hstrlen", REACH_ONE},
    {"keys", REACH_DB},
    {"lindex", REACH_ONE},
    {"llen", REACH_ONE},
    {"lrange", REACH_RANGE},
    {"object", REACH_ONE},
    {"pexpiretime", REACH_ONE},
    {"pttl", REACH_ONE},
    {"randomkey", REACH_ONE},
    {"scan", REACH_COUNT},
    {"scard", REACH_ONE},
    {"sismember", REACH_ONE},
    {"smismember", REACH_ONE},
    {"strlen", REACH_ONE},
    {"touch", REACH_ONE},
    {"ttl", REACH_ONE},
    {"type", REACH_ONE},
    {"xlen", REACH_ONE},
    {"xrange", REACH_COUNT},
    {"xread", REACH_COUNT},
    {"xrevrange", REACH_COUNT},
    {"zcard", REACH_ONE},
    {"zcount", REACH_ONE},
    {"zmscore", REACH_ONE},
    {"zrange", REACH_RANGE},
    {"zrangebyscore", REACH_COUNT},
    {"zrank", REACH_ONE},
    {"zrevrange", REACH_RANGE},
    {"zrevrangebyscore", REACH_COUNT},
    {"zrevrank", REACH_ONE},
    {"zscore", REACH_ONE},
};

static enum reach reach_of(struct slice name)
{
    for (size_t i = 0; i < COUNT_OF(reaches); i++) {
        if (slice_equal_nocase(name, slice_of_str(reaches[i].name))) { return reaches[i].reach; }
    }
    return REACH_ALL;
}

/* What the words that are keys hold; a word that is none holds nothing. */
static uint64_t keys_count(const struct partition *p, struct store_txn *txn,
                           const struct partition_call *call)
{
    bool is_sharded = call->db < 64 && (p->all->opts.sharded_databases >> call->db & 1) != 0;
    uint64_t count = 0;
    for (uint32_t i = 1; i < call->argc; i++) {
        const struct store_ref ref = {call->db, is_sharded ? slot_of(call->argv[i]) : 0,
                                      call->argv[i]};
        struct store_object object;
        if (!store_key_find(txn, &ref, &object)) { continue; }
        bool is_string = object.type == STORE_STRING;
        count += is_string ? object.count / (SMALL_BYTES / SMALL_COUNT) : object.count;
    }
    return count;
}

/* How far apart the words are, if that can be said without the key's length. */
static bool range_of(const struct partition_call *call, uint64_t *count)
{
    int64_t from;
    int64_t to;
    if (call->argc < 4 || !slice_to_int64(call->argv[2], &from) ||
        !slice_to_int64(call->argv[3], &to) || (from < 0) != (to < 0)) {
        return false;
    }
    *count = to >= from ? (uint64_t)to - (uint64_t)from + 1 : 0;
    return true;
}

static bool count_of(const struct partition_call *call, uint64_t *count)
{
    for (uint32_t i = 1; i + 1 < call->argc; i++) {
        int64_t v;
        uint32_t at = i + (slice_equal_nocase(call->argv[i], SLICE("limit")) ? 2 : 1);
        bool is_word = slice_equal_nocase(call->argv[i], SLICE("count")) || at == i + 2;
        if (!is_word || at >= call->argc) { continue; }
        if (!slice_to_int64(call->argv[at], &v) || v <= 0) { return false; }
        *count = (uint64_t)v;
        return true;
    }
    return false;
}

static uint64_t call_reach(const struct partition *p, struct store_txn *txn,
                           const struct partition_call *call)
{
    uint64_t count = 0;
    switch (reach_of(call->argv[0])) {
    case REACH_ONE: return call->argc / 8;
    case REACH_RANGE:
        if (range_of(call, &count) && count <= SMALL_COUNT) { return count; }
        break;
    case REACH_COUNT:
        if (count_of(call, &count) && count <= SMALL_COUNT) { return count; }
        break;
    case REACH_DB: return store_db_count(txn, call->db).keys;
    case REACH_ALL: break;
    }
    return keys_count(p, txn, call);
}

bool small_is(const struct partition *p, struct store_txn *txn,
              const struct partition_request *request)
{
    uint64_t count = 0;
    if (request->call_count > SMALL_CALLS) { return false; }
    for (uint32_t i = 0; i < request->call_count && count <= SMALL_COUNT; i++) {
        if (request->call[i].argc > SMALL_WORDS) { return false; }
        count += call_reach(p, txn, &request->call[i]);
    }
    return count <= SMALL_COUNT;
}
