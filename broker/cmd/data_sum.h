/* data_sum: the partitions of this node together, for INFO, MEMORY STATS and /metrics. A status of each is asked for: that
 * costs some microseconds a partition. Thread: any. */
#ifndef FANFARE_CMD_DATA_SUM_H
#define FANFARE_CMD_DATA_SUM_H

#include "partition/partition.h"

enum { DATA_SUM_DATABASES = 16 };

struct data_sum {
    uint32_t open, led, damaged; /* replicas on this node */
    /* Keys as of the last batch that was applied here. */
    uint64_t keys[DATA_SUM_DATABASES], expiring[DATA_SUM_DATABASES];
    uint64_t
        keys_led; /* of the partitions that this node leads: summed over all nodes, each key counts once */
    uint64_t used_bytes, used_bytes_max, file_bytes;
    uint64_t apply_lag, apply_lag_max;
    uint64_t proposed_bytes, reader_lag_max;
};

/* Partitions NULL: there are none yet, and all is 0. */
void data_sum(struct data_sum *sum, struct partitions *partitions, uint32_t count);

/* Keys of all databases. */
uint64_t data_sum_keys(const struct data_sum *sum);

#endif
