/* wire_int: protobuf by hand, for the frames that come for every message: protobuf-c costs ten times as much. */
#ifndef FANFARE_CLUSTER_WIRE_INT_H
#define FANFARE_CLUSTER_WIRE_INT_H

#include "base/arena.h"
#include "cluster/wire.h"

/* ---- in ---- */

enum { FIELD_VARINT = 0, FIELD_FIXED64 = 1, FIELD_BYTES = 2, FIELD_FIXED32 = 5 };

struct field {
    uint64_t number;
    unsigned type;
    uint64_t value;     /* of FIELD_VARINT */
    struct slice bytes; /* of FIELD_BYTES: its content */
};

static inline bool take_varint(struct slice *rest, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < rest->len && i < 10; i++) {
        uint64_t byte = (unsigned char)rest->data[i];
        v |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *out = v;
            *rest = slice_of(rest->data + i + 1, rest->len - i - 1);
            return true;
        }
    }
    return false;
}

/* Take the field at the start of *rest. False: there is none. */
static inline bool take_field(struct slice *rest, struct field *field)
{
    uint64_t tag;
    uint64_t len = 0;
    if (!take_varint(rest, &tag)) { return false; }
    *field = (struct field){.number = tag >> 3, .type = tag & 7};
    switch (field->type) {
    case FIELD_VARINT:
        if (!take_varint(rest, &field->value)) { return false; }
        break;
    case FIELD_FIXED64: len = 8; break;
    case FIELD_FIXED32: len = 4; break;
    case FIELD_BYTES:
        if (!take_varint(rest, &len)) { return false; }
        break;
    default: return false;
    }
    if (field->number == 0 || len > rest->len) { return false; }
    field->bytes = slice_of(rest->data, (size_t)len);
    *rest = slice_of(rest->data + len, rest->len - (size_t)len);
    return true;
}

/* The numbers of a frame that comes for every message: value[n] is field n's, 0 if it is not there. What else there
 * is, a newer version's, is skipped. */
static inline bool take_numbers(struct slice fields, uint64_t *value, size_t count)
{
    struct field field;
    while (fields.len > 0) {
        if (!take_field(&fields, &field)) { return false; }
        if (field.number >= count) { continue; }
        if (field.type != FIELD_VARINT) { return false; }
        value[field.number] = field.value;
    }
    return true;
}

/* ---- out ---- */

enum { NUMBER_BYTES_MAX = 11 }; /* of a field: its tag and a varint */

static inline char *put_length(char *at, size_t bytes)
{
    CHECK(bytes <= WIRE_FRAME_BYTES_MAX);
    for (int shift = 24; shift >= 0; shift -= 8) {
        *at++ = (char)(bytes >> shift);
    }
    return at;
}

static inline size_t varint_bytes(uint64_t v)
{
    size_t count = 1;
    for (; v >= 0x80; v >>= 7) {
        count++;
    }
    return count;
}

static inline char *put_varint(char *at, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) {
        *at++ = (char)(v | 0x80);
    }
    *at++ = (char)v;
    return at;
}

/* A number's field; proto3 says nothing of a 0. */
static inline char *put_number(char *at, unsigned field, uint64_t v)
{
    if (v == 0) { return at; }
    *at++ = (char)(field << 3);
    return put_varint(at, v);
}

/* ---- what is said for commands (wire_command.c) ---- */

bool wire_decode_command(struct arena *arena, struct slice body, struct wire_command *out);
bool wire_decode_executed(struct arena *arena, struct slice body, struct wire_executed *out);
bool wire_decode_unpark(struct slice body, struct wire_unpark *out);
bool wire_decode_leads(struct slice body, struct wire_leads *out);

#endif
