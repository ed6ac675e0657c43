/* hist: a histogram of durations, one part in 64 exact, from 1 ns to some hours.
 * Owns: its fixed table of counts; no allocation. Thread: one. */
#ifndef LOAD_HIST_H
#define LOAD_HIST_H

#include <stdint.h>

#define HIST_FINE_BITS 6
#define HIST_BUCKETS ((44 - HIST_FINE_BITS + 1) << HIST_FINE_BITS)

struct hist {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[HIST_BUCKETS];
};

/* Add one duration. Anything over the range counts in the last bucket; max_ns stays exact. */
void hist_add(struct hist *hist, uint64_t ns);

/* The smallest duration that `share` (0..1) of all durations do not pass; 0 when there are none. */
uint64_t hist_quantile_ns(const struct hist *hist, double share);

#endif
