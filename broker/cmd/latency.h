/* latency: how long the commands of one worker have taken, in buckets of powers of two.
 * Owns: the counts. Thread: its worker; no locks. A zeroed struct has counted nothing. */
#ifndef FANFARE_CMD_LATENCY_H
#define FANFARE_CMD_LATENCY_H

#include <stdint.h>

#include "cmd/command.h"

/* Bucket 0 ends at 1,024 ns, each other one at twice the one before; the last one has no end. */
enum { LATENCY_BUCKETS = 32 };

struct latency {
    uint64_t calls[COMMAND_COUNT][LATENCY_BUCKETS]; /* by enum command_id */
};

/* `calls` of a command took so long, each. */
void latency_add(struct latency *latency, uint32_t command, uint64_t duration_ns, uint32_t calls);

/* Add what another one has counted. */
void latency_sum(struct latency *sum, const struct latency *latency);

/* So many of a hundred calls took so long at the most, in microseconds, by the ends of buckets. */
double latency_percentile_us(const uint64_t calls[LATENCY_BUCKETS], double percent);

/* Where a bucket ends, in microseconds, rounded. */
uint64_t latency_bucket_us(uint32_t bucket);

#endif
