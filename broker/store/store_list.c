/* store_list: lists. */
#include "store/store_list.h"

#include "base/mem.h"
#include "store/store_ladder.h"
#include "store/store_value.h"

#define LIST_MIDDLE (1ULL << 63)
#define LIST_STEP (1ULL << 20)

enum { RENUMBER_FIRST = 128 }; /* elements that are moved apart when there is no room between two */

static struct ladder ladder_of(struct store_txn *txn, const struct store_object *list)
{
    return (struct ladder){txn, (struct store_object *)(uintptr_t)list, 'l'};
}

static void element_key(const struct store_object *list, uint64_t position,
                        struct store_key_bytes *key)
{
    key_begin(key, 'l');
    key_u64(key, list->content);
    key_u64(key, position);
}

static void element_add(struct store_txn *txn, struct store_object *list, uint64_t position,
                        struct slice bytes)
{
    struct store_key_bytes key;
    element_key(list, position, &key);
    value_put(txn, &key, SLICE(""), bytes);
    list->count++;
    struct ladder ladder = ladder_of(txn, list);
    ladder_added(&ladder, slice_of(key.bytes + 9, 8));
}

/* The element's row goes, not its chunks. */
static void element_drop(struct store_txn *txn, struct store_object *list, uint64_t position)
{
    struct store_key_bytes key;
    element_key(list, position, &key);
    (void)txn_delete(txn, key_slice(&key));
    list->count--;
    struct ladder ladder = ladder_of(txn, list);
    ladder_removed(&ladder, slice_of(key.bytes + 9, 8));
}

static uint64_t walk_position(const struct store_walk *walk)
{
    return read_u64(cursor_suffix(&walk->cursor).data);
}

bool store_list_walk(struct store_walk *walk, struct store_txn *txn,
                     const struct store_object *list, uint64_t index, enum store_walk_way way)
{
    walk_begin(walk, txn, 'l', list->content, way);
    struct ladder ladder = ladder_of(txn, list);
    walk->is_there = ladder_seek(&ladder, index, &walk->cursor);
    return walk->is_there;
}

/* The position of an index that is there. */
static uint64_t position_of(struct store_txn *txn, const struct store_object *list, uint64_t index)
{
    struct store_walk walk;
    uint64_t position = 0;
    if (index == 0) { return list->first; }
    if (index == list->count - 1) { return list->last; }
    if (store_list_walk(&walk, txn, list, index, STORE_UP)) { position = walk_position(&walk); }
    store_walk_end(&walk);
    return position;
}

/* The ends' positions after elements went. */
static void refresh_ends(struct store_txn *txn, struct store_object *list)
{
    struct store_walk walk;
    walk_begin(&walk, txn, 'l', list->content, STORE_UP);
    if (list->count > 0 && cursor_first(&walk.cursor)) { list->first = walk_position(&walk); }
    if (list->count > 0 && cursor_last(&walk.cursor)) { list->last = walk_position(&walk); }
    store_walk_end(&walk);
}

void store_list_push(struct store_txn *txn, struct store_object *list, enum store_end end,
                     struct slice bytes)
{
    if (list->count == 0) {
        list->first = LIST_MIDDLE;
        list->last = LIST_MIDDLE;
    } else if (end == STORE_HEAD) {
        list->first -= LIST_STEP;
    } else {
        list->last += LIST_STEP;
    }
    element_add(txn, list, end == STORE_HEAD ? list->first : list->last, bytes);
}

void store_list_pop(struct store_txn *txn, struct store_object *list, enum store_end end,
                    struct buf *out)
{
    CHECK(list->count > 0);
    uint64_t position = end == STORE_HEAD ? list->first : list->last;
    struct store_key_bytes key;
    element_key(list, position, &key);
    struct slice value;
    if (!txn_get(txn, key_slice(&key), &value)) {
        txn_fail(txn, ERR_CORRUPT);
        return;
    }
    value_read(txn, value, out);
    uint64_t chunks = value_chunks(txn, value);
    if (chunks != 0) { (void)chunks_remove(txn, chunks, UINT64_MAX); }
    element_drop(txn, list, position);
    if (list->count == 0) { return; }
    struct store_walk walk; /* the neighbour */
    walk_begin(&walk, txn, 'l', list->content, STORE_UP);
    bool any = end == STORE_HEAD ? cursor_first(&walk.cursor) : cursor_last(&walk.cursor);
    if (!any) {
        txn_fail(txn, ERR_CORRUPT);
    } else if (end == STORE_HEAD) {
        list->first = walk_position(&walk);
    } else {
        list->last = walk_position(&walk);
    }
    store_walk_end(&walk);
}

bool store_list_get(struct store_txn *txn, const struct store_object *list, uint64_t index,
                    struct buf *out)
{
    struct store_walk walk;
    bool is_there = store_list_walk(&walk, txn, list, index, STORE_UP);
    if (is_there) { value_read(txn, walk.cursor.value, out); }
    store_walk_end(&walk);
    return is_there;
}

bool store_list_set(struct store_txn *txn, struct store_object *list, uint64_t index,
                    struct slice bytes)
{
    if (index >= list->count) { return false; }
    struct store_key_bytes key;
    element_key(list, position_of(txn, list, index), &key);
    struct slice value;
    if (txn_get(txn, key_slice(&key), &value)) {
        uint64_t chunks = value_chunks(txn, value);
        if (chunks != 0) { (void)chunks_remove(txn, chunks, UINT64_MAX); }
    }
    value_put(txn, &key, SLICE(""), bytes);
    return true;
}

/* ---- between two ---- */

/* Elements from an index on, kept aside with their values as they are, so that chunks stay where they are. */
struct moved {
    uint64_t position;
    size_t value_at;
    size_t value_len;
};

static void move_apart(struct store_txn *txn, struct store_object *list, uint64_t from,
                       uint64_t count, uint64_t low, uint64_t high)
{
    struct moved *moved = mem_new0(count * sizeof *moved);
    struct buf values = {0};
    struct store_walk walk;
    bool any = store_list_walk(&walk, txn, list, from, STORE_UP);
    for (uint64_t i = 0; any && i < count; i++, any = store_walk_next(&walk)) {
        moved[i] = (struct moved){walk_position(&walk), values.len, walk.cursor.value.len};
        buf_append(&values, walk.cursor.value);
    }
    store_walk_end(&walk);
    for (uint64_t i = 0; i < count; i++) {
        element_drop(txn, list, moved[i].position);
    }
    uint64_t step = (high - low) / (count + 1);
    for (uint64_t i = 0; i < count; i++) {
        struct store_key_bytes key;
        element_key(list, low + step * (i + 1), &key);
        txn_put(txn, key_slice(&key),
                slice_of(values.data + moved[i].value_at, moved[i].value_len));
        list->count++;
        struct ladder ladder = ladder_of(txn, list);
        ladder_added(&ladder, slice_of(key.bytes + 9, 8));
    }
    buf_fini(&values);
    mem_free(moved);
    refresh_ends(txn, list);
}

/* Make room before the element of this index, which is not the first. */
static void make_room(struct store_txn *txn, struct store_object *list, uint64_t index)
{
    for (uint64_t window = RENUMBER_FIRST;; window *= 2) {
        uint64_t from = index > window / 2 ? index - window / 2 : 0;
        uint64_t end = list->count - index > window / 2 ? index + window / 2 : list->count;
        uint64_t low =
            from > 0 ? position_of(txn, list, from - 1) : list->first - window * LIST_STEP;
        uint64_t high =
            end < list->count ? position_of(txn, list, end) : list->last + window * LIST_STEP;
        if (txn->err != ERR_OK) { return; }
        if ((high - low) / (end - from + 1) > 2) {
            move_apart(txn, list, from, end - from, low, high);
            return;
        }
    }
}

void store_list_insert(struct store_txn *txn, struct store_object *list, uint64_t index,
                       struct slice bytes)
{
    CHECK(index <= list->count);
    if (index == 0 || index == list->count) {
        store_list_push(txn, list, index == 0 ? STORE_HEAD : STORE_TAIL, bytes);
        return;
    }
    uint64_t below = position_of(txn, list, index - 1);
    uint64_t above = position_of(txn, list, index);
    if (above - below < 2) {
        make_room(txn, list, index);
        below = position_of(txn, list, index - 1);
        above = position_of(txn, list, index);
    }
    element_add(txn, list, below + (above - below) / 2, bytes);
}

/* ---- removing ---- */

void store_list_remove(struct store_txn *txn, struct store_object *list, uint64_t index,
                       uint64_t count)
{
    for (; count > 0 && index < list->count && txn->err == ERR_OK; count--) {
        struct store_walk walk;
        bool any = store_list_walk(&walk, txn, list, index, STORE_UP);
        uint64_t position = any ? walk_position(&walk) : 0;
        uint64_t chunks = any ? value_chunks(txn, walk.cursor.value) : 0;
        store_walk_end(&walk);
        if (chunks != 0) { (void)chunks_remove(txn, chunks, UINT64_MAX); }
        if (any) { element_drop(txn, list, position); }
    }
    refresh_ends(txn, list);
}

/* Positions of elements equal to `bytes`, at most `count`. */
static void find_equal(struct store_txn *txn, const struct store_object *list, struct slice bytes,
                       uint64_t count, enum store_end end, struct buf *found)
{
    struct store_walk walk;
    bool is_up = end == STORE_HEAD;
    bool any = store_list_walk(&walk, txn, list, is_up ? 0 : list->count - 1,
                               is_up ? STORE_UP : STORE_DOWN);
    for (; any && found->len / sizeof(uint64_t) < count; any = store_walk_next(&walk)) {
        if (store_walk_value_len(&walk) != bytes.len) { continue; }
        if (!slice_equal(store_walk_value(&walk), bytes)) { continue; }
        uint64_t position = walk_position(&walk);
        buf_append(found, slice_of(&position, sizeof position));
    }
    store_walk_end(&walk);
}

uint64_t store_list_remove_equal(struct store_txn *txn, struct store_object *list,
                                 struct slice bytes, uint64_t count, enum store_end end)
{
    struct buf found = {0};
    if (list->count > 0) { find_equal(txn, list, bytes, count, end, &found); }
    uint64_t removed = found.len / sizeof(uint64_t);
    for (uint64_t i = 0; i < removed; i++) {
        uint64_t position;
        memcpy(&position, found.data + i * sizeof position, sizeof position);
        struct store_key_bytes key;
        element_key(list, position, &key);
        struct slice value;
        uint64_t chunks = txn_get(txn, key_slice(&key), &value) ? value_chunks(txn, value) : 0;
        if (chunks != 0) { (void)chunks_remove(txn, chunks, UINT64_MAX); }
        element_drop(txn, list, position);
    }
    buf_fini(&found);
    refresh_ends(txn, list);
    return removed;
}
