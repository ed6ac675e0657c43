/* rdb_packed: listpacks, ziplists, zipmaps and intsets. */
#include "rdb/rdb_packed.h"

#include <endian.h>

enum { LISTPACK_HEAD = 6, ZIPLIST_HEAD = 10, INTSET_HEAD = 8, PACK_END = 0xff };
enum { COUNT_UNKNOWN = UINT16_MAX };
enum { ZIP_WIDE = 254 }; /* a length that takes four more bytes */

static uint64_t number_at(const char *at, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, at, bytes);
    return le64toh(v);
}

static int64_t signed_of(uint64_t v, unsigned bits)
{
    unsigned unused = 64 - bits;
    return (int64_t)(v << unused) >> unused;
}

static bool has(const struct rdb_packed *packed, uint64_t bytes)
{
    return bytes <= (size_t)(packed->end - packed->at);
}

static void item_number(struct rdb_item *item, int64_t v)
{
    item->is_number = true;
    item->number = v;
    item->text = slice_of(item->digits, rdb_number_text(v, item->digits));
}

/* A number of so many bytes, or a text, behind a head of `head` bytes. False: the bytes end before. */
static bool item_take_number(struct rdb_packed *packed, size_t head, size_t bytes,
                             struct rdb_item *item)
{
    if (!has(packed, head + bytes)) { return false; }
    uint64_t v = number_at(packed->at + head, bytes);
    item_number(item, signed_of(v, (unsigned)bytes * 8));
    packed->at += head + bytes;
    return true;
}

static bool item_take_text(struct rdb_packed *packed, size_t head, uint64_t bytes,
                           struct rdb_item *item)
{
    if (!has(packed, head + bytes)) { return false; }
    item->is_number = false;
    item->text = slice_of(packed->at + head, bytes);
    packed->at += head + bytes;
    return true;
}

/* ---- beginning ---- */

bool rdb_packed_begin(struct rdb_packed *packed, enum rdb_packing packing, struct slice bytes)
{
    *packed =
        (struct rdb_packed){.packing = packing, .at = bytes.data, .end = bytes.data + bytes.len};
    size_t head = 0;
    switch (packing) {
    case RDB_LISTPACK: head = LISTPACK_HEAD; break;
    case RDB_ZIPLIST: head = ZIPLIST_HEAD; break;
    case RDB_INTSET: head = INTSET_HEAD; break;
    case RDB_ZIPMAP: head = 1; break;
    }
    if (bytes.len < head) { return false; }
    packed->at += head;
    if (packing == RDB_INTSET) {
        packed->number_bytes = (uint32_t)number_at(bytes.data, 4);
        packed->left = number_at(bytes.data + 4, 4);
        uint32_t each = packed->number_bytes;
        return (each == 2 || each == 4 || each == 8) && bytes.len - head == packed->left * each;
    }
    if (bytes.len < head + 1 || (uint8_t)packed->end[-1] != PACK_END) { return false; }
    packed->end--;
    bool has_size = packing != RDB_ZIPMAP;
    return !has_size || number_at(bytes.data, 4) == bytes.len;
}

/* ---- listpack ---- */

/* Behind each item stands its length, for walks from the end: in so many bytes. */
static size_t backlength_bytes(size_t item_bytes)
{
    if (item_bytes <= 127) { return 1; }
    if (item_bytes < 16383) { return 2; }
    if (item_bytes < 2097151) { return 3; }
    return item_bytes < 268435455 ? 4 : 5;
}

static bool listpack_item(struct rdb_packed *packed, struct rdb_item *item)
{
    uint8_t first = (uint8_t)*packed->at;
    if (first < 0x80) {
        item_number(item, first);
        packed->at++;
        return true;
    }
    if (first < 0xc0) { return item_take_text(packed, 1, first & 0x3f, item); }
    if (first < 0xf0) {
        if (!has(packed, 2)) { return false; }
        uint64_t low = (uint8_t)packed->at[1];
        if (first >= 0xe0) { return item_take_text(packed, 2, (first & 0x0fU) << 8 | low, item); }
        item_number(item, signed_of((first & 0x1fU) << 8 | low, 13));
        packed->at += 2;
        return true;
    }
    switch (first) {
    case 0xf0:
        return has(packed, 5) && item_take_text(packed, 5, number_at(packed->at + 1, 4), item);
    case 0xf1: return item_take_number(packed, 1, 2, item);
    case 0xf2: return item_take_number(packed, 1, 3, item);
    case 0xf3: return item_take_number(packed, 1, 4, item);
    case 0xf4: return item_take_number(packed, 1, 8, item);
    default: return false;
    }
}

static bool listpack_next(struct rdb_packed *packed, struct rdb_item *item)
{
    const char *begin = packed->at;
    if (!listpack_item(packed, item)) { return false; }
    size_t back = backlength_bytes((size_t)(packed->at - begin));
    if (!has(packed, back)) { return false; }
    packed->at += back;
    return true;
}

/* ---- ziplist ---- */

static bool ziplist_number(struct rdb_packed *packed, uint8_t first, struct rdb_item *item)
{
    switch (first) {
    case 0xc0: return item_take_number(packed, 1, 2, item);
    case 0xd0: return item_take_number(packed, 1, 4, item);
    case 0xe0: return item_take_number(packed, 1, 8, item);
    case 0xf0: return item_take_number(packed, 1, 3, item);
    case 0xfe: return item_take_number(packed, 1, 1, item);
    default: break;
    }
    if (first < 0xf1 || first > 0xfd) { return false; }
    item_number(item, (first & 0x0f) - 1); /* the number is in the head */
    packed->at++;
    return true;
}

static bool ziplist_next(struct rdb_packed *packed, struct rdb_item *item)
{
    size_t before = (uint8_t)*packed->at < ZIP_WIDE ? 1 : 5; /* the length of the item before */
    if (!has(packed, before + 1)) { return false; }
    packed->at += before;
    uint8_t first = (uint8_t)*packed->at;
    if (first < 0x40) { return item_take_text(packed, 1, first, item); }
    if (first < 0x80) {
        if (!has(packed, 2)) { return false; }
        return item_take_text(packed, 2, (first & 0x3fU) << 8 | (uint8_t)packed->at[1], item);
    }
    if (first >= 0xc0) { return ziplist_number(packed, first, item); }
    if (first != 0x80 || !has(packed, 5)) { return false; }
    uint32_t length;
    memcpy(&length, packed->at + 1, sizeof length);
    return item_take_text(packed, 5, be32toh(length), item);
}

/* ---- zipmap, intset ---- */

static bool zipmap_next(struct rdb_packed *packed, struct rdb_item *item)
{
    uint64_t length = (uint8_t)*packed->at;
    size_t head = length < ZIP_WIDE ? 1 : 5;
    if (length > ZIP_WIDE || !has(packed, head + packed->is_value)) { return false; }
    if (length == ZIP_WIDE) { length = number_at(packed->at + 1, 4); }
    uint8_t unused = packed->is_value ? (uint8_t)packed->at[head] : 0;
    head += packed->is_value;
    if (!item_take_text(packed, head, length, item) || !has(packed, unused)) { return false; }
    packed->at += unused;
    packed->is_value = !packed->is_value;
    return true;
}

static enum rdb_next intset_next(struct rdb_packed *packed, struct rdb_item *item)
{
    if (packed->left == 0) { return RDB_ITEMS_END; }
    packed->left--;
    return item_take_number(packed, 0, packed->number_bytes, item) ? RDB_ITEM : RDB_ITEMS_BAD;
}

enum rdb_next rdb_packed_next(struct rdb_packed *packed, struct rdb_item *item)
{
    if (packed->packing == RDB_INTSET) { return intset_next(packed, item); }
    if (packed->at == packed->end) { return packed->is_value ? RDB_ITEMS_BAD : RDB_ITEMS_END; }
    bool is_good = packed->packing == RDB_LISTPACK  ? listpack_next(packed, item)
                   : packed->packing == RDB_ZIPLIST ? ziplist_next(packed, item)
                                                    : zipmap_next(packed, item);
    return is_good ? RDB_ITEM : RDB_ITEMS_BAD;
}

/* ---- writing ---- */

void rdb_listpack_begin(struct rdb_listpack *pack)
{
    static const char head[LISTPACK_HEAD];
    pack->bytes.len = 0;
    pack->count = 0;
    buf_append(&pack->bytes, slice_of(head, sizeof head));
}

static void backlength_append(struct buf *out, size_t item_bytes)
{
    char *to = buf_reserve(out, 5);
    size_t bytes = backlength_bytes(item_bytes);
    for (size_t i = 0; i < bytes;
         i++) { /* the lowest bits last; all but the first byte say that there is more */
        to[bytes - 1 - i] = (char)((item_bytes >> 7 * i & 0x7f) | (i + 1 < bytes ? 0x80 : 0));
    }
    out->len += bytes;
}

static void item_append(struct rdb_listpack *pack, const char *head, size_t head_bytes,
                        struct slice text)
{
    buf_append(&pack->bytes, slice_of(head, head_bytes));
    buf_append(&pack->bytes, text);
    backlength_append(&pack->bytes, head_bytes + text.len);
    pack->count++;
}

void rdb_listpack_number(struct rdb_listpack *pack, int64_t v)
{
    char head[9];
    uint64_t bits = htole64((uint64_t)v);
    if (v >= 0 && v < 128) {
        head[0] = (char)v;
        item_append(pack, head, 1, SLICE(""));
        return;
    }
    if (v >= -4096 && v < 4096) {
        head[0] = (char)(0xc0 | ((uint64_t)v >> 8 & 0x1f));
        head[1] = (char)v;
        item_append(pack, head, 2, SLICE(""));
        return;
    }
    unsigned bytes = 8;
    for (unsigned less = 2; less <= 4 && bytes == 8; less++) {
        if (signed_of((uint64_t)v, less * 8) == v) { bytes = less; }
    }
    head[0] = (char)(bytes == 8 ? 0xf4 : 0xf1 + bytes - 2);
    memcpy(head + 1, &bits, sizeof bits);
    item_append(pack, head, 1 + bytes, SLICE(""));
}

void rdb_listpack_text(struct rdb_listpack *pack, struct slice text)
{
    int64_t v;
    char head[5];
    if (text.len < RDB_NUMBER_TEXT_MAX && slice_to_int64(text, &v)) {
        rdb_listpack_number(pack, v);
    } else if (text.len < 64) {
        head[0] = (char)(0x80 | text.len);
        item_append(pack, head, 1, text);
    } else if (text.len < 4096) {
        head[0] = (char)(0xe0 | text.len >> 8);
        head[1] = (char)text.len;
        item_append(pack, head, 2, text);
    } else {
        uint32_t length = htole32((uint32_t)text.len);
        head[0] = (char)0xf0;
        memcpy(head + 1, &length, sizeof length);
        item_append(pack, head, 5, text);
    }
}

struct slice rdb_listpack_end(struct rdb_listpack *pack)
{
    static const char end[] = {(char)PACK_END};
    buf_append(&pack->bytes, slice_of(end, 1));
    uint32_t bytes = htole32((uint32_t)pack->bytes.len);
    uint16_t count = htole16((uint16_t)(pack->count < COUNT_UNKNOWN ? pack->count : COUNT_UNKNOWN));
    memcpy(pack->bytes.data, &bytes, sizeof bytes);
    memcpy(pack->bytes.data + 4, &count, sizeof count);
    return buf_slice(&pack->bytes);
}
