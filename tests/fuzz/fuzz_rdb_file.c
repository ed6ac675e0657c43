/* Any bytes as an RDB file: what it has is told until its end, or until what is bad. */
#include <stdlib.h>

#include "rdb/rdb_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_event(void *arg, const struct rdb_event *event)
{
    size_t *count = arg;
    *count += 1 + event->part_count;
    return true;
}

static bool value_read(struct rdb_file *file)
{
    size_t count = 0;
    const struct rdb_sink sink = {on_event, &count};
    char name[RDB_MODULE_NAME_BYTES];
    if (rdb_kind_of(file->type) == RDB_KIND_MODULE) { return rdb_module_skip(&file->in, name); }
    return rdb_value_read(&file->in, file->type, &sink);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rdb_file file;
    bool is_good = rdb_file_begin(&file, slice_of(data, size), size > 0 && data[size - 1] % 2 == 0);
    while (is_good) {
        uint64_t before = rdb_file_at(&file);
        enum rdb_step step = rdb_file_next(&file);
        if (step == RDB_STEP_END || step == RDB_STEP_BAD) {
            if (step == RDB_STEP_BAD && file.in.why == NULL) { abort(); }
            break;
        }
        if (rdb_file_at(&file) <= before) { abort(); }
        is_good = step != RDB_STEP_KEY || value_read(&file);
    }
    rdb_file_end(&file);
    return 0;
}
