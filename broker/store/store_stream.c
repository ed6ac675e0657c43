/* store_stream: the entries of streams.
 *
 * A block: kind1, then of a page the entries, of a long one oid8 length8 of the chunks that hold one entry.
 * An entry: flags1, the id as differences to the key's, how many parts, how many bytes of them, the parts; numbers in groups of
 * seven bits, a part with its length before it. With ENTRY_SAME the fields are those of the block's first entry and only
 * values stand there. */
#include "store/store_stream.h"

#include "store/store_int.h"
#include "store/store_value.h"

enum { BLOCK_PAGE = 0, BLOCK_LONG = 1, BLOCK_BYTES_MAX = STORE_CHUNK_BYTES };
enum { ENTRY_DELETED = 1, ENTRY_SAME = 2 };
enum { NUMBER_BYTES_MAX = 10, ENTRY_HEAD_MAX = 1 + 4 * NUMBER_BYTES_MAX };

static void block_key(uint64_t content, struct store_id id, struct store_key_bytes *key)
{
    key_begin(key, 'x');
    key_u64(key, content);
    key_u64(key, id.ms);
    key_u64(key, id.seq);
}

static struct store_id id_of(const struct store_cursor *cursor)
{
    const char *at = cursor_suffix(cursor).data;
    return (struct store_id){read_u64(at), read_u64(at + 8)};
}

/* ---- numbers ---- */

static void number_append(struct buf *out, uint64_t v)
{
    char bytes[NUMBER_BYTES_MAX];
    size_t len = 0;
    for (; v >= 0x80; v >>= 7) {
        bytes[len++] = (char)(v | 0x80);
    }
    bytes[len++] = (char)v;
    buf_append(out, slice_of(bytes, len));
}

/* False: the bytes end before the number does, or it is none. */
static bool number_take(struct slice *in, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
        unsigned char byte = (unsigned char)*in->data;
        *in = slice_of(in->data + 1, in->len - 1);
        *v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) { return true; }
    }
    return false;
}

static bool part_take(struct slice *in, struct slice *part)
{
    uint64_t len;
    if (!number_take(in, &len) || len > in->len) { return false; }
    *part = slice_of(in->data, len);
    *in = slice_of(in->data + len, in->len - len);
    return true;
}

/* ---- one entry of a block ---- */

struct entry {
    uint8_t flags;
    struct store_id id;
    uint32_t part_count;
    struct slice parts;
};

/* Take the entry that `in`, a block whose key is `first`, goes on with. */
static bool entry_take(struct slice *in, struct store_id first, struct entry *entry)
{
    uint64_t ms;
    uint64_t seq;
    uint64_t part_count;
    if (in->len == 0) { return false; }
    entry->flags = (uint8_t)*in->data;
    *in = slice_of(in->data + 1, in->len - 1);
    if (!number_take(in, &ms) || !number_take(in, &seq) || !number_take(in, &part_count) ||
        !part_take(in, &entry->parts)) {
        return false;
    }
    entry->id = (struct store_id){first.ms + ms, ms == 0 ? first.seq + seq : seq};
    entry->part_count = (uint32_t)part_count;
    return true;
}

static void entry_append(struct buf *out, struct store_id first, struct store_id id,
                         const struct slice *part, uint32_t part_count, bool is_same)
{
    const uint32_t step = is_same ? 2 : 1;
    size_t bytes = 0;
    for (uint32_t i = step - 1; i < part_count; i += step) {
        size_t number_bytes = 1;
        for (uint64_t v = part[i].len; v >= 0x80; v >>= 7) {
            number_bytes++;
        }
        bytes += number_bytes + part[i].len;
    }
    char flags = (char)(is_same ? ENTRY_SAME : 0);
    buf_append(out, slice_of(&flags, 1));
    number_append(out, id.ms - first.ms);
    number_append(out, id.ms == first.ms ? id.seq - first.seq : id.seq);
    number_append(out, part_count);
    number_append(out, bytes);
    for (uint32_t i = step - 1; i < part_count; i += step) {
        number_append(out, part[i].len);
        buf_append(out, part[i]);
    }
}

/* ---- appending ---- */

/* The block that the present log entry fills becomes a row. */
void stream_flush(struct store_txn *txn)
{
    struct store_open_block *open = &txn->open_block;
    if (open->content == 0) { return; }
    struct store_key_bytes key;
    block_key(open->content, open->first, &key);
    if (open->bytes.len <= BLOCK_BYTES_MAX) {
        txn_put(txn, key_slice(&key), buf_slice(&open->bytes));
    } else {
        struct store_key_bytes where = {0};
        key_u8(&where, BLOCK_LONG);
        key_u64(&where, txn->next_oid);
        key_u64(&where, open->bytes.len - 1);
        chunks_write(txn, txn->next_oid++, 0, slice_of(open->bytes.data + 1, open->bytes.len - 1));
        txn_put(txn, key_slice(&key), key_slice(&where));
    }
    open->content = 0;
    open->bytes.len = 0;
}

/* Are the fields those of the block's first entry? */
static bool has_same_fields(const struct store_open_block *open, const struct slice *part,
                            uint32_t part_count)
{
    struct slice in = slice_of(open->bytes.data + 1, open->bytes.len - 1);
    struct entry entry;
    if (!entry_take(&in, open->first, &entry) || entry.part_count != part_count) { return false; }
    for (uint32_t i = 0; i < part_count; i++) {
        struct slice old;
        if (!part_take(&entry.parts, &old)) { return false; }
        if (i % 2 == 0 && !slice_equal(old, part[i])) { return false; }
    }
    return true;
}

void store_stream_add(struct store_txn *txn, struct store_object *stream, struct store_id id,
                      const struct slice *part, uint32_t part_count)
{
    CHECK(store_id_compare(id, stream->stream.last) > 0 || stream->stream.added == 0);
    struct store_open_block *open = &txn->open_block;
    size_t bytes = ENTRY_HEAD_MAX;
    for (uint32_t i = 0; i < part_count; i++) {
        bytes += NUMBER_BYTES_MAX + part[i].len;
    }
    if (open->content != stream->content || open->bytes.len + bytes > BLOCK_BYTES_MAX) {
        stream_flush(txn);
        open->content = stream->content;
        open->first = id;
        char kind = BLOCK_PAGE;
        buf_append(&open->bytes, slice_of(&kind, 1));
    }
    bool is_same = open->bytes.len > 1 && has_same_fields(open, part, part_count);
    entry_append(&open->bytes, open->first, id, part, part_count, is_same);
    if (stream->count++ == 0) { stream->stream.first = id; }
    stream->stream.last = id;
    stream->stream.added++;
}

/* ---- walking ---- */

/* The entries of the block under the walk: a page where it stands, a long one in a buffer. */
static bool block_read(struct store_entries *entries)
{
    struct store_txn *txn = entries->walk.cursor.txn;
    struct slice value = entries->walk.cursor.value;
    if (value.len > 0 && value.data[0] == BLOCK_PAGE) {
        entries->block = slice_of(value.data + 1, value.len - 1);
        return true;
    }
    if (value.len != 1 + 8 + 8) {
        txn_fail(txn, ERR_CORRUPT);
        return false;
    }
    entries->long_block.len = 0;
    chunks_read(txn, read_u64(value.data + 1), 0, read_u64(value.data + 9), &entries->long_block);
    entries->block = buf_slice(&entries->long_block);
    return txn->err == ERR_OK;
}

/* Where the block's entries are that can be seen. */
static bool block_index(struct store_entries *entries)
{
    entries->offsets.len = 0;
    if (!block_read(entries)) { return false; }
    struct store_id first = id_of(&entries->walk.cursor);
    struct slice in = entries->block;
    struct entry entry;
    while (in.len > 0) {
        uint32_t offset = (uint32_t)(in.data - entries->block.data);
        if (!entry_take(&in, first, &entry)) {
            txn_fail(entries->walk.cursor.txn, ERR_CORRUPT);
            return false;
        }
        bool is_seen = (entry.flags & ENTRY_DELETED) == 0 &&
                       store_id_compare(entry.id, entries->stream->stream.first) >= 0;
        if (is_seen) { buf_append(&entries->offsets, slice_of(&offset, sizeof offset)); }
    }
    return true;
}

static size_t offset_count(const struct store_entries *entries)
{
    return entries->offsets.len / sizeof(uint32_t);
}

/* Take the entry at entries->at. */
static void entry_read(struct store_entries *entries)
{
    uint32_t offset;
    memcpy(&offset, entries->offsets.data + entries->at * sizeof offset, sizeof offset);
    struct store_id first = id_of(&entries->walk.cursor);
    struct slice in = slice_of(entries->block.data + offset, entries->block.len - offset);
    struct entry entry;
    bool is_good = entry_take(&in, first, &entry);
    struct slice begin = entries->block;
    struct entry fields;
    is_good = is_good && entry_take(&begin, first, &fields);
    CHECK(is_good); /* block_index has read them */
    entries->id = entry.id;
    entries->part_count = entry.part_count;
    entries->parts = entry.parts;
    entries->part_at = 0;
    entries->has_own_fields = (entry.flags & ENTRY_SAME) == 0;
    entries->fields = fields.parts;
}

/* From the block under the walk on, or back, to one with an entry to see. */
static bool blocks_settle(struct store_entries *entries)
{
    bool is_up = entries->walk.way == STORE_UP;
    for (; entries->walk.is_there; (void)store_walk_next(&entries->walk)) {
        if (!block_index(entries)) { break; }
        if (offset_count(entries) == 0) { continue; }
        entries->at = is_up ? 0 : offset_count(entries) - 1;
        entry_read(entries);
        return true;
    }
    return false;
}

bool store_entries_begin(struct store_entries *entries, struct store_txn *txn,
                         const struct store_object *stream, struct store_id from,
                         enum store_walk_way way)
{
    if (txn->is_write) { stream_flush(txn); }
    *entries = (struct store_entries){.stream = stream};
    walk_begin(&entries->walk, txn, 'x', stream->content, way);
    struct store_key_bytes key;
    block_key(stream->content, from, &key);
    /* The block that holds `from` begins at or below it; above the last block below it there are only later ones. */
    entries->walk.is_there = cursor_seek_back(&entries->walk.cursor, key_slice(&key));
    if (!entries->walk.is_there && way == STORE_UP) {
        entries->walk.is_there = cursor_first(&entries->walk.cursor);
    }
    entries->is_there = blocks_settle(entries);
    while (entries->is_there) {
        int order = store_id_compare(entries->id, from);
        if (way == STORE_UP ? order >= 0 : order <= 0) { break; }
        (void)store_entries_next(entries);
    }
    return entries->is_there;
}

bool store_entries_next(struct store_entries *entries)
{
    bool is_up = entries->walk.way == STORE_UP;
    if (is_up ? entries->at + 1 < offset_count(entries) : entries->at > 0) {
        entries->at += is_up ? 1 : (size_t)-1;
        entry_read(entries);
        return true;
    }
    entries->is_there = store_walk_next(&entries->walk) && blocks_settle(entries);
    return entries->is_there;
}

void store_entries_end(struct store_entries *entries)
{
    store_walk_end(&entries->walk);
    buf_fini(&entries->long_block);
    buf_fini(&entries->offsets);
}

struct slice store_entries_part(struct store_entries *entries)
{
    struct slice part = SLICE("");
    bool is_field = entries->part_at++ % 2 == 0;
    bool is_good = true;
    if (entries->has_own_fields) {
        is_good = part_take(&entries->parts, &part);
    } else if (is_field) {
        struct slice value;
        is_good = part_take(&entries->fields, &part) && part_take(&entries->fields, &value);
    } else {
        is_good = part_take(&entries->parts, &part);
    }
    if (!is_good) { txn_fail(entries->walk.cursor.txn, ERR_CORRUPT); }
    return part;
}

/* ---- removing ---- */

/* After the lowest entry went: which one is it now? */
static void refresh_first(struct store_txn *txn, struct store_object *stream)
{
    struct store_entries entries;
    struct store_id from = stream->stream.first;
    if (store_entries_begin(&entries, txn, stream, from, STORE_UP)) {
        stream->stream.first = entries.id;
    }
    store_entries_end(&entries);
}

/* The block under the walk goes, with its chunks. */
static void block_drop(struct store_txn *txn, uint64_t content, struct store_id id,
                       struct slice value)
{
    uint64_t chunks = value.len > 0 && value.data[0] == BLOCK_LONG ? read_u64(value.data + 1) : 0;
    struct store_key_bytes key;
    block_key(content, id, &key);
    if (chunks != 0) { (void)chunks_remove(txn, chunks, UINT64_MAX); }
    (void)txn_delete(txn, key_slice(&key));
}

/* Mark one entry of a page as deleted. */
static void block_mark(struct store_txn *txn, uint64_t content, struct store_id id,
                       struct slice value, size_t offset)
{
    char page[BLOCK_BYTES_MAX];
    CHECK(value.len <= sizeof page && 1 + offset < value.len);
    memcpy(page, value.data, value.len);
    page[1 + offset] |= ENTRY_DELETED;
    struct store_key_bytes key;
    block_key(content, id, &key);
    txn_put(txn, key_slice(&key), slice_of(page, value.len));
}

bool store_stream_delete(struct store_txn *txn, struct store_object *stream, struct store_id id)
{
    struct store_entries entries;
    bool is_there = store_entries_begin(&entries, txn, stream, id, STORE_UP) &&
                    store_id_compare(entries.id, id) == 0;
    if (is_there) {
        struct store_id first = id_of(&entries.walk.cursor);
        struct slice value = entries.walk.cursor.value;
        if (offset_count(&entries) == 1) {
            block_drop(txn, stream->content, first, value);
        } else {
            uint32_t offset;
            memcpy(&offset, entries.offsets.data + entries.at * sizeof offset, sizeof offset);
            block_mark(txn, stream->content, first, value, offset);
        }
    }
    store_entries_end(&entries);
    if (!is_there) { return false; }
    stream->count--;
    if (store_id_compare(id, stream->stream.max_deleted) > 0) { stream->stream.max_deleted = id; }
    if (stream->count > 0 && store_id_compare(id, stream->stream.first) == 0) {
        refresh_first(txn, stream);
    }
    return true;
}

/* How many of the lowest block's visible entries the trim takes: all, or those up to the first that stays. */
static uint64_t trim_share(const struct store_trim *trim, struct store_entries *entries,
                           uint64_t count)
{
    uint64_t visible = offset_count(entries);
    if (!trim->is_by_id) {
        uint64_t over = count > trim->keep ? count - trim->keep : 0;
        return over < visible ? over : visible;
    }
    uint64_t share = 0;
    for (; share < visible; share++) {
        entries->at = share;
        entry_read(entries);
        if (store_id_compare(entries->id, trim->min) >= 0) { break; }
    }
    return share;
}

uint64_t store_stream_trim(struct store_txn *txn, struct store_object *stream,
                           const struct store_trim *trim)
{
    uint64_t removed = 0;
    while (stream->count > 0 && txn->err == ERR_OK) {
        struct store_entries entries;
        if (!store_entries_begin(&entries, txn, stream, stream->stream.first, STORE_UP)) {
            store_entries_end(&entries);
            break;
        }
        uint64_t visible = offset_count(&entries);
        uint64_t share = trim_share(trim, &entries, stream->count);
        bool is_whole = share == visible;
        bool is_over = trim->limit > 0 && removed + share > trim->limit;
        bool may = share > 0 && !is_over && (is_whole || !trim->is_loose);
        if (may && is_whole) {
            block_drop(txn, stream->content, id_of(&entries.walk.cursor),
                       entries.walk.cursor.value);
        } else if (may) { /* the first one that stays */
            entries.at = share;
            entry_read(&entries);
            stream->stream.first = entries.id;
        }
        store_entries_end(&entries);
        if (!may) { break; }
        removed += share;
        stream->count -= share;
        if (!is_whole) { break; }
        if (stream->count > 0) { refresh_first(txn, stream); }
    }
    return removed;
}
