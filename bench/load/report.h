/* report: what one run found out, and its two printed forms. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "opts.h"
#include "probe.h"
#include "tally.h"

struct report {
    double seconds;           /* measured */
    uint64_t published;       /* within them */
    uint64_t delivered;       /* within them */
    uint64_t server_cpu_ns;   /* within them */
    uint64_t own_cpu_ns;      /* within them: the generator's */
    uint64_t total_checked;   /* deliveries of the whole run, each checked */
    uint64_t total_published; /* of the whole run */
    uint64_t lag_p99_ns;      /* open loop: how late the generator itself sent */
    bool is_sustained;        /* open loop: 99 % of what was due was sent in time */
    uint32_t slow_closed;     /* slow subscribers that the server has closed */
    uint32_t conn_count;      /* idle: subscribing connections */
    uint32_t settled_ms;      /* idle: when memory began to stand still; settle_ms: it did not */
    struct probe_memory before, after;
};

/* Print one line on stdout: for people, or a JSON object if --json. */
void report_print(const struct report *report, const struct opts *opts, const struct tally *tally);

#endif
