/* wire, the way in: frames to structs. What is to become memory is measured first: a walk over the fields
 * finds the body, finds a run's data and bounds how many things protobuf-c may allocate. */
#include "cluster/wire.h"

#include "base/arena.h"
#include "base/mem.h"
#include "cluster/wire_int.h"
#include "proto/peer.pb-c.h"
#include "pubsub/msg.h"

enum {
    ARENA_FIRST_BYTES = 16384,
    BODY_FIELD_MAX =
        FANFARE__PEER__FRAME__BODY_ASK_LEADS, /* Frame's numbers up to here are bodies */
    RUN_DATA_FIELD = 15,
    RUN_FIELDS_MAX = 64,
    SYNC_ENTRIES_FIELD = 6,
    SYNC_TAIL_FIELD = 9,
    ANSWER_COUNTS_FIELD = 4,
    ACK_SEQ_FIELD = 5,
    COUNT_BYTES_MAX = 10,
    FIELDS_MAX =
        WIRE_ITEMS_MAX * 12, /* the richest item has 8 fields; newer versions may have more */
};

/* ---- the memory of one decoded frame ---- */

struct wire_decoder {
    struct arena arena;
    _Alignas(ARENA_ALIGN) char first[ARENA_FIRST_BYTES];
};

struct wire_decoder *wire_decoder_new(void)
{
    struct wire_decoder *decoder = mem_new(sizeof *decoder);
    arena_init(&decoder->arena, decoder->first, sizeof decoder->first);
    return decoder;
}

void wire_decoder_free(struct wire_decoder *decoder)
{
    if (decoder != NULL) {
        arena_reset(&decoder->arena);
        mem_free(decoder);
    }
}

/* ---- the walk ---- */

/* Count the fields of a message down from *budget. False: too many, or not a message. */
static bool count_fields(struct slice message, uint32_t *budget)
{
    struct field field;
    while (message.len > 0) {
        if (*budget == 0 || !take_field(&message, &field)) { return false; }
        --*budget;
    }
    return true;
}

/* May the body be unpacked: will it become an amount of memory in proportion to what it says? */
static bool is_bounded(struct slice body, uint64_t number)
{
    uint32_t budget = FIELDS_MAX;
    if (!count_fields(body, &budget)) { return false; }
    struct field field;
    while (body.len > 0 && take_field(&body, &field)) {
        bool is_item = number == FANFARE__PEER__FRAME__BODY_SYNC && field.type == FIELD_BYTES &&
                       (field.number == SYNC_ENTRIES_FIELD || field.number == SYNC_TAIL_FIELD);
        bool is_counts =
            field.type == FIELD_BYTES &&
            ((number == FANFARE__PEER__FRAME__BODY_ANSWER && field.number == ANSWER_COUNTS_FIELD) ||
             (number == FANFARE__PEER__FRAME__BODY_INTEREST_ACK && field.number == ACK_SEQ_FIELD));
        if (is_item && !count_fields(field.bytes, &budget)) { return false; }
        if (is_counts && field.bytes.len > WIRE_ITEMS_MAX * COUNT_BYTES_MAX) { return false; }
    }
    return true;
}

/* ---- bodies ---- */

static struct slice view(ProtobufCBinaryData data)
{
    return slice_of(data.data, data.len);
}

/* Kinds and states come as any number. */
static bool kind_of(Fanfare__Peer__Kind wire, enum topic_kind *out)
{
    *out = (enum topic_kind)wire;
    return (int)wire >= 0 && (int)wire < TOPIC_KINDS;
}

static bool status_of(Fanfare__Peer__Status wire, enum wire_status *out)
{
    *out = (enum wire_status)wire;
    return (int)wire >= 0 && (int)wire <= WIRE_INDOUBT;
}

static bool check_run(Fanfare__Peer__Kind kind, struct wire_run *run)
{
    return kind_of(kind, &run->kind) && run->kind != TOPIC_PATTERN &&
           msg_check(run->kind, run->data, run->count, &run->prefix_bytes);
}

static bool run_of(const Fanfare__Peer__Deliver *wire, struct slice data, struct wire_run *out)
{
    *out = (struct wire_run){
        .partition = wire->partition,
        .epoch = wire->epoch,
        .seq = wire->seq,
        .stable = wire->stable,
        .is_recovered = wire->is_recovered,
        .count = wire->count,
        .data = data,
    };
    return check_run(wire->kind, out);
}

/* Cut a run's body into the fields before its data, and the data, which is the last one. */
static bool split_run(struct slice body, struct slice *fields, struct slice *data)
{
    struct slice rest = body;
    struct field field;
    for (unsigned i = 0; i < RUN_FIELDS_MAX && rest.len > 0; i++) {
        size_t fields_len = body.len - rest.len;
        if (!take_field(&rest, &field)) { return false; }
        if (field.number == RUN_DATA_FIELD) {
            *fields = slice_of(body.data, fields_len);
            *data = field.bytes;
            return field.type == FIELD_BYTES && rest.len == 0;
        }
    }
    return false;
}

#define UNPACK(name, allocator, body) \
    fanfare__peer__##name##__unpack(allocator, (body).len, (const uint8_t *)(body).data)

static bool decode_publish(struct slice body, struct wire_run *out)
{
    struct slice fields;
    struct slice data;
    uint64_t value[6] = {0};
    if (!split_run(body, &fields, &data) || !take_numbers(fields, value, 6)) { return false; }
    *out = (struct wire_run){
        .id = value[1],
        .partition = (uint32_t)value[2],
        .epoch = value[3],
        .count = (uint32_t)value[5],
        .data = data,
    };
    return check_run((Fanfare__Peer__Kind)value[4], out);
}

static bool decode_deliver(struct slice body, struct wire_run *out)
{
    struct slice fields;
    struct slice data;
    uint64_t value[8] = {0};
    if (!split_run(body, &fields, &data) || !take_numbers(fields, value, 8)) { return false; }
    *out = (struct wire_run){
        .partition = (uint32_t)value[1],
        .epoch = value[2],
        .seq = value[3],
        .stable = value[4],
        .count = (uint32_t)value[6],
        .is_recovered = value[7] != 0,
        .data = data,
    };
    return check_run((Fanfare__Peer__Kind)value[5], out);
}

static bool decode_published(struct slice body, struct wire_published *out)
{
    uint64_t value[4] = {0};
    if (!take_numbers(body, value, 4)) { return false; }
    *out = (struct wire_published){.id = value[1], .receivers = value[3]};
    return status_of((Fanfare__Peer__Status)value[2], &out->status);
}

static bool decode_hello(ProtobufCAllocator *allocator, struct slice body, struct wire_hello *out)
{
    const Fanfare__Peer__Hello *wire = UNPACK(hello, allocator, body);
    if (wire == NULL) { return false; }
    *out = (struct wire_hello){
        .version = wire->version,
        .features = wire->features,
        .cluster_id = wire->cluster_id,
        .node_id = wire->node_id,
        .incarnation = wire->incarnation,
        .to_node_id = wire->to_node_id,
        .is_lane = wire->is_lane,
        .worker = wire->worker,
        .worker_count = wire->worker_count,
    };
    return true;
}

static bool decode_interest(ProtobufCAllocator *allocator, struct slice body,
                            struct wire_interest *out)
{
    const Fanfare__Peer__Interest *wire = UNPACK(interest, allocator, body);
    if (wire == NULL) { return false; }
    *out = (struct wire_interest){
        .id = wire->id,
        .partition = wire->partition,
        .epoch = wire->epoch,
        .name = view(wire->name),
        .change = wire->change,
        .snapshot = wire->snapshot,
    };
    return kind_of(wire->kind, &out->kind);
}

static bool decode_interest_ack(ProtobufCAllocator *allocator, struct slice body,
                                struct wire_interest_ack *out)
{
    const Fanfare__Peer__InterestAck *wire = UNPACK(interest_ack, allocator, body);
    if (wire == NULL || wire->n_seq > WIRE_ITEMS_MAX) { return false; }
    *out = (struct wire_interest_ack){
        .id = wire->id,
        .partition = wire->partition,
        .epoch = wire->epoch,
        .seq = wire->seq,
        .seq_count = wire->n_seq,
    };
    return kind_of(wire->kind, &out->kind);
}

static bool decode_end(ProtobufCAllocator *allocator, struct slice body, struct wire_end *out)
{
    const Fanfare__Peer__End *wire = UNPACK(end, allocator, body);
    if (wire == NULL) { return false; }
    *out = (struct wire_end){wire->partition, wire->epoch, wire->seq};
    return true;
}

static bool decode_ready(ProtobufCAllocator *allocator, struct slice body, struct wire_ready *out)
{
    const Fanfare__Peer__Ready *wire = UNPACK(ready, allocator, body);
    if (wire == NULL) { return false; }
    *out = (struct wire_ready){wire->partition, wire->epoch,    wire->is_missed,
                               wire->seq,       wire->snapshot, wire->is_fence};
    return true;
}

static bool decode_ask_end(ProtobufCAllocator *allocator, struct slice body,
                           struct wire_ask_end *out)
{
    const Fanfare__Peer__AskEnd *wire = UNPACK(ask_end, allocator, body);
    if (wire == NULL) { return false; }
    *out = (struct wire_ask_end){wire->partition, wire->epoch};
    return true;
}

/* NULL for none. */
static const struct slice *views(struct arena *arena, const ProtobufCBinaryData *from, size_t count)
{
    if (count == 0) { return NULL; }
    struct slice *all = arena_alloc(arena, count * sizeof *all);
    for (size_t i = 0; i < count; i++) {
        all[i] = view(from[i]);
    }
    return all;
}

static bool decode_query(struct arena *arena, ProtobufCAllocator *allocator, struct slice body,
                         struct wire_query *out)
{
    const Fanfare__Peer__Query *wire = UNPACK(query, allocator, body);
    if (wire == NULL || wire->n_names > WIRE_ITEMS_MAX) { return false; }
    *out = (struct wire_query){
        .id = wire->id,
        .what = (enum wire_query_what)wire->what,
        .has_pattern = wire->has_pattern,
        .pattern = view(wire->pattern),
        .name = views(arena, wire->names, wire->n_names),
        .name_count = wire->n_names,
        .limit = wire->limit,
    };
    return wire->what >= WIRE_QUERY_NAMES && wire->what <= WIRE_QUERY_FORGET_REFUSALS &&
           kind_of(wire->kind, &out->kind);
}

static bool decode_answer(struct arena *arena, ProtobufCAllocator *allocator, struct slice body,
                          struct wire_query_answer *out)
{
    const Fanfare__Peer__Answer *wire = UNPACK(answer, allocator, body);
    if (wire == NULL || wire->n_names > WIRE_ITEMS_MAX || wire->n_counts > WIRE_ITEMS_MAX) {
        return false;
    }
    *out = (struct wire_query_answer){
        .id = wire->id,
        .is_last = wire->is_last,
        .name = views(arena, wire->names, wire->n_names),
        .name_count = wire->n_names,
        .count = wire->counts,
        .count_count = wire->n_counts,
    };
    return status_of(wire->status, &out->status);
}

static bool decode_sync_lists(struct arena *arena, const Fanfare__Peer__Sync *wire,
                              struct wire_sync *out)
{
    if (wire->n_entries + wire->n_tail > WIRE_ITEMS_MAX) { return false; }
    struct wire_sync_entry *entry = arena_alloc(arena, wire->n_entries * sizeof *entry);
    for (size_t i = 0; i < wire->n_entries; i++) {
        entry[i] = (struct wire_sync_entry){
            .name = view(wire->entries[i]->name),
            .count = wire->entries[i]->count,
        };
        if (!kind_of(wire->entries[i]->kind, &entry[i].kind)) { return false; }
    }
    struct wire_run *tail = arena_alloc(arena, wire->n_tail * sizeof *tail);
    for (size_t i = 0; i < wire->n_tail; i++) {
        if (!run_of(wire->tail[i], view(wire->tail[i]->data), &tail[i])) { return false; }
    }
    out->entry = entry;
    out->entry_count = wire->n_entries;
    out->tail = tail;
    out->tail_count = wire->n_tail;
    return true;
}

static bool decode_sync(struct arena *arena, ProtobufCAllocator *allocator, struct slice body,
                        struct wire_sync *out)
{
    const Fanfare__Peer__Sync *wire = UNPACK(sync, allocator, body);
    if (wire == NULL) { return false; }
    *out = (struct wire_sync){
        .partition = wire->partition,
        .epoch = wire->epoch,
        .is_patterns = wire->is_patterns,
        .is_first = wire->is_first,
        .is_last = wire->is_last,
        .seq = wire->seq,
        .tail_from = wire->tail_from,
        .snapshot = wire->snapshot,
        .is_fence = wire->is_fence,
    };
    return decode_sync_lists(arena, wire, out);
}

/* ---- frames ---- */

static bool decode_body(struct arena *arena, uint64_t number, struct slice body,
                        struct wire_frame *out)
{
    static const enum wire_type types[BODY_FIELD_MAX + 1] = {
        [FANFARE__PEER__FRAME__BODY_HELLO] = WIRE_HELLO,
        [FANFARE__PEER__FRAME__BODY_PING] = WIRE_PING,
        [FANFARE__PEER__FRAME__BODY_PUBLISH] = WIRE_PUBLISH,
        [FANFARE__PEER__FRAME__BODY_INTEREST] = WIRE_INTEREST,
        [FANFARE__PEER__FRAME__BODY_SYNC] = WIRE_SYNC,
        [FANFARE__PEER__FRAME__BODY_QUERY] = WIRE_QUERY,
        [FANFARE__PEER__FRAME__BODY_PUBLISHED] = WIRE_PUBLISHED,
        [FANFARE__PEER__FRAME__BODY_ANSWER] = WIRE_QUERY_ANSWER,
        [FANFARE__PEER__FRAME__BODY_DELIVER] = WIRE_DELIVER,
        [FANFARE__PEER__FRAME__BODY_INTEREST_ACK] = WIRE_INTEREST_ACK,
        [FANFARE__PEER__FRAME__BODY_END] = WIRE_END,
        [FANFARE__PEER__FRAME__BODY_READY] = WIRE_READY,
        [FANFARE__PEER__FRAME__BODY_ASK_END] = WIRE_ASK_END,
        [FANFARE__PEER__FRAME__BODY_COMMAND] = WIRE_COMMAND,
        [FANFARE__PEER__FRAME__BODY_EXECUTED] = WIRE_EXECUTED,
        [FANFARE__PEER__FRAME__BODY_UNPARK] = WIRE_UNPARK,
        [FANFARE__PEER__FRAME__BODY_LEADS] = WIRE_LEADS,
        [FANFARE__PEER__FRAME__BODY_ASK_LEADS] = WIRE_ASK_LEADS,
    };
    ProtobufCAllocator allocator = {arena_alloc, arena_ignore, arena};
    out->type = types[number];
    bool is_unpacked = out->type != WIRE_PUBLISH && out->type != WIRE_DELIVER &&
                       out->type != WIRE_PUBLISHED && out->type < WIRE_COMMAND;
    if (is_unpacked && !is_bounded(body, number)) { return false; }
    switch (out->type) {
    case WIRE_HELLO: return decode_hello(&allocator, body, &out->hello);
    case WIRE_PING: return true;
    case WIRE_PUBLISH: return decode_publish(body, &out->publish);
    case WIRE_INTEREST: return decode_interest(&allocator, body, &out->interest);
    case WIRE_SYNC: return decode_sync(arena, &allocator, body, &out->sync);
    case WIRE_QUERY: return decode_query(arena, &allocator, body, &out->query);
    case WIRE_PUBLISHED: return decode_published(body, &out->published);
    case WIRE_QUERY_ANSWER: return decode_answer(arena, &allocator, body, &out->answer);
    case WIRE_DELIVER: return decode_deliver(body, &out->deliver);
    case WIRE_INTEREST_ACK: return decode_interest_ack(&allocator, body, &out->interest_ack);
    case WIRE_END: return decode_end(&allocator, body, &out->end);
    case WIRE_READY: return decode_ready(&allocator, body, &out->ready);
    case WIRE_ASK_END: return decode_ask_end(&allocator, body, &out->ask_end);
    case WIRE_COMMAND: return wire_decode_command(arena, body, &out->command);
    case WIRE_EXECUTED: return wire_decode_executed(arena, body, &out->executed);
    case WIRE_UNPARK: return wire_decode_unpark(body, &out->unpark);
    case WIRE_LEADS:
    case WIRE_ASK_LEADS: return wire_decode_leads(body, &out->leads);
    }
    UNREACHABLE();
}

/* A frame has one body; fields beside it are a newer version's. */
static bool decode_frame(struct arena *arena, struct slice frame, struct wire_frame *out)
{
    struct field field;
    struct field body = {0};
    while (frame.len > 0) {
        if (!take_field(&frame, &field)) { return false; }
        if (field.number > BODY_FIELD_MAX) { continue; }
        if (body.number != 0 || field.type != FIELD_BYTES) { return false; }
        body = field;
    }
    if (body.number == 0) {
        out->type = WIRE_PING;
        return true;
    }
    return decode_body(arena, body.number, body.bytes, out);
}

enum wire_result wire_decode(struct wire_decoder *decoder, struct slice input,
                             struct wire_frame *out, size_t *bytes)
{
    *bytes = 0;
    if (input.len < WIRE_HEAD_BYTES) { return WIRE_INCOMPLETE; }
    const unsigned char *p = (const unsigned char *)input.data;
    size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | (size_t)p[3];
    if (len > WIRE_FRAME_BYTES_MAX) { return WIRE_GARBAGE; }
    *bytes = WIRE_HEAD_BYTES + len;
    if (input.len < *bytes) { return WIRE_INCOMPLETE; }
    arena_reset(&decoder->arena);
    bool is_good = decode_frame(&decoder->arena, slice_of(input.data + WIRE_HEAD_BYTES, len), out);
    return is_good ? WIRE_OK : WIRE_GARBAGE;
}
