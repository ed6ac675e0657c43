/* store_ladder: counted boundaries over an ordered collection. */
#include "store/store_ladder.h"

enum { ROW_BYTES = 12, LEVELS_MAX = 16 };

struct row {
    uint64_t elements;
    uint32_t children; /* of level 1: 0 */
};

static void level_prefix(const struct ladder *ladder, unsigned level, struct store_key_bytes *key)
{
    key_begin(key, 'c');
    key_u64(key, ladder->object->content);
    key_u8(key, (uint8_t)level);
}

static void row_key(const struct ladder *ladder, unsigned level, struct slice boundary,
                    struct store_key_bytes *key)
{
    level_prefix(ladder, level, key);
    key_append(key, boundary.data, boundary.len);
}

static struct row row_decode(const struct ladder *ladder, struct slice value)
{
    if (value.len != ROW_BYTES) {
        txn_fail(ladder->txn, ERR_CORRUPT);
        return (struct row){0};
    }
    return (struct row){read_u64(value.data), read_u32(value.data + 8)};
}

static void row_put(const struct ladder *ladder, const struct store_key_bytes *key, struct row row)
{
    struct store_key_bytes value = {0};
    key_u64(&value, row.elements);
    key_u32(&value, row.children);
    txn_put(ladder->txn, key_slice(key), key_slice(&value));
}

/* The row of a level that an element belongs to: its key, and what it holds. */
static struct row row_of(const struct ladder *ladder, unsigned level, struct slice element,
                         struct store_key_bytes *key)
{
    struct store_key_bytes prefix;
    level_prefix(ladder, level, &prefix);
    row_key(ladder, level, element, key);
    struct store_cursor cursor;
    struct row row = {0};
    cursor_begin(&cursor, ladder->txn, key_slice(&prefix));
    if (cursor_seek_back(&cursor, key_slice(key))) {
        row = row_decode(ladder, cursor.value);
        key->len = 0;
        key_append(key, cursor.key.data, cursor.key.len);
    } else {
        txn_fail(ladder->txn, ERR_CORRUPT);
    }
    cursor_end(&cursor);
    return row;
}

static struct slice boundary_of(const struct store_key_bytes *key)
{
    const size_t prefix_bytes = 1 + 8 + 1;
    return slice_of(key->bytes + prefix_bytes, key->len - prefix_bytes);
}

/* ---- splitting ---- */

/* The middle of a row of level 1: the boundary of its upper half, which has *upper. */
static void middle_element(const struct ladder *ladder, struct slice boundary, uint64_t lower,
                           struct store_key_bytes *middle)
{
    struct store_key_bytes prefix;
    ladder_prefix(ladder, &prefix);
    struct store_key_bytes from = prefix;
    key_append(&from, boundary.data, boundary.len);
    struct store_cursor cursor;
    cursor_begin(&cursor, ladder->txn, key_slice(&prefix));
    bool any = cursor_seek(&cursor, key_slice(&from));
    for (uint64_t i = 0; any && i < lower; i++) {
        any = cursor_next(&cursor);
    }
    if (any) {
        struct slice element = cursor_suffix(&cursor);
        row_key(ladder, 1, element, middle);
    } else {
        txn_fail(ladder->txn, ERR_CORRUPT);
    }
    cursor_end(&cursor);
}

/* The same of a higher level: the boundary below which `lower` of its children are. Gives: their elements. */
static uint64_t middle_child(const struct ladder *ladder, unsigned level, struct slice boundary,
                             uint32_t lower, struct store_key_bytes *middle)
{
    struct store_key_bytes prefix;
    struct store_key_bytes from;
    level_prefix(ladder, level - 1, &prefix);
    row_key(ladder, level - 1, boundary, &from);
    struct store_cursor cursor;
    cursor_begin(&cursor, ladder->txn, key_slice(&prefix));
    bool any = cursor_seek(&cursor, key_slice(&from));
    uint64_t elements = 0;
    for (uint32_t i = 0; any && i < lower; i++) {
        elements += row_decode(ladder, cursor.value).elements;
        any = cursor_next(&cursor);
    }
    if (any) {
        row_key(ladder, level, cursor_suffix(&cursor), middle);
    } else {
        txn_fail(ladder->txn, ERR_CORRUPT);
    }
    cursor_end(&cursor);
    return elements;
}

static bool is_too_large(unsigned level, struct row row)
{
    return level == 1 ? row.elements > LADDER_ELEMENTS_MAX : row.children > LADDER_CHILDREN_MAX;
}

/* Split a row in two, its parent if that has too many children then, and so on; the highest gets one above it. */
static void split(const struct ladder *ladder, unsigned level, struct store_key_bytes key,
                  struct row row)
{
    struct store_txn *txn = ladder->txn;
    while (is_too_large(level, row) && txn->err == ERR_OK) {
        struct store_key_bytes middle = {0};
        struct row lower = {row.elements / 2, row.children / 2};
        if (level == 1) {
            middle_element(ladder, boundary_of(&key), lower.elements, &middle);
        } else {
            lower.elements =
                middle_child(ladder, level, boundary_of(&key), lower.children, &middle);
        }
        if (txn->err != ERR_OK) { return; }
        struct row upper = {row.elements - lower.elements, row.children - lower.children};
        row_put(ladder, &key, lower);
        row_put(ladder, &middle, upper);
        level++;
        if (level > ladder->object->levels) {
            CHECK(level < LEVELS_MAX);
            ladder->object->levels = (uint8_t)level;
            row_key(ladder, level, SLICE(""), &key);
            row = (struct row){row.elements, 2};
        } else {
            row = row_of(ladder, level, boundary_of(&middle), &key);
            row.children++;
        }
        row_put(ladder, &key, row);
    }
}

/* ---- making one, and its end ---- */

/* The rows of level 1 over a collection that has none, each as full as a split leaves it. */
static void build(const struct ladder *ladder)
{
    const uint64_t step = LADDER_ELEMENTS_MAX / 2;
    struct store_txn *txn = ladder->txn;
    ladder->object->levels = 1;
    struct store_key_bytes key;
    row_key(ladder, 1, SLICE(""), &key);
    struct row rest = {ladder->object->count, 0};
    row_put(ladder, &key, rest);
    while (rest.elements > LADDER_ELEMENTS_MAX && txn->err == ERR_OK) {
        struct store_key_bytes middle;
        middle_element(ladder, boundary_of(&key), step, &middle);
        if (txn->err != ERR_OK) { return; }
        row_put(ladder, &key, (struct row){step, 0});
        rest.elements -= step;
        row_put(ladder, &middle, rest);
        struct store_key_bytes parent;
        if (ladder->object->levels == 1) {
            ladder->object->levels = 2;
            row_key(ladder, 2, SLICE(""), &parent);
            row_put(ladder, &parent, (struct row){ladder->object->count, 2});
        } else {
            struct row above = row_of(ladder, 2, boundary_of(&middle), &parent);
            above.children++;
            row_put(ladder, &parent, above);
        }
        key = middle;
    }
}

static void drop(const struct ladder *ladder)
{
    struct store_key_bytes prefix;
    key_begin(&prefix, 'c');
    key_u64(&prefix, ladder->object->content);
    struct store_cursor cursor;
    cursor_begin(&cursor, ladder->txn, key_slice(&prefix));
    for (bool any = cursor_first(&cursor); any; any = cursor_next(&cursor)) {
        cursor_delete(&cursor);
    }
    cursor_end(&cursor);
    ladder->object->levels = 0;
}

/* ---- changes ---- */

void ladder_added(const struct ladder *ladder, struct slice element)
{
    if (ladder->object->levels == 0) {
        if (ladder->object->count > LADDER_FROM) { build(ladder); }
        return;
    }
    struct store_key_bytes lowest = {0};
    struct row row = {0};
    for (unsigned level = ladder->object->levels; level >= 1 && ladder->txn->err == ERR_OK;
         level--) {
        row = row_of(ladder, level, element, &lowest);
        row.elements++;
        row_put(ladder, &lowest, row);
    }
    split(ladder, 1, lowest, row);
}

/* Rows of the lowest levels that an element has left empty, and that nothing above needs. */
static void remove_empty(const struct ladder *ladder, struct slice boundary, unsigned level_max)
{
    for (unsigned level = 1; level <= level_max; level++) {
        struct store_key_bytes key;
        row_key(ladder, level, boundary, &key);
        (void)txn_delete(ladder->txn, key_slice(&key));
    }
    struct store_key_bytes key;
    struct row parent = row_of(ladder, level_max + 1, boundary, &key);
    parent.children--;
    row_put(ladder, &key, parent);
}

void ladder_removed(const struct ladder *ladder, struct slice element)
{
    if (ladder->object->levels == 0) { return; }
    if (ladder->object->count < LADDER_UNTIL) {
        drop(ladder);
        return;
    }
    struct store_key_bytes lowest = {0};
    unsigned empty_levels = 0; /* from level 1 up: rows of one boundary that are empty now */
    bool is_needed = false;    /* a row above them has the same boundary */
    for (unsigned level = 1; level <= ladder->object->levels; level++) {
        struct store_key_bytes key;
        struct row row = row_of(ladder, level, element, &key);
        if (ladder->txn->err != ERR_OK) { return; }
        CHECK(row.elements > 0);
        row.elements--;
        row_put(ladder, &key, row);
        if (level == 1) { lowest = key; }
        bool is_same = slice_equal(boundary_of(&key), boundary_of(&lowest));
        if (level == empty_levels + 1 && is_same && row.elements == 0) {
            empty_levels = level;
        } else if (level == empty_levels + 1) {
            is_needed = is_same;
        }
    }
    if (empty_levels == 0 || is_needed || boundary_of(&lowest).len == 0) { return; }
    remove_empty(ladder, boundary_of(&lowest), empty_levels);
}

/* ---- rank and index ---- */

uint64_t ladder_rank(const struct ladder *ladder, struct slice element)
{
    uint64_t rank = 0;
    struct store_key_bytes boundary = {0}; /* of the row that the element belongs to */
    for (unsigned level = ladder->object->levels; level-- > 1;) {
        struct store_key_bytes prefix;
        struct store_key_bytes from;
        level_prefix(ladder, level, &prefix);
        row_key(ladder, level, key_slice(&boundary), &from);
        struct store_cursor cursor;
        cursor_begin(&cursor, ladder->txn, key_slice(&prefix));
        bool any = cursor_seek(&cursor, key_slice(&from));
        uint64_t before = 0;
        while (any && slice_compare(cursor_suffix(&cursor), element) <= 0) {
            rank += before;
            before = row_decode(ladder, cursor.value).elements;
            boundary.len = 0;
            key_append(&boundary, cursor_suffix(&cursor).data, cursor_suffix(&cursor).len);
            any = cursor_next(&cursor);
        }
        cursor_end(&cursor);
    }
    struct store_key_bytes prefix;
    ladder_prefix(ladder, &prefix);
    struct store_key_bytes from = prefix;
    key_append(&from, boundary.bytes, boundary.len);
    struct store_cursor cursor;
    cursor_begin(&cursor, ladder->txn, key_slice(&prefix));
    bool any = cursor_seek(&cursor, key_slice(&from));
    while (any && slice_compare(cursor_suffix(&cursor), element) < 0) {
        rank++;
        any = cursor_next(&cursor);
    }
    cursor_end(&cursor);
    return rank;
}

/* Go down to the row of level 1 that holds the index, of which what is before it is taken off. */
static void descend(const struct ladder *ladder, uint64_t *index, struct store_key_bytes *boundary)
{
    for (unsigned level = ladder->object->levels; level-- > 1;) {
        struct store_key_bytes prefix;
        struct store_key_bytes from;
        level_prefix(ladder, level, &prefix);
        row_key(ladder, level, key_slice(boundary), &from);
        struct store_cursor cursor;
        cursor_begin(&cursor, ladder->txn, key_slice(&prefix));
        for (bool any = cursor_seek(&cursor, key_slice(&from)); any; any = cursor_next(&cursor)) {
            boundary->len = 0;
            key_append(boundary, cursor_suffix(&cursor).data, cursor_suffix(&cursor).len);
            uint64_t elements = row_decode(ladder, cursor.value).elements;
            if (*index < elements) { break; }
            *index -= elements;
        }
        cursor_end(&cursor);
    }
}

bool ladder_seek(const struct ladder *ladder, uint64_t index, struct store_cursor *cursor)
{
    uint64_t count = ladder->object->count;
    if (index >= count) { return false; }
    if (ladder->object->levels == 0 && index > count / 2) { /* nearer to the end */
        bool any = cursor_last(cursor);
        for (uint64_t i = count - 1; any && i > index; i--) {
            any = cursor_previous(cursor);
        }
        return any;
    }
    struct store_key_bytes boundary = {0};
    descend(ladder, &index, &boundary);
    struct store_key_bytes from;
    ladder_prefix(ladder, &from);
    key_append(&from, boundary.bytes, boundary.len);
    bool any = cursor_seek(cursor, key_slice(&from));
    for (; any && index > 0; index--) {
        any = cursor_next(cursor);
    }
    return any;
}
