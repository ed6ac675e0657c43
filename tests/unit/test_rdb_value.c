/* Values and files in RDB format: what is written is read again; what redis-server 7.0.15 wrote is read (fixtures made by DUMP
 * and SAVE); bytes that lie about their lengths are refused. */
#include "rdb/rdb_value.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "rdb/rdb_crc64.h"
#include "rdb/rdb_file.h"
#include "rdb/rdb_write.h"

/* What the events of a value say, as text. */
static bool on_event(void *arg, const struct rdb_event *event)
{
    static const char *const word[] = {"text",  "element", "member", "scored",   "field",
                                       "entry", "stream",  "group",  "consumer", "pending"};
    struct buf *out = arg;
    buf_appendf(out, "%s", word[event->kind]);
    if (event->kind == RDB_MEMBER || event->kind == RDB_SCORED || event->kind == RDB_FIELD ||
        event->kind == RDB_GROUP || event->kind == RDB_CONSUMER) {
        buf_appendf(out, " %.*s", SLICE_ARG(event->name));
    }
    if (event->kind == RDB_TEXT || event->kind == RDB_ELEMENT || event->kind == RDB_FIELD) {
        buf_appendf(out, " %.*s", SLICE_ARG(event->value));
    }
    if (event->kind == RDB_SCORED) { buf_appendf(out, " %g", event->score); }
    if (event->expire_ms > 0) { buf_appendf(out, " until %lu", event->expire_ms); }
    if (event->kind == RDB_ENTRY || event->kind == RDB_STREAM || event->kind == RDB_GROUP ||
        event->kind == RDB_PENDING) {
        buf_appendf(out, " %lu-%lu", event->id.ms, event->id.seq);
    }
    for (uint32_t i = 0; i < event->part_count; i++) {
        buf_appendf(out, " %.*s", SLICE_ARG(event->part[i]));
    }
    if (event->kind == RDB_STREAM) {
        buf_appendf(out, " %lu of %lu", event->entries, event->added);
    }
    if (event->kind == RDB_PENDING) {
        buf_appendf(out, " %lu at %lu", event->delivered_count, event->delivered_ms);
    }
    buf_append_str(out, "\n");
    return true;
}

static const char *told(struct slice value, struct buf *out)
{
    const struct rdb_sink sink = {on_event, out};
    struct rdb_in in = rdb_in_of(slice_of(value.data + 1, value.len - 1));
    out->len = 0;
    if (!rdb_value_read(&in, (uint8_t)*value.data, &sink)) { return in.why; }
    buf_append(out, slice_of("", 1));
    return out->data;
}

#define EXPECT_TOLD(bytes, expected)                                                 \
    do {                                                                             \
        struct buf out_ = {0};                                                       \
        cr_assert_str_eq(told(slice_of(bytes, sizeof(bytes) - 1), &out_), expected); \
        buf_fini(&out_);                                                             \
    } while (0)

Test(rdb, the_checksum_is_redis_own)
{
    char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(i * 7);
    }
    cr_assert_eq(rdb_crc64(0, "123456789", 9), 0xe9c6d914c4b8d9caULL);
    for (size_t cut = 0; cut < sizeof bytes; cut += 13) {
        uint64_t one = rdb_crc64(0, bytes, cut);
        cr_assert_eq(rdb_crc64(one, bytes + cut, sizeof bytes - cut),
                     rdb_crc64(0, bytes, sizeof bytes));
    }
}

Test(rdb, lengths_and_numbers_are_read_as_they_were_written)
{
    static const uint64_t lengths[] = {
        0, 1, 63, 64, 16383, 16384, UINT32_MAX, 1ULL << 32, UINT64_MAX - 1, UINT64_MAX};
    static const char *const texts[] = {
        "", "0", "-1", "127", "128", "-32768", "32768", "-2147483648", "2147483648", "007", "12x"};
    struct buf out = {0};
    struct buf scratch = {0};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        rdb_put_length(&out, lengths[i]);
    }
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        rdb_put_text(&out, slice_of_str(texts[i]));
    }
    struct rdb_in in = rdb_in_of(buf_slice(&out));
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        uint64_t v;
        cr_assert(rdb_take_length(&in, &v) && v == lengths[i]);
    }
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct slice text;
        cr_assert(rdb_take_text(&in, &scratch, &text) && slice_equal(text, slice_of_str(texts[i])));
    }
    cr_assert_eq(rdb_left(&in), 0);
    buf_fini(&out);
    buf_fini(&scratch);
}

Test(rdb, listpacks_are_read_as_they_were_written)
{
    static const int64_t numbers[] = {
        0,         127,      128,       -1,        4095,
        -4096,     4096,     32767,     32768,     -8388608,
        8388607,   8388608,  INT32_MAX, INT32_MIN, (int64_t)INT32_MAX + 1,
        INT64_MAX, INT64_MIN};
    static const size_t lengths[] = {0, 1, 63, 64, 127, 128, 4095, 4096, 16380, 16390, 3000000};
    char *bytes = calloc(1, 3000000);
    struct rdb_listpack pack = {.count = 0};
    rdb_listpack_begin(&pack);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        rdb_listpack_number(&pack, numbers[i]);
    }
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        rdb_listpack_text(&pack, slice_of(bytes, lengths[i]));
    }
    struct rdb_packed packed;
    struct rdb_item item;
    cr_assert(rdb_packed_begin(&packed, RDB_LISTPACK, rdb_listpack_end(&pack)));
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        cr_assert_eq(rdb_packed_next(&packed, &item), RDB_ITEM);
        cr_assert(item.is_number && item.number == numbers[i]);
    }
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        cr_assert_eq(rdb_packed_next(&packed, &item), RDB_ITEM);
        cr_assert(!item.is_number && item.text.len == lengths[i]);
    }
    cr_assert_eq(rdb_packed_next(&packed, &item), RDB_ITEMS_END);
    buf_fini(&pack.bytes);
    free(bytes);
}

/* ---- what redis-server 7.0.15 wrote ---- */

Test(rdb, strings_of_redis_are_read)
{
    EXPECT_TOLD("\x00\xc1\xc7\xcf", "text -12345\n");
    EXPECT_TOLD(
        "\x00\xc3\x0a\x40\x50\x02\x61\x62\x61\xe0\x42\x01\x01\x61\x62",
        "text abababababababababababababababababababababababababababababababababababababababab\n");
}

Test(rdb, collections_of_redis_are_read)
{
    EXPECT_TOLD("\x12\x01\x02\xc3\x16\x40\x56\x0e\x56\x00\x00\x00\x03\x00\x81\x61\x02\xc1\x2c\x02"
                "\xe0\x46\x78\xe0\x3c\x00\x01\x48\xff",
                "element a\nelement 300\nelement "
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n");
    EXPECT_TOLD("\x12\x02\x02\x0a\x0a\x00\x00\x00\x01\x00\x81\x70\x02\xff\x02\x0a\x0a\x00\x00\x00"
                "\x01\x00\x81\x71\x02\xff",
                "element p\nelement q\n");
    EXPECT_TOLD("\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\xfe\xff\xff\xff\x01\x00\x00\x00\x70\x11"
                "\x01\x00",
                "member -2\nmember 1\nmember 70000\n");
    EXPECT_TOLD("\x02\x02\xc0\x07\x01\x6d", "member 7\nmember m\n");
    EXPECT_TOLD("\x10\x12\x12\x00\x00\x00\x04\x00\x81\x66\x02\x81\x76\x02\x81\x6e\x02\x05\x01\xff",
                "field f v\nfield n 5\n");
    EXPECT_TOLD("\x04\x01\x01\x66\x01\x76", "field f v\n");
    EXPECT_TOLD("\x11\x17\x17\x00\x00\x00\x04\x00\x81\x61\x02\x83\x31\x2e\x35\x04\x81\x62\x02\x83"
                "\x69\x6e\x66\x04\xff",
                "scored a 1.5\nscored b inf\n");
    EXPECT_TOLD("\x05\x01\x01\x61\x00\x00\x00\x00\x00\x00\x02\xc0", "scored a -2.25\n");
}

/* Three entries, the second one deleted; a group with one consumer that has the first one. */
#define STREAM_BYTES                                                                           \
    "\x13\x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\x40\x49\x49" \
    "\x00\x00\x00\x19\x00\x02\x01\x01\x01\x02\x01\x81\x66\x02\x81\x67\x02\x00\x01\x02\x01\x00" \
    "\x01\x00\x01\x01\x01\x84\x74\x65\x78\x74\x05\x05\x01\x03\x01\x00\x01\x01\x01\x02\x01\x84" \
    "\x6d\x6f\x72\x65\x05\x05\x01\x00\x01\x01\x01\xdf\xff\x02\x01\x01\x85\x6f\x74\x68\x65\x72" \
    "\x06\x09\x01\x06\x01\xff\x02\x06\x00\x05\x01\x05\x02\x03\x01\x03\x67\x72\x70\x05\x01\x81" \
    "\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00" \
    "\x00\x00\x01\x00\x68\xe5\xcf\x8b\x01\x00\x00\x04\x01\x02\x63\x31\xed\x99\xee\x27\xa2\x01" \
    "\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01"

Test(rdb, a_stream_of_redis_is_read_with_its_groups)
{
    EXPECT_TOLD(STREAM_BYTES,
                "entry 5-1 f 1 g text\nentry 6-0 other 9\nstream 6-0 2 of 3\ngroup grp 5-1\n"
                "consumer c1\npending 5-1 4 at 1700000000000\n");
}

Test(rdb, a_value_cut_anywhere_is_refused)
{
    static const char whole[] = STREAM_BYTES;
    struct buf out = {0};
    for (size_t len = 1; len < sizeof whole - 1; len++) {
        char *cut = malloc(len); /* of its own, so that a read behind it is seen */
        memcpy(cut, whole, len);
        const struct rdb_sink sink = {on_event, &out};
        struct rdb_in in = rdb_in_of(slice_of(cut + 1, len - 1));
        cr_assert(!rdb_value_read(&in, (uint8_t)cut[0], &sink));
        cr_assert_not_null(in.why);
        free(cut);
    }
    buf_fini(&out);
}

Test(rdb, lengths_that_lie_are_refused_before_anything_is_allocated)
{
    EXPECT_TOLD("\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff", "more elements than bytes");
    EXPECT_TOLD("\x00\x80\x7f\xff\xff\xff", "a string above 512 MiB");
    EXPECT_TOLD("\x00\xc3\x01\x80\x1f\xff\xff\xff\x00",
                "a compressed string of an impossible length");
    EXPECT_TOLD("\x0b\x08\x02\x00\x00\x00\xff\xff\xff\x7f", "a packed collection is damaged");
    EXPECT_TOLD("\x05\x01\x01\x61\x00\x00\x00\x00\x00\x00\xf8\x7f", "a score is not a number");
    EXPECT_TOLD("\x01\x00", "a collection without elements");
    EXPECT_TOLD("\x63\x00", "a value of a type that cannot be read");
}

Test(rdb, fields_with_deadlines_tell_them)
{
    EXPECT_TOLD("\x18\x10\x27\x00\x00\x00\x00\x00\x00\x02\x00\x01\x61\x01\x62\x05\x01\x63\x01\x64",
                "field a b\nfield c d until 10004\n");
}

Test(rdb, a_stream_that_was_written_is_read)
{
    struct rdb_entries entries = {.entries = 0};
    struct buf out = {0};
    struct buf text = {0};
    struct buf expected = {0};
    rdb_put_u8(&out, RDB_TYPE_STREAM_2);
    for (uint64_t i = 1; i <= 300; i++) {
        char number[16];
        snprintf(number, sizeof number, "%lu", i);
        const struct slice part[] = {i % 7 == 0 ? SLICE("other") : SLICE("field"),
                                     slice_of_str(number)};
        rdb_entries_add(&entries, (struct rdb_id){i / 10, i}, part, 2);
        buf_appendf(&expected, "entry %lu-%lu %.*s %s\n", i / 10, i, SLICE_ARG(part[0]), number);
    }
    rdb_entries_end(&entries, &out);
    rdb_put_length(&out, 300);
    for (unsigned i = 0; i < 3; i++) { /* the last, the first, the highest deleted */
        rdb_put_id(&out, (struct rdb_id){30, 300});
    }
    rdb_put_length(&out, 301);
    rdb_put_length(&out, 0);
    buf_append_str(&expected, "stream 30-300 300 of 301\n");
    buf_append(&expected, slice_of("", 1));
    cr_assert_str_eq(told(buf_slice(&out), &text), expected.data);
    rdb_entries_fini(&entries);
    buf_fini(&out);
    buf_fini(&text);
    buf_fini(&expected);
}

Test(rdb, a_payload_is_taken_whole_or_not_at_all)
{
    struct buf payload = {0};
    struct slice value;
    rdb_put_u8(&payload, RDB_TYPE_STRING);
    rdb_put_text(&payload, SLICE("hello"));
    rdb_payload_end(&payload, RDB_VERSION_WRITTEN);
    cr_assert(rdb_payload_begin(buf_slice(&payload), &value));
    cr_assert_eq(value.len, 7);
    for (size_t i = 0; i < payload.len; i++) {
        payload.data[i] ^= 1;
        cr_assert(!rdb_payload_begin(buf_slice(&payload), &value));
        payload.data[i] ^= 1;
        cr_assert(!rdb_payload_begin(slice_of(payload.data, i), &value));
    }
    buf_fini(&payload);
}

/* ---- files ---- */

static void file_begin(struct buf *out)
{
    buf_append_str(out, "REDIS0010");
    rdb_put_u8(out, 250);
    rdb_put_text(out, SLICE("redis-ver"));
    rdb_put_text(out, SLICE("7.0.15"));
    rdb_put_u8(out, 245);
    rdb_put_text(out, SLICE("#!lua name=lib\n"));
    rdb_put_u8(out, 247); /* what a module saved: its id, when, a string, the end */
    rdb_put_length(out, 0x1041041041041000ULL | 1);
    rdb_put_length(out, 2);
    rdb_put_length(out, 1);
    rdb_put_length(out, 5);
    rdb_put_text(out, SLICE("state"));
    rdb_put_length(out, 0);
    rdb_put_u8(out, 254);
    rdb_put_length(out, 3);
    rdb_put_u8(out, 251);
    rdb_put_length(out, 1);
    rdb_put_length(out, 1);
    rdb_put_u8(out, 252);
    rdb_put_u64(out, 1700000000000);
    rdb_put_u8(out, 249);
    rdb_put_u8(out, 7);
    rdb_put_u8(out, RDB_TYPE_STRING);
    rdb_put_text(out, SLICE("key"));
    rdb_put_text(out, SLICE("value"));
    rdb_put_u8(out, 255);
    rdb_put_u64(out, rdb_crc64(0, out->data, out->len));
}

Test(rdb, a_file_is_told_step_by_step)
{
    struct buf bytes = {0};
    struct buf told_ = {0};
    struct rdb_file file;
    const struct rdb_sink sink = {on_event, &told_};
    file_begin(&bytes);
    cr_assert(rdb_file_begin(&file, buf_slice(&bytes), true));
    cr_assert_eq(rdb_file_next(&file), RDB_STEP_NOTE);
    cr_assert(slice_equal(file.value, SLICE("7.0.15")));
    cr_assert_eq(rdb_file_next(&file), RDB_STEP_FUNCTION);
    cr_assert_eq(rdb_file_next(&file), RDB_STEP_MODULE_DATA);
    cr_assert_eq(file.key.len, RDB_MODULE_NAME_BYTES - 1);
    cr_assert_eq(rdb_file_next(&file), RDB_STEP_DB);
    cr_assert_eq(rdb_file_next(&file), RDB_STEP_DB);
    cr_assert(file.db == 3 && file.expected == 1);
    cr_assert_eq(rdb_file_next(&file), RDB_STEP_KEY);
    cr_assert(slice_equal(file.key, SLICE("key")) && file.expire_ms == 1700000000000);
    cr_assert(rdb_value_read(&file.in, file.type, &sink));
    cr_assert_eq(rdb_file_next(&file), RDB_STEP_END);
    rdb_file_end(&file);
    bytes.data[40] ^= 1;
    bool is_good = rdb_file_begin(&file, buf_slice(&bytes), true);
    enum rdb_step step = RDB_STEP_DB;
    while (is_good && step != RDB_STEP_END && step != RDB_STEP_BAD) {
        step = rdb_file_next(&file);
        if (step == RDB_STEP_KEY) { is_good = rdb_value_read(&file.in, file.type, &sink); }
    }
    cr_assert(!is_good || step == RDB_STEP_BAD);
    rdb_file_end(&file);
    buf_fini(&bytes);
    buf_fini(&told_);
}
