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

double latency_percentile_us(const uint64_t calls[LATENCY_BUCKETS], double percent)
{
    uint64_t sum = 0;
    uint64_t passed = 0;
    for (uint32_t bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        sum += calls[bucket];
    }
    uint32_t at = 0;
    for (; at + 1 < LATENCY_BUCKETS; at++) {
        passed += calls[at];
        if ((double)passed >= (double)sum * percent / 100) { break; }
    }
    return (double)(1ULL << (FIRST_BUCKET_BITS + at)) / 1000;
}

uint64_t latency_bucket_us(uint32_t bucket)
{
    return ((1ULL << (FIRST_BUCKET_BITS + bucket)) + 500) / 1000;
}
