/* stream: judges the bytes that one subscribing connection receives.
 * Every message must be framed as its protocol says, belong to a subscription of this connection, be
 * the next of its publisher on its channel, and be intact to the last byte. The order in which the
 * publishers' messages interleave is folded into a hash, to be compared between subscribers.
 * Owns: the position in the frame, one cell per subscription and channel. Not: the socket.
 * Thread: one. Always: any split of the same bytes gives the same result. */
#ifndef LOAD_STREAM_H
#define LOAD_STREAM_H

#include "line.h"
#include "payload.h"
#include "plan.h"
#include "tally.h"
#include "wire.h"

/* What all streams of one kind have in common. Frozen while they live. */
struct stream_spec {
    const struct opts *opts;
    const char *filler;
    struct frame frame;
    uint32_t lead_bytes; /* head, stamp and time: what must be seen before the filler is known */
    uint32_t body_bytes; /* filler */
};

struct stream {
    const struct stream_spec *spec;
    struct tally *tally;
    struct holding held;
    uint32_t conn_index; /* for messages to people */
    uint32_t cell_count;

    uint32_t at;      /* bytes of the current frame taken so far */
    uint64_t counted; /* is_counted: whole frames so far */
    uint32_t cell;    /* of the current frame */
    uint32_t channel; /* of the current frame */
    bool is_broken;   /* framing lost: everything after is ignored */
    bool in_line;     /* inside a line that is no delivery */
    bool is_counted;  /* its bytes are counted, not judged */
    uint32_t ping_count;
    const char *body; /* the filler that the current frame must carry */
    uint64_t *next;   /* per cell and publisher: the sequence to come */
    uint64_t *order;  /* per cell: hash of the stamps in order of arrival */
    char lead[WIRE_HEAD_MAX + STAMP_BYTES + TIME_BYTES];
    char last_head[WIRE_HEAD_MAX];
    struct line line;
};

/* Borrows: opts and filler. */
void stream_spec_init(struct stream_spec *spec, const struct opts *opts, enum sub_kind kind,
                      const char *filler);

/* Borrows: spec and tally. stream_fini frees the cells. */
void stream_init(struct stream *stream, const struct stream_spec *spec, struct holding held,
                 uint32_t conn_index, struct tally *tally);
void stream_fini(struct stream *stream);

/* Judge the next bytes; violations go to the tally. NATS: adds to ping_count what must be answered. */
void stream_feed(struct stream *stream, const char *bytes, size_t size);

/* Count `size` bytes that nobody has looked at. A stream that is counted cannot be fed; its frames all
 * have one length (RESP only), so a message lost, repeated or cut short still shows at the end. */
void stream_count(struct stream *stream, size_t size);

/* All is delivered: check that nothing is missing. sent[p] is what publisher p has sent in all. */
void stream_finish(struct stream *stream, const uint64_t *sent);

/* Compare the interleaving of the publishers on each channel with what another subscriber of it saw:
 * orders[channel] is 0 until the first stream of the channel sets it. NATS promises no such order. */
void stream_check_order(struct stream *stream, uint64_t *orders);

/* The cell of the channel in the stream's nth subscription. */
static inline uint32_t stream_cell(const struct stream *stream, uint32_t place, uint32_t channel)
{
    return stream->held.kind != SUB_MATCH ? place
                                          : place * stream->spec->opts->channel_count + channel;
}

#endif
