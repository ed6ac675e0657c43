/* Frames there and back; what is refused. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "cluster/wire.h"
#include "proto/peer.pb-c.h"
#include "pubsub/msg.h"

static struct wire_decoder *decoder;

static void set_up(void)
{
    decoder = wire_decoder_new();
}

static void tear_down(void)
{
    wire_decoder_free(decoder);
}

TestSuite(wire, .init = set_up, .fini = tear_down);

static void add_message(struct buf *out, struct slice channel, struct slice payload)
{
    char *at = buf_reserve(out, msg_bytes_max(TOPIC_CHANNEL, channel, payload));
    char *end = msg_write_payload(msg_write_prefix(at, TOPIC_CHANNEL, channel), payload);
    out->len += (size_t)(end - at);
}

static void add_head(struct buf *out, size_t len)
{
    char *at = buf_reserve(out, WIRE_HEAD_BYTES);
    for (int shift = 24; shift >= 0; shift -= 8) {
        *at++ = (char)(len >> shift);
    }
    out->len += WIRE_HEAD_BYTES;
}

static enum wire_result decode_body(struct slice body, struct wire_frame *frame)
{
    struct buf bytes = {0};
    size_t used;
    add_head(&bytes, body.len);
    buf_append(&bytes, body);
    enum wire_result result = wire_decode(decoder, buf_slice(&bytes), frame, &used);
    buf_fini(&bytes);
    return result;
}

/* Decode what `frame` encodes to; that is checked to encode to the same bytes. `bytes` keeps it. */
static struct wire_frame round_trip(const struct wire_frame *frame, struct buf *bytes)
{
    struct wire_frame back;
    size_t used;
    bytes->len = 0;
    wire_encode(bytes, frame);
    for (size_t cut = 0; cut < bytes->len && cut < 300; cut++) {
        cr_assert_eq(wire_decode(decoder, slice_of(bytes->data, cut), &back, &used),
                     WIRE_INCOMPLETE);
        cr_assert_eq(used, cut < WIRE_HEAD_BYTES ? 0 : bytes->len);
    }
    cr_assert_eq(wire_decode(decoder, buf_slice(bytes), &back, &used), WIRE_OK);
    cr_assert_eq(used, bytes->len);
    cr_assert_eq(back.type, frame->type);
    struct buf again = {0};
    wire_encode(&again, &back);
    cr_assert(slice_equal(buf_slice(bytes), buf_slice(&again)));
    buf_fini(&again);
    return back;
}

Test(wire, small_frames_come_back_as_they_went)
{
    static const uint64_t numbers[] = {0, UINT64_MAX};
    static const struct wire_frame frames[] = {
        {.type = WIRE_PING},
        {.type = WIRE_HELLO, .hello = {WIRE_VERSION, 3, UINT64_MAX, 1ULL << 63, 7, 9, true, 3, 4}},
        {.type = WIRE_HELLO},
        {.type = WIRE_INTEREST, .interest = {1, 2, 3, TOPIC_SHARD, {"a\0b", 3}, INT32_MIN}},
        {.type = WIRE_INTEREST, .interest = {1, 0, 0, TOPIC_PATTERN, {"", 0}, 1}},
        {.type = WIRE_INTEREST_ACK,
         .interest_ack = {UINT64_MAX, UINT32_MAX, 1, TOPIC_SHARD, numbers, 2}},
        {.type = WIRE_PUBLISHED, .published = {5, WIRE_INDOUBT, 1ULL << 40}},
        {.type = WIRE_END, .end = {1, 2, 3}},
        {.type = WIRE_READY, .ready = {1, 2, true, 4, 5, true}},
        {.type = WIRE_ASK_END, .ask_end = {6, 7}},
    };
    struct buf bytes = {0};
    for (size_t i = 0; i < COUNT_OF(frames); i++) {
        round_trip(&frames[i], &bytes);
    }
    struct wire_frame back = round_trip(&frames[1], &bytes);
    cr_assert_eq(back.hello.features, 3);
    cr_assert_eq(back.hello.cluster_id, UINT64_MAX);
    cr_assert_eq(back.hello.node_id, 1ULL << 63);
    cr_assert_eq(back.hello.incarnation, 7);
    cr_assert_eq(back.hello.to_node_id, 9);
    cr_assert(back.hello.is_lane && back.hello.worker == 3 && back.hello.worker_count == 4);
    back = round_trip(&frames[3], &bytes);
    cr_assert_eq(back.interest.kind, TOPIC_SHARD);
    cr_assert_eq(back.interest.change, INT32_MIN);
    cr_assert(slice_equal(back.interest.name, slice_of("a\0b", 3)));
    back = round_trip(&frames[6], &bytes);
    cr_assert_eq(back.published.status, WIRE_INDOUBT);
    cr_assert_eq(back.published.receivers, 1ULL << 40);
    for (size_t i = 0; i < COUNT_OF(frames); i++) {
        if (frames[i].type != WIRE_READY) { continue; }
        back = round_trip(&frames[i], &bytes);
        cr_assert(back.ready.is_missed && back.ready.is_fence && back.ready.snapshot == 5);
    }
    buf_fini(&bytes);
}

Test(wire, a_run_is_not_copied_and_its_head_stands_alone)
{
    struct buf data = {0};
    struct buf bytes = {0};
    struct buf head = {0};
    for (size_t len = 1; len < 300000; len = len * 3 + 1) {
        char *payload = mem_new0(len);
        add_message(&data, SLICE("news"), slice_of(payload, len));
        add_message(&data, SLICE("news"), SLICE("second"));
        mem_free(payload);
        struct wire_frame frame = {
            .type = WIRE_DELIVER,
            .deliver = {.partition = 300,
                        .epoch = 1ULL << 50,
                        .seq = UINT64_MAX,
                        .stable = 1,
                        .is_recovered = true,
                        .kind = TOPIC_CHANNEL,
                        .count = 2,
                        .data = buf_slice(&data)},
        };
        struct wire_frame back = round_trip(&frame, &bytes);
        cr_assert_eq(back.deliver.partition, 300);
        cr_assert_eq(back.deliver.epoch, 1ULL << 50);
        cr_assert_eq(back.deliver.seq, UINT64_MAX);
        cr_assert(back.deliver.is_recovered);
        cr_assert_eq(back.deliver.prefix_bytes, msg_prefix_bytes(TOPIC_CHANNEL, SLICE("news")));
        cr_assert(slice_equal(back.deliver.data, buf_slice(&data)));
        cr_assert_eq(back.deliver.data.data, bytes.data + bytes.len - data.len, "a view");
        head.len = 0;
        wire_encode_head(&head, &frame);
        cr_assert_eq(head.len, bytes.len - data.len);
        cr_assert_eq(memcmp(head.data, bytes.data, head.len), 0);
        data.len = 0;
    }
    add_message(&data, SLICE("news"), SLICE("x"));
    struct wire_frame frame = {
        .type = WIRE_PUBLISH,
        .publish = {.id = 77, .kind = TOPIC_CHANNEL, .count = 1, .data = buf_slice(&data)}};
    struct wire_frame back = round_trip(&frame, &bytes);
    cr_assert_eq(back.publish.id, 77);
    cr_assert_eq(back.publish.data.data, bytes.data + bytes.len - data.len);
    buf_fini(&head);
    buf_fini(&bytes);
    buf_fini(&data);
}

static Fanfare__Peer__Frame *unpack(const struct wire_frame *frame, struct buf *bytes)
{
    bytes->len = 0;
    wire_encode(bytes, frame);
    Fanfare__Peer__Frame *read = fanfare__peer__frame__unpack(
        NULL, bytes->len - WIRE_HEAD_BYTES, (const uint8_t *)bytes->data + WIRE_HEAD_BYTES);
    cr_assert_not_null(read);
    return read;
}

Test(wire, what_is_written_without_protobuf_c_is_what_it_reads)
{
    static const uint64_t numbers[] = {0, 1, 127, 128, 1ULL << 32, UINT64_MAX};
    struct buf data = {0};
    struct buf bytes = {0};
    add_message(&data, SLICE("news"), SLICE("hi"));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        uint64_t n = numbers[i];
        struct wire_frame frame = {.type = WIRE_PUBLISH,
                                   .publish = {.id = n,
                                               .partition = (uint32_t)n,
                                               .epoch = n,
                                               .kind = TOPIC_SHARD,
                                               .count = (uint32_t)n,
                                               .data = buf_slice(&data)}};
        Fanfare__Peer__Frame *read = unpack(&frame, &bytes);
        cr_assert_eq(read->body_case, FANFARE__PEER__FRAME__BODY_PUBLISH);
        cr_assert(read->publish->id == n && read->publish->epoch == n);
        cr_assert_eq(read->publish->partition, (uint32_t)n);
        cr_assert_eq(read->publish->count, (uint32_t)n);
        cr_assert_eq(read->publish->kind, FANFARE__PEER__KIND__SHARD);
        cr_assert_eq(read->publish->data.len, data.len);
        fanfare__peer__frame__free_unpacked(read, NULL);
        frame = (struct wire_frame){.type = WIRE_DELIVER,
                                    .deliver = {.partition = (uint32_t)n,
                                                .epoch = n,
                                                .seq = n,
                                                .stable = n,
                                                .count = (uint32_t)n,
                                                .is_recovered = n != 0,
                                                .data = buf_slice(&data)}};
        read = unpack(&frame, &bytes);
        cr_assert_eq(read->body_case, FANFARE__PEER__FRAME__BODY_DELIVER);
        cr_assert(read->deliver->epoch == n && read->deliver->seq == n);
        cr_assert(read->deliver->stable == n && read->deliver->is_recovered == (n != 0));
        cr_assert_eq(read->deliver->partition, (uint32_t)n);
        cr_assert_eq(read->deliver->count, (uint32_t)n);
        fanfare__peer__frame__free_unpacked(read, NULL);
        frame = (struct wire_frame){.type = WIRE_PUBLISHED,
                                    .published = {.id = n, .status = WIRE_INDOUBT, .receivers = n}};
        read = unpack(&frame, &bytes);
        cr_assert_eq(read->body_case, FANFARE__PEER__FRAME__BODY_PUBLISHED);
        cr_assert(read->published->id == n && read->published->receivers == n);
        cr_assert_eq(read->published->status, FANFARE__PEER__STATUS__INDOUBT);
        fanfare__peer__frame__free_unpacked(read, NULL);
    }
    buf_fini(&data);
    buf_fini(&bytes);
}

Test(wire, a_run_of_other_frames_than_it_says_is_garbage)
{
    struct buf data = {0};
    struct buf bytes = {0};
    struct wire_frame back;
    size_t used;
    add_message(&data, SLICE("news"), SLICE("first"));
    add_message(&data, SLICE("newt"), SLICE("second"));
    struct wire_frame frame = {
        .type = WIRE_PUBLISH,
        .publish = {.kind = TOPIC_CHANNEL, .count = 2, .data = buf_slice(&data)}};
    wire_encode(&bytes, &frame);
    cr_assert_eq(wire_decode(decoder, buf_slice(&bytes), &back, &used), WIRE_GARBAGE);
    frame.publish.data = SLICE("hello");
    bytes.len = 0;
    wire_encode(&bytes, &frame);
    cr_assert_eq(wire_decode(decoder, buf_slice(&bytes), &back, &used), WIRE_GARBAGE);
    buf_fini(&bytes);
    buf_fini(&data);
}

Test(wire, lists_come_back_as_they_went)
{
    struct buf bytes = {0};
    struct buf data = {0};
    add_message(&data, SLICE("news"), SLICE("x"));
    enum { NAMES = 5000 };
    struct slice *name = mem_new(NAMES * sizeof *name);
    uint64_t *count = mem_new(NAMES * sizeof *count);
    struct wire_sync_entry *entry = mem_new(NAMES * sizeof *entry);
    for (size_t i = 0; i < NAMES; i++) {
        name[i] = slice_of("some channel's name", i % 20);
        count[i] = i * i * i;
        entry[i] =
            (struct wire_sync_entry){(enum topic_kind)(i % TOPIC_KINDS), name[i], (uint32_t)i};
    }
    struct wire_frame ask = {.type = WIRE_QUERY,
                             .query = {.id = 3,
                                       .what = WIRE_QUERY_COUNTS,
                                       .kind = TOPIC_SHARD,
                                       .has_pattern = true,
                                       .name = name,
                                       .name_count = NAMES}};
    struct wire_frame back = round_trip(&ask, &bytes);
    cr_assert_eq(back.query.name_count, NAMES);
    cr_assert(back.query.has_pattern && back.query.pattern.len == 0);
    cr_assert(slice_equal(back.query.name[NAMES - 1], name[NAMES - 1]));
    ask.query = (struct wire_query){
        .id = 4, .what = WIRE_QUERY_REFUSALS, .kind = TOPIC_CHANNEL, .limit = 128};
    back = round_trip(&ask, &bytes);
    cr_assert(back.query.what == WIRE_QUERY_REFUSALS && back.query.limit == 128);
    struct wire_frame answer = {.type = WIRE_QUERY_ANSWER,
                                .answer = {3, true, WIRE_NOT_OWNER, name, NAMES, count, NAMES}};
    back = round_trip(&answer, &bytes);
    cr_assert_eq(back.answer.count_count, NAMES);
    cr_assert_eq(memcmp(back.answer.count, count, NAMES * sizeof *count), 0);
    struct wire_run tail[] = {
        {.seq = 1, .kind = TOPIC_CHANNEL, .count = 1, .data = buf_slice(&data)},
        {.seq = 2, .kind = TOPIC_CHANNEL, .count = 1, .data = buf_slice(&data)},
    };
    struct wire_frame sync = {
        .type = WIRE_SYNC, .sync = {1, 2, false, true, true, 9, 8, entry, NAMES, tail, 2, 7, true}};
    back = round_trip(&sync, &bytes);
    cr_assert(back.sync.is_first && back.sync.is_last && !back.sync.is_patterns);
    cr_assert(back.sync.snapshot == 7 && back.sync.is_fence);
    cr_assert_eq(back.sync.entry_count, NAMES);
    cr_assert_eq(back.sync.entry[4].kind, entry[4].kind);
    cr_assert_eq(back.sync.entry[NAMES - 1].count, NAMES - 1);
    cr_assert_eq(back.sync.tail_count, 2);
    cr_assert_eq(back.sync.tail[1].seq, 2);
    cr_assert(slice_equal(back.sync.tail[1].data, buf_slice(&data)));
    mem_free(entry);
    mem_free(count);
    mem_free(name);
    buf_fini(&data);
    buf_fini(&bytes);
}

Test(wire, garbage_is_refused)
{
    static const struct slice bodies[] = {
        {"\xff", 1},             /* half a number */
        {"\x22\x05\x08", 3},     /* a body longer than its frame */
        {"\x22\x02\x20\x03", 4}, /* Interest: a kind that there is not */
        {"\x22\x0b\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13}, /* kind -1 */
        {"\x3a\x02\x10\x03", 4},         /* Published: a status that there is not */
        {"\x32\x00", 2},                 /* Query: asks nothing */
        {"\x1a\x00", 2},                 /* Publish: no data */
        {"\x1a\x03\x7a\x01x", 5},        /* Publish: no frame, and count 0 */
        {"\x1a\x04\x7a\x00\x08\x01", 6}, /* Publish: data is not the last field */
        {"\x12\x00\x12\x00", 4},         /* two bodies */
        {"\x10\x01", 2},                 /* Ping is no number */
        {"\x22\x02\x0b\x0c", 4},         /* a group */
    };
    struct wire_frame frame;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        cr_assert_eq(decode_body(bodies[i], &frame), WIRE_GARBAGE, "body %zu", i);
    }
    size_t used;
    cr_assert_eq(wire_decode(decoder, slice_of("\xff\xff\xff\xff", 4), &frame, &used), WIRE_GARBAGE,
                 "refused by its length alone");
    cr_assert_eq(wire_decode(decoder, slice_of("\x00\x00\x00\x05z", 5), &frame, &used),
                 WIRE_INCOMPLETE);
}

Test(wire, what_a_newer_version_adds_does_no_harm)
{
    struct wire_frame frame;
    cr_assert_eq(decode_body(SLICE(""), &frame), WIRE_OK);
    cr_assert_eq(frame.type, WIRE_PING);
    cr_assert_eq(decode_body(slice_of("\xaa\x06\x03"
                                      "abc",
                                      6),
                             &frame),
                 WIRE_OK, "a new body");
    cr_assert_eq(frame.type, WIRE_PING);
    cr_assert_eq(decode_body(slice_of("\x5a\x05\x08\x07\xa0\x06\x01\xa8\x06\x01", 10), &frame),
                 WIRE_OK, "a new field of End, and one beside it");
    cr_assert_eq(frame.type, WIRE_END);
    cr_assert_eq(frame.end.partition, 7);
}

Test(wire, more_items_than_a_frame_may_have_are_refused_before_they_become_memory)
{
    struct wire_frame frame;
    size_t count = 20 << 20;
    struct buf body = {0};
    buf_append(&body, slice_of("\x2a\x80\x80\x80\x14", 5)); /* Sync of 40 MiB of empty entries */
    char *at = buf_reserve(&body, 2 * count);
    for (size_t i = 0; i < count; i++) {
        *at++ = 0x32;
        *at++ = 0;
    }
    body.len += 2 * count;
    cr_assert_eq(decode_body(buf_slice(&body), &frame), WIRE_GARBAGE);
    body.len = 0;
    buf_append(&body, slice_of("\x42\x85\x80\x80\x14\x22\x80\x80\x80\x14", 10)); /* counts */
    memset(buf_reserve(&body, 2 * count), 0, 2 * count);
    body.len += 2 * count;
    cr_assert_eq(decode_body(buf_slice(&body), &frame), WIRE_GARBAGE);
    buf_fini(&body);
}

/* ---- commands ---- */

Test(wire, a_command_comes_back_as_it_went)
{
    static const struct slice words[] = {{"SET", 3}, {"k\0", 2}, {"", 0}};
    static const struct partition_call calls[] = {{.db = 0, .argc = 3, .argv = words},
                                                  {.db = UINT16_MAX, .argc = 1, .argv = words}};
    static const struct partition_check checks[] = {{.db = 3, .key = {"w", 1}, .version = 9},
                                                    {.db = 0, .key = {"", 0}, .version = 0}};
    static const uint64_t acked[] = {0, 7, UINT64_MAX};
    static const uint32_t wait_keys[] = {2, 0};
    static const struct wire_frame frames[] = {
        {.type = WIRE_COMMAND,
         .command = {.id = UINT64_MAX,
                     .partition = UINT32_MAX,
                     .term = 1ULL << 50,
                     .ask = PARTITION_PARK,
                     .seq = 1,
                     .acked_low = 1ULL << 40,
                     .acked = acked,
                     .acked_count = 3,
                     .ticket = 5,
                     .wait_key = wait_keys,
                     .wait_key_count = 2,
                     .is_lent = true,
                     .resp_version = 3,
                     .check = checks,
                     .check_count = 2,
                     .call = calls,
                     .call_count = 2}},
        {.type = WIRE_COMMAND},
        {.type = WIRE_COMMAND,
         .command = {.ask = PARTITION_CONFIRM, .acked = acked, .acked_count = 2}},
        {.type = WIRE_UNPARK, .unpark = {1, 2}},
        {.type = WIRE_LEADS, .leads = {3, 4}},
        {.type = WIRE_ASK_LEADS, .leads = {5, 0}},
    };
    struct buf bytes = {0};
    for (size_t i = 1; i < COUNT_OF(frames); i++) {
        (void)round_trip(&frames[i], &bytes);
    }
    const struct wire_command back = round_trip(&frames[0], &bytes).command;
    cr_assert_eq(back.id, UINT64_MAX);
    cr_assert_eq(back.partition, UINT32_MAX);
    cr_assert_eq(back.ask, PARTITION_PARK);
    cr_assert_eq(back.term, 1ULL << 50);
    cr_assert(back.seq == 1 && back.acked_low == 1ULL << 40 && back.ticket == 5);
    cr_assert_eq(back.resp_version, 3);
    cr_assert(back.is_lent);
    cr_assert_eq(back.wait_key_count, 2);
    cr_assert_arr_eq(back.wait_key, wait_keys, sizeof wait_keys);
    cr_assert_eq(back.acked_count, 3);
    cr_assert_arr_eq(back.acked, acked, sizeof acked);
    cr_assert_eq(back.check_count, 2);
    cr_assert(back.check[0].db == 3 && back.check[0].version == 9);
    cr_assert(slice_equal(back.check[0].key, SLICE("w")));
    cr_assert_eq(back.call_count, 2);
    cr_assert_eq(back.call[0].argc, 3);
    cr_assert(slice_equal(back.call[0].argv[1], slice_of("k\0", 2)));
    cr_assert_eq(back.call[0].argv[2].len, 0);
    cr_assert(back.call[1].db == UINT16_MAX && back.call[1].argc == 1);
    buf_fini(&bytes);
}

Test(wire, an_answer_to_a_command_comes_back_as_it_went)
{
    static const uint32_t ends[] = {2, 2, 5};
    static const uint64_t versions[] = {0, 8};
    static const struct wire_frame frames[] = {
        {.type = WIRE_EXECUTED,
         .executed = {.id = 9,
                      .outcome = WIRE_EXECUTED_OK,
                      .reply_end = ends,
                      .reply_end_count = 3,
                      .version = versions,
                      .version_count = 2,
                      .reply = {"+A:1\r", 5}}},
        {.type = WIRE_EXECUTED, .executed = {.id = 9, .outcome = WIRE_REFUSED}},
    };
    struct buf bytes = {0};
    cr_assert_eq(round_trip(&frames[1], &bytes).executed.outcome, WIRE_REFUSED);
    const struct wire_executed back = round_trip(&frames[0], &bytes).executed;
    cr_assert_eq(back.id, 9);
    cr_assert_eq(back.reply_end_count, 3);
    cr_assert_arr_eq(back.reply_end, ends, sizeof ends);
    cr_assert_eq(back.version_count, 2);
    cr_assert_arr_eq(back.version, versions, sizeof versions);
    cr_assert(slice_equal(back.reply, SLICE("+A:1\r")));
    buf_fini(&bytes);
}

Test(wire, a_piece_of_a_long_answer_says_what_is_before_it_and_what_is_left)
{
    struct wire_frame frame = {
        .type = WIRE_EXECUTED,
        .executed = {.id = 9, .reply = {"abc", 3}, .reply_before = 1 << 20, .reply_left = 7}};
    struct buf bytes = {0};
    const struct wire_executed back = round_trip(&frame, &bytes).executed;
    cr_assert_eq(back.reply_before, 1 << 20);
    cr_assert_eq(back.reply_left, 7);
    cr_assert(slice_equal(back.reply, SLICE("abc")));
    buf_fini(&bytes);
}

/* By the generated code: what a node says that does not write by hand. */
static struct buf command_of(Fanfare__Peer__Command *command)
{
    Fanfare__Peer__Frame frame = FANFARE__PEER__FRAME__INIT;
    frame.body_case = FANFARE__PEER__FRAME__BODY_COMMAND;
    frame.command = command;
    struct buf body = {0};
    size_t bytes = fanfare__peer__frame__get_packed_size(&frame);
    char *at = buf_reserve(&body, bytes);
    body.len += fanfare__peer__frame__pack(&frame, (uint8_t *)at);
    return body;
}

Test(wire, a_command_is_what_its_description_says)
{
    static uint8_t key[] = "key";
    ProtobufCBinaryData words[] = {{3, key}, {0, NULL}};
    Fanfare__Peer__Call call = FANFARE__PEER__CALL__INIT;
    call.db = 2;
    call.n_words = 2;
    call.words = words;
    Fanfare__Peer__Call *calls[] = {&call};
    Fanfare__Peer__Check check = FANFARE__PEER__CHECK__INIT;
    check.key = words[0];
    check.version = 11;
    Fanfare__Peer__Check *checks[] = {&check};
    uint64_t acked[] = {300, 1};
    Fanfare__Peer__Command command = FANFARE__PEER__COMMAND__INIT;
    command.id = 1;
    command.ask = FANFARE__PEER__ASK__VERSIONS;
    command.n_acked = 2;
    command.acked = acked;
    command.n_checks = 1;
    command.checks = checks;
    command.n_calls = 1;
    command.calls = calls;
    struct buf body = command_of(&command);
    struct buf bytes = {0};
    add_head(&bytes, body.len);
    buf_append(&bytes, buf_slice(&body));
    struct wire_frame frame;
    size_t used;
    cr_assert_eq(wire_decode(decoder, buf_slice(&bytes), &frame, &used), WIRE_OK);
    cr_assert_eq(frame.type, WIRE_COMMAND);
    cr_assert_eq(frame.command.ask, PARTITION_VERSIONS);
    cr_assert_eq(frame.command.acked[0], 300);
    cr_assert_eq(frame.command.check[0].version, 11);
    cr_assert_eq(frame.command.call[0].db, 2);
    struct buf again = {0};
    wire_encode(&again, &frame);
    cr_assert(slice_equal(buf_slice(&again), buf_slice(&bytes)));
    buf_fini(&again);
    buf_fini(&bytes);
    buf_fini(&body);
}

Test(wire, a_command_that_makes_no_sense_is_garbage)
{
    uint8_t word = 'x';
    ProtobufCBinaryData words[] = {{1, &word}};
    Fanfare__Peer__Call call = FANFARE__PEER__CALL__INIT;
    Fanfare__Peer__Call *calls[] = {&call};
    Fanfare__Peer__Command command = FANFARE__PEER__COMMAND__INIT;
    command.n_calls = 1;
    command.calls = calls;
    struct wire_frame frame;
    uint32_t wait_key = 1;
    command.wait_keys = &wait_key;
    for (unsigned fault = 0; fault < 6; fault++) {
        call.n_words = fault == 0 ? 0 : 1; /* no command is of no words */
        call.words = words;
        call.db = fault == 1 ? UINT16_MAX + 1 : 0;
        command.ask = fault == 2 ? 5 : 0;
        command.resp_version = fault == 3 ? 256 : 2;
        command.n_wait_keys = fault == 4; /* the call has one word, number 0 */
        struct buf body = command_of(&command);
        cr_assert_eq(decode_body(buf_slice(&body), &frame), fault < 5 ? WIRE_GARBAGE : WIRE_OK);
        buf_fini(&body);
    }
    /* Executed: the last end is not the reply's; ends that fall; an outcome that is none. */
    cr_assert_eq(decode_body(SLICE("\x7a\x06\x1a\x01\x02\x7a\x01x"), &frame), WIRE_GARBAGE);
    cr_assert_eq(decode_body(SLICE("\x7a\x07\x1a\x02\x02\x01\x7a\x01x"), &frame), WIRE_GARBAGE);
    cr_assert_eq(decode_body(SLICE("\x7a\x06\x1a\x01\x01\x7a\x01x"), &frame), WIRE_OK);
    cr_assert_eq(decode_body(SLICE("\x7a\x02\x10\x09"), &frame), WIRE_GARBAGE);
}

Test(wire, who_knows_no_commands_takes_them_for_pings)
{
    struct wire_frame frame;
    cr_assert_eq(decode_body(SLICE("\x9a\x01\x02\x08\x01"), &frame), WIRE_OK);
    cr_assert_eq(frame.type, WIRE_PING, "as this version takes a body that comes after its time");
}
