/* metrics: the registry of the threads' cells, sums, and the Prometheus text. */
#include "base/metrics.h"

#include <pthread.h>

#include "base/mem.h"

_Thread_local struct metric_cells *metric_cells_here;

/* Cells are registered once and never freed; the lock is for registration, reset and printing only.
 */
static struct metric_registry {
    pthread_mutex_t lock;
    struct metric_cells *thread[METRIC_THREADS_MAX];
    atomic_uint thread_count;
    struct metric_cells base; /* what metrics_reset subtracts */
    const char *const *labels[METRIC_FAMILY_COUNT];
    uint32_t label_count[METRIC_FAMILY_COUNT];
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE };

struct metric_row {
    const char *name;
    const char *help;
    enum metric_kind kind;
};

static const struct metric_row metric_row[METRIC_COUNT] = {
#define COUNTER(name, help) {#name, help, METRIC_KIND_COUNTER},
#define GAUGE(name, help) {#name, help, METRIC_KIND_GAUGE},
#define HISTOGRAM(name, divisor, help)
#define FAMILY(name, label, divisor, help)
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef FAMILY
};

static const struct {
    const char *name;
    const char *help;
    double divisor;
} histogram_row[METRIC_HISTOGRAM_COUNT] = {
#define COUNTER(name, help)
#define GAUGE(name, help)
#define HISTOGRAM(name, divisor, help) {#name, help, divisor},
#define FAMILY(name, label, divisor, help)
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef FAMILY
};

static const struct {
    const char *name;
    const char *label;
    double divisor;
    const char *help;
} family_row[METRIC_FAMILY_COUNT] = {
#define COUNTER(name, help)
#define GAUGE(name, help)
#define HISTOGRAM(name, divisor, help)
#define FAMILY(name, label, divisor, help) {#name, label, divisor, help},
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef FAMILY
};

void metrics_thread_init(void)
{
    if (metric_cells_here != NULL) { return; }
    struct metric_cells *cells = mem_new0(sizeof *cells);
    pthread_mutex_lock(&registry.lock);
    unsigned at = atomic_load_explicit(&registry.thread_count, memory_order_relaxed);
    CHECK(at < METRIC_THREADS_MAX);
    registry.thread[at] = cells;
    atomic_store_explicit(&registry.thread_count, at + 1, memory_order_release);
    pthread_mutex_unlock(&registry.lock);
    metric_cells_here = cells;
}

void metrics_family_labels(enum metric_family family, const char *const *names, uint32_t count)
{
    CHECK(count <= METRIC_LABELS_MAX);
    pthread_mutex_lock(&registry.lock);
    registry.labels[family] = names;
    registry.label_count[family] = count;
    pthread_mutex_unlock(&registry.lock);
}

/* Sum the cell at `offset` of every thread's cells, less what the last reset saw. */
static uint64_t cells_sum(size_t offset)
{
    unsigned count = atomic_load_explicit(&registry.thread_count, memory_order_acquire);
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++) {
        const char *cells = (const char *)registry.thread[i];
        sum += atomic_load_explicit((const atomic_uint_fast64_t *)(const void *)(cells + offset),
                                    memory_order_relaxed);
    }
    return sum;
}

static uint64_t base_at(size_t offset)
{
    const char *base = (const char *)&registry.base;
    return atomic_load_explicit((const atomic_uint_fast64_t *)(const void *)(base + offset),
                                memory_order_relaxed);
}

static uint64_t sum_since_reset(size_t offset)
{
    return cells_sum(offset) - base_at(offset);
}

uint64_t metric_sum(enum metric metric)
{
    return sum_since_reset(offsetof(struct metric_cells, value) +
                           metric * sizeof(atomic_uint_fast64_t));
}

uint64_t metric_family_sum(enum metric_family family, uint32_t label)
{
    CHECK(label < METRIC_LABELS_MAX);
    size_t row = offsetof(struct metric_cells, family) + family * sizeof registry.base.family[0];
    return sum_since_reset(row + label * sizeof(atomic_uint_fast64_t));
}

void metrics_reset(void)
{
    pthread_mutex_lock(&registry.lock);
    for (size_t at = 0; at < sizeof(struct metric_cells); at += sizeof(atomic_uint_fast64_t)) {
        bool is_gauge = at < sizeof registry.base.value &&
                        metric_row[at / sizeof(atomic_uint_fast64_t)].kind == METRIC_KIND_GAUGE;
        atomic_uint_fast64_t *base = (atomic_uint_fast64_t *)(void *)((char *)&registry.base + at);
        atomic_store_explicit(base, is_gauge ? 0 : cells_sum(at), memory_order_relaxed);
    }
    pthread_mutex_unlock(&registry.lock);
}

static const char *name_prefix(const char *name)
{
    return strncmp(name, "redis_", 6) == 0 ? "" : "fanfare_";
}

static void print_head(struct buf *out, const char *name, const char *help, const char *type)
{
    const char *prefix = name_prefix(name);
    buf_appendf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, help, prefix, name, type);
}

static void print_histogram(struct buf *out, unsigned histogram)
{
    const char *name = histogram_row[histogram].name;
    double divisor = histogram_row[histogram].divisor;
    print_head(out, name, histogram_row[histogram].help, "histogram");
    size_t buckets =
        offsetof(struct metric_cells, bucket) + histogram * sizeof registry.base.bucket[0];
    uint64_t count = 0;
    for (unsigned bits = 0; bits < METRIC_BUCKETS - 1; bits++) {
        count += sum_since_reset(buckets + bits * sizeof(atomic_uint_fast64_t));
        if (bits % 2 == 1) { /* every second power of two keeps the text short */
            double bound = (double)((1ULL << bits) - 1) / divisor;
            buf_appendf(out, "fanfare_%s_bucket{le=\"%.9g\"} %llu\n", name, bound,
                        (unsigned long long)count);
        }
    }
    count += sum_since_reset(buckets + (METRIC_BUCKETS - 1) * sizeof(atomic_uint_fast64_t));
    size_t sum_at =
        offsetof(struct metric_cells, histogram_sum) + histogram * sizeof(atomic_uint_fast64_t);
    buf_appendf(out,
                "fanfare_%s_bucket{le=\"+Inf\"} %llu\nfanfare_%s_sum %.9g\nfanfare_%s_count %llu\n",
                name, (unsigned long long)count, name, (double)sum_since_reset(sum_at) / divisor,
                name, (unsigned long long)count);
}

static void print_family(struct buf *out, enum metric_family family)
{
    const char *name = family_row[family].name;
    print_head(out, name, family_row[family].help, "counter");
    for (uint32_t label = 0; label < registry.label_count[family]; label++) {
        uint64_t value = metric_family_sum(family, label);
        if (value > 0) {
            buf_appendf(out, "%s%s{%s=\"%s\"} %.17g\n", name_prefix(name), name,
                        family_row[family].label, registry.labels[family][label],
                        (double)value / family_row[family].divisor);
        }
    }
}

void metrics_print(struct buf *out)
{
    pthread_mutex_lock(&registry.lock);
    for (enum metric metric = 0; metric < METRIC_COUNT; metric++) {
        const struct metric_row *row = &metric_row[metric];
        print_head(out, row->name, row->help, row->kind == METRIC_KIND_GAUGE ? "gauge" : "counter");
        buf_appendf(out, "%s%s %llu\n", name_prefix(row->name), row->name,
                    (unsigned long long)metric_sum(metric));
    }
    for (unsigned histogram = 0; histogram < METRIC_HISTOGRAM_COUNT; histogram++) {
        print_histogram(out, histogram);
    }
    for (enum metric_family family = 0; family < METRIC_FAMILY_COUNT; family++) {
        print_family(out, family);
    }
    pthread_mutex_unlock(&registry.lock);
}
