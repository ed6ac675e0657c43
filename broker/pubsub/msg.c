/* msg: writing and walking frames. */
#include "pubsub/msg.h"

static const struct slice head_of_kind[TOPIC_KINDS] = {
    [TOPIC_CHANNEL] = {"*3\r\n$7\r\nmessage\r\n", 17},
    [TOPIC_PATTERN] = {"*4\r\n$8\r\npmessage\r\n", 18},
    [TOPIC_SHARD] = {"*3\r\n$8\r\nsmessage\r\n", 18},
};

enum {
    MSG_BULK_EXTRA_BYTES = 24, /* '$', up to 19 digits, two CR LF */
    MSG_LENGTH_DIGITS_MAX = 15,
};

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

/* The bulk "$<len>\r\n<bytes>\r\n" at `at`: the place behind it, or NULL if none that msg_write_bulk could
 * have written ends at or before `end`. */
static const char *skip_bulk(const char *at, const char *end)
{
    if (end - at < 6 || *at++ != '$') { return NULL; }
    const char *first = at;
    size_t len = 0;
    while (at < end && *at >= '0' && *at <= '9' && at - first < MSG_LENGTH_DIGITS_MAX) {
        len = len * 10 + (size_t)(*at++ - '0');
    }
    if (at == first || (*first == '0' && at - first > 1)) { return NULL; }
    size_t left = (size_t)(end - at);
    if (left < 4 || len > left - 4) { return NULL; }
    const char *bytes_end = at + 2 + len;
    bool is_framed = at[0] == '\r' && at[1] == '\n' && bytes_end[0] == '\r' && bytes_end[1] == '\n';
    return is_framed ? bytes_end + 2 : NULL;
}

bool msg_check(enum topic_kind kind, struct slice data, uint32_t count, size_t *prefix_bytes)
{
    CHECK(kind != TOPIC_PATTERN);
    if (count == 0 || !slice_starts_with(data, head_of_kind[kind])) { return false; }
    const char *end = data.data + data.len;
    const char *at = skip_bulk(data.data + head_of_kind[kind].len, end);
    if (at == NULL) { return false; }
    size_t prefix = (size_t)(at - data.data);
    at = skip_bulk(at, end);
    for (uint32_t i = 1; i < count; i++) {
        if (at == NULL || (size_t)(end - at) < prefix || memcmp(at, data.data, prefix) != 0) {
            return false;
        }
        at = skip_bulk(at + prefix, end);
    }
    if (at != end) { return false; }
    *prefix_bytes = prefix;
    return true;
}
