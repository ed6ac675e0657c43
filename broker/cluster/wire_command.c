/* wire_command: the frames that carry commands to who leads their partition, and back. By hand: they come for every
 * command, and words and replies are views into what was read. */
#include <string.h>

#include "cluster/wire.h"
#include "cluster/wire_int.h"
#include "proto/peer.pb-c.h"

/* Fields that are no plain numbers. */
enum {
    COMMAND_ACKED = 7,
    COMMAND_NUMBERS = 10, /* above all numbers' fields, but for the last */
    COMMAND_CHECKS = 10,
    COMMAND_CALLS = 11,
    COMMAND_WAIT_KEYS = 12,
    COMMAND_IS_LENT = 13,
    CHECK_KEY = 2,
    CALL_WORDS = 2,
    EXECUTED_ENDS = 3,
    EXECUTED_VERSIONS = 4,
    EXECUTED_BEFORE = 5,
    EXECUTED_LEFT = 6,
    EXECUTED_REPLY = 15,
};

_Static_assert((int)PARTITION_READ == (int)FANFARE__PEER__ASK__READ &&
                   (int)PARTITION_WRITE == (int)FANFARE__PEER__ASK__WRITE &&
                   (int)PARTITION_PARK == (int)FANFARE__PEER__ASK__PARK &&
                   (int)PARTITION_VERSIONS == (int)FANFARE__PEER__ASK__VERSIONS &&
                   (int)PARTITION_CONFIRM == (int)FANFARE__PEER__ASK__CONFIRM,
               "what is asked goes over the wire by its number");
_Static_assert((int)WIRE_EXECUTED_OK == (int)FANFARE__PEER__OUTCOME__EXECUTED &&
                   (int)WIRE_UNPARKED == (int)FANFARE__PEER__OUTCOME__UNPARKED &&
                   (int)WIRE_UNKNOWN == (int)FANFARE__PEER__OUTCOME__UNKNOWN &&
                   (int)WIRE_REFUSED == (int)FANFARE__PEER__OUTCOME__REFUSED,
               "outcomes go over the wire by their numbers");

/* ---- out: lengths ---- */

static size_t number_bytes(uint64_t v)
{
    return v == 0 ? 0 : 1 + varint_bytes(v);
}

/* A field of so many bytes. */
static size_t field_bytes(size_t bytes)
{
    return 1 + varint_bytes(bytes) + bytes;
}

static size_t packed_bytes(const uint64_t *value, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += varint_bytes(value[i]);
    }
    return bytes;
}

static size_t packed_32_bytes(const uint32_t *value, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += varint_bytes(value[i]);
    }
    return bytes;
}

static size_t check_bytes(const struct partition_check *check)
{
    return number_bytes(check->db) + field_bytes(check->key.len) + number_bytes(check->version);
}

static size_t call_bytes(const struct partition_call *call)
{
    size_t bytes = number_bytes(call->db);
    for (uint32_t i = 0; i < call->argc; i++) {
        bytes += field_bytes(call->argv[i].len);
    }
    return bytes;
}

static size_t command_bytes(const struct wire_command *c)
{
    size_t bytes = number_bytes(c->id) + number_bytes(c->partition) + number_bytes(c->term) +
                   number_bytes(c->ask) + number_bytes(c->seq) + number_bytes(c->acked_low) +
                   number_bytes(c->ticket) + number_bytes(c->resp_version) +
                   number_bytes(c->is_lent);
    if (c->acked_count > 0) { bytes += field_bytes(packed_bytes(c->acked, c->acked_count)); }
    for (uint32_t i = 0; i < c->check_count; i++) {
        bytes += field_bytes(check_bytes(&c->check[i]));
    }
    for (uint32_t i = 0; i < c->call_count; i++) {
        bytes += field_bytes(call_bytes(&c->call[i]));
    }
    if (c->wait_key_count > 0) {
        bytes += field_bytes(packed_32_bytes(c->wait_key, c->wait_key_count));
    }
    return bytes;
}

static size_t executed_bytes(const struct wire_executed *executed)
{
    size_t bytes = number_bytes(executed->id) + number_bytes(executed->outcome) +
                   number_bytes(executed->reply_before) + number_bytes(executed->reply_left);
    if (executed->reply_end_count > 0) {
        bytes += field_bytes(packed_32_bytes(executed->reply_end, executed->reply_end_count));
    }
    if (executed->version_count > 0) {
        bytes += field_bytes(packed_bytes(executed->version, executed->version_count));
    }
    if (executed->reply.len > 0) { bytes += field_bytes(executed->reply.len); }
    return bytes;
}

static size_t body_bytes(const struct wire_frame *frame, unsigned *field)
{
    switch (frame->type) {
    case WIRE_COMMAND:
        *field = FANFARE__PEER__FRAME__BODY_COMMAND;
        return command_bytes(&frame->command);
    case WIRE_EXECUTED:
        *field = FANFARE__PEER__FRAME__BODY_EXECUTED;
        return executed_bytes(&frame->executed);
    case WIRE_UNPARK:
        *field = FANFARE__PEER__FRAME__BODY_UNPARK;
        return number_bytes(frame->unpark.partition) + number_bytes(frame->unpark.seq);
    case WIRE_LEADS:
        *field = FANFARE__PEER__FRAME__BODY_LEADS;
        return number_bytes(frame->leads.partition) + number_bytes(frame->leads.term);
    case WIRE_ASK_LEADS:
        *field = FANFARE__PEER__FRAME__BODY_ASK_LEADS;
        return number_bytes(frame->leads.partition);
    case WIRE_HELLO:
    case WIRE_PING:
    case WIRE_PUBLISH:
    case WIRE_INTEREST:
    case WIRE_SYNC:
    case WIRE_QUERY:
    case WIRE_PUBLISHED:
    case WIRE_QUERY_ANSWER:
    case WIRE_DELIVER:
    case WIRE_INTEREST_ACK:
    case WIRE_END:
    case WIRE_READY:
    case WIRE_ASK_END: break;
    }
    UNREACHABLE();
}

size_t wire_frame_bytes(const struct wire_frame *frame)
{
    unsigned field;
    size_t bytes = body_bytes(frame, &field);
    return WIRE_HEAD_BYTES + varint_bytes(field << 3) + varint_bytes(bytes) + bytes;
}

/* ---- out: bytes ---- */

static char *put_tag(char *at, unsigned field, size_t bytes)
{
    at = put_varint(at, field << 3 | FIELD_BYTES);
    return put_varint(at, bytes);
}

static char *put_field(char *at, unsigned field, struct slice bytes)
{
    at = put_tag(at, field, bytes.len);
    if (bytes.len > 0) { memcpy(at, bytes.data, bytes.len); }
    return at + bytes.len;
}

static char *put_packed(char *at, unsigned field, const uint64_t *value, uint32_t count)
{
    if (count == 0) { return at; }
    at = put_tag(at, field, packed_bytes(value, count));
    for (uint32_t i = 0; i < count; i++) {
        at = put_varint(at, value[i]);
    }
    return at;
}

static char *put_packed_32(char *at, unsigned field, const uint32_t *value, uint32_t count)
{
    if (count == 0) { return at; }
    at = put_tag(at, field, packed_32_bytes(value, count));
    for (uint32_t i = 0; i < count; i++) {
        at = put_varint(at, value[i]);
    }
    return at;
}

static char *put_check(char *at, const struct partition_check *check)
{
    at = put_tag(at, COMMAND_CHECKS, check_bytes(check));
    at = put_number(at, 1, check->db);
    at = put_field(at, CHECK_KEY, check->key);
    return put_number(at, 3, check->version);
}

static char *put_call(char *at, const struct partition_call *call)
{
    at = put_tag(at, COMMAND_CALLS, call_bytes(call));
    at = put_number(at, 1, call->db);
    for (uint32_t i = 0; i < call->argc; i++) {
        at = put_field(at, CALL_WORDS, call->argv[i]);
    }
    return at;
}

static char *put_command(char *at, const struct wire_command *c)
{
    at = put_number(at, 1, c->id);
    at = put_number(at, 2, c->partition);
    at = put_number(at, 3, c->term);
    at = put_number(at, 4, c->ask);
    at = put_number(at, 5, c->seq);
    at = put_number(at, 6, c->acked_low);
    at = put_packed(at, COMMAND_ACKED, c->acked, c->acked_count);
    at = put_number(at, 8, c->ticket);
    at = put_number(at, 9, c->resp_version);
    for (uint32_t i = 0; i < c->check_count; i++) {
        at = put_check(at, &c->check[i]);
    }
    for (uint32_t i = 0; i < c->call_count; i++) {
        at = put_call(at, &c->call[i]);
    }
    at = put_packed_32(at, COMMAND_WAIT_KEYS, c->wait_key, c->wait_key_count);
    return put_number(at, COMMAND_IS_LENT, c->is_lent);
}

static char *put_executed(char *at, const struct wire_executed *executed)
{
    at = put_number(at, 1, executed->id);
    at = put_number(at, 2, executed->outcome);
    at = put_packed_32(at, EXECUTED_ENDS, executed->reply_end, executed->reply_end_count);
    at = put_packed(at, EXECUTED_VERSIONS, executed->version, executed->version_count);
    at = put_number(at, EXECUTED_BEFORE, executed->reply_before);
    at = put_number(at, EXECUTED_LEFT, executed->reply_left);
    return executed->reply.len > 0 ? put_field(at, EXECUTED_REPLY, executed->reply) : at;
}

char *wire_put(char *at, const struct wire_frame *frame)
{
    unsigned field;
    size_t bytes = body_bytes(frame, &field);
    at = put_length(at, varint_bytes(field << 3) + varint_bytes(bytes) + bytes);
    at = put_tag(at, field, bytes);
    if (frame->type == WIRE_COMMAND) { return put_command(at, &frame->command); }
    if (frame->type == WIRE_EXECUTED) { return put_executed(at, &frame->executed); }
    if (frame->type == WIRE_UNPARK) {
        at = put_number(at, 1, frame->unpark.partition);
        return put_number(at, 2, frame->unpark.seq);
    }
    at = put_number(at, 1, frame->leads.partition);
    return frame->type == WIRE_LEADS ? put_number(at, 2, frame->leads.term) : at;
}

struct span wire_span(const struct wire_frame *frame)
{
    size_t bytes = wire_frame_bytes(frame);
    struct block *block = block_new(bytes);
    CHECK(wire_put(block->data, frame) == block->data + bytes);
    block->len = bytes;
    return (struct span){.block = block, .data = block->data, .len = bytes};
}

/* ---- in ---- */

/* Varints, one after the other. False: they are none, or too many. */
static bool take_packed(struct arena *arena, struct slice packed, uint32_t count_max,
                        const uint64_t **out, uint32_t *out_count)
{
    uint64_t value;
    uint32_t count = 0;
    for (struct slice rest = packed; rest.len > 0; count++) {
        if (count == count_max || !take_varint(&rest, &value)) { return false; }
    }
    uint64_t *all = count > 0 ? arena_alloc(arena, count * sizeof *all) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        (void)take_varint(&packed, &all[i]);
    }
    *out = all;
    *out_count = count;
    return true;
}

static bool take_packed_32(struct arena *arena, struct slice packed, uint32_t count_max,
                           const uint32_t **out, uint32_t *out_count)
{
    const uint64_t *value;
    if (!take_packed(arena, packed, count_max, &value, out_count)) { return false; }
    uint32_t *all = *out_count > 0 ? arena_alloc(arena, *out_count * sizeof *all) : NULL;
    for (uint32_t i = 0; i < *out_count; i++) {
        if (value[i] > UINT32_MAX) { return false; }
        all[i] = (uint32_t)value[i];
    }
    *out = all;
    return true;
}

static bool db_of(uint64_t value, uint16_t *db)
{
    *db = (uint16_t)value;
    return value <= UINT16_MAX;
}

static bool take_check(struct slice message, struct partition_check *out)
{
    *out = (struct partition_check){0};
    struct field field;
    uint64_t number[4] = {0};
    while (message.len > 0) {
        if (!take_field(&message, &field)) { return false; }
        if (field.number > 3) { continue; }
        if (field.type != (field.number == CHECK_KEY ? FIELD_BYTES : FIELD_VARINT)) {
            return false;
        }
        number[field.number] = field.value;
        if (field.number == CHECK_KEY) { out->key = field.bytes; }
    }
    out->version = number[3];
    return db_of(number[1], &out->db);
}

/* Count its words; *words_left is what the frame may still have. */
static bool count_words(struct slice message, struct partition_call *out, uint32_t *words_left)
{
    *out = (struct partition_call){0};
    struct field field;
    uint64_t db = 0;
    while (message.len > 0) {
        if (!take_field(&message, &field)) { return false; }
        if (field.number == 1) {
            if (field.type != FIELD_VARINT) { return false; }
            db = field.value;
        } else if (field.number == CALL_WORDS) {
            if (field.type != FIELD_BYTES || *words_left == 0) { return false; }
            --*words_left;
            out->argc++;
        }
    }
    return out->argc > 0 && db_of(db, &out->db);
}

static void take_words(struct slice message, struct slice *words)
{
    struct field field;
    while (message.len > 0 && take_field(&message, &field)) {
        if (field.number == CALL_WORDS) { *words++ = field.bytes; }
    }
}

static bool take_command_packed(struct arena *arena, const struct field *field,
                                struct wire_command *out)
{
    if (field->number == COMMAND_ACKED) {
        return out->acked_count == 0 &&
               take_packed(arena, field->bytes, WIRE_ITEMS_MAX, &out->acked, &out->acked_count);
    }
    if (field->number == COMMAND_WAIT_KEYS) {
        return out->wait_key_count == 0 && take_packed_32(arena, field->bytes, WIRE_ITEMS_MAX,
                                                          &out->wait_key, &out->wait_key_count);
    }
    return true;
}

/* The numbers, what is confirmed or waited for, and how many checks and calls there are. */
static bool take_command_head(struct arena *arena, struct slice body, struct wire_command *out)
{
    struct field field;
    uint64_t number[COMMAND_IS_LENT + 1] = {0};
    while (body.len > 0) {
        if (!take_field(&body, &field)) { return false; }
        if (field.number > COMMAND_IS_LENT) { continue; }
        bool is_number = field.number == COMMAND_IS_LENT ||
                         (field.number < COMMAND_NUMBERS && field.number != COMMAND_ACKED);
        if (field.type != (is_number ? FIELD_VARINT : FIELD_BYTES)) { return false; }
        if (is_number) { number[field.number] = field.value; }
        if (!take_command_packed(arena, &field, out)) { return false; }
        out->check_count += field.number == COMMAND_CHECKS;
        out->call_count += field.number == COMMAND_CALLS;
    }
    out->id = number[1];
    out->partition = (uint32_t)number[2];
    out->term = number[3];
    out->ask = (enum partition_ask)number[4];
    out->seq = number[5];
    out->acked_low = number[6];
    out->ticket = number[8];
    out->resp_version = (uint8_t)number[9];
    out->is_lent = number[COMMAND_IS_LENT] != 0;
    return number[2] <= UINT32_MAX && number[4] <= PARTITION_CONFIRM && number[9] <= UINT8_MAX &&
           out->check_count <= WIRE_ITEMS_MAX && out->call_count <= PARTITION_CALLS_MAX;
}

static bool take_command_lists(struct arena *arena, struct slice body, struct wire_command *out)
{
    struct partition_check *check = arena_alloc(arena, out->check_count * sizeof *check);
    struct partition_call *call = arena_alloc(arena, out->call_count * sizeof *call);
    out->check = check;
    out->call = call;
    uint32_t words_left = WIRE_WORDS_MAX;
    struct field field;
    while (body.len > 0 && take_field(&body, &field)) {
        if (field.number == COMMAND_CHECKS && !take_check(field.bytes, check++)) { return false; }
        if (field.number != COMMAND_CALLS) { continue; }
        if (!count_words(field.bytes, call, &words_left)) { return false; }
        struct slice *words = arena_alloc(arena, call->argc * sizeof *words);
        take_words(field.bytes, words);
        call++->argv = words;
    }
    return true;
}

static bool wait_keys_are_words(const struct wire_command *c)
{
    for (uint32_t i = 0; i < c->wait_key_count; i++) {
        if (c->call_count == 0 || c->wait_key[i] >= c->call[0].argc) { return false; }
    }
    return true;
}

bool wire_decode_command(struct arena *arena, struct slice body, struct wire_command *out)
{
    *out = (struct wire_command){0};
    return take_command_head(arena, body, out) && take_command_lists(arena, body, out) &&
           wait_keys_are_words(out);
}

static bool take_ends(struct arena *arena, struct slice packed, struct wire_executed *out)
{
    if (out->reply_end_count > 0 || !take_packed_32(arena, packed, PARTITION_CALLS_MAX,
                                                    &out->reply_end, &out->reply_end_count)) {
        return false;
    }
    for (uint32_t i = 1; i < out->reply_end_count; i++) {
        if (out->reply_end[i] < out->reply_end[i - 1]) { return false; }
    }
    return true;
}

bool wire_decode_executed(struct arena *arena, struct slice body, struct wire_executed *out)
{
    *out = (struct wire_executed){0};
    struct field field;
    uint64_t number[EXECUTED_LEFT + 1] = {0};
    while (body.len > 0) {
        if (!take_field(&body, &field)) { return false; }
        bool is_number = field.number < EXECUTED_ENDS || field.number == EXECUTED_BEFORE ||
                         field.number == EXECUTED_LEFT;
        bool is_known =
            is_number || field.number <= EXECUTED_VERSIONS || field.number == EXECUTED_REPLY;
        if (!is_known) { continue; }
        if (field.type != (is_number ? FIELD_VARINT : FIELD_BYTES)) { return false; }
        if (is_number) { number[field.number] = field.value; }
        if (field.number == EXECUTED_REPLY) { out->reply = field.bytes; }
        if (field.number == EXECUTED_ENDS && !take_ends(arena, field.bytes, out)) { return false; }
        if (field.number == EXECUTED_VERSIONS && out->version_count > 0) { return false; }
        if (field.number == EXECUTED_VERSIONS &&
            !take_packed(arena, field.bytes, WIRE_ITEMS_MAX, &out->version, &out->version_count)) {
            return false;
        }
    }
    out->id = number[1];
    out->outcome = (enum wire_outcome)number[2];
    out->reply_before = number[EXECUTED_BEFORE];
    out->reply_left = number[EXECUTED_LEFT];
    uint32_t count = out->reply_end_count;
    if (out->reply_before + out->reply_left > 0 &&
        ((count > 0 && out->reply_left > 0) || out->reply_before > WIRE_RUN_BYTES_MAX ||
         out->reply_left > WIRE_RUN_BYTES_MAX ||
         out->reply_before + out->reply.len + out->reply_left > WIRE_RUN_BYTES_MAX)) {
        return false;
    }
    bool is_whole = count == 0 || out->reply_end[count - 1] == out->reply_before + out->reply.len;
    return number[2] <= WIRE_REFUSED && is_whole;
}

bool wire_decode_unpark(struct slice body, struct wire_unpark *out)
{
    uint64_t number[3] = {0};
    if (!take_numbers(body, number, 3)) { return false; }
    *out = (struct wire_unpark){(uint32_t)number[1], number[2]};
    return number[1] <= UINT32_MAX;
}

bool wire_decode_leads(struct slice body, struct wire_leads *out)
{
    uint64_t number[3] = {0};
    if (!take_numbers(body, number, 3)) { return false; }
    *out = (struct wire_leads){(uint32_t)number[1], number[2]};
    return number[1] <= UINT32_MAX;
}
