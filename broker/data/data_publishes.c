/* data_publishes: what scripts publish, behind their replies: kind1 channel_len4 message_len4 channel message, of each; then
 * the length of all of it, 4, and the mark. */
#include <endian.h>

#include "data/data_script.h"

enum { HEAD_BYTES = 1 + 4 + 4, TRAILER_BYTES = 4 + 1 };

static uint32_t read_le32(const char *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return le32toh(v);
}

void data_publishes_seal(struct data_scripting *scripting, struct buf *reply)
{
    if (LIKELY(scripting->publishes.len == 0)) { return; }
    const char mark = DATA_PUBLISHES_MARK;
    uint32_t len = htole32((uint32_t)scripting->publishes.len);
    buf_append(reply, buf_slice(&scripting->publishes));
    buf_append(reply, slice_of(&len, sizeof len));
    buf_append(reply, slice_of(&mark, 1));
    scripting->publishes.len = 0;
}

struct slice data_publishes_split(struct slice *reply)
{
    const struct slice none = SLICE("");
    if (reply->len < TRAILER_BYTES || reply->data[reply->len - 1] != DATA_PUBLISHES_MARK) {
        return none;
    }
    size_t end = reply->len - TRAILER_BYTES;
    size_t len = read_le32(reply->data + end);
    if (len > end) { return none; }
    reply->len = end - len;
    return slice_of(reply->data + reply->len, len);
}

bool data_publishes_take(struct slice *publishes, struct data_publish *out)
{
    if (publishes->len < HEAD_BYTES) { return false; }
    size_t channel = read_le32(publishes->data + 1);
    size_t message = read_le32(publishes->data + 5);
    if (channel + message > publishes->len - HEAD_BYTES) { return false; }
    *out = (struct data_publish){publishes->data[0] != 0,
                                 slice_of(publishes->data + HEAD_BYTES, channel),
                                 slice_of(publishes->data + HEAD_BYTES + channel, message)};
    size_t bytes = HEAD_BYTES + channel + message;
    *publishes = slice_of(publishes->data + bytes, publishes->len - bytes);
    return true;
}

bool data_publishes_add(struct data_scripting *scripting, const struct data_publish *publish)
{
    struct buf *out = &scripting->publishes;
    size_t bytes = HEAD_BYTES + publish->channel.len + publish->message.len;
    if (out->len + bytes > DATA_PUBLISHES_BYTES_MAX) { return false; }
    const char kind = publish->is_shard ? 1 : 0;
    uint32_t lens[2] = {htole32((uint32_t)publish->channel.len),
                        htole32((uint32_t)publish->message.len)};
    buf_append(out, slice_of(&kind, 1));
    buf_append(out, slice_of(lens, sizeof lens));
    buf_append(out, publish->channel);
    buf_append(out, publish->message);
    return true;
}
