/* node_name: the digits. */
#include "cmd/node_name.h"

#include <inttypes.h>
#include <stdio.h>

/* A bijection that spreads every bit (the finalizer of splitmix64). */
static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

void node_name_print(uint64_t id, char out[NODE_NAME_BYTES])
{
    uint64_t second = mixed(id + 1);
    uint64_t third = mixed(second + 1);
    snprintf(out, NODE_NAME_BYTES, "%016" PRIx64 "%016" PRIx64 "%08" PRIx32, id, second,
             (uint32_t)third);
}
