/* replies: judges what one publishing connection is answered.
 * RESP: one integer per PUBLISH, which must be the number of subscriptions the message reached.
 * NATS: one PONG per batch. Owns: the current line. Not: the socket. Thread: one. */
#ifndef LOAD_REPLIES_H
#define LOAD_REPLIES_H

#include "line.h"
#include "opts.h"
#include "tally.h"

struct replies {
    const struct opts *opts;
    struct tally *tally;
    uint32_t publisher;
    uint32_t ping_count;   /* NATS: what must be answered */
    uint64_t answer_count; /* replies (RESP) or PONGs (NATS) so far */
    struct line line;
};

/* Borrows: opts and tally. */
void replies_init(struct replies *replies, const struct opts *opts, uint32_t publisher,
                  struct tally *tally);

/* Judge the next bytes; violations go to the tally. */
void replies_feed(struct replies *replies, const char *bytes, size_t size);

#endif
