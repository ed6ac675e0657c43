/* Any bytes as a note between nodes: decoded or refused; what was decoded encodes to what decodes
 * to the same. */
#include <stdint.h>

#include "base/mem.h"
#include "consensus/membership/membership_note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_copy(data, size);
    struct note *note = mem_new(sizeof *note);
    struct buf once = {0};
    struct buf twice = {0};
    if (note_decode(slice_of(copy, size), note) && note->kind != NOTE_NONE) {
        note_encode(&once, note);
        note_fini(note);
        CHECK(note_decode(buf_slice(&once), note));
        note_encode(&twice, note);
        CHECK(slice_equal(buf_slice(&once), buf_slice(&twice)));
    }
    note_fini(note);
    buf_fini(&once);
    buf_fini(&twice);
    mem_free(note);
    mem_free(copy);
    return 0;
}
