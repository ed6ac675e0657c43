/* fuzz_resp_parse: the same bytes, whole and in pieces, must tell the same story.
 * The first byte chooses the limits, the second how the rest is cut. */
#include <stdlib.h>

#include "tests/lib/resp_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Small, so that a short input reaches them. */
static const struct resp_limits small_limits = {
    .inline_bytes_max = 24,
    .bulk_bytes_max = 40,
    .args_count_max = 12,
};
static const struct resp_limits small_unauthenticated_limits = {
    .inline_bytes_max = 24,
    .bulk_bytes_max = 20000,
    .args_count_max = 12,
    .is_unauthenticated = true,
};
static const struct resp_limits usual_limits = {
    .inline_bytes_max = 64 * 1024,
    .bulk_bytes_max = 512 * 1024 * 1024,
    .args_count_max = 1024 * 1024,
};
static const struct resp_limits *const limits[] = {&small_limits, &small_unauthenticated_limits,
                                                   &usual_limits, &resp_limits_unauthenticated};

/* Lengths of one to `cut` bytes, from a generator that starts with the input's own bytes. */
static void feed_in_pieces(struct resp_feed *feed, struct slice stream, uint32_t cut)
{
    uint32_t state = cut;
    while (stream.len > 0) {
        state = state * 1664525 + 1013904223;
        size_t bytes = 1 + (state >> 16) % cut;
        if (bytes > stream.len) { bytes = stream.len; }
        resp_feed_piece(feed, slice_of(stream.data, bytes));
        stream = slice_of(stream.data + bytes, stream.len - bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) { return 0; }
    struct slice stream = slice_of(data + 2, size - 2);
    struct resp_feed whole;
    struct resp_feed cut;
    resp_feed_init(&whole, limits[data[0] % COUNT_OF(limits)]);
    resp_feed_init(&cut, whole.limits);
    resp_feed_piece(&whole, stream);
    feed_in_pieces(&cut, stream, 1 + data[1] % 32);
    if (!slice_equal(resp_feed_end(&whole), resp_feed_end(&cut))) { abort(); }
    resp_feed_fini(&whole);
    resp_feed_fini(&cut);
    return 0;
}
