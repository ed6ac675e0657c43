/* entry: see the header. The numbers of fields are log.proto's. */
#include "partition/entry.h"

#include <endian.h>

#include "base/mem.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum {
    COMMAND_LEVEL = 1,
    COMMAND_CLOCK = 2,
    COMMAND_SEED = 3,
    COMMAND_BATCH = 4,
    COMMAND_DIGEST = 5
};
enum { DIGEST_INDEX = 1, DIGEST_VALUE = 2 };
enum {
    BATCH_KIND = 1,
    BATCH_ORIGIN,
    BATCH_CHECK,
    BATCH_CALL,
    BATCH_RESP_VERSION,
    BATCH_COUNT,
    BATCH_SCRIPT_INSTRUCTIONS,
    BATCH_IS_LENT,
};
enum {
    ORIGIN_NODE = 1,
    ORIGIN_INCARNATION,
    ORIGIN_WORKER,
    ORIGIN_IS_PARKING,
    ORIGIN_SEQ,
    ORIGIN_ACKED_LOW,
    ORIGIN_ACKED,
};
enum { CHECK_DB = 1, CHECK_KEY, CHECK_VERSION };
enum { CALL_DB = 1, CALL_WORD };

enum { VARINT_BYTES_MAX = 10, HEAD_BYTES_MAX = 96 };

/* ---- out: each message is measured, then written ---- */

static size_t varint_bytes(uint64_t v)
{
    return (size_t)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

static size_t number_bytes(uint64_t v) /* a field of it; the numbers of all fields are below 16 */
{
    return v != 0 ? 1 + varint_bytes(v) : 0;
}

static size_t bytes_bytes(size_t len)
{
    return 1 + varint_bytes(len) + len;
}

static char *put_varint(char *at, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) {
        *at++ = (char)(v | 0x80);
    }
    *at++ = (char)v;
    return at;
}

static char *put_number(char *at, unsigned field, uint64_t v)
{
    if (v == 0) { return at; }
    *at++ = (char)(field << 3 | WIRE_VARINT);
    return put_varint(at, v);
}

static char *put_fixed64(char *at, unsigned field, uint64_t v)
{
    *at++ = (char)(field << 3 | WIRE_FIXED64);
    v = htole64(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static char *put_head(char *at, unsigned field, size_t len)
{
    *at++ = (char)(field << 3 | WIRE_BYTES);
    return put_varint(at, len);
}

static char *put_bytes(char *at, unsigned field, struct slice bytes)
{
    at = put_head(at, field, bytes.len);
    if (bytes.len > 0) { memcpy(at, bytes.data, bytes.len); }
    return at + bytes.len;
}

void entry_begin(struct buf *out, const struct entry_head *head)
{
    char *at = buf_reserve(out, HEAD_BYTES_MAX);
    char *begin = at;
    at = put_number(at, COMMAND_LEVEL, head->level);
    at = put_number(at, COMMAND_CLOCK, head->clock_ms);
    at = put_fixed64(at, COMMAND_SEED, head->seed);
    if (head->has_digest) {
        uint32_t value = htole32(head->digest);
        at = put_head(at, COMMAND_DIGEST, number_bytes(head->digest_index) + 1 + sizeof value);
        at = put_number(at, DIGEST_INDEX, head->digest_index);
        *at++ = DIGEST_VALUE << 3 | WIRE_FIXED32;
        memcpy(at, &value, sizeof value);
        at += sizeof value;
    }
    out->len += (size_t)(at - begin);
}

void entry_raise_level(struct buf *out, uint32_t level)
{
    CHECK(level < 0x80 && out->len > 1 && out->data[0] == (COMMAND_LEVEL << 3 | WIRE_VARINT));
    if ((uint32_t)out->data[1] < level) { out->data[1] = (char)level; }
}

static size_t call_bytes(const struct partition_call *call)
{
    size_t bytes = number_bytes(call->db);
    for (uint32_t i = 0; i < call->argc; i++) {
        bytes += bytes_bytes(call->argv[i].len);
    }
    return bytes;
}

static char *put_call(char *at, const struct partition_call *call)
{
    at = put_head(at, BATCH_CALL, call_bytes(call));
    at = put_number(at, CALL_DB, call->db);
    for (uint32_t i = 0; i < call->argc; i++) {
        at = put_bytes(at, CALL_WORD, call->argv[i]);
    }
    return at;
}

static size_t check_bytes(const struct partition_check *check)
{
    return number_bytes(check->db) + bytes_bytes(check->key.len) + number_bytes(check->version);
}

static size_t acked_bytes(const struct partition_request *request)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < request->acked_count; i++) {
        bytes += varint_bytes(request->acked[i]);
    }
    return bytes;
}

static size_t origin_bytes(const struct partition_request *request)
{
    const struct partition_origin *origin = &request->origin;
    return 1 + sizeof(uint64_t) + number_bytes(origin->incarnation) + number_bytes(origin->worker) +
           number_bytes(origin->is_parking) + number_bytes(origin->seq) +
           number_bytes(origin->acked_low) +
           (request->acked_count > 0 ? bytes_bytes(acked_bytes(request)) : 0);
}

static char *put_origin(char *at, const struct partition_request *request)
{
    const struct partition_origin *origin = &request->origin;
    at = put_head(at, BATCH_ORIGIN, origin_bytes(request));
    at = put_fixed64(at, ORIGIN_NODE, origin->node_id);
    at = put_number(at, ORIGIN_INCARNATION, origin->incarnation);
    at = put_number(at, ORIGIN_WORKER, origin->worker);
    at = put_number(at, ORIGIN_IS_PARKING, origin->is_parking);
    at = put_number(at, ORIGIN_SEQ, origin->seq);
    at = put_number(at, ORIGIN_ACKED_LOW, origin->acked_low);
    if (request->acked_count > 0) {
        at = put_head(at, ORIGIN_ACKED, acked_bytes(request));
        for (uint32_t i = 0; i < request->acked_count; i++) {
            at = put_varint(at, request->acked[i]);
        }
    }
    return at;
}

/* What only confirms has no number of its own. */
static bool has_origin(const struct partition_request *request)
{
    return request->origin.seq != 0 || request->acked_count > 0;
}

size_t entry_request_bytes(const struct partition_request *request)
{
    size_t bytes = number_bytes(request->resp_version) + 1 + number_bytes(ENTRY_SERVE) +
                   number_bytes(request->script_instructions) + number_bytes(request->is_lent);
    if (has_origin(request)) { bytes += bytes_bytes(origin_bytes(request)); }
    for (uint32_t i = 0; i < request->check_count; i++) {
        bytes += bytes_bytes(check_bytes(&request->check[i]));
    }
    for (uint32_t i = 0; i < request->call_count; i++) {
        bytes += bytes_bytes(call_bytes(&request->call[i]));
    }
    return bytes;
}

void entry_add_request(struct buf *out, enum entry_kind kind,
                       const struct partition_request *request, size_t bytes)
{
    bytes = bytes - 1 - number_bytes(ENTRY_SERVE) + number_bytes(kind);
    char *at = buf_reserve(out, 1 + VARINT_BYTES_MAX + bytes);
    char *begin = at;
    at = put_head(at, COMMAND_BATCH, bytes);
    at = put_number(at, BATCH_KIND, kind);
    if (has_origin(request)) { at = put_origin(at, request); }
    for (uint32_t i = 0; i < request->check_count; i++) {
        const struct partition_check *check = &request->check[i];
        at = put_head(at, BATCH_CHECK, check_bytes(check));
        at = put_number(at, CHECK_DB, check->db);
        at = put_bytes(at, CHECK_KEY, check->key);
        at = put_number(at, CHECK_VERSION, check->version);
    }
    for (uint32_t i = 0; i < request->call_count; i++) {
        at = put_call(at, &request->call[i]);
    }
    at = put_number(at, BATCH_RESP_VERSION, request->resp_version);
    at = put_number(at, BATCH_SCRIPT_INSTRUCTIONS, request->script_instructions);
    at = put_number(at, BATCH_IS_LENT, request->is_lent);
    out->len += (size_t)(at - begin);
}

void entry_add_count(struct buf *out, enum entry_kind kind, uint32_t count)
{
    char *at = buf_reserve(out, HEAD_BYTES_MAX);
    char *begin = at;
    at = put_head(at, COMMAND_BATCH, number_bytes(kind) + number_bytes(count));
    at = put_number(at, BATCH_KIND, kind);
    at = put_number(at, BATCH_COUNT, count);
    out->len += (size_t)(at - begin);
}

void entry_add_forget(struct buf *out, uint64_t node_id, uint64_t incarnation_below)
{
    const struct partition_request request = {
        .origin = {.node_id = node_id, .incarnation = incarnation_below}};
    char *at = buf_reserve(out, HEAD_BYTES_MAX);
    char *begin = at;
    at = put_head(at, COMMAND_BATCH,
                  number_bytes(ENTRY_FORGET) + bytes_bytes(origin_bytes(&request)));
    at = put_number(at, BATCH_KIND, ENTRY_FORGET);
    at = put_origin(at, &request);
    out->len += (size_t)(at - begin);
}

/* ---- in ---- */

struct field {
    uint64_t number;
    enum wire_type type;
    uint64_t value;
    struct slice bytes;
};

static bool take_long_varint(struct slice *from, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX && i < from->len; i++) {
        unsigned char c = (unsigned char)from->data[i];
        v |= (uint64_t)(c & 0x7f) << 7 * i;
        if (c < 0x80) {
            *out = v;
            *from = slice_of(from->data + i + 1, from->len - i - 1);
            return true;
        }
    }
    return false;
}

/* Nearly all are short. */
static inline bool take_varint(struct slice *from, uint64_t *out)
{
    if (UNLIKELY(from->len == 0 || (unsigned char)from->data[0] >= 0x80)) {
        return take_long_varint(from, out);
    }
    *out = (unsigned char)from->data[0];
    *from = slice_of(from->data + 1, from->len - 1);
    return true;
}

static inline bool take_raw(struct slice *from, size_t len, struct slice *out)
{
    if (from->len < len) { return false; }
    *out = slice_of(from->data, len);
    *from = slice_of(from->data + len, from->len - len);
    return true;
}

static inline bool take_field(struct slice *from, struct field *field)
{
    uint64_t tag;
    uint64_t len;
    if (!take_varint(from, &tag)) { return false; }
    field->number = tag >> 3;
    field->type = (enum wire_type)(tag & 7);
    switch (field->type) {
    case WIRE_VARINT: return take_varint(from, &field->value);
    case WIRE_FIXED64:
        if (!take_raw(from, 8, &field->bytes)) { return false; }
        memcpy(&field->value, field->bytes.data, 8);
        field->value = le64toh(field->value);
        return true;
    case WIRE_FIXED32: {
        uint32_t value;
        if (!take_raw(from, 4, &field->bytes)) { return false; }
        memcpy(&value, field->bytes.data, 4);
        field->value = le32toh(value);
        return true;
    }
    case WIRE_BYTES: return take_varint(from, &len) && take_raw(from, len, &field->bytes);
    }
    return false;
}

static bool is_field(const struct field *field, unsigned number, enum wire_type type)
{
    return field->number == number && field->type == type;
}

static bool read_digest(struct slice bytes, struct entry_head *head)
{
    struct field field = {0};
    head->has_digest = true;
    while (bytes.len > 0) {
        if (!take_field(&bytes, &field)) { return false; }
        if (is_field(&field, DIGEST_INDEX, WIRE_VARINT)) { head->digest_index = field.value; }
        if (is_field(&field, DIGEST_VALUE, WIRE_FIXED32)) { head->digest = (uint32_t)field.value; }
    }
    return true;
}

bool entry_open(struct slice entry, struct entry_head *head, struct slice *batches)
{
    struct field field = {0};
    *head = (struct entry_head){0};
    *batches = entry;
    while (entry.len > 0) {
        if (!take_field(&entry, &field)) { return false; }
        if (is_field(&field, COMMAND_LEVEL, WIRE_VARINT)) { head->level = (uint32_t)field.value; }
        if (is_field(&field, COMMAND_CLOCK, WIRE_VARINT)) { head->clock_ms = field.value; }
        if (is_field(&field, COMMAND_SEED, WIRE_FIXED64)) { head->seed = field.value; }
        if (is_field(&field, COMMAND_DIGEST, WIRE_BYTES) && !read_digest(field.bytes, head)) {
            return false;
        }
    }
    return true;
}

static bool read_origin(struct slice bytes, struct entry_batch *batch)
{
    struct field field = {0};
    struct partition_origin *origin = &batch->origin;
    batch->has_origin = true;
    while (bytes.len > 0) {
        if (!take_field(&bytes, &field)) { return false; }
        switch (field.number) {
        case ORIGIN_NODE: origin->node_id = field.value; break;
        case ORIGIN_INCARNATION: origin->incarnation = field.value; break;
        case ORIGIN_WORKER: origin->worker = (uint16_t)field.value; break;
        case ORIGIN_IS_PARKING: origin->is_parking = field.value != 0; break;
        case ORIGIN_SEQ: origin->seq = field.value; break;
        case ORIGIN_ACKED_LOW: origin->acked_low = field.value; break;
        case ORIGIN_ACKED:
            if (field.type != WIRE_BYTES) { return false; }
            batch->acked = field.bytes;
            break;
        default: break;
        }
    }
    return true;
}

static bool read_batch(struct slice bytes, struct entry_batch *batch)
{
    struct field field = {0};
    *batch = (struct entry_batch){.body = bytes};
    while (bytes.len > 0) {
        if (!take_field(&bytes, &field)) { return false; }
        if (is_field(&field, BATCH_KIND, WIRE_VARINT)) { batch->kind = field.value; }
        if (is_field(&field, BATCH_COUNT, WIRE_VARINT)) { batch->count = field.value; }
        if (is_field(&field, BATCH_SCRIPT_INSTRUCTIONS, WIRE_VARINT)) {
            batch->script_instructions = field.value;
        }
        if (is_field(&field, BATCH_IS_LENT, WIRE_VARINT)) { batch->is_lent = field.value != 0; }
        if (is_field(&field, BATCH_RESP_VERSION, WIRE_VARINT)) {
            batch->resp_version = (uint8_t)field.value;
        }
        batch->call_count += is_field(&field, BATCH_CALL, WIRE_BYTES);
        batch->check_count += is_field(&field, BATCH_CHECK, WIRE_BYTES);
        if (is_field(&field, BATCH_ORIGIN, WIRE_BYTES) && !read_origin(field.bytes, batch)) {
            return false;
        }
    }
    return true;
}

bool entry_take_batch(struct slice *batches, struct entry_batch *batch, bool *is_good)
{
    struct field field = {0};
    *is_good = true;
    while (batches->len > 0) {
        *is_good = take_field(batches, &field);
        if (!*is_good) { return false; }
        if (is_field(&field, COMMAND_BATCH, WIRE_BYTES)) {
            *is_good = read_batch(field.bytes, batch);
            return *is_good;
        }
    }
    return false;
}

/* The next field of that number. */
static bool take_bytes(struct slice *body, unsigned number, struct slice *bytes)
{
    struct field field = {0};
    while (body->len > 0 && take_field(body, &field)) {
        if (is_field(&field, number, WIRE_BYTES)) {
            *bytes = field.bytes;
            return true;
        }
    }
    return false;
}

bool entry_take_check(struct slice *body, struct partition_check *check)
{
    struct slice bytes;
    struct field field = {0};
    *check = (struct partition_check){0};
    if (!take_bytes(body, BATCH_CHECK, &bytes)) { return false; }
    while (bytes.len > 0) {
        if (!take_field(&bytes, &field)) { return false; }
        if (is_field(&field, CHECK_DB, WIRE_VARINT)) { check->db = (uint16_t)field.value; }
        if (is_field(&field, CHECK_KEY, WIRE_BYTES)) { check->key = field.bytes; }
        if (is_field(&field, CHECK_VERSION, WIRE_VARINT)) { check->version = field.value; }
    }
    return true;
}

bool entry_take_number(struct slice *acked, uint64_t *number)
{
    return acked->len > 0 && take_varint(acked, number);
}

bool entry_take_call(struct slice *body, struct partition_call *call, struct entry_words *words)
{
    struct slice bytes;
    struct field field = {0};
    *call = (struct partition_call){0};
    if (!take_bytes(body, BATCH_CALL, &bytes)) { return false; }
    while (bytes.len > 0) {
        if (!take_field(&bytes, &field)) { return false; }
        if (is_field(&field, CALL_DB, WIRE_VARINT)) { call->db = (uint16_t)field.value; }
        if (!is_field(&field, CALL_WORD, WIRE_BYTES)) { continue; }
        if (call->argc == words->cap) {
            words->cap = words->cap > 0 ? words->cap * 2 : 64;
            words->word = mem_resize(words->word, words->cap * sizeof *words->word);
        }
        words->word[call->argc++] = field.bytes;
    }
    call->argv = words->word;
    return call->argc > 0;
}
