/* store_named: elements that are found by a name. */
#include "store/store_named.h"

#include "store/store_int.h"
#include "store/store_value.h"

void named_key(const struct store_txn *txn, char tag, uint64_t content, struct slice name,
               struct store_key_bytes *key)
{
    key_begin(key, tag);
    key_u64(key, content);
    key_u32(key, (uint32_t)store_hash64(txn->store, name));
    key_name(txn, key, name);
}

static bool seek_mix(struct store_walk *walk, uint32_t mix)
{
    struct store_key_bytes from = walk->prefix;
    key_u32(&from, mix);
    walk->is_there = cursor_seek(&walk->cursor, key_slice(&from));
    return walk_settle(walk);
}

bool named_walk(struct store_walk *walk, struct store_txn *txn, char tag, uint64_t content,
                uint32_t mix)
{
    walk_begin(walk, txn, tag, content, STORE_UP);
    return seek_mix(walk, mix) || seek_mix(walk, 0);
}

static uint32_t walk_mix(const struct store_walk *walk)
{
    return read_u32(cursor_suffix(&walk->cursor).data);
}

uint64_t named_scan(struct store_walk *walk, uint64_t cursor, uint64_t count,
                    void (*visit)(void *arg, struct store_walk *walk), void *arg)
{
    if (cursor > UINT32_MAX) { return 0; }
    uint32_t mix = 0;
    bool any = seek_mix(walk, (uint32_t)cursor);
    for (uint64_t visited = 0; any && (visited < count || walk_mix(walk) == mix); visited++) {
        mix = walk_mix(walk);
        visit(arg, walk);
        any = store_walk_next(walk);
    }
    return any ? (uint64_t)mix + 1 : 0;
}
