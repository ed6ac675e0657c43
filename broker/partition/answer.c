/* answer: see the header. */
#include "partition/answer.h"

#include <endian.h>

#include "base/mem.h"

enum { IS_ABORTED = 1, IS_LOST = 2, HEAD_BYTES = 1 + 4 };

static void put_u32(struct buf *out, uint32_t v)
{
    v = htobe32(v);
    buf_append(out, slice_of(&v, sizeof v));
}

static uint32_t read_u32(const char *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return be32toh(v);
}

void answer_encode(struct buf *out, const struct answer *answer)
{
    bool is_lost = answer->replies.len > PARTITION_RECORD_BYTES_MAX;
    uint32_t count = is_lost ? 0 : answer->count;
    char flags = (char)((answer->is_aborted ? IS_ABORTED : 0) | (is_lost ? IS_LOST : 0));
    out->len = 0;
    buf_append(out, slice_of(&flags, 1));
    put_u32(out, count);
    for (uint32_t i = 0; i < count && count != 1; i++) {
        put_u32(out, answer->end[i]);
    }
    if (!is_lost) { buf_append(out, answer->replies); }
}

enum err answer_give(struct slice kept, struct partition_request *request)
{
    if (kept.len < HEAD_BYTES) { return ERR_CORRUPT; }
    uint32_t count = read_u32(kept.data + 1);
    uint64_t ends_bytes = count != 1 ? (uint64_t)count * 4 : 0;
    if (kept.len - HEAD_BYTES < ends_bytes) { return ERR_CORRUPT; }
    if ((kept.data[0] & IS_LOST) != 0) { return ERR_LIMIT; }
    request->is_aborted = (kept.data[0] & IS_ABORTED) != 0;
    if (count > 1) {
        request->reply_end = mem_new(count * sizeof *request->reply_end);
        for (uint32_t i = 0; i < count; i++) {
            request->reply_end[i] = read_u32(kept.data + HEAD_BYTES + (size_t)i * 4);
        }
    }
    buf_append(&request->reply,
               slice_of(kept.data + HEAD_BYTES + ends_bytes, kept.len - HEAD_BYTES - ends_bytes));
    return ERR_OK;
}
