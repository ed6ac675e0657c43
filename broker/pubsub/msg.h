/* msg: the frames that carry a message to a subscriber, back to back in shared blocks.
 *     *3 $7 message  $<n> <channel> $<m> <payload>       a channel's
 *     *3 $8 smessage $<n> <channel> $<m> <payload>       a shard channel's
 *     *4 $8 pmessage $<p> <pattern> $<n> <channel> $<m> <payload>
 * In RESP3 only the first byte differs: '>' for '*'. All share the tail from "$<n>" on. Thread:
 * any. */
#ifndef FANFARE_PUBSUB_MSG_H
#define FANFARE_PUBSUB_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"
#include "pubsub/directory.h"

/* "*3\r\n": what a frame begins with and RESP3 replaces. */
enum { MSG_MARK_BYTES = 4 };

/* Length of the part before the shared tail: 17 for TOPIC_CHANNEL, 18 for TOPIC_SHARD. */
size_t msg_head_bytes(enum topic_kind kind);

/* Length up to the payload's "$<m>": the same for all messages of a channel. */
size_t msg_prefix_bytes(enum topic_kind kind, struct slice channel);

/* An upper bound of the whole frame's length. */
size_t msg_bytes_max(enum topic_kind kind, struct slice channel, struct slice payload);

/* Write the prefix, or what follows it; return the end. */
char *msg_write_prefix(char *at, enum topic_kind kind, struct slice channel);
char *msg_write_payload(char *at, struct slice payload);

/* The channel in a frame of that kind. */
struct slice msg_channel(enum topic_kind kind, const char *frame);

/* The length of the frame at `frame`, whose prefix is `prefix_bytes` long. */
size_t msg_frame_bytes(const char *frame, size_t prefix_bytes);

/* Is `data`, which came from another node, exactly `count` (>= 1) frames of that kind, back to back, all of
 * one channel, each as the functions above write it? *prefix_bytes, set only then: the prefix's length.
 * kind is not TOPIC_PATTERN. Time: the prefix of each frame is compared, its payload skipped. */
MUST_USE bool msg_check(enum topic_kind kind, struct slice data, uint32_t count,
                        size_t *prefix_bytes);

/* Append "$<len>\r\n<bytes>\r\n"; return the end. Takes at most 24 + len bytes. */
char *msg_write_bulk(char *at, struct slice bytes);

#endif
