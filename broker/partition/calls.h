/* calls: run a call of a request on a transaction, for the apply of entries and for reads. */
#ifndef FANFARE_PARTITION_CALLS_H
#define FANFARE_PARTITION_CALLS_H

#include "data/data_script.h"
#include "partition/partition_int.h"

/* Keys that reads looked up for clients of whom this node is asked: what Redis calls keyspace hits and misses. */
struct call_tally {
    uint64_t hits, misses;
};

struct call_place {
    struct partitions *all;
    struct store_txn *txn;
    const struct data_listener *listener;
    uint8_t resp_version;
    bool may_park;
    struct call_tally *tally;         /* NULL: not counted */
    struct data_scripting *scripting; /* NULL: no scripts are run */
};

/* One reply behind what is in `out`, or none: false: it is parked; or place->scripting->again. A call that cannot be run is
 * answered with an error. */
bool call_run(const struct call_place *place, const struct partition_call *call, struct buf *out);

/* What was tallied did happen: it goes to the metrics. */
void call_count_keys(const struct call_tally *tally);

/* A key's object. False: it is not there. */
bool call_object(const struct call_place *place, uint16_t db, struct slice key,
                 struct store_object *out);
/* The version of a key; 0: it is not there. */
uint64_t call_version(const struct call_place *place, const struct partition_check *check);

#endif
