/* wal_record: encodes and decodes the records of the write-ahead log.
 * Owns: the format. Not: files, order, meaning. Thread: any.
 * Always: a decoder reads only inside its slice, whatever the bytes say
 * (tests/fuzz/fuzz_consensus_wal.c). */
#include "consensus/log/wal_record.h"

#include "base/mem.h"
#include "base/crc32c.h"

/* The header: crc of the rest of the header, crc of the content, sequence, group, content length,
 * distance to the batch's first record, segment, type, format, two zero bytes. */
enum {
    AT_CONTENT_CRC = 4,
    AT_SEQUENCE = 8,
    AT_GROUP = 16,
    AT_BYTES = 24,
    AT_BATCH = 28,
    AT_SEGMENT = 32,
    AT_TYPE = 36
};

static void set32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (char)(v >> (8 * i));
    }
}

static void set64(char *p, uint64_t v)
{
    set32(p, (uint32_t)v);
    set32(p + 4, (uint32_t)(v >> 32));
}

static void put64(struct buf *out, uint64_t v)
{
    set64(buf_reserve(out, 8), v);
    out->len += 8;
}

static uint32_t get32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static uint64_t get64(const char *p)
{
    return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* Takes numbers from the front of a slice; once it ran short, `is_short` stays and zeros come. */
struct reader {
    struct slice rest;
    bool is_short;
};

static uint64_t take64(struct reader *r)
{
    if (r->rest.len < 8) {
        r->is_short = true;
        return 0;
    }
    uint64_t v = get64(r->rest.data);
    r->rest = slice_of(r->rest.data + 8, r->rest.len - 8);
    return v;
}

size_t wal_record_begin(struct buf *out)
{
    size_t start = out->len;
    buf_reserve(out, WAL_HEADER_BYTES);
    out->len += WAL_HEADER_BYTES;
    return start;
}

void wal_record_end(struct buf *out, size_t start, const struct wal_record *record)
{
    size_t content_bytes = out->len - start - WAL_HEADER_BYTES;
    CHECK(content_bytes <= WAL_CONTENT_BYTES_MAX);
    CHECK(record->sequence >= record->batch_sequence);
    size_t padding = wal_record_bytes(content_bytes) - WAL_HEADER_BYTES - content_bytes;
    memset(buf_reserve(out, padding), WAL_PADDING, padding);
    out->len += padding;
    char *header = out->data + start;
    set32(header + AT_CONTENT_CRC, crc32c(0, header + WAL_HEADER_BYTES, content_bytes));
    set64(header + AT_SEQUENCE, record->sequence);
    set64(header + AT_GROUP, record->group);
    set32(header + AT_BYTES, (uint32_t)content_bytes);
    set32(header + AT_BATCH, (uint32_t)(record->sequence - record->batch_sequence));
    set32(header + AT_SEGMENT, record->segment);
    set32(header + AT_TYPE, (uint32_t)record->type | WAL_FORMAT << 8);
    set32(header, crc32c(0, header + AT_CONTENT_CRC, WAL_HEADER_BYTES - AT_CONTENT_CRC));
}

bool wal_header_is_valid(struct slice bytes, uint32_t *content_bytes)
{
    if (bytes.len < WAL_HEADER_BYTES) { return false; }
    uint32_t kind = get32(bytes.data + AT_TYPE);
    uint32_t type = kind & 0xff;
    uint32_t length = get32(bytes.data + AT_BYTES);
    if (type == 0 || type >= WAL_TYPE_END || kind >> 8 != WAL_FORMAT ||
        length > WAL_CONTENT_BYTES_MAX) {
        return false;
    }
    if (get32(bytes.data + AT_BATCH) > get64(bytes.data + AT_SEQUENCE)) { return false; }
    if (get32(bytes.data) != crc32c(0, bytes.data + 4, WAL_HEADER_BYTES - 4)) { return false; }
    *content_bytes = length;
    return true;
}

enum wal_parse wal_record_parse(struct slice bytes, struct wal_record *record)
{
    uint32_t length;
    if (!wal_header_is_valid(bytes, &length)) {
        struct slice header =
            slice_of(bytes.data, bytes.len < WAL_HEADER_BYTES ? bytes.len : WAL_HEADER_BYTES);
        return wal_is_zero(header) ? WAL_PARSE_END : WAL_PARSE_BROKEN;
    }
    if (wal_record_bytes(length) > bytes.len) { return WAL_PARSE_BROKEN; }
    struct slice content = slice_of(bytes.data + WAL_HEADER_BYTES, length);
    if (crc32c(0, content.data, content.len) != get32(bytes.data + AT_CONTENT_CRC)) {
        return WAL_PARSE_BROKEN;
    }
    record->sequence = get64(bytes.data + AT_SEQUENCE);
    record->batch_sequence = record->sequence - get32(bytes.data + AT_BATCH);
    record->group = get64(bytes.data + AT_GROUP);
    record->segment = get32(bytes.data + AT_SEGMENT);
    record->type = (enum wal_type)(get32(bytes.data + AT_TYPE) & 0xff);
    record->content = content;
    return WAL_PARSE_OK;
}

void wal_ballot_encode(struct buf *out, const struct wal_ballot *ballot)
{
    put64(out, ballot->term);
    put64(out, ballot->vote);
}

bool wal_ballot_decode(struct slice content, struct wal_ballot *ballot)
{
    if (content.len != 16) { return false; }
    ballot->term = get64(content.data);
    ballot->vote = get64(content.data + 8);
    return true;
}

void wal_entry_encode(struct buf *out, const struct wal_entry_record *entry)
{
    put64(out, entry->index);
    put64(out, entry->term);
    put64(out, entry->type);
    buf_append(out, entry->data);
}

bool wal_entry_decode(struct slice content, struct wal_entry_record *entry)
{
    struct reader r = {content, false};
    uint64_t index = take64(&r);
    uint64_t term = take64(&r);
    uint64_t type = take64(&r);
    if (r.is_short || index == 0 || term == 0 || type == 0 || type > UINT8_MAX) { return false; }
    *entry = (struct wal_entry_record){index, term, (uint8_t)type, r.rest};
    return true;
}

static void manifest_encode(struct buf *out, const struct manifest *m)
{
    put64(out, m->index);
    put64(out, m->term);
    put64(out, m->conf_index);
    put64(out, m->bytes);
    put64(out, m->crc);
    put64(out, m->file);
    put64(out, m->conf.len);
    buf_append(out, buf_slice(&m->conf));
}

static bool manifest_decode(struct reader *r, struct manifest *m)
{
    struct manifest found = {0};
    found.index = take64(r);
    found.term = take64(r);
    found.conf_index = take64(r);
    found.bytes = take64(r);
    found.crc = (uint32_t)take64(r);
    found.file = take64(r);
    uint64_t conf_bytes = take64(r);
    if (r->is_short || conf_bytes > WAL_CONF_BYTES_MAX || conf_bytes != r->rest.len) {
        return false;
    }
    if (found.index == 0 || found.term == 0 || found.conf_index == 0 ||
        found.conf_index > found.index) {
        return false;
    }
    buf_append(&found.conf, r->rest);
    *m = found;
    return true;
}

void wal_state_encode(struct buf *out, const struct wal_state *state)
{
    put64(out, state->ballot.term);
    put64(out, state->ballot.vote);
    put64(out, state->self);
    put64(out, state->next_index);
    if (state->has_snapshot) { manifest_encode(out, &state->snapshot); }
}

bool wal_state_decode(struct slice content, struct wal_state *state)
{
    struct reader r = {content, false};
    struct wal_state found = {0};
    found.ballot.term = take64(&r);
    found.ballot.vote = take64(&r);
    found.self = take64(&r);
    found.next_index = take64(&r);
    if (r.is_short || found.next_index == 0) { return false; }
    found.has_snapshot = r.rest.len > 0;
    if (found.has_snapshot && !manifest_decode(&r, &found.snapshot)) { return false; }
    *state = found;
    return true;
}

void wal_snapshot_encode(struct buf *out, const struct wal_snapshot_record *snapshot)
{
    put64(out, snapshot->is_installed);
    put64(out, snapshot->first_index);
    manifest_encode(out, &snapshot->snapshot);
}

bool wal_snapshot_decode(struct slice content, struct wal_snapshot_record *snapshot)
{
    struct reader r = {content, false};
    struct wal_snapshot_record found = {0};
    uint64_t installed = take64(&r);
    found.first_index = take64(&r);
    if (r.is_short || installed > 1 || found.first_index == 0 ||
        !manifest_decode(&r, &found.snapshot)) {
        return false;
    }
    found.is_installed = installed == 1;
    if (found.first_index > found.snapshot.index + 1) {
        manifest_fini(&found.snapshot);
        return false;
    }
    *snapshot = found;
    return true;
}

void manifest_copy(struct manifest *to, const struct manifest *from)
{
    struct buf conf = {0};
    buf_append(&conf, buf_slice(&from->conf));
    *to = *from;
    to->conf = conf;
}

void manifest_fini(struct manifest *manifest)
{
    buf_fini(&manifest->conf);
    *manifest = (struct manifest){0};
}
