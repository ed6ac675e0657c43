/* Any bytes as a backup: with the checksums that they have, and with those that they should have, so that what is behind them is
 * reached. What is accepted lies within the file. */
#include <stdlib.h>

#include "backup/backup_file.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "rdb/rdb_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TAIL_BYTES = 32 };

static void look(struct slice bytes)
{
    struct backup_directory directory;
    const char *why = NULL;
    uint64_t at = 0;
    if (!backup_file_read(&directory, bytes, &why, &at)) {
        if (why == NULL || at > bytes.len) { abort(); }
        return;
    }
    for (uint32_t i = 0; i < directory.partition_count; i++) {
        const struct backup_section *section = &directory.section[i];
        if (section->at > bytes.len || section->bytes > bytes.len - section->at) { abort(); }
    }
    if (directory.users_at > bytes.len || directory.users_bytes > bytes.len - directory.users_at) {
        abort();
    }
    backup_directory_fini(&directory);
}

/* The input as a directory behind a small section. */
static void look_behind(struct slice input)
{
    struct buf bytes = {0};
    buf_append_str(&bytes, "FFBACK1\nsection.");
    size_t at = bytes.len;
    buf_append(&bytes, input);
    rdb_put_u64(&bytes, at);
    rdb_put_u64(&bytes, input.len);
    rdb_put_u64(&bytes, crc32c(0, bytes.data + at, bytes.len - at));
    buf_append_str(&bytes, "FFBKEND1");
    look(buf_slice(&bytes));
    buf_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    look(slice_of(data, size));
    look_behind(slice_of(data, size));
    return 0;
}
