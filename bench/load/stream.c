/* stream: the check of every delivery. Frames that lie whole in the bytes are judged in place, others
 * piece by piece; both ways share the same three checks. */
#include "stream.h"

#include "fatal.h"

#define SHOWN_MAX 72U /* bytes of a wrong message that a violation quotes */
#define ORDER_FACTOR UINT64_C(0x9e3779b97f4a7c15)

void stream_spec_init(struct stream_spec *spec, const struct opts *opts, enum sub_kind kind,
                      const char *filler)
{
    memset(spec, 0, sizeof *spec);
    spec->opts = opts;
    spec->filler = filler;
    wire_frame_init(&spec->frame, opts->proto, kind, opts->payload_bytes);
    uint32_t payload_lead = payload_lead_bytes(opts->payload_bytes);
    spec->lead_bytes = spec->frame.head_bytes + payload_lead;
    spec->body_bytes = opts->payload_bytes - payload_lead;
}

void stream_init(struct stream *stream, const struct stream_spec *spec, struct holding held,
                 uint32_t conn_index, struct tally *tally)
{
    const struct opts *opts = spec->opts;
    memset(stream, 0, sizeof *stream);
    stream->spec = spec;
    stream->tally = tally;
    stream->held = held;
    stream->conn_index = conn_index;
    switch (held.kind) {
    case SUB_CHANNEL:
    case SUB_SHARD: stream->cell_count = held.count; break;
    case SUB_MATCH: stream->cell_count = held.count * opts->channel_count; break;
    case SUB_MISS: stream->cell_count = 0; break;
    }
    stream->next =
        alloc_or_die((size_t)stream->cell_count * opts->publisher_count, sizeof *stream->next);
    stream->order = alloc_or_die(stream->cell_count, sizeof *stream->order);
}

void stream_fini(struct stream *stream)
{
    free(stream->next);
    free(stream->order);
}

/* Framing is lost: say where, and judge no more. */
static void break_off(struct stream *st, const char *why, const char *bytes, size_t size)
{
    char shown[SHOWN_MAX + 1];
    size_t length = size < SHOWN_MAX ? size : SHOWN_MAX;
    for (size_t i = 0; i < length; i++) {
        shown[i] = bytes[i];
        if (bytes[i] < ' ' || bytes[i] > '~') { shown[i] = '.'; }
    }
    shown[length] = '\0';
    st->is_broken = true;
    tally_violation(st->tally, "connection %u: %s: %s", st->conn_index, why, shown);
}

/* Whether the head has the fixed text of its kind around its numbers. */
static bool head_is_framed(const struct frame *frame, const char *head)
{
    char text[WIRE_HEAD_MAX];
    memcpy(text, head, frame->head_bytes);
    memcpy(text + frame->channel_at, frame->head + frame->channel_at, WIRE_DIGITS);
    if (frame->number_at != 0) {
        memcpy(text + frame->number_at, frame->head + frame->number_at, WIRE_DIGITS);
    }
    return memcmp(text, frame->head, frame->head_bytes) == 0;
}

/* Find the cell of a head that differs from the one before. */
static bool find_cell(struct stream *st, const char *head)
{
    const struct frame *frame = &st->spec->frame;
    if (!head_is_framed(frame, head)) {
        break_off(st, "not a delivery", head, frame->head_bytes);
        return false;
    }
    const struct opts *opts = st->spec->opts;
    uint32_t channel = names_channel(opts->names, wire_digits_read(head + frame->channel_at));
    uint32_t number = frame->number_at != 0 ? wire_digits_read(head + frame->number_at) : channel;
    uint32_t place = plan_place(&st->held, number);
    bool is_own = st->held.kind != SUB_MISS && place != PLAN_NOT_HELD &&
                  channel < opts->channel_count &&
                  (st->held.kind == SUB_MATCH || number == channel);
    if (!is_own) {
        break_off(st, "a delivery that was not asked for", head, frame->head_bytes);
        return false;
    }
    st->channel = channel;
    st->cell = stream_cell(st, place, channel);
    memcpy(st->last_head, head, frame->head_bytes);
    return true;
}

static void out_of_turn(struct stream *st, uint64_t stamp, uint64_t wanted)
{
    uint64_t seq = stamp_seq(stamp);
    tally_violation(st->tally,
                    "connection %u, channel %u, publisher %u: %llu where %llu was due: %s",
                    st->conn_index, st->channel, stamp_publisher(stamp), (unsigned long long)seq,
                    (unsigned long long)wanted,
                    seq > wanted ? "messages lost or late" : "repeated or out of order");
}

static void add_latency(struct tally *tally, const char *text)
{
    uint64_t sent_ns;
    if (!letters_read(text, &sent_ns)) { return; } /* the body check reports damage */
    if (sent_ns < tally->window_begin_ns || sent_ns >= tally->window_end_ns) { return; }
    hist_add(&tally->latency, tally->now_ns > sent_ns ? tally->now_ns - sent_ns : 0);
}

/* Judge head and stamp; sets the body to expect. False: the stream is broken. */
static bool open_frame(struct stream *st, const char *lead)
{
    const struct stream_spec *spec = st->spec;
    const char *text = lead + spec->frame.head_bytes;
    uint64_t stamp;
    if (memcmp(lead, st->last_head, spec->frame.head_bytes) != 0 && !find_cell(st, lead)) {
        return false;
    }
    if (!letters_read(text, &stamp) || stamp_publisher(stamp) >= spec->opts->publisher_count) {
        break_off(st, "a message that nobody sent", text, STAMP_BYTES);
        return false;
    }
    uint32_t publishers = spec->opts->publisher_count;
    uint64_t seq = stamp_seq(stamp);
    uint64_t *next = &st->next[(size_t)st->cell * publishers + stamp_publisher(stamp)];
    if (seq != *next) { out_of_turn(st, stamp, *next); }
    if (seq >= *next) { *next = seq + 1; }
    st->order[st->cell] = (st->order[st->cell] ^ stamp) * ORDER_FACTOR + 1;
    st->body = filler_of(spec->filler, stamp);
    if ((seq & st->tally->sample_mask) == 0 &&
        spec->opts->payload_bytes >= STAMP_BYTES + TIME_BYTES) {
        add_latency(st->tally, text + STAMP_BYTES);
    }
    return true;
}

static void check_body(struct stream *st, const char *bytes, uint32_t from, size_t size)
{
    if (memcmp(bytes, st->body + from, size) != 0) {
        break_off(st, "a damaged message", bytes, size);
    }
}

static void check_tail(struct stream *st, const char *bytes, uint32_t from, size_t size)
{
    if (memcmp(bytes, &"\r\n"[from], size) != 0) {
        break_off(st, "no end of message", bytes, size);
    }
}

/* A line that is no delivery. NATS sends PING, INFO and +OK when it likes; all else is wrong. */
static size_t take_line(struct stream *st, const char *bytes, size_t size)
{
    size_t taken = line_feed(&st->line, bytes, size);
    st->in_line = !st->line.is_complete;
    if (st->in_line) { return taken; }
    const char *text = st->line.text;
    bool is_nats = st->spec->opts->proto == PROTO_NATS;
    if (is_nats && strcmp(text, "PING") == 0) {
        st->ping_count++;
    } else if (!is_nats || (strncmp(text, "INFO ", 5) != 0 && strcmp(text, "+OK") != 0)) {
        break_off(st, "not a delivery", text, st->line.length);
    }
    return taken;
}

/* Take what the current part of the frame still lacks. Returns how many bytes were taken. */
static size_t take_part(struct stream *st, const char *bytes, size_t size)
{
    const struct stream_spec *spec = st->spec;
    uint32_t body_end = spec->lead_bytes + spec->body_bytes;
    uint32_t part_end = st->at < spec->lead_bytes ? spec->lead_bytes
                        : st->at < body_end       ? body_end
                                                  : spec->frame.total_bytes;
    size_t taken = size < part_end - st->at ? size : part_end - st->at;
    if (st->at < spec->lead_bytes) {
        memcpy(st->lead + st->at, bytes, taken);
        if (st->at + taken == spec->lead_bytes && !open_frame(st, st->lead)) { return taken; }
    } else if (st->at < body_end) {
        check_body(st, bytes, st->at - spec->lead_bytes, taken);
    } else {
        check_tail(st, bytes, st->at - body_end, taken);
    }
    st->at += (uint32_t)taken;
    if (st->at == spec->frame.total_bytes) {
        st->at = 0;
        st->tally->delivered++;
    }
    return taken;
}

/* Judge the frames that lie whole at the front. Returns how many bytes they make. */
static size_t take_whole(struct stream *st, const char *bytes, size_t size)
{
    const struct stream_spec *spec = st->spec;
    size_t total = spec->frame.total_bytes;
    size_t taken = 0;
    while (size - taken >= total && bytes[taken] == spec->frame.head[0]) {
        const char *frame = bytes + taken;
        if (!open_frame(st, frame)) { return taken; }
        check_body(st, frame + spec->lead_bytes, 0, spec->body_bytes);
        check_tail(st, frame + total - 2, 0, 2);
        if (st->is_broken) { return taken; }
        st->tally->delivered++;
        taken += total;
    }
    return taken;
}

void stream_feed(struct stream *st, const char *bytes, size_t size)
{
    while (size > 0 && !st->is_broken) {
        size_t taken = 0;
        if (st->at == 0 && !st->in_line) { taken = take_whole(st, bytes, size); }
        if (taken == 0 && !st->is_broken) {
            bool is_line = st->in_line || (st->at == 0 && bytes[0] != st->spec->frame.head[0]);
            taken = is_line ? take_line(st, bytes, size) : take_part(st, bytes, size);
        }
        bytes += taken;
        size -= taken;
    }
}

/* The channel that a cell stands for: the reverse of stream_cell. */
static uint32_t channel_of(const struct stream *st, uint32_t cell)
{
    bool is_by_channel = st->held.kind != SUB_MATCH;
    return is_by_channel ? st->held.first + cell * st->held.step
                         : cell % st->spec->opts->channel_count;
}

void stream_count(struct stream *st, size_t size)
{
    uint32_t total = st->spec->frame.total_bytes;
    uint64_t bytes = st->at + size;
    st->is_counted = true;
    st->at = (uint32_t)(bytes % total);
    st->counted += bytes / total;
    st->tally->delivered += bytes / total;
}

/* What all cells together should have received. */
static void finish_counted(struct stream *st, const uint64_t *sent)
{
    const struct opts *opts = st->spec->opts;
    uint64_t wanted = 0;
    for (uint32_t cell = 0; cell < st->cell_count; cell++) {
        for (uint32_t p = 0; p < opts->publisher_count; p++) {
            wanted += plan_sent_to(opts, p, channel_of(st, cell), sent[p]);
        }
    }
    if (st->counted != wanted || st->at != 0) {
        tally_violation(st->tally, "connection %u: %llu messages and %u bytes, sent were %llu",
                        st->conn_index, (unsigned long long)st->counted, st->at,
                        (unsigned long long)wanted);
    }
}

/* One cell: every publisher's last message must have come. */
static void finish_cell(struct stream *st, uint32_t cell, uint32_t channel, const uint64_t *sent)
{
    const struct opts *opts = st->spec->opts;
    for (uint32_t p = 0; p < opts->publisher_count; p++) {
        uint64_t wanted = plan_sent_to(opts, p, channel, sent[p]);
        uint64_t next = st->next[(size_t)cell * opts->publisher_count + p];
        if (next != wanted) {
            tally_violation(st->tally,
                            "connection %u, channel %u, publisher %u: the last received was before "
                            "%llu, sent were %llu",
                            st->conn_index, channel, p, (unsigned long long)next,
                            (unsigned long long)wanted);
        }
    }
}

void stream_finish(struct stream *st, const uint64_t *sent)
{
    if (st->is_broken) { return; } /* reported already */
    if (st->is_counted) {
        finish_counted(st, sent);
        return;
    }
    if (st->at != 0) { break_off(st, "half a message at the end", st->lead, st->at); }
    for (uint32_t cell = 0; cell < st->cell_count; cell++) {
        finish_cell(st, cell, channel_of(st, cell), sent);
    }
}

void stream_check_order(struct stream *st, uint64_t *orders)
{
    for (uint32_t cell = 0; cell < st->cell_count; cell++) {
        uint32_t channel = channel_of(st, cell);
        if (orders[channel] == 0) { orders[channel] = st->order[cell]; }
        if (orders[channel] != st->order[cell]) {
            tally_violation(st->tally,
                            "connection %u, channel %u: the publishers' messages came in "
                            "another order than to the first subscriber",
                            st->conn_index, channel);
        }
    }
}
