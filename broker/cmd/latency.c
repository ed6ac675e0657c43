/* latency: count, add up. */
#include "cmd/latency.h"

enum { FIRST_BUCKET_BITS = 10 };

static uint32_t bucket_of(uint64_t duration_ns)
{
    if (duration_ns <= 1U << FIRST_BUCKET_BITS) { return 0; }
    uint32_t bits = 64 - (uint32_t)__builtin_clzll(duration_ns - 1);
    uint32_t bucket = bits - FIRST_BUCKET_BITS;
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

void latency_add(struct latency *latency, uint32_t command, uint64_t duration_ns, uint32_t calls)
{
    CHECK(command < COMMAND_COUNT);
    latency->calls[command][bucket_of(duration_ns)] += calls;
}

void latency_sum(struct latency *sum, const struct latency *latency)
{
    for (uint32_t id = 0; id < COMMAND_COUNT; id++) {
        for (uint32_t bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
            sum->calls[id][bucket] += latency->calls[id][bucket];
        }
    }
}

uint64_t latency_bucket_us(uint32_t bucket)
{
    return ((1ULL << (FIRST_BUCKET_BITS + bucket)) + 500) / 1000;
}
