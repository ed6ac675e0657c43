/* Any bytes as a server's replies: taken one by one without looking behind them, or refused. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "import/import_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0;
    for (;;) {
        char *rest =
            mem_copy(data + at, size - at); /* of its own, so that a read behind it is seen */
        size_t bytes = import_reply_bytes(slice_of(rest, size - at));
        bool is_whole = bytes > 0 && bytes != SIZE_MAX;
        if (is_whole) {
            char *whole = mem_copy(rest, bytes);
            struct slice error;
            if (import_reply_bytes(slice_of(whole, bytes)) != bytes) { abort(); }
            struct import_reply reply = import_reply_read(slice_of(whole, bytes));
            if (reply.text.len > bytes) { abort(); }
            if (import_reply_error(slice_of(whole, bytes), &error)) {
                (void)import_error_passes(error);
            }
            mem_free(whole);
        }
        mem_free(rest);
        if (!is_whole) { return 0; }
        at += bytes;
    }
}
