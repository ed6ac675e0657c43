/* rdb_value: strings, lists, sets, sorted sets, hashes and modules' values. */
#include "rdb/rdb_value.h"

#include <math.h>
#include <stdlib.h>

#include "rdb/rdb_read.h"

const char rdb_stopped[] = "stopped";
const char rdb_empty[] = "a collection without elements";

static const char damaged[] = "a packed collection is damaged";
static const char not_a_number[] = "a score is not a number";

enum { QUICKLIST_PLAIN = 1, QUICKLIST_PACKED = 2 };

enum rdb_kind rdb_kind_of(uint8_t type)
{
    switch (type) {
    case RDB_TYPE_STRING: return RDB_KIND_STRING;
    case RDB_TYPE_LIST:
    case RDB_TYPE_LIST_ZIPLIST:
    case RDB_TYPE_LIST_QUICKLIST:
    case RDB_TYPE_LIST_QUICKLIST_2: return RDB_KIND_LIST;
    case RDB_TYPE_SET:
    case RDB_TYPE_SET_INTSET:
    case RDB_TYPE_SET_LISTPACK: return RDB_KIND_SET;
    case RDB_TYPE_ZSET:
    case RDB_TYPE_ZSET_2:
    case RDB_TYPE_ZSET_ZIPLIST:
    case RDB_TYPE_ZSET_LISTPACK: return RDB_KIND_ZSET;
    case RDB_TYPE_HASH:
    case RDB_TYPE_HASH_ZIPMAP:
    case RDB_TYPE_HASH_ZIPLIST:
    case RDB_TYPE_HASH_LISTPACK:
    case RDB_TYPE_HASH_EXPIRING_DRAFT:
    case RDB_TYPE_HASH_LISTPACK_EXPIRING_DRAFT:
    case RDB_TYPE_HASH_EXPIRING:
    case RDB_TYPE_HASH_LISTPACK_EXPIRING: return RDB_KIND_HASH;
    case RDB_TYPE_STREAM:
    case RDB_TYPE_STREAM_2:
    case RDB_TYPE_STREAM_3: return RDB_KIND_STREAM;
    case RDB_TYPE_MODULE:
    case RDB_TYPE_MODULE_2: return RDB_KIND_MODULE;
    default: return RDB_KIND_UNKNOWN;
    }
}

/* ---- packed ---- */

static bool item_score(struct rdb_in *in, const struct rdb_item *item, double *out)
{
    char text[64];
    char *end;
    if (item->is_number) {
        *out = (double)item->number;
        return true;
    }
    if (item->text.len == 0 || item->text.len >= sizeof text) { return rdb_fail(in, not_a_number); }
    memcpy(text, item->text.data, item->text.len);
    text[item->text.len] = 0;
    *out = strtod(text, &end);
    return (end == text + item->text.len && !isnan(*out)) || rdb_fail(in, not_a_number);
}

/* The items that belong to `first`; *event is completed. */
static bool items_join(struct rdb_read *read, struct rdb_packed *packed, bool has_deadlines,
                       struct rdb_event *event)
{
    struct rdb_item second;
    if (rdb_packed_next(packed, &second) != RDB_ITEM) { return rdb_fail(read->in, damaged); }
    if (event->kind == RDB_SCORED) {
        return item_score(read->in, &second, &event->score) && rdb_tell(read, event);
    }
    event->value = second.text;
    struct rdb_item third = {.number = 0};
    if (has_deadlines &&
        (rdb_packed_next(packed, &third) != RDB_ITEM || !third.is_number || third.number < 0)) {
        return rdb_fail(read->in, damaged);
    }
    event->expire_ms = (uint64_t)third.number;
    return rdb_tell(read, event);
}

static bool read_items(struct rdb_read *read, enum rdb_packing packing, struct slice bytes,
                       enum rdb_event_kind kind, bool has_deadlines)
{
    struct rdb_packed packed;
    struct rdb_item item;
    if (!rdb_packed_begin(&packed, packing, bytes)) { return rdb_fail(read->in, damaged); }
    bool is_alone = kind == RDB_ELEMENT || kind == RDB_MEMBER;
    enum rdb_next next = rdb_packed_next(&packed, &item);
    for (; next == RDB_ITEM; next = rdb_packed_next(&packed, &item)) {
        struct rdb_event event = {.kind = kind, .name = item.text, .value = item.text};
        bool is_good =
            is_alone ? rdb_tell(read, &event) : items_join(read, &packed, has_deadlines, &event);
        if (!is_good) { return false; }
    }
    return next == RDB_ITEMS_END || rdb_fail(read->in, damaged);
}

static bool take_packed(struct rdb_read *read, enum rdb_packing packing, enum rdb_event_kind kind)
{
    struct slice bytes;
    return rdb_take_text(read->in, &read->scratch[0], &bytes) &&
           read_items(read, packing, bytes, kind, false);
}

/* ---- one by one ---- */

/* Lists and sets. */
static bool read_plain(struct rdb_read *read, enum rdb_event_kind kind)
{
    uint64_t count;
    struct slice text;
    if (!rdb_take_count(read->in, 1, &count)) { return false; }
    for (; count > 0; count--) {
        if (!rdb_take_text(read->in, &read->scratch[0], &text)) { return false; }
        const struct rdb_event event = {.kind = kind, .name = text, .value = text};
        if (!rdb_tell(read, &event)) { return false; }
    }
    return true;
}

static bool read_quicklist(struct rdb_read *read, bool has_kinds)
{
    uint64_t count;
    struct slice bytes;
    if (!rdb_take_count(read->in, 1 + has_kinds, &count)) { return false; }
    for (; count > 0; count--) {
        uint64_t kind = QUICKLIST_PACKED;
        if (has_kinds && !rdb_take_length(read->in, &kind)) { return false; }
        if (!rdb_take_text(read->in, &read->scratch[0], &bytes)) { return false; }
        bool is_good = false;
        if (kind == QUICKLIST_PLAIN) {
            const struct rdb_event event = {.kind = RDB_ELEMENT, .value = bytes};
            is_good = rdb_tell(read, &event);
        } else if (kind == QUICKLIST_PACKED) {
            is_good =
                read_items(read, has_kinds ? RDB_LISTPACK : RDB_ZIPLIST, bytes, RDB_ELEMENT, false);
        }
        if (!is_good) { return rdb_fail(read->in, "a list's node of an unknown kind"); }
    }
    return true;
}

/* A score as a text with its length before it, or a word of its own. */
static bool take_text_score(struct rdb_in *in, double *out)
{
    enum { SCORE_NAN = 253, SCORE_HIGHEST = 254, SCORE_LOWEST = 255 };
    uint8_t length;
    struct rdb_item item = {.is_number = false};
    if (!rdb_take_u8(in, &length)) { return false; }
    if (length == SCORE_NAN) { return rdb_fail(in, not_a_number); }
    if (length >= SCORE_HIGHEST) {
        *out = length == SCORE_HIGHEST ? (double)INFINITY : -(double)INFINITY;
        return true;
    }
    return rdb_take(in, length, &item.text) && item_score(in, &item, out);
}

static bool read_zset(struct rdb_read *read, bool has_binary_scores)
{
    uint64_t count;
    struct rdb_event event = {.kind = RDB_SCORED};
    if (!rdb_take_count(read->in, 2, &count)) { return false; }
    for (; count > 0; count--) {
        if (!rdb_take_text(read->in, &read->scratch[0], &event.name)) { return false; }
        bool is_good = has_binary_scores ? rdb_take_double(read->in, &event.score)
                                         : take_text_score(read->in, &event.score);
        if (!is_good) { return false; }
        if (isnan(event.score)) { return rdb_fail(read->in, not_a_number); }
        if (!rdb_tell(read, &event)) { return false; }
    }
    return true;
}

enum field_deadlines { DEADLINES_NONE, DEADLINES_ABSOLUTE, DEADLINES_RELATIVE };

/* A field's deadline as it is written: 0, or 1 and how much it is above the hash's lowest. */
static bool take_deadline(struct rdb_in *in, enum field_deadlines deadlines, uint64_t lowest,
                          uint64_t *out)
{
    *out = 0;
    if (deadlines == DEADLINES_NONE) { return true; }
    if (!rdb_take_length(in, out)) { return false; }
    if (*out == 0 || deadlines == DEADLINES_ABSOLUTE) { return true; }
    return !__builtin_add_overflow(*out - 1, lowest, out) ||
           rdb_fail(in, "a field's deadline is out of range");
}

static bool read_hash(struct rdb_read *read, enum field_deadlines deadlines)
{
    uint64_t count;
    uint64_t lowest = 0;
    struct rdb_event event = {.kind = RDB_FIELD};
    if (deadlines == DEADLINES_RELATIVE && !rdb_take_u64(read->in, &lowest)) { return false; }
    if (!rdb_take_count(read->in, 2, &count)) { return false; }
    for (; count > 0; count--) {
        if (!take_deadline(read->in, deadlines, lowest, &event.expire_ms) ||
            !rdb_take_text(read->in, &read->scratch[0], &event.name) ||
            !rdb_take_text(read->in, &read->scratch[1], &event.value) || !rdb_tell(read, &event)) {
            return false;
        }
    }
    return true;
}

static bool read_hash_listpack_expiring(struct rdb_read *read, bool has_lowest)
{
    uint64_t lowest; /* its listpack has all of them in full */
    struct slice bytes;
    if (has_lowest && !rdb_take_u64(read->in, &lowest)) { return false; }
    return rdb_take_text(read->in, &read->scratch[0], &bytes) &&
           read_items(read, RDB_LISTPACK, bytes, RDB_FIELD, true);
}

static bool read_text(struct rdb_read *read)
{
    struct rdb_event event = {.kind = RDB_TEXT};
    return rdb_take_text(read->in, &read->scratch[0], &event.value) && rdb_tell(read, &event);
}

static bool read_value(struct rdb_read *read, uint8_t type)
{
    switch (type) {
    case RDB_TYPE_STRING: return read_text(read);
    case RDB_TYPE_LIST: return read_plain(read, RDB_ELEMENT);
    case RDB_TYPE_SET: return read_plain(read, RDB_MEMBER);
    case RDB_TYPE_ZSET: return read_zset(read, false);
    case RDB_TYPE_ZSET_2: return read_zset(read, true);
    case RDB_TYPE_HASH: return read_hash(read, DEADLINES_NONE);
    case RDB_TYPE_HASH_ZIPMAP: return take_packed(read, RDB_ZIPMAP, RDB_FIELD);
    case RDB_TYPE_LIST_ZIPLIST: return take_packed(read, RDB_ZIPLIST, RDB_ELEMENT);
    case RDB_TYPE_SET_INTSET: return take_packed(read, RDB_INTSET, RDB_MEMBER);
    case RDB_TYPE_SET_LISTPACK: return take_packed(read, RDB_LISTPACK, RDB_MEMBER);
    case RDB_TYPE_ZSET_ZIPLIST: return take_packed(read, RDB_ZIPLIST, RDB_SCORED);
    case RDB_TYPE_ZSET_LISTPACK: return take_packed(read, RDB_LISTPACK, RDB_SCORED);
    case RDB_TYPE_HASH_ZIPLIST: return take_packed(read, RDB_ZIPLIST, RDB_FIELD);
    case RDB_TYPE_HASH_LISTPACK: return take_packed(read, RDB_LISTPACK, RDB_FIELD);
    case RDB_TYPE_LIST_QUICKLIST: return read_quicklist(read, false);
    case RDB_TYPE_LIST_QUICKLIST_2: return read_quicklist(read, true);
    case RDB_TYPE_HASH_EXPIRING_DRAFT: return read_hash(read, DEADLINES_ABSOLUTE);
    case RDB_TYPE_HASH_EXPIRING: return read_hash(read, DEADLINES_RELATIVE);
    case RDB_TYPE_HASH_LISTPACK_EXPIRING_DRAFT: return read_hash_listpack_expiring(read, false);
    case RDB_TYPE_HASH_LISTPACK_EXPIRING: return read_hash_listpack_expiring(read, true);
    case RDB_TYPE_STREAM:
    case RDB_TYPE_STREAM_2:
    case RDB_TYPE_STREAM_3: return rdb_read_stream(read, type);
    default: return rdb_fail(read->in, "a value of a type that cannot be read");
    }
}

bool rdb_value_read(struct rdb_in *in, uint8_t type, const struct rdb_sink *sink)
{
    struct rdb_read read = {.in = in, .sink = sink};
    bool is_good = read_value(&read, type);
    buf_fini(&read.scratch[0]);
    buf_fini(&read.scratch[1]);
    return is_good && (read.count > 0 || rdb_fail(in, rdb_empty));
}

/* ---- modules ---- */

/* The name of a module's type is in its id: nine letters of six bits; the ten bits below are a version. */
static void module_name(uint64_t id, char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int i = 0; i < RDB_MODULE_NAME_BYTES - 1; i++) {
        name[i] = letters[id >> (10 + 6 * (8 - i)) & 0x3f];
    }
    name[RDB_MODULE_NAME_BYTES - 1] = 0;
}

bool rdb_module_skip(struct rdb_in *in, char *name)
{
    enum {
        PART_END = 0,
        PART_SIGNED = 1,
        PART_UNSIGNED = 2,
        PART_FLOAT = 3,
        PART_DOUBLE = 4,
        PART_TEXT = 5
    };
    uint64_t id;
    uint64_t part;
    struct slice skipped;
    if (!rdb_take_length(in, &id)) { return false; }
    module_name(id, name);
    while (rdb_take_length(in, &part)) {
        bool is_good = false;
        switch (part) {
        case PART_END: return true;
        case PART_SIGNED:
        case PART_UNSIGNED: is_good = rdb_take_length(in, &id); break;
        case PART_FLOAT: is_good = rdb_take(in, sizeof(float), &skipped); break;
        case PART_DOUBLE: is_good = rdb_take(in, sizeof(double), &skipped); break;
        case PART_TEXT: is_good = rdb_skip_text(in); break;
        default: return rdb_fail(in, "a module's value has a part of an unknown kind");
        }
        if (!is_good) { return false; }
    }
    return false;
}
