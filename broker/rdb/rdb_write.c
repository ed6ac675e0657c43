/* rdb_write: values in RDB format. */
#include "rdb/rdb_write.h"

#include <endian.h>

#include "rdb/rdb_crc64.h"

enum { PAYLOAD_END_BYTES = 10 };
enum { NODE_BYTES = 4096, NODE_ENTRIES = 100 }; /* Redis's defaults */
enum { ENTRY_SAME_FIELDS = 2 };

void rdb_put_u8(struct buf *out, uint8_t v)
{
    buf_append(out, slice_of(&v, sizeof v));
}

void rdb_put_u64(struct buf *out, uint64_t v)
{
    v = htole64(v);
    buf_append(out, slice_of(&v, sizeof v));
}

void rdb_put_double(struct buf *out, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    rdb_put_u64(out, bits);
}

void rdb_put_length(struct buf *out, uint64_t v)
{
    if (v < 1 << 6) {
        rdb_put_u8(out, (uint8_t)v);
    } else if (v < 1 << 14) {
        rdb_put_u8(out, (uint8_t)(0x40 | v >> 8));
        rdb_put_u8(out, (uint8_t)v);
    } else if (v <= UINT32_MAX) {
        uint32_t wide = htobe32((uint32_t)v);
        rdb_put_u8(out, 0x80);
        buf_append(out, slice_of(&wide, sizeof wide));
    } else {
        uint64_t wide = htobe64(v);
        rdb_put_u8(out, 0x81);
        buf_append(out, slice_of(&wide, sizeof wide));
    }
}

void rdb_put_text(struct buf *out, struct slice text)
{
    int64_t v;
    bool is_number = text.len <= 11 && slice_to_int64(text, &v) && v == (int32_t)v;
    if (!is_number) {
        rdb_put_length(out, text.len);
        buf_append(out, text);
        return;
    }
    unsigned form = v == (int8_t)v ? 0 : v == (int16_t)v ? 1 : 2;
    uint32_t bits = htole32((uint32_t)v);
    rdb_put_u8(out, (uint8_t)(0xc0 | form));
    buf_append(out, slice_of(&bits, (size_t)1 << form));
}

void rdb_put_raw_id(struct buf *out, struct rdb_id id)
{
    const uint64_t word[2] = {htobe64(id.ms), htobe64(id.seq)};
    buf_append(out, slice_of(word, sizeof word));
}

void rdb_put_id(struct buf *out, struct rdb_id id)
{
    rdb_put_length(out, id.ms);
    rdb_put_length(out, id.seq);
}

/* ---- streams ---- */

/* How many entries the node got is written at its end: its head is put before the entries only then. */
static void node_end(struct rdb_entries *entries)
{
    if (entries->entries == 0) { return; }
    struct rdb_listpack head = {.count = 0};
    rdb_listpack_begin(&head);
    rdb_listpack_number(&head, entries->entries);
    rdb_listpack_number(&head, 0); /* deleted */
    rdb_listpack_number(&head, entries->field_count);
    struct rdb_in fields = rdb_in_of(buf_slice(&entries->fields));
    for (uint32_t i = 0; i < entries->field_count; i++) {
        uint64_t length;
        struct slice field;
        bool is_good = rdb_take_length(&fields, &length) && rdb_take(&fields, length, &field);
        CHECK(is_good); /* rdb_entries_add has written them */
        rdb_listpack_text(&head, field);
    }
    rdb_listpack_number(&head, 0);
    buf_append(&head.bytes, buf_slice(&entries->pack.bytes));
    head.count += entries->pack.count;
    rdb_put_length(&entries->nodes, 16);
    rdb_put_raw_id(&entries->nodes, entries->first);
    struct slice whole = rdb_listpack_end(&head);
    rdb_put_length(&entries->nodes, whole.len);
    buf_append(&entries->nodes, whole);
    buf_fini(&head.bytes);
    entries->node_count++;
    entries->entries = 0;
}

static void node_begin(struct rdb_entries *entries, struct rdb_id id, const struct slice *part,
                       uint32_t part_count)
{
    entries->first = id;
    entries->pack.bytes.len = 0;
    entries->pack.count = 0;
    entries->fields.len = 0;
    entries->field_count = part_count / 2;
    for (uint32_t i = 0; i < part_count; i += 2) {
        rdb_put_length(&entries->fields, part[i].len);
        buf_append(&entries->fields, part[i]);
    }
}

static bool has_same_fields(const struct rdb_entries *entries, const struct slice *part,
                            uint32_t part_count)
{
    struct rdb_in fields = rdb_in_of(buf_slice(&entries->fields));
    if (entries->field_count != part_count / 2) { return false; }
    for (uint32_t i = 0; i < part_count; i += 2) {
        uint64_t length;
        struct slice field;
        bool is_good = rdb_take_length(&fields, &length) && rdb_take(&fields, length, &field);
        if (!is_good || !slice_equal(field, part[i])) { return false; }
    }
    return true;
}

void rdb_entries_add(struct rdb_entries *entries, struct rdb_id id, const struct slice *part,
                     uint32_t part_count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < part_count; i++) {
        bytes += part[i].len;
    }
    bool is_full = entries->entries == NODE_ENTRIES ||
                   entries->pack.bytes.len + entries->fields.len + bytes > NODE_BYTES;
    if (is_full) { node_end(entries); }
    if (entries->entries == 0) { node_begin(entries, id, part, part_count); }
    bool is_same = has_same_fields(entries, part, part_count);
    struct rdb_listpack *pack = &entries->pack;
    uint32_t before = pack->count;
    rdb_listpack_number(pack, is_same ? ENTRY_SAME_FIELDS : 0);
    rdb_listpack_number(pack, (int64_t)(id.ms - entries->first.ms));
    rdb_listpack_number(pack, (int64_t)(id.seq - entries->first.seq));
    if (!is_same) { rdb_listpack_number(pack, part_count / 2); }
    for (uint32_t i = is_same; i < part_count; i += 1 + is_same) {
        rdb_listpack_text(pack, part[i]);
    }
    rdb_listpack_number(pack, pack->count - before);
    entries->entries++;
}

void rdb_entries_flush(struct rdb_entries *entries)
{
    node_end(entries);
}

void rdb_entries_end(struct rdb_entries *entries, struct buf *out)
{
    node_end(entries);
    rdb_put_length(out, entries->node_count);
    buf_append(out, buf_slice(&entries->nodes));
}

void rdb_entries_fini(struct rdb_entries *entries)
{
    buf_fini(&entries->pack.bytes);
    buf_fini(&entries->nodes);
    buf_fini(&entries->fields);
}

/* ---- payloads ---- */

void rdb_payload_end(struct buf *payload, uint16_t version)
{
    version = htole16(version);
    buf_append(payload, slice_of(&version, sizeof version));
    rdb_put_u64(payload, rdb_crc64(0, payload->data, payload->len));
}

bool rdb_payload_begin(struct slice payload, struct slice *value)
{
    uint16_t version;
    uint64_t checksum;
    if (payload.len < PAYLOAD_END_BYTES + 1) { return false; }
    size_t summed = payload.len - sizeof checksum;
    memcpy(&checksum, payload.data + summed, sizeof checksum);
    memcpy(&version, payload.data + summed - sizeof version, sizeof version);
    *value = slice_of(payload.data, payload.len - PAYLOAD_END_BYTES);
    return le16toh(version) <= RDB_VERSION_READ_MAX &&
           rdb_crc64(0, payload.data, summed) == le64toh(checksum);
}
