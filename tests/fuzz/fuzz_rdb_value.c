/* Any bytes as a value of any type: refused, or told as events that hold what their header promises. */
#include <math.h>
#include <stdlib.h>

#include "rdb/rdb_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEMAND(condition)              \
    do {                               \
        if (!(condition)) { abort(); } \
    } while (0)

struct seen {
    struct rdb_id last;
    bool has_stream;
    unsigned sum;
};

static void touch(struct seen *seen, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        seen->sum += (unsigned char)bytes.data[i];
    }
}

static bool on_event(void *arg, const struct rdb_event *event)
{
    struct seen *seen = arg;
    touch(seen, event->name);
    touch(seen, event->value);
    for (uint32_t i = 0; i < event->part_count; i++) {
        touch(seen, event->part[i]);
    }
    DEMAND(!isnan(event->score));
    if (event->kind == RDB_ENTRY) {
        bool rises = event->id.ms > seen->last.ms ||
                     (event->id.ms == seen->last.ms && event->id.seq > seen->last.seq);
        DEMAND(rises && event->part_count > 0 && event->part_count % 2 == 0 && !seen->has_stream);
        seen->last = event->id;
    }
    if (event->kind >= RDB_GROUP) { DEMAND(seen->has_stream); }
    if (event->kind == RDB_STREAM) { seen->has_stream = true; }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) { return 0; }
    struct seen seen = {.sum = 0};
    const struct rdb_sink sink = {on_event, &seen};
    struct rdb_in in = rdb_in_of(slice_of(data + 1, size - 1));
    bool is_good = rdb_value_read(&in, data[0], &sink);
    DEMAND(is_good == (in.why == NULL));
    char name[RDB_MODULE_NAME_BYTES];
    struct rdb_in module = rdb_in_of(slice_of(data, size));
    DEMAND(rdb_module_skip(&module, name) == (module.why == NULL));
    return 0;
}
