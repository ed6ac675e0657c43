/* Any bytes as a record of the write-ahead log: parsed or refused, never read past their end; what
 * is accepted encodes back to the same bytes. */
#include <stdint.h>

#include "base/mem.h"
#include "base/crc32c.h"
#include "consensus/log/wal_record.h"

static void append(struct buf *out, const struct wal_record *record)
{
    size_t start = wal_record_begin(out);
    buf_append(out, record->content);
    wal_record_end(out, start, record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(struct slice content, struct buf *again)
{
    CHECK(slice_equal(content, buf_slice(again)));
    again->len = 0;
}

static void try_contents(struct slice content)
{
    struct buf again = {0};
    struct wal_ballot ballot;
    if (wal_ballot_decode(content, &ballot)) {
        wal_ballot_encode(&again, &ballot);
        check_same(content, &again);
    }
    struct wal_entry_record entry;
    if (wal_entry_decode(content, &entry)) {
        wal_entry_encode(&again, &entry);
        check_same(content, &again);
    }
    struct wal_state state;
    if (wal_state_decode(content, &state)) {
        wal_state_encode(&again, &state);
        again.len = 0; /* the checksum's upper half is not kept */
        manifest_fini(&state.snapshot);
    }
    struct wal_snapshot_record snapshot;
    if (wal_snapshot_decode(content, &snapshot)) {
        wal_snapshot_encode(&again, &snapshot);
        again.len = 0;
        manifest_fini(&snapshot.snapshot);
    }
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_copy(data, size); /* of exactly this size, so that a step past it is seen */
    struct slice bytes = slice_of(copy, size);
    struct wal_record record;
    try_contents(bytes);
    if (wal_record_parse(bytes, &record) == WAL_PARSE_OK) {
        struct buf again = {0};
        append(&again, &record);
        CHECK(again.len <= size);
        CHECK(memcmp(again.data, copy, WAL_HEADER_BYTES + record.content.len) == 0);
        buf_fini(&again);
    }
    /* A record with a right checksum around these bytes must come back as it was. */
    struct buf framed = {0};
    record = (struct wal_record){.sequence = 9,
                                 .batch_sequence = 7,
                                 .group = 3,
                                 .segment = 1,
                                 .type = WAL_BALLOT,
                                 .content = bytes};
    append(&framed, &record);
    struct wal_record parsed;
    CHECK(wal_record_parse(buf_slice(&framed), &parsed) == WAL_PARSE_OK);
    CHECK(slice_equal(parsed.content, bytes) && parsed.sequence == 9 && parsed.batch_sequence == 7);
    buf_fini(&framed);
    mem_free(copy);
    return 0;
}
