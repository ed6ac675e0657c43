/* data_sum: see the header. */
#include "cmd/data_sum.h"

static void raise_to(uint64_t *most, uint64_t value)
{
    if (value > *most) { *most = value; }
}

static void add_one(struct data_sum *sum, const struct partition_status *status)
{
    uint64_t lag = status->commit > status->applied ? status->commit - status->applied : 0;
    sum->open += status->is_open;
    sum->damaged += status->is_damaged;
    sum->led += status->term > 0;
    for (unsigned db = 0; db < DATA_SUM_DATABASES; db++) {
        sum->keys[db] += status->keys[db];
        sum->expiring[db] += status->expiring[db];
        if (status->term > 0) { sum->keys_led += status->keys[db]; }
    }
    sum->used_bytes += status->used_bytes;
    sum->file_bytes += status->file_bytes;
    sum->apply_lag += lag;
    sum->proposed_bytes += status->proposed_bytes;
    raise_to(&sum->used_bytes_max, status->used_bytes);
    raise_to(&sum->apply_lag_max, lag);
    raise_to(&sum->reader_lag_max, status->reader_lag);
}

void data_sum(struct data_sum *sum, struct partitions *partitions, uint32_t count)
{
    *sum = (struct data_sum){0};
    for (uint32_t i = 0; partitions != NULL && i < count; i++) {
        struct partition_status status;
        partition_status(partitions, i, &status);
        add_one(sum, &status);
    }
}

uint64_t data_sum_keys(const struct data_sum *sum)
{
    uint64_t keys = 0;
    for (unsigned db = 0; db < DATA_SUM_DATABASES; db++) {
        keys += sum->keys[db];
    }
    return keys;
}
