/* data_random: elements by chance. */
#include "data/data_random.h"

#include "base/map.h"
#include "base/mem.h"
#include "data/data_args.h"
#include "store/store_hash.h"
#include "store/store_set.h"
#include "store/store_zset.h"

enum {
    COUNTED_MAX = 128, /* elements of a collection in which a place is counted out */
    SKIP_MAX =
        16, /* in a larger one: so many are passed at the most, behind a place in the order of mixes */
    SPARSE = 4, /* a choice of less than one in so many is made by trying */
};

static void walk_from(struct store_walk *walk, struct data_key *key, uint32_t mix)
{
    struct store_txn *txn = key->call->txn;
    if (key->object.type == STORE_HASH) {
        (void)store_hash_walk(walk, txn, &key->object, mix);
    } else {
        (void)store_set_walk(walk, txn, &key->object, mix);
    }
}

static void place_by_chance(struct store_walk *walk, struct data_key *key)
{
    struct store_txn *txn = key->call->txn;
    uint64_t count = key->object.count;
    bool is_counted = count <= COUNTED_MAX;
    uint64_t skip = store_txn_random(txn) % (is_counted ? count : SKIP_MAX);
    walk_from(walk, key, is_counted ? 0 : (uint32_t)store_txn_random(txn));
    for (; skip > 0; skip--) {
        if (store_walk_next(walk)) { continue; }
        store_walk_end(walk);
        walk_from(walk, key, 0);
    }
}

void random_walk(struct store_walk *walk, struct data_key *key)
{
    struct store_txn *txn = key->call->txn;
    if (key->object.type == STORE_ZSET) {
        uint64_t rank = store_txn_random(txn) % key->object.count;
        (void)store_zset_walk(walk, txn, &key->object, rank, STORE_UP);
    } else {
        place_by_chance(walk, key);
    }
}

static void walk_all(struct store_walk *walk, struct data_key *key)
{
    if (key->object.type == STORE_ZSET) {
        (void)store_zset_walk(walk, key->call->txn, &key->object, 0, STORE_UP);
    } else {
        walk_from(walk, key, 0);
    }
}

/* Each element in turn is taken with the chance that is left for it. */
static void visit_by_selection(struct data_key *key, uint64_t count,
                               void (*visit)(void *arg, struct store_walk *walk), void *arg)
{
    struct store_walk walk;
    walk_all(&walk, key);
    uint64_t left = key->object.count;
    for (bool any = walk.is_there; any && count > 0; any = store_walk_next(&walk), left--) {
        if (store_txn_random(key->call->txn) % left >= count) { continue; }
        visit(arg, &walk);
        count--;
    }
    store_walk_end(&walk);
}

struct chosen {
    struct map_node node;
    char name[];
};

static bool choose(struct map *chosen, struct slice name)
{
    uint64_t hash = slice_hash(name);
    if (map_find(chosen, name, hash) != NULL) { return false; }
    struct chosen *one = mem_new0(sizeof *one + name.len + 1);
    memcpy(one->name, name.data, name.len);
    one->node.key = slice_of(one->name, name.len);
    map_insert(chosen, &one->node, hash);
    return true;
}

static void visit_by_trying(struct data_key *key, uint64_t count,
                            void (*visit)(void *arg, struct store_walk *walk), void *arg)
{
    struct map chosen = {0};
    while (count > 0 && store_txn_err(key->call->txn) == ERR_OK) {
        struct store_walk walk;
        random_walk(&walk, key);
        if (walk.is_there && choose(&chosen, store_walk_name(&walk))) {
            visit(arg, &walk);
            count--;
        }
        store_walk_end(&walk);
    }
    for (struct map_node *node = map_next(&chosen, NULL); node != NULL;) {
        struct map_node *next = map_next(&chosen, node);
        mem_free(CONTAINER_OF(node, struct chosen, node));
        node = next;
    }
    map_fini(&chosen);
}

void random_visit(struct data_key *key, uint64_t count, bool is_distinct,
                  void (*visit)(void *arg, struct store_walk *walk), void *arg)
{
    if (!is_distinct) {
        for (; count > 0 && store_txn_err(key->call->txn) == ERR_OK; count--) {
            struct store_walk walk;
            random_walk(&walk, key);
            if (walk.is_there) { visit(arg, &walk); }
            store_walk_end(&walk);
        }
    } else if (count < key->object.count / SPARSE && key->object.count > COUNTED_MAX) {
        visit_by_trying(key, count, visit, arg);
    } else {
        visit_by_selection(key, count < key->object.count ? count : key->object.count, visit, arg);
    }
}

bool random_options_read(struct data_call *call, const char *word, struct random_options *options)
{
    int64_t count;
    *options = (struct random_options){.has_count = call->argc > 2, .count = 1};
    if (!options->has_count) { return true; }
    static const char out_of_range[] = "ERR value is out of range, value must between "
                                       "-9223372036854775807 and 9223372036854775807";
    if (!slice_to_int64(call->argv[2], &count)) {
        reply_error(call->reply, data_not_an_integer);
        return false;
    }
    if (count == INT64_MIN) {
        reply_error(call->reply, out_of_range);
        return false;
    }
    options->has_word = word != NULL && call->argc == 4 && arg_is(call, 3, word);
    if (call->argc > 4 || (call->argc == 4 && !options->has_word)) {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    if (options->has_word && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
        reply_error(call->reply, "ERR value is out of range");
        return false;
    }
    options->is_distinct = count >= 0;
    options->count = (uint64_t)(count < 0 ? -count : count);
    return true;
}
