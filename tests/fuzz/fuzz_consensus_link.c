/* Any bytes on a Raft connection: cut into frames, decoded or refused; what a decoder hands over
 * encodes again. */
#include <stdint.h>

#include "base/mem.h"
#include "consensus/link/link.h"
#include "consensus/link/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_hello(void *arg, const struct hello *hello)
{
    hello_encode(arg, hello);
}

static void on_message(void *arg, const struct message *message)
{
    message_encode(arg, message);
}

static void on_note(void *arg, struct slice note)
{
    note_frame_encode(arg, note);
}

static const struct message_handler handler = {on_hello, on_message, on_note};

static void try_frame(struct slice frame)
{
    struct buf once = {0};
    struct buf twice = {0};
    if (message_decode(frame, &handler, &once) == ERR_OK) {
        CHECK(message_decode(buf_slice(&once), &handler, &twice) == ERR_OK);
        CHECK(slice_equal(buf_slice(&once), buf_slice(&twice)));
    }
    buf_fini(&once);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_copy(data, size);
    struct slice rest = slice_of(copy, size);
    struct slice frame;
    bool is_garbage;
    try_frame(rest);
    while (link_frame_parse(&rest, LINK_FRAME_BYTES_MAX, &frame, &is_garbage)) {
        try_frame(frame);
    }
    mem_free(copy);
    return 0;
}
