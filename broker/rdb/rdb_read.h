/* rdb_read: what the readers of values share: where the bytes are, whom the events go to, and room for strings that are not
 * there as such. Inside this module. */
#ifndef FANFARE_RDB_RDB_READ_H
#define FANFARE_RDB_RDB_READ_H

#include "rdb/rdb_packed.h"
#include "rdb/rdb_value.h"

struct rdb_read {
    struct rdb_in *in;
    const struct rdb_sink *sink;
    struct buf scratch[2];
    uint64_t count; /* events */
};

static inline bool rdb_tell(struct rdb_read *read, const struct rdb_event *event)
{
    read->count++;
    return read->sink->on_event(read->sink->arg, event) || rdb_fail(read->in, rdb_stopped);
}

MUST_USE bool rdb_read_stream(struct rdb_read *read, uint8_t type);

#endif
