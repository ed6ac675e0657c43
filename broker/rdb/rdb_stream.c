/* rdb_stream: the value of a stream: its entries in listpacks, and its groups. */
#include <endian.h>
#include <stdlib.h>

#include "base/mem.h"
#include "rdb/rdb_read.h"

enum { NODE_KEY_BYTES = 16 }; /* an id, big-endian */
enum { ENTRY_DELETED = 1, ENTRY_SAME_FIELDS = 2 };
enum { PARTS_MAX = 1 << 20 }; /* fields and values of an entry */

static const char damaged[] = "a stream's node is damaged";

static int id_compare(struct rdb_id a, struct rdb_id b)
{
    if (a.ms != b.ms) { return a.ms < b.ms ? -1 : 1; }
    if (a.seq != b.seq) { return a.seq < b.seq ? -1 : 1; }
    return 0;
}

static struct rdb_id id_at(const char *at)
{
    uint64_t word[2];
    memcpy(word, at, sizeof word);
    return (struct rdb_id){be64toh(word[0]), be64toh(word[1])};
}

static bool take_id(struct rdb_in *in, struct rdb_id *out)
{
    return rdb_take_length(in, &out->ms) && rdb_take_length(in, &out->seq);
}

/* ---- entries ---- */

/* A node: a listpack that begins with the fields which most of its entries have. */
struct node {
    struct rdb_packed packed;
    struct rdb_id first; /* the entries' ids are told as differences to it */
    struct slice *field;
    uint32_t field_count;
    uint32_t field_cap;
    struct slice *part; /* of the entry at hand */
    uint32_t part_cap;
    struct buf texts;   /* of the parts that are numbers: PARTS_MAX of them are not held at once */
    struct rdb_id last; /* of the stream so far */
    uint64_t entries;
};

static bool take_number(struct rdb_read *read, struct node *node, int64_t *out)
{
    struct rdb_item item;
    if (rdb_packed_next(&node->packed, &item) != RDB_ITEM || !item.is_number) {
        return rdb_fail(read->in, damaged);
    }
    *out = item.number;
    return true;
}

static bool take_small(struct rdb_read *read, struct node *node, uint32_t *out)
{
    int64_t v;
    if (!take_number(read, node, &v)) { return false; }
    *out = (uint32_t)v;
    /* Each takes two bytes at least. */
    size_t left = (size_t)(node->packed.end - node->packed.at);
    return (v >= 0 && v <= PARTS_MAX && (uint64_t)v <= left) || rdb_fail(read->in, damaged);
}

/* The next item as a text that stays: where it is, or in `texts`, which has room for it. */
static bool take_part(struct rdb_read *read, struct node *node, struct slice *out)
{
    struct rdb_item item;
    if (rdb_packed_next(&node->packed, &item) != RDB_ITEM) { return rdb_fail(read->in, damaged); }
    *out = item.text;
    if (item.is_number) {
        CHECK(node->texts.cap - node->texts.len >= item.text.len);
        out->data = node->texts.data + node->texts.len;
        buf_append(&node->texts, item.text);
    }
    return true;
}

/* Room for so many parts. */
static void parts_make(struct slice **part, uint32_t *cap, uint32_t count)
{
    if (*part != NULL && *cap >= count) { return; }
    mem_free(*part);
    *cap = count + 8;
    *part = mem_new(*cap * sizeof **part);
}

/* The head: how many entries are there, how many deleted, the fields, 0. The fields' numbers get a text buffer of their own. */
static bool node_head(struct rdb_read *read, struct node *node, struct buf *field_texts)
{
    int64_t number;
    struct buf texts = node->texts;
    if (!take_number(read, node, &number) || !take_number(read, node, &number) ||
        !take_small(read, node, &node->field_count)) {
        return false;
    }
    parts_make(&node->field, &node->field_cap, node->field_count);
    field_texts->len = 0;
    (void)buf_reserve(field_texts, (size_t)node->field_count * RDB_NUMBER_TEXT_MAX + 1);
    node->texts = *field_texts;
    bool is_good = true;
    for (uint32_t i = 0; is_good && i < node->field_count; i++) {
        is_good = take_part(read, node, &node->field[i]);
    }
    *field_texts = node->texts;
    node->texts = texts;
    return is_good && take_number(read, node, &number) &&
           (number == 0 || rdb_fail(read->in, damaged));
}

/* Fields and values of an entry. */
static bool node_parts(struct rdb_read *read, struct node *node, bool is_same, uint32_t *count)
{
    uint32_t fields = node->field_count;
    if (!is_same && !take_small(read, node, &fields)) { return false; }
    parts_make(&node->part, &node->part_cap, fields * 2);
    node->texts.len = 0;
    (void)buf_reserve(&node->texts, (size_t)fields * 2 * RDB_NUMBER_TEXT_MAX + 1);
    *count = fields * 2;
    for (uint32_t i = 0; i < fields; i++) {
        node->part[2 * i] = is_same ? node->field[i] : SLICE("");
        if (!is_same && !take_part(read, node, &node->part[2 * i])) { return false; }
        if (!take_part(read, node, &node->part[2 * i + 1])) { return false; }
    }
    return true;
}

/* Entries up to the end of the node. */
static bool node_entries(struct rdb_read *read, struct node *node)
{
    while (node->packed.at < node->packed.end) {
        int64_t flags;
        int64_t ms;
        int64_t seq;
        int64_t items; /* how many it has: for walks from the end */
        uint32_t part_count;
        if (!take_number(read, node, &flags) || !take_number(read, node, &ms) ||
            !take_number(read, node, &seq) ||
            !node_parts(read, node, (flags & ENTRY_SAME_FIELDS) != 0, &part_count) ||
            !take_number(read, node, &items)) {
            return false;
        }
        struct rdb_event event = {.kind = RDB_ENTRY, .part = node->part, .part_count = part_count};
        event.id = (struct rdb_id){node->first.ms + (uint64_t)ms, node->first.seq + (uint64_t)seq};
        if ((flags & ENTRY_DELETED) != 0) { continue; }
        if (id_compare(event.id, node->last) <= 0) {
            return rdb_fail(read->in, "a stream's ids do not rise");
        }
        node->last = event.id;
        node->entries++;
        if (part_count == 0) { return rdb_fail(read->in, damaged); }
        if (!rdb_tell(read, &event)) { return false; }
    }
    return true;
}

static bool read_nodes(struct rdb_read *read, struct node *node)
{
    uint64_t count;
    struct buf field_texts = {0};
    bool is_good = rdb_take_count(read->in, NODE_KEY_BYTES, &count);
    for (; is_good && count > 0; count--) {
        struct slice key;
        struct slice bytes;
        is_good = rdb_take_text(read->in, &read->scratch[0], &key) &&
                  (key.len == NODE_KEY_BYTES || rdb_fail(read->in, damaged));
        if (!is_good) { break; }
        node->first = id_at(key.data);
        is_good =
            rdb_take_text(read->in, &read->scratch[1], &bytes) &&
            (rdb_packed_begin(&node->packed, RDB_LISTPACK, bytes) || rdb_fail(read->in, damaged)) &&
            node_head(read, node, &field_texts) && node_entries(read, node);
    }
    buf_fini(&field_texts);
    return is_good;
}

/* ---- groups ---- */

/* What is pending in a group; the consumers' lists name its ids. */
struct pending {
    struct rdb_id id;
    uint64_t delivered_ms;
    uint64_t delivered_count;
    bool has_consumer;
};

static int pending_compare(const void *a, const void *b)
{
    return id_compare(((const struct pending *)a)->id, ((const struct pending *)b)->id);
}

static bool read_pending(struct rdb_read *read, struct buf *out)
{
    uint64_t count;
    struct slice id;
    if (!rdb_take_count(read->in, NODE_KEY_BYTES + 9, &count)) { return false; }
    out->len = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct pending pending = {.has_consumer = false};
        if (!rdb_take(read->in, NODE_KEY_BYTES, &id) ||
            !rdb_take_u64(read->in, &pending.delivered_ms) ||
            !rdb_take_length(read->in, &pending.delivered_count)) {
            return false;
        }
        pending.id = id_at(id.data);
        buf_append(out, slice_of(&pending, sizeof pending));
        const struct pending *before = (const struct pending *)out->data + i;
        if (i > 0 && id_compare(before[-1].id, pending.id) >= 0) {
            return rdb_fail(read->in, "a group's pending ids do not rise");
        }
    }
    return true;
}

static bool read_consumer_pending(struct rdb_read *read, struct buf *pendings)
{
    uint64_t count;
    struct slice id;
    if (!rdb_take_count(read->in, NODE_KEY_BYTES, &count)) { return false; }
    for (; count > 0; count--) {
        if (!rdb_take(read->in, NODE_KEY_BYTES, &id)) { return false; }
        const struct pending wanted = {.id = id_at(id.data)};
        struct pending *found = NULL;
        if (pendings->len > 0) {
            found = bsearch(&wanted, pendings->data, pendings->len / sizeof wanted, sizeof wanted,
                            pending_compare);
        }
        if (found == NULL || found->has_consumer) {
            return rdb_fail(read->in, "a consumer's pending entry is not its group's");
        }
        found->has_consumer = true;
        const struct rdb_event event = {.kind = RDB_PENDING,
                                        .id = found->id,
                                        .delivered_ms = found->delivered_ms,
                                        .delivered_count = found->delivered_count};
        if (!rdb_tell(read, &event)) { return false; }
    }
    return true;
}

static bool read_consumers(struct rdb_read *read, uint8_t type, struct buf *pendings)
{
    uint64_t count;
    if (!rdb_take_count(read->in, 1 + 8 + 1, &count)) { return false; }
    for (; count > 0; count--) {
        struct rdb_event event = {.kind = RDB_CONSUMER};
        if (!rdb_take_text(read->in, &read->scratch[0], &event.name) ||
            !rdb_take_u64(read->in, &event.seen_ms)) {
            return false;
        }
        event.active_ms = event.seen_ms;
        bool has_active = type >= RDB_TYPE_STREAM_3;
        if (has_active && !rdb_take_u64(read->in, &event.active_ms)) { return false; }
        if (event.active_ms == UINT64_MAX) { event.active_ms = 0; } /* never, as -1 */
        if (!rdb_tell(read, &event) || !read_consumer_pending(read, pendings)) { return false; }
    }
    const struct pending *pending = (const struct pending *)pendings->data;
    for (size_t i = 0; i < pendings->len / sizeof *pending; i++) {
        if (!pending[i].has_consumer) {
            return rdb_fail(read->in, "a group's pending entry is no consumer's");
        }
    }
    return true;
}

static bool read_groups(struct rdb_read *read, uint8_t type)
{
    uint64_t count;
    struct buf pendings = {0};
    bool is_good = rdb_take_count(read->in, 1 + 2 + 1 + 1, &count);
    for (; is_good && count > 0; count--) {
        struct rdb_event event = {.kind = RDB_GROUP, .read = RDB_READ_UNKNOWN};
        event.has_history = type >= RDB_TYPE_STREAM_2;
        is_good = rdb_take_text(read->in, &read->scratch[0], &event.name) &&
                  take_id(read->in, &event.id) &&
                  (!event.has_history || rdb_take_length(read->in, &event.read)) &&
                  rdb_tell(read, &event) && read_pending(read, &pendings) &&
                  read_consumers(read, type, &pendings);
    }
    buf_fini(&pendings);
    return is_good;
}

static bool read_counters(struct rdb_read *read, uint8_t type, const struct node *node)
{
    struct rdb_event event = {.kind = RDB_STREAM, .added = node->entries};
    struct rdb_id first;
    event.has_history = type >= RDB_TYPE_STREAM_2;
    if (!rdb_take_length(read->in, &event.entries) || !take_id(read->in, &event.id)) {
        return false;
    }
    if (event.has_history &&
        (!take_id(read->in, &first) || !take_id(read->in, &event.max_deleted) ||
         !rdb_take_length(read->in, &event.added))) {
        return false;
    }
    bool is_good = event.entries == node->entries && id_compare(event.id, node->last) >= 0 &&
                   event.added >= event.entries;
    return (is_good || rdb_fail(read->in, "a stream's counters do not fit its entries")) &&
           rdb_tell(read, &event);
}

bool rdb_read_stream(struct rdb_read *read, uint8_t type)
{
    struct node node = {.entries = 0};
    bool is_good =
        read_nodes(read, &node) && read_counters(read, type, &node) && read_groups(read, type);
    mem_free(node.field);
    mem_free(node.part);
    buf_fini(&node.texts);
    return is_good;
}
