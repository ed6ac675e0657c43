/* wire, the way out: structs to frames. A run's head is a message whose last field's bytes follow it, so
 * that the bytes themselves are never copied. */
#include <string.h>

#include "base/mem.h"
#include "base/unconst.h"
#include "cluster/wire.h"
#include "cluster/wire_int.h"
#include "proto/peer.pb-c.h"

enum {
    NUMBERS_MAX = 7, /* of one frame */
    RUN_DATA_FIELD = 15,
};

_Static_assert((int)TOPIC_CHANNEL == (int)FANFARE__PEER__KIND__CHANNEL &&
                   (int)TOPIC_PATTERN == (int)FANFARE__PEER__KIND__PATTERN &&
                   (int)TOPIC_SHARD == (int)FANFARE__PEER__KIND__SHARD,
               "kinds go over the wire by their numbers");
_Static_assert((int)WIRE_DONE == (int)FANFARE__PEER__STATUS__DONE &&
                   (int)WIRE_NOT_OWNER == (int)FANFARE__PEER__STATUS__NOT_OWNER &&
                   (int)WIRE_INDOUBT == (int)FANFARE__PEER__STATUS__INDOUBT,
               "states go over the wire by their numbers");

static ProtobufCBinaryData binary(struct slice s)
{
    return (ProtobufCBinaryData){s.len, unconst(s.data)};
}

/* NULL for none. */
static void *array_new(size_t count, size_t bytes)
{
    return count > 0 ? mem_new(count * bytes) : NULL;
}

static ProtobufCBinaryData *binaries_new(const struct slice *from, size_t count)
{
    ProtobufCBinaryData *all = array_new(count, sizeof *all);
    for (size_t i = 0; i < count; i++) {
        all[i] = binary(from[i]);
    }
    return all;
}

static void put_frame(struct buf *out, const Fanfare__Peer__Frame *frame)
{
    size_t bytes = fanfare__peer__frame__get_packed_size(frame);
    char *at = put_length(buf_reserve(out, WIRE_HEAD_BYTES + bytes), bytes);
    CHECK(fanfare__peer__frame__pack(frame, (uint8_t *)at) == bytes);
    out->len += WIRE_HEAD_BYTES + bytes;
}

/* ---- runs ---- */

static char *put_publish(char *at, const struct wire_run *run)
{
    at = put_number(at, 1, run->id);
    at = put_number(at, 2, run->partition);
    at = put_number(at, 3, run->epoch);
    at = put_number(at, 4, run->kind);
    return put_number(at, 5, run->count);
}

static char *put_deliver(char *at, const struct wire_run *run)
{
    at = put_number(at, 1, run->partition);
    at = put_number(at, 2, run->epoch);
    at = put_number(at, 3, run->seq);
    at = put_number(at, 4, run->stable);
    at = put_number(at, 5, run->kind);
    at = put_number(at, 6, run->count);
    return put_number(at, 7, run->is_recovered);
}

/* The frames that go for every message are written without protobuf-c: it costs ten times as much. */
void wire_encode_head(struct buf *out, const struct wire_frame *frame)
{
    CHECK(frame->type == WIRE_PUBLISH || frame->type == WIRE_DELIVER);
    bool is_publish = frame->type == WIRE_PUBLISH;
    const struct wire_run *run = is_publish ? &frame->publish : &frame->deliver;
    CHECK(run->kind != TOPIC_PATTERN);
    CHECK(run->data.len > 0 && run->data.len <= WIRE_RUN_BYTES_MAX);
    unsigned field =
        is_publish ? FANFARE__PEER__FRAME__BODY_PUBLISH : FANFARE__PEER__FRAME__BODY_DELIVER;
    char fields[NUMBERS_MAX * NUMBER_BYTES_MAX];
    const char *end = is_publish ? put_publish(fields, run) : put_deliver(fields, run);
    size_t fields_bytes = (size_t)(end - fields);
    size_t body_bytes = fields_bytes + 1 + varint_bytes(run->data.len) + run->data.len;
    char *start = buf_reserve(out, WIRE_HEAD_BYTES + fields_bytes + 2 * NUMBER_BYTES_MAX);
    char *at = put_length(start, 1 + varint_bytes(body_bytes) + body_bytes);
    *at++ = (char)(field << 3 | FIELD_BYTES);
    at = put_varint(at, body_bytes);
    memcpy(at, fields, fields_bytes);
    at += fields_bytes;
    *at++ = (char)(RUN_DATA_FIELD << 3 | FIELD_BYTES);
    at = put_varint(at, run->data.len);
    out->len += (size_t)(at - start);
}

static void encode_published(struct buf *out, const struct wire_published *published)
{
    char fields[NUMBERS_MAX * NUMBER_BYTES_MAX];
    char *end = put_number(fields, 1, published->id);
    end = put_number(end, 2, published->status);
    end = put_number(end, 3, published->receivers);
    size_t bytes = (size_t)(end - fields);
    char *start = buf_reserve(out, WIRE_HEAD_BYTES + NUMBER_BYTES_MAX + bytes);
    char *at = put_length(start, 1 + varint_bytes(bytes) + bytes);
    *at++ = (char)(FANFARE__PEER__FRAME__BODY_PUBLISHED << 3 | FIELD_BYTES);
    at = put_varint(at, bytes);
    memcpy(at, fields, bytes);
    out->len += (size_t)(at - start) + bytes;
}

static void encode_run(struct buf *out, const struct wire_frame *frame)
{
    wire_encode_head(out, frame);
    buf_append(out, frame->type == WIRE_PUBLISH ? frame->publish.data : frame->deliver.data);
}

/* ---- the others ---- */

static void encode_hello(struct buf *out, const struct wire_hello *hello)
{
    Fanfare__Peer__Hello body = FANFARE__PEER__HELLO__INIT;
    body.version = hello->version;
    body.features = hello->features;
    body.cluster_id = hello->cluster_id;
    body.node_id = hello->node_id;
    body.incarnation = hello->incarnation;
    body.to_node_id = hello->to_node_id;
    body.is_lane = hello->is_lane;
    body.worker = hello->worker;
    body.worker_count = hello->worker_count;
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_HELLO;
    frame.hello = &body;
    put_frame(out, &frame);
}

static void encode_ping(struct buf *out)
{
    Fanfare__Peer__Ping body = FANFARE__PEER__PING__INIT;
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_PING;
    frame.ping = &body;
    put_frame(out, &frame);
}

static void encode_interest(struct buf *out, const struct wire_interest *interest)
{
    Fanfare__Peer__Interest body = FANFARE__PEER__INTEREST__INIT;
    body.id = interest->id;
    body.partition = interest->partition;
    body.epoch = interest->epoch;
    body.kind = (Fanfare__Peer__Kind)interest->kind;
    body.name = binary(interest->name);
    body.change = interest->change;
    body.snapshot = interest->snapshot;
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_INTEREST;
    frame.interest = &body;
    put_frame(out, &frame);
}

static void encode_interest_ack(struct buf *out, const struct wire_interest_ack *ack)
{
    Fanfare__Peer__InterestAck body = FANFARE__PEER__INTEREST_ACK__INIT;
    body.id = ack->id;
    body.partition = ack->partition;
    body.epoch = ack->epoch;
    body.kind = (Fanfare__Peer__Kind)ack->kind;
    body.n_seq = ack->seq_count;
    body.seq = unconst(ack->seq);
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_INTEREST_ACK;
    frame.interest_ack = &body;
    put_frame(out, &frame);
}

static void encode_end(struct buf *out, const struct wire_end *end)
{
    Fanfare__Peer__End body = FANFARE__PEER__END__INIT;
    body.partition = end->partition;
    body.epoch = end->epoch;
    body.seq = end->seq;
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_END;
    frame.end = &body;
    put_frame(out, &frame);
}

static void encode_ask_end(struct buf *out, const struct wire_ask_end *ask_end)
{
    Fanfare__Peer__AskEnd body = FANFARE__PEER__ASK_END__INIT;
    body.partition = ask_end->partition;
    body.epoch = ask_end->epoch;
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_ASK_END;
    frame.ask_end = &body;
    put_frame(out, &frame);
}

static void encode_ready(struct buf *out, const struct wire_ready *ready)
{
    Fanfare__Peer__Ready body = FANFARE__PEER__READY__INIT;
    body.partition = ready->partition;
    body.epoch = ready->epoch;
    body.is_missed = ready->is_missed;
    body.seq = ready->seq;
    body.snapshot = ready->snapshot;
    body.is_fence = ready->is_fence;
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_READY;
    frame.ready = &body;
    put_frame(out, &frame);
}

static void encode_query(struct buf *out, const struct wire_query *ask)
{
    CHECK(ask->name_count <= WIRE_ITEMS_MAX);
    Fanfare__Peer__Query body = FANFARE__PEER__QUERY__INIT;
    body.id = ask->id;
    body.what = ask->what;
    body.kind = (Fanfare__Peer__Kind)ask->kind;
    body.has_pattern = ask->has_pattern;
    body.pattern = binary(ask->pattern);
    body.n_names = ask->name_count;
    body.names = binaries_new(ask->name, ask->name_count);
    body.limit = ask->limit;
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_QUERY;
    frame.query = &body;
    put_frame(out, &frame);
    mem_free(body.names);
}

static void encode_answer(struct buf *out, const struct wire_query_answer *answer)
{
    CHECK(answer->name_count <= WIRE_ITEMS_MAX);
    CHECK(answer->count_count <= WIRE_ITEMS_MAX);
    Fanfare__Peer__Answer body = FANFARE__PEER__ANSWER__INIT;
    body.id = answer->id;
    body.is_last = answer->is_last;
    body.status = (Fanfare__Peer__Status)answer->status;
    body.n_names = answer->name_count;
    body.names = binaries_new(answer->name, answer->name_count);
    body.n_counts = answer->count_count;
    body.counts = unconst(answer->count);
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_ANSWER;
    frame.answer = &body;
    put_frame(out, &frame);
    mem_free(body.names);
}

static Fanfare__Peer__Deliver deliver_of(const struct wire_run *run)
{
    Fanfare__Peer__Deliver body = FANFARE__PEER__DELIVER__INIT;
    body.partition = run->partition;
    body.epoch = run->epoch;
    body.seq = run->seq;
    body.stable = run->stable;
    body.kind = (Fanfare__Peer__Kind)run->kind;
    body.count = run->count;
    body.is_recovered = run->is_recovered;
    return body;
}

static void encode_sync(struct buf *out, const struct wire_sync *sync)
{
    CHECK(sync->entry_count + sync->tail_count <= WIRE_ITEMS_MAX);
    Fanfare__Peer__SyncEntry *entry = array_new(sync->entry_count, sizeof *entry);
    Fanfare__Peer__SyncEntry **entries = array_new(sync->entry_count, sizeof *entries);
    for (size_t i = 0; i < sync->entry_count; i++) {
        fanfare__peer__sync_entry__init(&entry[i]);
        entry[i].kind = (Fanfare__Peer__Kind)sync->entry[i].kind;
        entry[i].name = binary(sync->entry[i].name);
        entry[i].count = sync->entry[i].count;
        entries[i] = &entry[i];
    }
    Fanfare__Peer__Deliver *run = array_new(sync->tail_count, sizeof *run);
    Fanfare__Peer__Deliver **tail = array_new(sync->tail_count, sizeof *tail);
    for (size_t i = 0; i < sync->tail_count; i++) {
        run[i] = deliver_of(&sync->tail[i]);
        run[i].data = binary(sync->tail[i].data);
        tail[i] = &run[i];
    }
    Fanfare__Peer__Sync body = FANFARE__PEER__SYNC__INIT;
    body.partition = sync->partition;
    body.epoch = sync->epoch;
    body.is_patterns = sync->is_patterns;
    body.is_first = sync->is_first;
    body.is_last = sync->is_last;
    body.n_entries = sync->entry_count;
    body.entries = entries;
    body.seq = sync->seq;
    body.tail_from = sync->tail_from;
    body.snapshot = sync->snapshot;
    body.is_fence = sync->is_fence;
    body.n_tail = sync->tail_count;
    body.tail = tail;
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_SYNC;
    frame.sync = &body;
    put_frame(out, &frame);
    mem_free(tail);
    mem_free(run);
    mem_free(entries);
    mem_free(entry);
}

static void encode_for_commands(struct buf *out, const struct wire_frame *frame)
{
    size_t bytes = wire_frame_bytes(frame);
    char *at = buf_reserve(out, bytes);
    CHECK(wire_put(at, frame) == at + bytes);
    out->len += bytes;
}

void wire_encode(struct buf *out, const struct wire_frame *frame)
{
    switch (frame->type) {
    case WIRE_HELLO: encode_hello(out, &frame->hello); return;
    case WIRE_PING: encode_ping(out); return;
    case WIRE_PUBLISH:
    case WIRE_DELIVER: encode_run(out, frame); return;
    case WIRE_INTEREST: encode_interest(out, &frame->interest); return;
    case WIRE_SYNC: encode_sync(out, &frame->sync); return;
    case WIRE_QUERY: encode_query(out, &frame->query); return;
    case WIRE_PUBLISHED: encode_published(out, &frame->published); return;
    case WIRE_QUERY_ANSWER: encode_answer(out, &frame->answer); return;
    case WIRE_INTEREST_ACK: encode_interest_ack(out, &frame->interest_ack); return;
    case WIRE_END: encode_end(out, &frame->end); return;
    case WIRE_READY: encode_ready(out, &frame->ready); return;
    case WIRE_ASK_END: encode_ask_end(out, &frame->ask_end); return;
    case WIRE_COMMAND:
    case WIRE_EXECUTED:
    case WIRE_UNPARK:
    case WIRE_LEADS:
    case WIRE_ASK_LEADS: encode_for_commands(out, frame); return;
    }
    UNREACHABLE();
}
