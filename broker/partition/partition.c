#include "partition/partition.h"

/* Group 1 is the control group (consensus/membership). */
enum { FIRST_GROUP = 2 };

uint64_t partitions_group(uint32_t partition)
{
    return FIRST_GROUP + partition;
}
