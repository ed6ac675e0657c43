/* answer: see the header. */
#include "partition/answer.h"

#include <endian.h>

#include "base/mem.h"

enum {
    IS_ABORTED = 1,
    IS_LOST = 2,
    LENT_SHIFT = 2,
    LENT_MASK = 3,
    HEAD_BYTES = 1 + 4,
    DB_BYTES = 2
};

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
    enum lent lent = is_lost ? LENT_NOTHING : answer->lent;
    char flags = (char)((answer->is_aborted ? IS_ABORTED : 0) | (is_lost ? IS_LOST : 0) |
                        (int)lent << LENT_SHIFT);
    out->len = 0;
    buf_append(out, slice_of(&flags, 1));
    put_u32(out, count);
    if (lent != LENT_NOTHING) {
        uint16_t db = htobe16(answer->db);
        buf_append(out, slice_of(&db, sizeof db));
    }
    for (uint32_t i = 0; i < count && count != 1; i++) {
        put_u32(out, answer->end[i]);
    }
    if (!is_lost) { buf_append(out, answer->replies); }
}

static enum lent lent_of(struct slice kept)
{
    return (enum lent)(kept.data[0] >> LENT_SHIFT & LENT_MASK);
}

static size_t head_bytes(struct slice kept)
{
    return HEAD_BYTES + (lent_of(kept) != LENT_NOTHING ? (size_t)DB_BYTES : 0);
}

enum err answer_give(struct slice kept, struct partition_request *request)
{
    if (kept.len < HEAD_BYTES || kept.len < head_bytes(kept)) { return ERR_CORRUPT; }
    uint32_t count = read_u32(kept.data + 1);
    size_t head = head_bytes(kept);
    uint64_t ends_bytes = count != 1 ? (uint64_t)count * 4 : 0;
    if (kept.len - head < ends_bytes) { return ERR_CORRUPT; }
    if ((kept.data[0] & IS_LOST) != 0) { return ERR_LIMIT; }
    request->is_aborted = (kept.data[0] & IS_ABORTED) != 0;
    if (count > 1) {
        request->reply_end = mem_new(count * sizeof *request->reply_end);
        for (uint32_t i = 0; i < count; i++) {
            request->reply_end[i] = read_u32(kept.data + head + (size_t)i * 4);
        }
    }
    buf_append(&request->reply,
               slice_of(kept.data + head + ends_bytes, kept.len - head - ends_bytes));
    return ERR_OK;
}

enum lent answer_lent(struct slice kept, uint16_t *db, struct slice *replies)
{
    if (kept.len < HEAD_BYTES || kept.len < head_bytes(kept)) { return LENT_NOTHING; }
    enum lent lent = read_u32(kept.data + 1) == 1 ? lent_of(kept) : LENT_NOTHING;
    if (lent == LENT_NOTHING) { return lent; }
    memcpy(db, kept.data + HEAD_BYTES, sizeof *db);
    *db = be16toh(*db);
    *replies = slice_of(kept.data + head_bytes(kept), kept.len - head_bytes(kept));
    return lent;
}
