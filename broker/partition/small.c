/* small: see the header. */
#include "partition/small.h"

#include "base/slot.h"
#include "store/store_key.h"

enum {
    SMALL_COUNT = 1024,  /* elements looked at, by all calls of a request */
    SMALL_BYTES = 65536, /* of strings */
    SMALL_CALLS = 64,
    SMALL_WORDS = 128,
    SMALL_PAIRS = 256, /* that count as one element */
};

enum reach {
    REACH_ALL,   /* looks at all of its keys' elements: or says so here, for not having a row */
    REACH_ONE,   /* at one of them, or at few */
    REACH_RANGE, /* from word 2 to word 3, by index */
    REACH_COUNT, /* at as many as its COUNT or LIMIT says */
    REACH_DB,    /* at all keys of the database */
    REACH_PAIRS, /* at each byte of one string beside each of the other */
};

#define ROW(word, what)               \
    {                                 \
        {word, sizeof word - 1}, what \
    }
static const struct {
    struct slice name;
    enum reach reach;
} reaches[] = {
    ROW("dbsize", REACH_ONE),
    ROW("exists", REACH_ONE),
    ROW("expiretime", REACH_ONE),
    ROW("geodist", REACH_ONE),
    ROW("geohash", REACH_ONE),
    ROW("geopos", REACH_ONE),
    ROW("getbit", REACH_ONE),
    ROW("hexists", REACH_ONE),
    ROW("hexpiretime", REACH_ONE),
    ROW("hget", REACH_ONE),
    ROW("hlen", REACH_ONE),
    ROW("hmget", REACH_ONE),
    ROW("hpexpiretime", REACH_ONE),
    ROW("hpttl", REACH_ONE),
    ROW("hstrlen", REACH_ONE),
    ROW("httl", REACH_ONE),
    ROW("keys", REACH_DB),
    ROW("lcs", REACH_PAIRS),
    ROW("lindex", REACH_ONE),
    ROW("llen", REACH_ONE),
    ROW("lrange", REACH_RANGE),
    ROW("object", REACH_ONE),
    ROW("pexpiretime", REACH_ONE),
    ROW("pttl", REACH_ONE),
    ROW("randomkey", REACH_ONE),
    ROW("scan", REACH_COUNT),
    ROW("scard", REACH_ONE),
    ROW("sismember", REACH_ONE),
    ROW("smismember", REACH_ONE),
    ROW("strlen", REACH_ONE),
    ROW("touch", REACH_ONE),
    ROW("ttl", REACH_ONE),
    ROW("type", REACH_ONE),
    ROW("xlen", REACH_ONE),
    ROW("xrange", REACH_COUNT),
    ROW("xread", REACH_COUNT),
    ROW("xrevrange", REACH_COUNT),
    ROW("zcard", REACH_ONE),
    ROW("zcount", REACH_ONE),
    ROW("zmscore", REACH_ONE),
    ROW("zrange", REACH_RANGE),
    ROW("zrangebyscore", REACH_COUNT),
    ROW("zrank", REACH_ONE),
    ROW("zrevrange", REACH_RANGE),
    ROW("zrevrangebyscore", REACH_COUNT),
    ROW("zrevrank", REACH_ONE),
    ROW("zscore", REACH_ONE),
};

static enum reach reach_of(struct slice name)
{
    for (size_t i = 0; i < COUNT_OF(reaches); i++) {
        if (name.len == reaches[i].name.len && slice_equal_nocase(name, reaches[i].name)) {
            return reaches[i].reach;
        }
    }
    return REACH_ALL;
}

static bool word_object(const struct partition *p, struct store_txn *txn,
                        const struct partition_call *call, uint32_t word,
                        struct store_object *object)
{
    bool is_sharded = call->db < 64 && (p->all->opts.sharded_databases >> call->db & 1) != 0;
    const struct store_ref ref = {call->db, is_sharded ? slot_of(call->argv[word]) : 0,
                                  call->argv[word]};
    return store_key_find(txn, &ref, object);
}

static uint64_t pairs_of(const struct partition *p, struct store_txn *txn,
                         const struct partition_call *call)
{
    struct store_object a;
    struct store_object b;
    uint64_t pairs;
    if (call->argc < 3 || !word_object(p, txn, call, 1, &a) || !word_object(p, txn, call, 2, &b)) {
        return 0;
    }
    return __builtin_mul_overflow(a.count, b.count, &pairs) ? UINT64_MAX : pairs / SMALL_PAIRS;
}

/* What the words that are keys hold; a word that is none holds nothing. */
static uint64_t keys_count(const struct partition *p, struct store_txn *txn,
                           const struct partition_call *call)
{
    uint64_t count = 0;
    for (uint32_t i = 1; i < call->argc; i++) {
        struct store_object object;
        if (!word_object(p, txn, call, i, &object)) { continue; }
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
    case REACH_PAIRS: return pairs_of(p, txn, call);
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
