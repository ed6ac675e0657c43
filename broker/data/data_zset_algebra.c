/* data_zset_algebra: unions, intersections and differences of sorted sets, and of sets, whose members score 1. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_names.h"
#include "data/data_zset.h"
#include "store/store_set.h"

enum algebra { ALGEBRA_UNION, ALGEBRA_INTER, ALGEBRA_DIFF };
enum aggregate { AGGREGATE_SUM, AGGREGATE_MIN, AGGREGATE_MAX };

struct source {
    struct data_key key;
    double weight;
};

struct combination {
    struct data_call *call;
    enum algebra algebra;
    enum aggregate aggregate;
    struct source *source;
    uint32_t count;
    bool has_scores;
    uint64_t limit; /* 0: none */
    struct data_names out;
};

/* ---- reading the arguments ---- */

static bool weights_read(struct combination *c, uint32_t *i)
{
    for (uint32_t s = 0; s < c->count; s++) {
        if (!text_to_double(c->call->argv[++*i], &c->source[s].weight)) {
            reply_error(c->call->reply, "ERR weight value is not a float");
            return false;
        }
    }
    return true;
}

static bool aggregate_read(struct combination *c, uint32_t i)
{
    static const char *const words[] = {"SUM", "MIN", "MAX"};
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        if (!arg_is(c->call, i, words[w])) { continue; }
        c->aggregate = (enum aggregate)w;
        return true;
    }
    reply_error(c->call->reply, data_syntax_error);
    return false;
}

static bool options_read(struct combination *c, uint32_t at, bool may_have_scores)
{
    struct data_call *call = c->call;
    bool is_diff = c->algebra == ALGEBRA_DIFF;
    for (uint32_t i = at; i < call->argc; i++) {
        if (!is_diff && arg_is(call, i, "WEIGHTS") && i + c->count < call->argc) {
            if (!weights_read(c, &i)) { return false; }
        } else if (!is_diff && arg_is_with_value(call, i, "AGGREGATE")) {
            if (!aggregate_read(c, ++i)) { return false; }
        } else if (may_have_scores && arg_is(call, i, "WITHSCORES")) {
            c->has_scores = true;
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    return true;
}

/* Open the source keys behind numkeys at argument `at`. False: the reply says why. */
static bool sources_open(struct combination *c, uint32_t at, const char *name)
{
    struct data_call *call = c->call;
    int64_t numkeys;
    if (!arg_int(call, at, &numkeys)) { return false; }
    if (numkeys < 1) {
        reply_errorf(call->reply, "ERR at least 1 input key is needed for '%s' command", name);
        return false;
    }
    if (numkeys > (int64_t)(call->argc - at - 1)) {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    c->count = (uint32_t)numkeys;
    c->source = mem_new0(c->count * sizeof *c->source);
    for (uint32_t s = 0; s < c->count; s++) {
        struct data_key key = key_find(call, call->argv[at + 1 + s]);
        bool is_good =
            !key.is_there || key.object.type == STORE_ZSET || key.object.type == STORE_SET;
        if (!is_good) {
            reply_error(call->reply, data_wrong_type);
            return false;
        }
        c->source[s] = (struct source){key, 1};
    }
    return true;
}

/* ---- combining ---- */

static bool source_score(const struct source *source, struct slice member, double *score)
{
    const struct data_key *key = &source->key;
    *score = 1;
    if (!key->is_there) { return false; }
    if (key->object.type == STORE_SET) {
        return store_set_has(key->call->txn, &key->object, member);
    }
    return store_zset_score(key->call->txn, &key->object, member, score);
}

static double weighted(const struct source *source, double score)
{
    double v = source->weight * score;
    return isnan(v) ? 0 : v;
}

static double aggregated(enum aggregate aggregate, double a, double b)
{
    double sum = a + b;
    switch (aggregate) {
    case AGGREGATE_SUM: return isnan(sum) ? 0 : sum;
    case AGGREGATE_MIN: return a < b ? a : b;
    case AGGREGATE_MAX: return a > b ? a : b;
    }
    return sum;
}

/* A member of source `s`, with its score there. */
static void combine_member(struct combination *c, uint32_t s, struct slice member, double score)
{
    bool is_new;
    double v = weighted(&c->source[s], score);
    if (c->algebra == ALGEBRA_UNION) {
        struct data_name *name = names_add(&c->out, member, &is_new);
        name->score = is_new ? v : aggregated(c->aggregate, name->score, v);
        return;
    }
    for (uint32_t other = 0; other < c->count; other++) {
        double more;
        if (other == s) { continue; }
        bool has = source_score(&c->source[other], member, &more);
        if (has != (c->algebra == ALGEBRA_INTER)) { return; }
        if (has) { v = aggregated(c->aggregate, v, weighted(&c->source[other], more)); }
    }
    names_add(&c->out, member, &is_new)->score = v;
}

static void combine_source(struct combination *c, uint32_t s)
{
    struct data_key *key = &c->source[s].key;
    if (!key->is_there) { return; }
    struct store_walk walk;
    bool is_set = key->object.type == STORE_SET;
    bool any = is_set ? store_set_walk(&walk, c->call->txn, &key->object, 0)
                      : store_zset_walk(&walk, c->call->txn, &key->object, 0, STORE_UP);
    for (; any; any = store_walk_next(&walk)) {
        combine_member(c, s, store_walk_name(&walk), is_set ? 1 : store_walk_score(&walk));
        if (c->limit > 0 && c->out.map.count >= c->limit) { break; }
    }
    store_walk_end(&walk);
}

static void combine(struct combination *c)
{
    uint32_t first = 0; /* of an intersection: the smallest */
    for (uint32_t s = 1; c->algebra == ALGEBRA_INTER && s < c->count; s++) {
        if (c->source[s].key.object.count < c->source[first].key.object.count) { first = s; }
    }
    if (c->algebra != ALGEBRA_UNION) {
        combine_source(c, first);
        return;
    }
    for (uint32_t s = 0; s < c->count; s++) {
        combine_source(c, s);
    }
}

/* ---- what becomes of it ---- */

static int by_score(const void *a, const void *b)
{
    const struct data_name *one = *(struct data_name *const *)a;
    const struct data_name *other = *(struct data_name *const *)b;
    if (one->score != other->score) { return one->score < other->score ? -1 : 1; }
    return slice_compare(name_bytes(one), name_bytes(other));
}

static void combination_reply(struct combination *c)
{
    size_t count = c->out.map.count;
    struct data_name **sorted = mem_new0((count + 1) * sizeof(struct data_name *));
    size_t i = 0;
    NAMES_EACH(at, &c->out)
    {
        sorted[i++] = NAME_OF(at);
    }
    qsort(sorted, count, sizeof sorted[0], by_score);
    struct zset_out out;
    zset_out_head(&out, c->call->reply, c->has_scores, count);
    for (i = 0; i < count; i++) {
        zset_out_member(&out, name_bytes(sorted[i]), sorted[i]->score);
    }
    mem_free(sorted);
}

static void combination_store(struct combination *c, const char *event)
{
    struct data_key target = key_replace(c->call, c->call->argv[1]);
    NAMES_EACH(at, &c->out)
    {
        zset_put(&target, name_bytes(NAME_OF(at)), NAME_OF(at)->score);
    }
    key_replaced(&target, event, EVENT_ZSET);
}

static void run(struct data_call *call, enum algebra algebra, const char *name, bool is_store)
{
    struct combination c = {.call = call, .algebra = algebra};
    uint32_t at = is_store ? 2 : 1;
    names_init(&c.out);
    if (sources_open(&c, at, name) && options_read(&c, at + 1 + c.count, !is_store)) {
        combine(&c);
        if (is_store) {
            combination_store(&c, name);
        } else {
            combination_reply(&c);
        }
    }
    names_fini(&c.out);
    mem_free(c.source);
}

void data_zunion(struct data_call *call)
{
    run(call, ALGEBRA_UNION, "zunion", false);
}

void data_zinter(struct data_call *call)
{
    run(call, ALGEBRA_INTER, "zinter", false);
}

void data_zdiff(struct data_call *call)
{
    run(call, ALGEBRA_DIFF, "zdiff", false);
}

void data_zunionstore(struct data_call *call)
{
    run(call, ALGEBRA_UNION, "zunionstore", true);
}

void data_zinterstore(struct data_call *call)
{
    run(call, ALGEBRA_INTER, "zinterstore", true);
}

void data_zdiffstore(struct data_call *call)
{
    run(call, ALGEBRA_DIFF, "zdiffstore", true);
}

void data_zintercard(struct data_call *call)
{
    struct combination c = {.call = call, .algebra = ALGEBRA_INTER};
    int64_t limit = 0;
    bool is_good = sources_open(&c, 1, "zintercard");
    for (uint32_t i = 2 + c.count; is_good && i < call->argc; i += 2) {
        if (arg_is_with_value(call, i, "LIMIT")) {
            is_good = arg_int_in(call, i + 1, 0, INT64_MAX, "ERR LIMIT can't be negative", &limit);
        } else {
            reply_error(call->reply, data_syntax_error);
            is_good = false;
        }
    }
    if (is_good) {
        c.limit = (uint64_t)limit;
        names_init(&c.out);
        combine(&c);
        reply_int(call->reply, (int64_t)c.out.map.count);
        names_fini(&c.out);
    }
    mem_free(c.source);
}
