/* data_bitfield: BITFIELD: integers of 1 to 64 bits anywhere in a string. */
#include "base/mem.h"
#include "data/data_args.h"
#include "data/data_text.h"
#include "store/store_string.h"

enum field_overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };
enum field_verb { FIELD_GET, FIELD_SET, FIELD_INCRBY };
enum { FIELD_BYTES_MAX = 9 };

struct field {
    enum field_verb verb;
    enum field_overflow overflow;
    bool is_signed;
    unsigned bits;
    uint64_t offset; /* of its first bit */
    int64_t operand;
};

static bool arg_field_type(const struct data_call *call, uint32_t i, struct field *field)
{
    struct slice text = call->argv[i];
    int64_t bits;
    char sign = text.len > 0 ? text.data[0] : 0;
    bool is_good = (sign == 'i' || sign == 'I' || sign == 'u' || sign == 'U') &&
                   slice_to_int64(slice_of(text.data + 1, text.len - 1), &bits) && bits >= 1;
    field->is_signed = sign == 'i' || sign == 'I';
    is_good = is_good && bits <= (field->is_signed ? 64 : 63);
    if (!is_good) {
        reply_error(call->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that "
                                 "u64 is not supported but i64 is.");
        return false;
    }
    field->bits = (unsigned)bits;
    return true;
}

static bool arg_field_offset(const struct data_call *call, uint32_t i, struct field *field)
{
    struct slice text = call->argv[i];
    int64_t offset;
    bool is_counted = text.len > 0 && text.data[0] == '#';
    if (is_counted) { text = slice_of(text.data + 1, text.len - 1); }
    const int64_t offset_max = (int64_t)TEXT_BYTES_MAX * 8 - 1;
    bool is_good = slice_to_int64(text, &offset) && offset >= 0 && offset <= offset_max;
    if (is_good && is_counted) { offset *= field->bits; }
    if (!is_good || offset > offset_max) {
        reply_error(call->reply, "ERR bit offset is not an integer or out of range");
        return false;
    }
    field->offset = (uint64_t)offset;
    return true;
}

static bool arg_overflow(const struct data_call *call, uint32_t i, enum field_overflow *overflow)
{
    static const char *const words[] = {"WRAP", "SAT", "FAIL"};
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        if (!arg_is(call, i, words[w])) { continue; }
        *overflow = (enum field_overflow)w;
        return true;
    }
    reply_error(call->reply, "ERR Invalid OVERFLOW type specified");
    return false;
}

/* Read the operations behind the key. `field` has room for one per argument. False: the reply says why. */
static bool fields_read(struct data_call *call, struct field *field, uint32_t *count, bool *writes)
{
    enum field_overflow overflow = OVERFLOW_WRAP;
    *count = 0;
    *writes = false;
    for (uint32_t i = 2; i < call->argc;) {
        uint32_t left = call->argc - i - 1;
        struct field *at = &field[*count];
        *at = (struct field){.overflow = overflow};
        if (arg_is(call, i, "OVERFLOW") && left >= 1) {
            if (!arg_overflow(call, i + 1, &overflow)) { return false; }
            i += 2;
            continue;
        }
        if (arg_is(call, i, "GET") && left >= 2) {
            at->verb = FIELD_GET;
        } else if (arg_is(call, i, "SET") && left >= 3) {
            at->verb = FIELD_SET;
        } else if (arg_is(call, i, "INCRBY") && left >= 3) {
            at->verb = FIELD_INCRBY;
        } else {
            reply_error(call->reply, data_syntax_error);
            return false;
        }
        if (!arg_field_type(call, i + 1, at) || !arg_field_offset(call, i + 2, at)) {
            return false;
        }
        bool has_operand = at->verb != FIELD_GET;
        if (has_operand && !arg_int(call, i + 3, &at->operand)) { return false; }
        *writes |= has_operand;
        i += has_operand ? 4 : 3;
        (*count)++;
    }
    return true;
}

/* The field's bits, as an unsigned number. */
static uint64_t field_bits(const struct data_key *key, const struct field *field)
{
    unsigned char bytes[FIELD_BYTES_MAX] = {0};
    struct buf out = {0};
    if (key->is_there) {
        store_string_read(key->call->txn, &key->object, field->offset / 8, sizeof bytes, &out);
        if (out.len > 0) { memcpy(bytes, out.data, out.len); }
    }
    buf_fini(&out);
    unsigned __int128 wide = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        wide = wide << 8 | bytes[i];
    }
    unsigned behind = FIELD_BYTES_MAX * 8 - (unsigned)(field->offset % 8) - field->bits;
    uint64_t mask = field->bits == 64 ? UINT64_MAX : (1ULL << field->bits) - 1;
    return (uint64_t)(wide >> behind) & mask;
}

static int64_t field_value(const struct field *field, uint64_t bits)
{
    bool is_negative = field->is_signed && field->bits < 64 && bits >> (field->bits - 1) != 0;
    return (int64_t)(is_negative ? bits | UINT64_MAX << field->bits : bits);
}

static void field_write(struct data_key *key, const struct field *field, uint64_t bits)
{
    unsigned shift = (unsigned)(field->offset % 8);
    size_t len = (shift + field->bits + 7) / 8;
    unsigned char bytes[FIELD_BYTES_MAX] = {0};
    struct buf out = {0};
    if (key->is_there) {
        store_string_read(key->call->txn, &key->object, field->offset / 8, len, &out);
        if (out.len > 0) { memcpy(bytes, out.data, out.len); }
    }
    buf_fini(&out);
    for (unsigned i = 0; i < field->bits; i++) {
        unsigned place = shift + i;
        unsigned char mask = (unsigned char)(0x80 >> place % 8);
        bool bit = bits >> (field->bits - 1 - i) & 1;
        bytes[place / 8] =
            (unsigned char)(bit ? bytes[place / 8] | mask : bytes[place / 8] & ~mask);
    }
    struct buf scratch = {0};
    struct store_object *object = key_make(key, STORE_STRING);
    store_string_write(key->call->txn, object, field->offset / 8, slice_of(bytes, len), &scratch);
    object->encoding = TEXT_ENCODING_RAW;
    store_key_save(key->call->txn, &key->ref, object);
    buf_fini(&scratch);
    /* The text is in the page from here on, not in `scratch`. */
    *key = key_find(key->call, key->ref.name);
}

/* What the field becomes. False: it would overflow and is left as it is. */
static bool field_next(const struct field *field, int64_t old, int64_t *next)
{
    __int128 low = field->is_signed ? -((__int128)1 << (field->bits - 1)) : 0;
    __int128 high = ((__int128)1 << (field->bits - (field->is_signed ? 1 : 0))) - 1;
    __int128 v = field->verb == FIELD_SET ? field->operand : (__int128)old + field->operand;
    /* An unsigned field is set by the bits of its operand. */
    if (field->verb == FIELD_SET && !field->is_signed) { v = (uint64_t)field->operand; }
    if (v < low || v > high) {
        if (field->overflow == OVERFLOW_FAIL) { return false; }
        if (field->overflow == OVERFLOW_SAT) { v = v < low ? low : high; }
    }
    *next = (int64_t)v;
    return true;
}

static void field_run(struct data_key *key, const struct field *field)
{
    struct reply *reply = key->call->reply;
    int64_t old = field_value(field, field_bits(key, field));
    if (field->verb == FIELD_GET) {
        reply_int(reply, old);
        return;
    }
    int64_t next;
    uint64_t mask = field->bits == 64 ? UINT64_MAX : (1ULL << field->bits) - 1;
    if (!field_next(field, old, &next)) {
        /* The string has room for the field afterwards, as in Redis. */
        bool has_room = key->is_there && key->object.count >= (field->offset + field->bits + 7) / 8;
        if (!has_room) { field_write(key, field, (uint64_t)old & mask); }
        reply_null(reply);
        return;
    }
    field_write(key, field, (uint64_t)next & mask);
    reply_int(reply, field->verb == FIELD_SET ? old : field_value(field, (uint64_t)next & mask));
}

static void bitfield(struct data_call *call, bool may_write)
{
    struct field *field = mem_new0((size_t)call->argc * sizeof *field);
    uint32_t count;
    bool writes;
    struct data_key key;
    bool is_good = fields_read(call, field, &count, &writes);
    if (is_good && writes && !may_write) {
        reply_error(call->reply, "ERR BITFIELD_RO only supports the GET subcommand");
        is_good = false;
    }
    if (is_good && key_open(call, call->argv[1], STORE_STRING, &key)) {
        reply_array(call->reply, count);
        for (uint32_t i = 0; i < count; i++) {
            field_run(&key, &field[i]);
        }
        if (writes) { key_changed(call, call->argv[1], "setbit", EVENT_STRING); }
    }
    mem_free(field);
}

void data_bitfield(struct data_call *call)
{
    bitfield(call, true);
}

void data_bitfield_ro(struct data_call *call)
{
    bitfield(call, false);
}
