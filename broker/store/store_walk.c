/* store_walk: over the elements of a collection. */
#include "store/store_walk.h"

#include "store/store_score.h"
#include "store/store_value.h"

enum { MIX_BYTES = 4 }; /* before a name, see store_named.h */

void walk_begin(struct store_walk *walk, struct store_txn *txn, char tag, uint64_t content,
                enum store_walk_way way)
{
    *walk = (struct store_walk){.way = way};
    key_begin(&walk->prefix, tag);
    key_u64(&walk->prefix, content);
    cursor_begin(&walk->cursor, txn, key_slice(&walk->prefix));
}

static void step(struct store_walk *walk)
{
    walk->is_there =
        walk->way == STORE_UP ? cursor_next(&walk->cursor) : cursor_previous(&walk->cursor);
}

bool walk_settle(struct store_walk *walk)
{
    bool may_hide = walk->prefix.bytes[0] == 'h';
    while (may_hide && walk->is_there && value_is_past(walk->cursor.txn, walk->cursor.value)) {
        step(walk);
    }
    return walk->is_there;
}

bool store_walk_next(struct store_walk *walk)
{
    if (walk->is_there) { step(walk); }
    return walk_settle(walk);
}

void store_walk_end(struct store_walk *walk)
{
    cursor_end(&walk->cursor);
    buf_fini(&walk->scratch);
    walk->is_there = false;
}

struct slice store_walk_name(const struct store_walk *walk)
{
    struct slice end = cursor_suffix(&walk->cursor);
    size_t before = walk->prefix.bytes[0] == 'y' ? STORE_SCORE_BYTES : MIX_BYTES;
    return value_name(walk->cursor.txn, slice_of(end.data + before, end.len - before),
                      walk->cursor.value);
}

struct slice store_walk_value(struct store_walk *walk)
{
    return value_bytes(walk->cursor.txn, walk->cursor.value, &walk->scratch);
}

uint64_t store_walk_value_len(const struct store_walk *walk)
{
    return value_len(walk->cursor.txn, walk->cursor.value);
}

double store_walk_score(const struct store_walk *walk)
{
    bool is_by_score = walk->prefix.bytes[0] == 'y';
    return is_by_score ? score_decode(read_u64(cursor_suffix(&walk->cursor).data))
                       : value_score(walk->cursor.txn, walk->cursor.value);
}
