/* data_zset_range: ranges of sorted sets by rank, by score, by name. */
#include "data/data_args.h"
#include "data/data_names.h"
#include "data/data_zset.h"

/* ---- ends ---- */

/* "1.5", "(1.5", "-inf". A place before or behind the score, as the end includes it or not. */
static bool score_end(const struct data_call *call, uint32_t i, bool is_max,
                      struct store_zset_bound *bound)
{
    struct slice text = call->argv[i];
    bool is_exclusive = text.len > 0 && text.data[0] == '(';
    if (is_exclusive) { text = slice_of(text.data + 1, text.len - 1); }
    *bound = (struct store_zset_bound){.is_behind = is_max != is_exclusive};
    if (text_to_double(text, &bound->score)) { return true; }
    reply_error(call->reply, "ERR min or max is not a float");
    return false;
}

/* "[name", "(name", "-", "+". */
static bool lex_end(const struct data_call *call, uint32_t i, bool is_max,
                    struct store_zset_bound *bound, int *outside)
{
    struct slice text = call->argv[i];
    char kind = text.len > 0 ? text.data[0] : 0;
    *bound = (struct store_zset_bound){.has_member = true};
    *outside = 0;
    if ((kind == '-' || kind == '+') && text.len == 1) {
        *outside = kind == '-' ? -1 : 1;
    } else if (kind == '[' || kind == '(') {
        bound->member = slice_of(text.data + 1, text.len - 1);
        bound->is_behind = is_max != (kind == '(');
    } else {
        reply_error(call->reply, "ERR min or max not valid string range item");
        return false;
    }
    return true;
}

bool range_ends_read(struct data_call *call, uint32_t at, struct zset_range *range)
{
    uint32_t min = at + range->is_reverse;
    uint32_t max = at + !range->is_reverse;
    switch (range->by) {
    case RANGE_BY_RANK:
        return arg_int(call, at, &range->start) && arg_int(call, at + 1, &range->stop);
    case RANGE_BY_SCORE:
        return score_end(call, min, false, &range->min) && score_end(call, max, true, &range->max);
    case RANGE_BY_LEX:
        return lex_end(call, min, false, &range->min, &range->lex_min) &&
               lex_end(call, max, true, &range->max, &range->lex_max);
    }
    return false;
}

/* ---- ranks ---- */

static uint64_t lex_rank(const struct data_key *key, struct store_zset_bound bound, int outside)
{
    struct store_txn *txn = key->call->txn;
    if (outside != 0) { return outside < 0 ? 0 : key->object.count; }
    /* Members are in the order of their names where they have one score: that of the first one. */
    struct store_walk walk;
    if (store_zset_walk(&walk, txn, &key->object, 0, STORE_UP)) {
        bound.score = store_walk_score(&walk);
    }
    store_walk_end(&walk);
    return store_zset_count_below(txn, &key->object, &bound);
}

static struct rank_range by_rank(const struct data_key *key, const struct zset_range *range)
{
    int64_t start = range->start;
    int64_t stop = range->stop;
    uint64_t count = key->object.count;
    if (!range_clamp(&start, &stop, count)) { return (struct rank_range){0, 0}; }
    struct rank_range ranks = {(uint64_t)start, (uint64_t)stop + 1};
    if (range->is_reverse) { ranks = (struct rank_range){count - ranks.end, count - ranks.first}; }
    return ranks;
}

static struct rank_range limited(struct rank_range ranks, const struct zset_range *range)
{
    uint64_t size = ranks.end - ranks.first;
    if (range->offset < 0 || (uint64_t)range->offset >= size) { return (struct rank_range){0, 0}; }
    uint64_t left = size - (uint64_t)range->offset;
    if (range->count >= 0 && (uint64_t)range->count < left) { left = (uint64_t)range->count; }
    if (range->is_reverse) {
        ranks.end -= (uint64_t)range->offset;
        ranks.first = ranks.end - left;
    } else {
        ranks.first += (uint64_t)range->offset;
        ranks.end = ranks.first + left;
    }
    return ranks;
}

struct rank_range range_resolve(const struct data_key *key, const struct zset_range *range)
{
    struct rank_range ranks = {0, 0};
    switch (range->by) {
    case RANGE_BY_RANK: ranks = by_rank(key, range); break;
    case RANGE_BY_SCORE:
        ranks.first = store_zset_count_below(key->call->txn, &key->object, &range->min);
        ranks.end = store_zset_count_below(key->call->txn, &key->object, &range->max);
        break;
    case RANGE_BY_LEX:
        ranks.first = lex_rank(key, range->min, range->lex_min);
        ranks.end = lex_rank(key, range->max, range->lex_max);
        break;
    }
    if (ranks.first >= ranks.end) { return (struct rank_range){0, 0}; }
    return range->has_limit ? limited(ranks, range) : ranks;
}

void range_visit(const struct data_key *key, struct rank_range ranks, bool is_reverse,
                 void (*visit)(void *arg, struct store_walk *walk), void *arg)
{
    if (ranks.first >= ranks.end) { return; }
    struct store_walk walk;
    bool any = store_zset_walk(&walk, key->call->txn, &key->object,
                               is_reverse ? ranks.end - 1 : ranks.first,
                               is_reverse ? STORE_DOWN : STORE_UP);
    for (uint64_t left = ranks.end - ranks.first; any && left > 0; left--) {
        visit(arg, &walk);
        any = store_walk_next(&walk);
    }
    store_walk_end(&walk);
}

/* ---- commands ---- */

static void range_reply(struct data_call *call, const struct zset_range *range, bool has_scores)
{
    struct data_key key;
    struct zset_out out;
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    struct rank_range ranks = {0, 0};
    if (key.is_there) { ranks = range_resolve(&key, range); }
    zset_out_head(&out, call->reply, has_scores, ranks.end - ranks.first);
    range_visit(&key, ranks, range->is_reverse, zset_out_visit, &out);
}

/* Options from argument `at` on. `may_choose`: BYSCORE, BYLEX and REV are among them (ZRANGE). */
static bool range_options(struct data_call *call, uint32_t at, bool may_choose,
                          struct zset_range *range, bool *has_scores)
{
    for (uint32_t i = at; i < call->argc; i++) {
        if (has_scores != NULL && arg_is(call, i, "WITHSCORES")) {
            *has_scores = true;
        } else if (arg_is(call, i, "LIMIT") && i + 2 < call->argc) {
            if (!arg_int(call, i + 1, &range->offset) || !arg_int(call, i + 2, &range->count)) {
                return false;
            }
            range->has_limit = true;
            i += 2;
        } else if (may_choose && arg_is(call, i, "REV")) {
            range->is_reverse = true;
        } else if (may_choose && range->by == RANGE_BY_RANK && arg_is(call, i, "BYSCORE")) {
            range->by = RANGE_BY_SCORE;
        } else if (may_choose && range->by == RANGE_BY_RANK && arg_is(call, i, "BYLEX")) {
            range->by = RANGE_BY_LEX;
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    if (range->has_limit && range->by == RANGE_BY_RANK) {
        reply_error(call->reply, "ERR syntax error, LIMIT is only supported in combination with "
                                 "either BYSCORE or BYLEX");
        return false;
    }
    if (has_scores != NULL && *has_scores && range->by == RANGE_BY_LEX) {
        reply_error(call->reply,
                    "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    return true;
}

static void range_command(struct data_call *call, bool may_choose, enum range_by by,
                          bool is_reverse)
{
    struct zset_range range = {.by = by, .is_reverse = is_reverse};
    bool has_scores = false;
    if (!range_options(call, 4, may_choose, &range, &has_scores)) { return; }
    if (range_ends_read(call, 2, &range)) { range_reply(call, &range, has_scores); }
}

void data_zrange(struct data_call *call)
{
    range_command(call, true, RANGE_BY_RANK, false);
}

void data_zrevrange(struct data_call *call)
{
    range_command(call, false, RANGE_BY_RANK, true);
}

void data_zrangebyscore(struct data_call *call)
{
    range_command(call, false, RANGE_BY_SCORE, false);
}

void data_zrevrangebyscore(struct data_call *call)
{
    range_command(call, false, RANGE_BY_SCORE, true);
}

void data_zrangebylex(struct data_call *call)
{
    range_command(call, false, RANGE_BY_LEX, false);
}

void data_zrevrangebylex(struct data_call *call)
{
    range_command(call, false, RANGE_BY_LEX, true);
}

static void range_count(struct data_call *call, enum range_by by)
{
    struct zset_range range = {.by = by};
    struct data_key key;
    if (!range_ends_read(call, 2, &range)) { return; }
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    struct rank_range ranks = {0, 0};
    if (key.is_there) { ranks = range_resolve(&key, &range); }
    reply_int(call->reply, (int64_t)(ranks.end - ranks.first));
}

void data_zcount(struct data_call *call)
{
    range_count(call, RANGE_BY_SCORE);
}

void data_zlexcount(struct data_call *call)
{
    range_count(call, RANGE_BY_LEX);
}

/* ---- ranges that are written ---- */

static void collect(void *arg, struct store_walk *walk)
{
    bool is_new;
    names_add(arg, store_walk_name(walk), &is_new)->score = store_walk_score(walk);
}

static void range_remove(struct data_call *call, enum range_by by, const char *event)
{
    struct zset_range range = {.by = by};
    struct data_key key;
    if (!range_ends_read(call, 2, &range)) { return; }
    if (!key_open(call, call->argv[1], STORE_ZSET, &key)) { return; }
    struct rank_range ranks = {0, 0};
    if (key.is_there) { ranks = range_resolve(&key, &range); }
    uint64_t removed = ranks.end - ranks.first;
    if (removed > 0 && removed == key.object.count) {
        key_remove(&key, event, EVENT_ZSET);
        key_changed(call, call->argv[1], "del", EVENT_GENERIC);
    } else if (removed > 0) {
        struct data_names names;
        names_init(&names);
        range_visit(&key, ranks, false, collect, &names);
        NAMES_EACH(at, &names)
        {
            (void)store_zset_delete(call->txn, &key.object, name_bytes(NAME_OF(at)));
        }
        names_fini(&names);
        key_save(&key, event, EVENT_ZSET);
    }
    reply_int(call->reply, (int64_t)removed);
}

void data_zremrangebyrank(struct data_call *call)
{
    range_remove(call, RANGE_BY_RANK, "zremrangebyrank");
}

void data_zremrangebyscore(struct data_call *call)
{
    range_remove(call, RANGE_BY_SCORE, "zremrangebyscore");
}

void data_zremrangebylex(struct data_call *call)
{
    range_remove(call, RANGE_BY_LEX, "zremrangebylex");
}

void data_zrangestore(struct data_call *call)
{
    struct zset_range range = {.by = RANGE_BY_RANK};
    struct data_key source;
    if (!range_options(call, 5, true, &range, NULL) || !range_ends_read(call, 3, &range)) {
        return;
    }
    if (!key_open(call, call->argv[2], STORE_ZSET, &source)) { return; }
    struct data_names names;
    names_init(&names);
    if (source.is_there) {
        range_visit(&source, range_resolve(&source, &range), false, collect, &names);
    }
    struct data_key target = key_replace(call, call->argv[1]);
    NAMES_EACH(at, &names)
    {
        zset_put(&target, name_bytes(NAME_OF(at)), NAME_OF(at)->score);
    }
    key_replaced(&target, "zrangestore", EVENT_ZSET);
    names_fini(&names);
}
