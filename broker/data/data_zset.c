/* data_zset: members of sorted sets and their scores. */
#include "data/data_zset.h"

#include <math.h>

#include "data/data_args.h"
#include "data/data_encoding.h"
#include "data/data_random.h"
#include "data/data_scan.h"

void zset_put(struct data_key *key, struct slice member, double score)
{
    struct store_object *zset = key_make(key, STORE_ZSET);
    (void)store_zset_put(key->call->txn, zset, member, score);
    encoding_note(zset, member);
}

/* ---- ZADD, ZINCRBY ---- */

struct zadd {
    bool is_nx;
    bool is_xx;
    bool is_gt;
    bool is_lt;
    bool is_ch;
    bool is_incr;
    uint32_t pairs_at;
    int64_t added;
    int64_t updated;
};

static bool zadd_options(struct data_call *call, struct zadd *zadd)
{
    uint32_t i = 2;
    for (;; i++) {
        if (arg_is(call, i, "NX")) {
            zadd->is_nx = true;
        } else if (arg_is(call, i, "XX")) {
            zadd->is_xx = true;
        } else if (arg_is(call, i, "GT")) {
            zadd->is_gt = true;
        } else if (arg_is(call, i, "LT")) {
            zadd->is_lt = true;
        } else if (arg_is(call, i, "CH")) {
            zadd->is_ch = true;
        } else if (arg_is(call, i, "INCR")) {
            zadd->is_incr = true;
        } else {
            break;
        }
    }
    zadd->pairs_at = i;
    uint32_t words = call->argc - i;
    const char *error = NULL;
    if (i >= call->argc || words % 2 != 0) {
        error = data_syntax_error;
    } else if (zadd->is_nx && zadd->is_xx) {
        error = "ERR XX and NX options at the same time are not compatible";
    } else if ((zadd->is_gt && zadd->is_nx) || (zadd->is_lt && zadd->is_nx) ||
               (zadd->is_gt && zadd->is_lt)) {
        error = "ERR GT, LT, and/or NX options at the same time are not compatible";
    } else if (zadd->is_incr && words > 2) {
        error = "ERR INCR option supports a single increment-element pair";
    }
    if (error != NULL) { reply_error(call->reply, error); }
    return error == NULL;
}

enum put_result { PUT_NOTHING, PUT_DONE, PUT_NAN };

/* One member. *score is what it has afterwards. */
static enum put_result zadd_one(struct data_key *key, struct zadd *zadd, struct slice member,
                                double *score)
{
    double old = 0;
    bool is_there = key->is_there && store_zset_score(key->call->txn, &key->object, member, &old);
    if (is_there ? zadd->is_nx : zadd->is_xx) { return PUT_NOTHING; }
    if (zadd->is_incr && is_there) { *score += old; }
    if (isnan(*score)) { return PUT_NAN; }
    if (is_there && ((zadd->is_gt && *score <= old) || (zadd->is_lt && *score >= old))) {
        return PUT_NOTHING;
    }
    if (!is_there) {
        zadd->added++;
    } else if (*score != old) {
        zadd->updated++;
    }
    if (!is_there || *score != old) { zset_put(key, member, *score); }
    return PUT_DONE;
}

static void zadd_run(struct data_call *call, struct zadd *zadd)
{
    struct data_key key;
    double score = 0;
    for (uint32_t i = zadd->pairs_at; i < call->argc; i += 2) {
        if (!arg_double(call, i, &score)) { return; }
    }
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    enum put_result result = PUT_NOTHING;
    for (uint32_t i = zadd->pairs_at; i < call->argc && result != PUT_NAN; i += 2) {
        (void)text_to_double(call->argv[i], &score);
        result = zadd_one(&key, zadd, call->argv[i + 1], &score);
    }
    if (zadd->added + zadd->updated > 0) {
        key_save(&key, zadd->is_incr ? "zincr" : "zadd", EVENT_ZSET);
    }
    if (result == PUT_NAN) {
        reply_error(call->reply, "ERR resulting score is not a number (NaN)");
    } else if (!zadd->is_incr) {
        reply_int(call->reply, zadd->added + (zadd->is_ch ? zadd->updated : 0));
    } else if (result == PUT_DONE) {
        reply_double(call->reply, score);
    } else {
        reply_null(call->reply);
    }
}

void data_zadd(struct data_call *call)
{
    struct zadd zadd = {.is_nx = false};
    if (zadd_options(call, &zadd)) { zadd_run(call, &zadd); }
}

void data_zincrby(struct data_call *call)
{
    struct zadd zadd = {.is_incr = true, .pairs_at = 2};
    zadd_run(call, &zadd);
}

/* ---- one member ---- */

void data_zrem(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    int64_t removed = 0;
    for (uint32_t i = 2; key.is_there && i < call->argc; i++) {
        removed += store_zset_delete(call->txn, &key.object, call->argv[i]);
    }
    if (removed > 0) { key_save(&key, "zrem", EVENT_ZSET); }
    reply_int(call->reply, removed);
}

void data_zcard(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    reply_int(call->reply, (int64_t)key.object.count);
}

static void score_reply(const struct data_key *key, struct slice member)
{
    double score;
    if (key->is_there && store_zset_score(key->call->txn, &key->object, member, &score)) {
        reply_double(key->call->reply, score);
    } else {
        reply_null(key->call->reply);
    }
}

void data_zscore(struct data_call *call)
{
    struct data_key key;
    if (key_open(call, call->argv[1], STORE_ZSET, &key)) { score_reply(&key, call->argv[2]); }
}

void data_zmscore(struct data_call *call)
{
    struct data_key key;
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    reply_array(call->reply, call->argc - 2);
    for (uint32_t i = 2; i < call->argc; i++) {
        score_reply(&key, call->argv[i]);
    }
}

static void rank(struct data_call *call, bool is_reverse)
{
    bool has_score = call->argc == 4 && arg_is(call, 3, "WITHSCORE");
    if (call->argc > 4 || (call->argc == 4 && !has_score)) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    struct data_key key;
    uint64_t at;
    double score = 0;
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    struct slice member = call->argv[2];
    if (!key.is_there || !store_zset_rank(call->txn, &key.object, member, &at)) {
        if (has_score) {
            reply_null_array(call->reply);
        } else {
            reply_null(call->reply);
        }
        return;
    }
    if (has_score) {
        (void)store_zset_score(call->txn, &key.object, member, &score);
        reply_array(call->reply, 2);
    }
    reply_int(call->reply, (int64_t)(is_reverse ? key.object.count - 1 - at : at));
    if (has_score) { reply_double(call->reply, score); }
}

void data_zrank(struct data_call *call)
{
    rank(call, false);
}

void data_zrevrank(struct data_call *call)
{
    rank(call, true);
}

/* ---- replies ---- */

void zset_out_head(struct zset_out *out, struct reply *reply, bool has_scores, uint64_t count)
{
    *out = (struct zset_out){reply, has_scores, has_scores && reply->version >= 3};
    reply_array(reply, count * (has_scores && !out->is_nested ? 2 : 1));
}

void zset_out_member(struct zset_out *out, struct slice member, double score)
{
    if (out->is_nested) { reply_array(out->reply, 2); }
    reply_bulk(out->reply, member);
    if (out->has_scores) { reply_double(out->reply, score); }
}

void zset_out_visit(void *arg, struct store_walk *walk)
{
    zset_out_member(arg, store_walk_name(walk), store_walk_score(walk));
}

/* ---- ZRANDMEMBER, ZSCAN ---- */

void data_zrandmember(struct data_call *call)
{
    struct random_options options;
    struct data_key key;
    if (!random_options_read(call, "WITHSCORES", &options)) { return; }
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    if (!key.is_there && !options.has_count) {
        reply_null(call->reply);
        return;
    }
    uint64_t count = key.is_there ? options.count : 0;
    if (options.is_distinct && count > key.object.count) { count = key.object.count; }
    struct zset_out out = {call->reply, options.has_word, false};
    if (options.has_count) { zset_out_head(&out, call->reply, options.has_word, count); }
    if (count > 0) { random_visit(&key, count, options.is_distinct, zset_out_visit, &out); }
}

static void scan_visit(void *arg, struct store_walk *walk)
{
    struct scan *scan = arg;
    if (!scan_matches(scan, store_walk_name(walk))) { return; }
    reply_bulk(&scan->reply, store_walk_name(walk));
    /* A score is text here in RESP3, too. */
    uint8_t version = scan->reply.version;
    scan->reply.version = 2;
    reply_double(&scan->reply, store_walk_score(walk));
    scan->reply.version = version;
    scan->found_count += 2;
}

void data_zscan(struct data_call *call)
{
    struct scan scan;
    struct data_key key;
    if (!scan_begin_key(&scan, call, STORE_ZSET, &key)) { return; }
    uint64_t next = store_zset_scan(call->txn, &key.object, scan.cursor,
                                    scan_count(&scan, &key.object), scan_visit, &scan);
    scan_end(&scan, next);
}
