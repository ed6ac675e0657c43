/* store_zset: sorted sets. */
#include "store/store_zset.h"

#include "store/store_int.h"
#include "store/store_ladder.h"
#include "store/store_named.h"
#include "store/store_score.h"
#include "store/store_value.h"

static struct ladder ladder_of(struct store_txn *txn, const struct store_object *zset)
{
    return (struct ladder){txn, (struct store_object *)(uintptr_t)zset, 'y'};
}

static void order_key(const struct store_txn *txn, const struct store_object *zset, double score,
                      struct slice member, struct store_key_bytes *key)
{
    key_begin(key, 'y');
    key_u64(key, zset->content);
    key_u64(key, score_encode(score));
    key_name(txn, key, member);
}

static struct slice order_end(const struct store_key_bytes *key)
{
    return slice_of(key->bytes + 9, key->len - 9);
}

bool store_zset_score(struct store_txn *txn, const struct store_object *zset, struct slice member,
                      double *score)
{
    struct store_key_bytes key;
    struct slice value;
    named_key(txn, 'z', zset->content, member, &key);
    if (!txn_get(txn, key_slice(&key), &value)) { return false; }
    *score = value_score(txn, value);
    return true;
}

static void order_drop(struct store_txn *txn, struct store_object *zset, double score,
                       struct slice member)
{
    struct store_key_bytes key;
    order_key(txn, zset, score, member, &key);
    (void)txn_delete(txn, key_slice(&key));
    zset->count--;
    struct ladder ladder = ladder_of(txn, zset);
    ladder_removed(&ladder, order_end(&key));
}

bool store_zset_put(struct store_txn *txn, struct store_object *zset, struct slice member,
                    double score)
{
    double old;
    bool is_new = !store_zset_score(txn, zset, member, &old);
    if (!is_new && score_encode(old) == score_encode(score)) { return false; }
    if (!is_new) { order_drop(txn, zset, old, member); }
    uint64_t bits = htobe64(score_encode(score));
    struct store_key_bytes key;
    named_key(txn, 'z', zset->content, member, &key);
    value_put(txn, &key, member, slice_of(&bits, sizeof bits));
    order_key(txn, zset, score, member, &key);
    name_put(txn, &key, member);
    zset->count++;
    struct ladder ladder = ladder_of(txn, zset);
    ladder_added(&ladder, order_end(&key));
    return is_new;
}

bool store_zset_delete(struct store_txn *txn, struct store_object *zset, struct slice member)
{
    double score;
    if (!store_zset_score(txn, zset, member, &score)) { return false; }
    struct store_key_bytes key;
    named_key(txn, 'z', zset->content, member, &key);
    (void)txn_delete(txn, key_slice(&key));
    order_drop(txn, zset, score, member);
    return true;
}

bool store_zset_rank(struct store_txn *txn, const struct store_object *zset, struct slice member,
                     uint64_t *rank)
{
    double score;
    if (!store_zset_score(txn, zset, member, &score)) { return false; }
    struct store_key_bytes key;
    order_key(txn, zset, score, member, &key);
    struct ladder ladder = ladder_of(txn, zset);
    *rank = ladder_rank(&ladder, order_end(&key));
    return true;
}

uint64_t store_zset_count_below(struct store_txn *txn, const struct store_object *zset,
                                const struct store_zset_bound *bound)
{
    struct store_key_bytes key;
    order_key(txn, zset, bound->score, bound->has_member ? bound->member : SLICE(""), &key);
    struct slice end = order_end(&key);
    if (bound->is_behind && bound->has_member) {
        key_u8(&key, 0); /* the least that is above the member */
        end = order_end(&key);
    } else if (bound->is_behind) {
        uint64_t next = htobe64(score_encode(bound->score) + 1);
        memcpy(key.bytes + 9, &next, sizeof next);
    }
    struct ladder ladder = ladder_of(txn, zset);
    return ladder_rank(&ladder, end);
}

bool store_zset_walk(struct store_walk *walk, struct store_txn *txn,
                     const struct store_object *zset, uint64_t rank, enum store_walk_way way)
{
    walk_begin(walk, txn, 'y', zset->content, way);
    struct ladder ladder = ladder_of(txn, zset);
    walk->is_there = ladder_seek(&ladder, rank, &walk->cursor);
    return walk->is_there;
}

uint64_t store_zset_scan(struct store_txn *txn, const struct store_object *zset, uint64_t cursor,
                         uint64_t count, void (*visit)(void *arg, struct store_walk *walk),
                         void *arg)
{
    struct store_walk walk;
    walk_begin(&walk, txn, 'z', zset->content, STORE_UP);
    uint64_t next = named_scan(&walk, cursor, count, visit, arg);
    store_walk_end(&walk);
    return next;
}
