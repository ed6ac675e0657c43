/* tally: what one run has seen: counts, latencies and violations.
 * Owned by the run; the checks add to it. Thread: one. */
#ifndef LOAD_TALLY_H
#define LOAD_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "hist.h"

#define TALLY_VIOLATIONS_SHOWN 10U

struct tally {
    uint64_t delivered; /* whole messages received by subscribers that read */
    uint64_t answered;  /* publishes whose reply has come */
    uint64_t violation_count;
    bool is_quiet; /* count violations without printing them: the self-test expects them */

    /* Latency is taken of messages whose time lies in the window, one in sample_mask + 1. */
    uint64_t now_ns;
    uint64_t window_begin_ns;
    uint64_t window_end_ns;
    uint64_t sample_mask;
    struct hist latency;

    struct hist reply_latency; /* closed loop: of a batch, from its writing to its last reply */
};

/* Count a violation and say on stderr what it is; after the first few only count. */
__attribute__((format(printf, 2, 3))) void tally_violation(struct tally *tally, const char *format,
                                                           ...);

#endif
