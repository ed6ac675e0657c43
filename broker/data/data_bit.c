/* data_bit: bits of strings, counted from the highest of the first byte. */
#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_text.h"
#include "store/store_string.h"

static const char not_an_offset[] = "ERR bit offset is not an integer or out of range";

static bool arg_bit_offset(const struct data_call *call, uint32_t i, uint64_t *offset)
{
    int64_t v;
    if (!arg_int_in(call, i, 0, (int64_t)TEXT_BYTES_MAX * 8 - 1, not_an_offset, &v)) {
        return false;
    }
    *offset = (uint64_t)v;
    return true;
}

static unsigned char byte_at(const struct data_key *key, uint64_t at)
{
    struct buf out = {0};
    if (key->is_there) { store_string_read(key->call->txn, &key->object, at, 1, &out); }
    unsigned char byte = out.len == 1 ? (unsigned char)out.data[0] : 0;
    buf_fini(&out);
    return byte;
}

void data_getbit(struct data_call *call)
{
    uint64_t offset;
    struct data_key key;
    if (!arg_bit_offset(call, 2, &offset)) { return; }
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    reply_int(call->reply, byte_at(&key, offset / 8) >> (7 - offset % 8) & 1);
}

void data_setbit(struct data_call *call)
{
    uint64_t offset;
    int64_t bit;
    struct data_key key;
    static const char not_a_bit[] = "ERR bit is not an integer or out of range";
    if (!arg_bit_offset(call, 2, &offset)) { return; }
    if (!arg_int_in(call, 3, 0, 1, not_a_bit, &bit)) { return; }
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    unsigned char byte = byte_at(&key, offset / 8);
    unsigned shift = 7 - offset % 8;
    reply_int(call->reply, byte >> shift & 1);
    byte = (unsigned char)((byte & ~(1u << shift)) | (unsigned)bit << shift);
    struct buf scratch = {0};
    struct store_object *object = key_make(&key, STORE_STRING);
    store_string_write(call->txn, object, offset / 8, slice_of(&byte, 1), &scratch);
    object->encoding = TEXT_ENCODING_RAW;
    key_save(&key, "setbit", EVENT_STRING);
    buf_fini(&scratch);
}

/* ---- ranges ---- */

/* The bits that BITCOUNT and BITPOS look at: the bytes that hold them, and how many at the ends do not count. */
struct bit_range {
    struct buf bytes;
    uint64_t first_bit; /* of bytes, in the whole text */
    unsigned skip_first;
    unsigned skip_last;
    bool has_end;
};

/* Arguments `at` and on: [start [end [BYTE|BIT]]]. False: they are no good, and the reply says so. */
static bool bit_range_read(const struct data_key *key, uint32_t at, struct bit_range *range)
{
    struct data_call *call = key->call;
    int64_t start = 0;
    int64_t end = -1;
    bool is_bits = false;
    *range = (struct bit_range){.has_end = call->argc > at + 1};
    if (call->argc > at + 3) {
        reply_error(call->reply, data_syntax_error);
        return false;
    }
    if (call->argc > at && !arg_int(call, at, &start)) { return false; }
    if (call->argc > at + 2) {
        is_bits = arg_is(call, at + 2, "BIT");
        if (!is_bits && !arg_is(call, at + 2, "BYTE")) {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
    }
    if (call->argc > at + 1 && !arg_int(call, at + 1, &end)) { return false; }
    uint64_t total = key->object.count * (is_bits ? 8 : 1);
    if (end < 0 && (end += (int64_t)total) < 0) { end = 0; }
    if (total == 0 || !range_clamp(&start, &end, total)) { return true; }
    uint64_t first = (uint64_t)start / (is_bits ? 8 : 1);
    uint64_t last = (uint64_t)end / (is_bits ? 8 : 1);
    if (is_bits) {
        range->skip_first = (unsigned)(start % 8);
        range->skip_last = 7 - (unsigned)(end % 8);
    }
    range->first_bit = first * 8;
    store_string_read(call->txn, &key->object, first, last - first + 1, &range->bytes);
    return true;
}

/* The byte, its bits outside the range replaced by `filler`'s. */
static unsigned char range_byte(const struct bit_range *range, size_t i, unsigned char filler)
{
    unsigned char byte = (unsigned char)range->bytes.data[i];
    unsigned char outside = 0;
    if (i == 0) { outside |= (unsigned char)~(0xff >> range->skip_first); }
    if (i == range->bytes.len - 1) { outside |= (unsigned char)((1u << range->skip_last) - 1); }
    return (unsigned char)((byte & ~outside) | (filler & outside));
}

void data_bitcount(struct data_call *call)
{
    struct data_key key;
    struct bit_range range;
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    if (!key.is_there) {
        reply_int(call->reply, 0);
        return;
    }
    if (call->argc == 3) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    int64_t start;
    int64_t end;
    if (call->argc > 3 && (!arg_int(call, 2, &start) || !arg_int(call, 3, &end))) { return; }
    if (call->argc > 3 && start < 0 && end < 0 && start > end) {
        reply_int(call->reply, 0);
        return;
    }
    if (!bit_range_read(&key, 2, &range)) { return; }
    int64_t count = 0;
    for (size_t i = 0; i < range.bytes.len; i++) {
        count += __builtin_popcount(range_byte(&range, i, 0));
    }
    buf_fini(&range.bytes);
    reply_int(call->reply, count);
}

/* The place of the first bit in the range, or -1. */
static int64_t first_bit(const struct bit_range *range, unsigned bit)
{
    unsigned char none = bit == 1 ? 0 : 0xff; /* a byte without it */
    for (size_t i = 0; i < range->bytes.len; i++) {
        unsigned char byte = range_byte(range, i, none);
        if (byte == none) { continue; }
        unsigned char ones = bit == 1 ? byte : (unsigned char)~byte;
        return (int64_t)(range->first_bit + i * 8) + __builtin_clz((unsigned)ones << 24);
    }
    return -1;
}

void data_bitpos(struct data_call *call)
{
    int64_t bit;
    struct data_key key;
    struct bit_range range;
    if (!slice_to_int64(call->argv[2], &bit)) {
        reply_error(call->reply, data_not_an_integer);
        return;
    }
    if (bit != 0 && bit != 1) {
        reply_error(call->reply, "ERR The bit argument must be 1 or 0.");
        return;
    }
    if (!key_open(call, call->argv[1], STORE_STRING, &key)) { return; }
    if (!key.is_there) {
        reply_int(call->reply, bit == 1 ? -1 : 0);
        return;
    }
    if (!bit_range_read(&key, 3, &range)) { return; }
    int64_t place = first_bit(&range, (unsigned)bit);
    if (place < 0 && bit == 0 && !range.has_end && range.bytes.len > 0) {
        place = (int64_t)(key.object.count * 8); /* behind the text there are only zeros */
    }
    buf_fini(&range.bytes);
    reply_int(call->reply, place);
}

/* ---- BITOP ---- */

enum bit_operation { BIT_AND, BIT_OR, BIT_XOR, BIT_NOT };

static void bit_combine(enum bit_operation operation, char *into, const char *from, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        switch (operation) {
        case BIT_AND: into[i] &= from[i]; break;
        case BIT_OR: into[i] |= from[i]; break;
        case BIT_XOR: into[i] ^= from[i]; break;
        case BIT_NOT: into[i] = (char)~from[i]; break;
        }
    }
}

/* Combine the texts of all source keys in `out`. False: one is no string, and the reply says so. */
static bool bit_operate(struct data_call *call, enum bit_operation operation, struct buf *out)
{
    size_t len = 0;
    for (uint32_t i = 3; i < call->argc; i++) {
        struct data_key key;
        if (!key_open(call, call->argv[i], STORE_STRING, &key)) { return false; }
        if (key.object.count > len) { len = key.object.count; }
    }
    struct buf scratch = {0};
    memset(buf_reserve(out, len + 1), 0, len);
    out->len = len;
    for (uint32_t i = 3; i < call->argc; i++) {
        struct data_key key = key_find(call, call->argv[i]);
        struct slice text = text_of(&key, &scratch);
        bool is_first = i == 3 && operation != BIT_NOT;
        if (is_first && text.len > 0) {
            memcpy(out->data, text.data, text.len);
        } else if (text.len > 0) {
            bit_combine(operation, out->data, text.data, text.len);
        }
        if (!is_first && operation == BIT_AND) { memset(out->data + text.len, 0, len - text.len); }
    }
    buf_fini(&scratch);
    return true;
}

void data_bitop(struct data_call *call)
{
    static const char *const words[] = {"AND", "OR", "XOR", "NOT"};
    enum bit_operation operation = BIT_AND;
    while (operation <= BIT_NOT && !arg_is(call, 1, words[operation])) {
        operation++;
    }
    if (operation > BIT_NOT) {
        reply_error(call->reply, data_syntax_error);
        return;
    }
    if (operation == BIT_NOT && call->argc != 4) {
        reply_error(call->reply, "ERR BITOP NOT must be called with a single source key.");
        return;
    }
    struct buf out = {0};
    if (bit_operate(call, operation, &out)) {
        struct data_key key = key_find(call, call->argv[2]);
        if (out.len > 0) {
            text_set(&key, buf_slice(&out), 0);
        } else if (key.is_there) {
            key_remove(&key, "del", EVENT_GENERIC);
        }
        reply_int(call->reply, (int64_t)out.len);
    }
    buf_fini(&out);
}
