/* wire: the text of the protocols, RESP2, RESP3 and NATS, as the generator writes and expects it.
 * Names have fixed widths, so every delivery of one kind has the same length and the same places for
 * its numbers. No I/O, no state. */
#ifndef LOAD_WIRE_H
#define LOAD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "opts.h"

#define WIRE_NAME_MAX 16U
#define WIRE_HEAD_MAX 96U
#define WIRE_REQUEST_MAX 128U
#define WIRE_DIGITS 6U

/* What a subscription asks for: one channel, a pattern that matches all channels, or none, or one
 * channel of sharded pub/sub (RESP). */
enum sub_kind { SUB_CHANNEL, SUB_MATCH, SUB_MISS, SUB_SHARD };

/* A delivery up to its payload; the digits at the two places vary. */
struct frame {
    char head[WIRE_HEAD_MAX];
    uint32_t head_bytes;
    uint32_t channel_at;
    uint32_t number_at; /* of the subscription; 0: this kind of frame does not carry it */
    uint32_t payload_bytes;
    uint32_t total_bytes; /* head, payload and the closing CR LF */
};

/* One PUBLISH (PUB); the channel's digits and the payload vary. */
struct command {
    char head[WIRE_HEAD_MAX];
    uint32_t head_bytes;
    uint32_t channel_at;
    uint32_t payload_bytes;
    uint32_t total_bytes;
};

void wire_frame_init(struct frame *frame, enum proto proto, enum sub_kind kind,
                     uint32_t payload_bytes);
void wire_command_init(struct command *command, enum proto proto, bool is_sharded,
                       uint32_t payload_bytes);

/* The request for subscription `number`. Returns its length, at most WIRE_REQUEST_MAX. */
uint32_t wire_subscribe(char *out, enum proto proto, enum sub_kind kind, uint32_t number);

/* The confirmation of it when it is the connection's `held`th; empty for NATS, which sends none.
 * Returns its length, at most WIRE_REQUEST_MAX. */
uint32_t wire_confirmation(char *out, enum proto proto, enum sub_kind kind, uint32_t number,
                           uint32_t held);

/* What a connection sends first, and the last bytes of the answer that completes it. */
const char *wire_greeting(enum proto proto);
const char *wire_greeting_answer(enum proto proto);

/* Six digits to the number and back. wire_digits_read returns UINT32_MAX if they are no digits. */
uint32_t wire_digits_read(const char *text);
void wire_digits_write(char *text, uint32_t number);

#endif
