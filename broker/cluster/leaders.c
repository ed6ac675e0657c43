/* leaders: a term and a node in one number, so that a later term is a larger number. */
#include "cluster/leaders.h"

enum { NODE_BITS = 6 };
_Static_assert(PMAP_NODES_MAX <= 1 << NODE_BITS, "a node's index has outgrown its bits");

static uint64_t pack(struct leader leader)
{
    return leader.term << NODE_BITS | leader.node;
}

struct leader leaders_get(const struct leaders *leaders, uint32_t partition)
{
    uint64_t packed = atomic_load(&leaders->packed[partition]);
    return (struct leader){.node = packed & ((1 << NODE_BITS) - 1), .term = packed >> NODE_BITS};
}

bool leaders_tell(struct leaders *leaders, uint32_t partition, struct leader leader)
{
    CHECK(leader.node < PMAP_NODES_MAX);
    uint64_t told = pack(leader);
    uint64_t known = atomic_load(&leaders->packed[partition]);
    while (told > known) {
        if (atomic_compare_exchange_weak(&leaders->packed[partition], &known, told)) {
            return true;
        }
    }
    return false;
}

void leaders_doubt(struct leaders *leaders, uint32_t partition, struct leader leader)
{
    uint64_t doubted = pack(leader);
    (void)atomic_compare_exchange_strong(&leaders->packed[partition], &doubted, 0);
}
