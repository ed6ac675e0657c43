/* msg: writing and walking frames. */
#include "pubsub/msg.h"

static const struct slice head_of_kind[TOPIC_KINDS] = {
    [TOPIC_CHANNEL] = {"*3\r\n$7\r\nmessage\r\n", 17},
    [TOPIC_PATTERN] = {"*4\r\n$8\r\npmessage\r\n", 18},
    [TOPIC_SHARD] = {"*3\r\n$8\r\nsmessage\r\n", 18},
};

enum { MSG_BULK_EXTRA_BYTES = 24 }; /* '$', up to 19 digits, two CR LF */

static size_t digit_count(size_t v)
{
    size_t count = 1;
    for (; v >= 10; v /= 10) {
        count++;
    }
    return count;
}

size_t msg_head_bytes(enum topic_kind kind)
{
    return head_of_kind[kind].len;
}

size_t msg_prefix_bytes(enum topic_kind kind, struct slice channel)
{
    return head_of_kind[kind].len + 1 + digit_count(channel.len) + 2 + channel.len + 2;
}

size_t msg_bytes_max(enum topic_kind kind, struct slice channel, struct slice payload)
{
    return head_of_kind[kind].len + channel.len + payload.len + 2 * MSG_BULK_EXTRA_BYTES;
}

char *msg_write_bulk(char *at, struct slice bytes)
{
    *at++ = '$';
    at += uint64_to_text(bytes.len, at);
    *at++ = '\r';
    *at++ = '\n';
    if (bytes.len > 0) { memcpy(at, bytes.data, bytes.len); }
    at += bytes.len;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

char *msg_write_prefix(char *at, enum topic_kind kind, struct slice channel)
{
    memcpy(at, head_of_kind[kind].data, head_of_kind[kind].len);
    return msg_write_bulk(at + head_of_kind[kind].len, channel);
}

char *msg_write_payload(char *at, struct slice payload)
{
    return msg_write_bulk(at, payload);
}

/* Read "<digits>\r\n"; *at ends behind it. The frames are our own: no checks. */
static size_t read_length(const char **at)
{
    size_t v = 0;
    for (; **at != '\r'; (*at)++) {
        v = v * 10 + (size_t)(**at - '0');
    }
    *at += 2;
    return v;
}

struct slice msg_channel(enum topic_kind kind, const char *frame)
{
    const char *at = frame + head_of_kind[kind].len + 1;
    size_t len = read_length(&at);
    return slice_of(at, len);
}

size_t msg_frame_bytes(const char *frame, size_t prefix_bytes)
{
    const char *at = frame + prefix_bytes + 1;
    size_t len = read_length(&at);
    return (size_t)(at - frame) + len + 2;
}
