/* metrics: counters with one writer each, summed by the reader. Rows in metrics.def.
 * Thread: a thread that counts calls metrics_thread_init once; adding is then a relaxed load and
 * store of its own memory. Reading is safe from any thread and sees each number at some recent
 * moment. The second of the two mutable globals. */
#ifndef FANFARE_BASE_METRICS_H
#define FANFARE_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"

enum metric {
#define COUNTER(name, help) METRIC_##name,
#define GAUGE(name, help) METRIC_##name,
#define HISTOGRAM(name, divisor, help)
#define FAMILY(name, label, divisor, help)
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef FAMILY
    METRIC_COUNT
};

enum metric_histogram {
#define COUNTER(name, help)
#define GAUGE(name, help)
#define HISTOGRAM(name, divisor, help) METRIC_HISTOGRAM_##name,
#define FAMILY(name, label, divisor, help)
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef FAMILY
    METRIC_HISTOGRAM_COUNT
};

enum metric_family {
#define COUNTER(name, help)
#define GAUGE(name, help)
#define HISTOGRAM(name, divisor, help)
#define FAMILY(name, label, divisor, help) METRIC_FAMILY_##name,
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef FAMILY
    METRIC_FAMILY_COUNT
};

enum { METRIC_BUCKETS = 48, METRIC_LABELS_MAX = 512, METRIC_THREADS_MAX = 256 };

struct metric_cells {
    atomic_uint_fast64_t value[METRIC_COUNT];
    atomic_uint_fast64_t bucket[METRIC_HISTOGRAM_COUNT]
                               [METRIC_BUCKETS]; /* [b]: values of b significant bits */
    atomic_uint_fast64_t histogram_sum[METRIC_HISTOGRAM_COUNT];
    atomic_uint_fast64_t family[METRIC_FAMILY_COUNT][METRIC_LABELS_MAX];
};

extern _Thread_local struct metric_cells *metric_cells_here;

/* Give the calling thread its cells. They stay, and count, after the thread has ended. Idempotent.
 */
void metrics_thread_init(void);

/* Names the values of a family's label: `names[i]` is label i. Borrows for the life of the process.
 * Before threads start. */
void metrics_family_labels(enum metric_family family, const char *const *names, uint32_t count);

static inline void metric_cell_add(atomic_uint_fast64_t *cell, uint64_t by)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

/* Threads that never called metrics_thread_init (unit tests of a module) count nothing. */
static inline void metric_add(enum metric metric, uint64_t by)
{
    if (LIKELY(metric_cells_here != NULL)) {
        metric_cell_add(&metric_cells_here->value[metric], by);
    }
}

/* Gauges go down, too: the sum over threads is right modulo 2^64. */
static inline void metric_sub(enum metric metric, uint64_t by)
{
    metric_add(metric, 0 - by);
}

static inline void metric_observe(enum metric_histogram histogram, uint64_t raw)
{
    if (LIKELY(metric_cells_here != NULL)) {
        unsigned bits = raw > 0 ? 64 - (unsigned)__builtin_clzll(raw) : 0;
        unsigned at = bits < METRIC_BUCKETS ? bits : METRIC_BUCKETS - 1;
        metric_cell_add(&metric_cells_here->bucket[histogram][at], 1);
        metric_cell_add(&metric_cells_here->histogram_sum[histogram], raw);
    }
}

static inline void metric_family_add(enum metric_family family, uint32_t label, uint64_t by)
{
    CHECK(label < METRIC_LABELS_MAX);
    if (LIKELY(metric_cells_here != NULL)) {
        metric_cell_add(&metric_cells_here->family[family][label], by);
    }
}

/* The sum over all threads since start, or since metrics_reset. */
uint64_t metric_sum(enum metric metric);
uint64_t metric_family_sum(enum metric_family family, uint32_t label);

/* Make counters, families and histograms read as zero from now on (CONFIG RESETSTAT); gauges are
 * left alone. */
void metrics_reset(void);

/* Append every metric in the Prometheus text format (version 0.0.4), help and type lines included.
 */
void metrics_print(struct buf *out);

#endif
