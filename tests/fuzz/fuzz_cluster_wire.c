/* Any bytes on a peer connection: each frame is decoded or refused; what was decoded encodes to a frame that
 * decodes to the same. */
#include <stdint.h>

#include "base/mem.h"
#include "cluster/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct wire_frame *frame)
{
    struct buf once = {0};
    struct buf twice = {0};
    wire_encode(&once, frame);
    struct wire_decoder *decoder = wire_decoder_new();
    struct wire_frame again;
    size_t bytes;
    CHECK(wire_decode(decoder, buf_slice(&once), &again, &bytes) == WIRE_OK);
    CHECK(bytes == once.len);
    wire_encode(&twice, &again);
    CHECK(slice_equal(buf_slice(&once), buf_slice(&twice)));
    wire_decoder_free(decoder);
    buf_fini(&once);
    buf_fini(&twice);
}

static void try_stream(struct wire_decoder *decoder, struct slice rest)
{
    struct wire_frame frame;
    size_t bytes;
    while (wire_decode(decoder, rest, &frame, &bytes) == WIRE_OK) {
        check_round_trip(&frame);
        rest = slice_of(rest.data + bytes, rest.len - bytes);
    }
}

/* The input as it came, and as the content of one frame: a length is hard to guess. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_decoder *decoder = wire_decoder_new();
    char *bytes = mem_new(size + WIRE_HEAD_BYTES);
    for (int i = 0; i < WIRE_HEAD_BYTES; i++) {
        bytes[i] = (char)(size >> (8 * (WIRE_HEAD_BYTES - 1 - i)));
    }
    if (size > 0) { memcpy(bytes + WIRE_HEAD_BYTES, data, size); }
    try_stream(decoder, slice_of(bytes, size + WIRE_HEAD_BYTES));
    try_stream(decoder, slice_of(bytes + WIRE_HEAD_BYTES, size));
    mem_free(bytes);
    wire_decoder_free(decoder);
    return 0;
}
