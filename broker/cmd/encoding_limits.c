/* encoding_limits: see the header. */
#include "cmd/encoding_limits.h"

#include "cmd/broker.h"
#include "partition/partition.h"

void encoding_limits_set(struct broker *broker)
{
    struct partitions *partitions = broker_partitions(broker);
    if (partitions == NULL) { return; }
#define LIMIT(name, fallback)                           \
    partitions_set_limit(partitions, DATA_LIMIT_##name, \
                         config_number(broker->config, CONFIG_##name));
    DATA_LIMITS(LIMIT)
#undef LIMIT
}
