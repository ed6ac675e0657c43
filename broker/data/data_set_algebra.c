/* data_set_algebra: unions, intersections and differences of sets. */
#include <stdlib.h>

#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_encoding.h"
#include "data/data_key.h"
#include "data/data_names.h"
#include "store/store_set.h"

enum algebra { ALGEBRA_UNION, ALGEBRA_INTER, ALGEBRA_DIFF };

/* Open `count` source keys from argument `at` on. Gives: an array to free; NULL: one is no set, and the reply says so. */
static struct data_key *open_sources(struct data_call *call, uint32_t at, uint32_t count)
{
    struct data_key *source = mem_new0((size_t)count * sizeof *source);
    for (uint32_t i = 0; i < count; i++) {
        if (key_open(call, call->argv[at + i], STORE_SET, &source[i])) { continue; }
        mem_free(source);
        return NULL;
    }
    return source;
}

static bool source_has(struct data_key *source, struct slice member)
{
    return source->is_there && store_set_has(source->call->txn, &source->object, member);
}

static int by_count(const void *a, const void *b)
{
    uint64_t one = ((const struct data_key *)a)->object.count;
    uint64_t other = ((const struct data_key *)b)->object.count;
    return one < other ? -1 : one > other;
}

/* Does the member of source `own` belong to the result? */
static bool belongs(struct data_key *source, uint32_t count, enum algebra algebra,
                    struct slice member)
{
    for (uint32_t i = 1; i < count && algebra != ALGEBRA_UNION; i++) {
        bool has = source_has(&source[i], member);
        if (has != (algebra == ALGEBRA_INTER)) { return false; }
    }
    return true;
}

/* The members that the sources give, at most `limit` (0: all). */
static void combine(struct data_key *source, uint32_t count, enum algebra algebra, uint64_t limit,
                    struct data_names *out)
{
    uint32_t walked = algebra == ALGEBRA_UNION ? count : 1;
    if (algebra == ALGEBRA_INTER) { qsort(source, count, sizeof *source, by_count); }
    for (uint32_t i = 0; i < walked; i++) {
        if (!source[i].is_there) { continue; }
        struct store_walk walk;
        bool any = store_set_walk(&walk, source[i].call->txn, &source[i].object, 0);
        for (; any; any = store_walk_next(&walk)) {
            bool is_new;
            struct slice member = store_walk_name(&walk);
            if (belongs(source, count, algebra, member)) { (void)names_add(out, member, &is_new); }
            if (limit > 0 && out->map.count >= limit) { break; }
        }
        store_walk_end(&walk);
    }
}

static void algebra_reply(struct data_call *call, enum algebra algebra)
{
    uint32_t count = call->argc - 1;
    struct data_key *source = open_sources(call, 1, count);
    if (source == NULL) { return; }
    struct data_names out;
    names_init(&out);
    combine(source, count, algebra, 0, &out);
    reply_set(call->reply, out.map.count);
    NAMES_EACH(at, &out)
    {
        reply_bulk(call->reply, name_bytes(NAME_OF(at)));
    }
    names_fini(&out);
    mem_free(source);
}

static void algebra_store(struct data_call *call, enum algebra algebra, const char *event)
{
    uint32_t count = call->argc - 2;
    struct data_key *source = open_sources(call, 2, count);
    if (source == NULL) { return; }
    struct data_names out;
    names_init(&out);
    combine(source, count, algebra, 0, &out);
    mem_free(source);
    struct data_key target = key_replace(call, call->argv[1]);
    NAMES_EACH(at, &out)
    {
        struct store_object *set = key_make(&target, STORE_SET);
        (void)store_set_add(call->txn, set, name_bytes(NAME_OF(at)));
        encoding_note(set, name_bytes(NAME_OF(at)));
    }
    key_replaced(&target, event, EVENT_SET);
    names_fini(&out);
}

void data_sunion(struct data_call *call)
{
    algebra_reply(call, ALGEBRA_UNION);
}

void data_sinter(struct data_call *call)
{
    algebra_reply(call, ALGEBRA_INTER);
}

void data_sdiff(struct data_call *call)
{
    algebra_reply(call, ALGEBRA_DIFF);
}

void data_sunionstore(struct data_call *call)
{
    algebra_store(call, ALGEBRA_UNION, "sunionstore");
}

void data_sinterstore(struct data_call *call)
{
    algebra_store(call, ALGEBRA_INTER, "sinterstore");
}

void data_sdiffstore(struct data_call *call)
{
    algebra_store(call, ALGEBRA_DIFF, "sdiffstore");
}

void data_sintercard(struct data_call *call)
{
    int64_t numkeys;
    int64_t limit = 0;
    if (!arg_int_in(call, 1, 1, INT32_MAX, "ERR numkeys should be greater than 0", &numkeys)) {
        return;
    }
    if (numkeys > (int64_t)call->argc - 2) {
        reply_error(call->reply, "ERR Number of keys can't be greater than number of args");
        return;
    }
    for (uint32_t i = 2 + (uint32_t)numkeys; i < call->argc; i += 2) {
        if (!arg_is_with_value(call, i, "LIMIT")) {
            reply_error(call->reply, data_syntax_error);
            return;
        }
        if (!arg_int_in(call, i + 1, 0, INT64_MAX, "ERR LIMIT can't be negative", &limit)) {
            return;
        }
    }
    struct data_key *source = open_sources(call, 2, (uint32_t)numkeys);
    if (source == NULL) { return; }
    struct data_names out;
    names_init(&out);
    combine(source, (uint32_t)numkeys, ALGEBRA_INTER, (uint64_t)limit, &out);
    reply_int(call->reply, (int64_t)out.map.count);
    names_fini(&out);
    mem_free(source);
}
