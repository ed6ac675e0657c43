/* hist: buckets that double in width every 64, so every answer is within 1.6 % of the truth. */
#include "hist.h"

#define FINE (1U << HIST_FINE_BITS)

/* Values below 64 have a bucket each; above, the top 7 bits choose it. */
static uint32_t bucket_of(uint64_t ns)
{
    if (ns < FINE) { return (uint32_t)ns; }
    uint32_t shift = 63U - (uint32_t)__builtin_clzll(ns) - HIST_FINE_BITS;
    uint32_t bucket = ((shift + 1) << HIST_FINE_BITS) + ((uint32_t)(ns >> shift) - FINE);
    return bucket < HIST_BUCKETS ? bucket : HIST_BUCKETS - 1;
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top_ns(uint32_t bucket)
{
    if (bucket < FINE) { return bucket; }
    uint32_t shift = (bucket >> HIST_FINE_BITS) - 1;
    return (((uint64_t)(bucket & (FINE - 1)) + FINE + 1) << shift) - 1;
}

void hist_add(struct hist *hist, uint64_t ns)
{
    hist->count++;
    hist->buckets[bucket_of(ns)]++;
    if (ns > hist->max_ns) { hist->max_ns = ns; }
}

uint64_t hist_quantile_ns(const struct hist *hist, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)hist->count);
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < HIST_BUCKETS; bucket++) {
        seen += hist->buckets[bucket];
        if (seen > wanted || (seen == wanted && seen > 0 && seen == hist->count)) {
            uint64_t top_ns = bucket_top_ns(bucket);
            return top_ns < hist->max_ns ? top_ns : hist->max_ns;
        }
    }
    return 0;
}
