/* Counters of several threads, their sums, and the Prometheus text. */
#include "base/metrics.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/thread.h"

/* Rows that this test counts with; any of the kind would do. */
static const enum metric counter = METRIC_deliveries_total;
static const enum metric redis_counter = METRIC_redis_commands_processed_total;
static const enum metric gauge = METRIC_backlog_bytes;
static const enum metric_histogram histogram = METRIC_HISTOGRAM_flush_bytes;
static const enum metric_family family = METRIC_FAMILY_redis_commands_total;

static char *printed(struct buf *out)
{
    out->len = 0;
    metrics_print(out);
    buf_append(out, SLICE("\0"));
    return out->data;
}

static void expect_line(struct buf *out, const char *line)
{
    char whole[256];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    cr_assert_not_null(strstr(printed(out), whole), "no line '%s' in:\n%s", line, out->data);
}

Test(base_metrics, a_thread_without_cells_counts_nothing)
{
    metric_add(counter, 5);
    metric_observe(histogram, 5);
    metric_family_add(family, 0, 5);
    metrics_thread_init();
    cr_assert_eq(metric_sum(counter), 0);
    cr_assert_eq(metric_family_sum(family, 0), 0);
}

static void count_a_little(void *arg)
{
    (void)arg;
    metrics_thread_init();
    for (unsigned i = 0; i < 1000; i++) {
        metric_add(counter, 3);
        metric_add(gauge, 10);
        metric_family_add(family, METRIC_LABELS_MAX - 1, 1);
    }
}

Test(base_metrics, the_sum_is_over_all_threads_also_those_that_have_ended)
{
    struct thread thread[4];
    for (unsigned i = 0; i < 4; i++) {
        thread_start(&thread[i], "counter", count_a_little, NULL);
    }
    for (unsigned i = 0; i < 4; i++) {
        thread_join(&thread[i]);
    }
    cr_assert_eq(metric_sum(counter), 12000);
    cr_assert_eq(metric_family_sum(family, METRIC_LABELS_MAX - 1), 4000);
    cr_assert_eq(metric_family_sum(family, 0), 0);
    metrics_thread_init();
    struct metric_cells *cells = metric_cells_here;
    metrics_thread_init();
    cr_assert_eq(metric_cells_here, cells);
    metric_sub(gauge, 39999); /* added on other threads, taken away on this one */
    cr_assert_eq(metric_sum(gauge), 1);
}

Test(base_metrics, a_reset_zeroes_everything_but_gauges)
{
    struct buf out = {0};
    static const char *const labels[] = {"get", "set"};
    metrics_thread_init();
    metrics_family_labels(family, labels, COUNT_OF(labels));
    metric_add(counter, 5);
    metric_add(gauge, 5);
    metric_observe(histogram, 5);
    metric_family_add(family, 1, 5);
    metrics_reset();
    cr_assert_eq(metric_sum(counter), 0);
    cr_assert_eq(metric_sum(gauge), 5);
    cr_assert_eq(metric_family_sum(family, 1), 0);
    expect_line(&out, "fanfare_flush_bytes_count 0");
    metric_add(counter, 2);
    metric_sub(gauge, 1);
    metric_family_add(family, 1, 7);
    metrics_reset();
    metric_family_add(family, 1, 1);
    cr_assert_eq(metric_sum(counter), 0);
    cr_assert_eq(metric_sum(gauge), 4);
    cr_assert_eq(metric_family_sum(family, 1), 1);
    buf_fini(&out);
}

Test(base_metrics, the_text_names_each_metric_with_help_and_type)
{
    struct buf out = {0};
    metrics_thread_init();
    metric_add(counter, 12);
    metric_add(redis_counter, 34);
    metric_add(gauge, 56);
    expect_line(&out, "# TYPE fanfare_deliveries_total counter\nfanfare_deliveries_total 12");
    expect_line(&out, "redis_commands_processed_total 34");
    expect_line(&out, "# TYPE fanfare_backlog_bytes gauge\nfanfare_backlog_bytes 56");
    cr_assert_not_null(strstr(out.data, "# HELP fanfare_deliveries_total "));
    cr_assert_null(strstr(out.data, "fanfare_redis_"));
    buf_fini(&out);
}

Test(base_metrics, a_histogram_is_cumulative_and_its_bounds_are_inclusive)
{
    struct buf out = {0};
    metrics_thread_init();
    const uint64_t values[] = {0, 1, 2, 7, 8, 31, 32, 1 << 20, UINT64_MAX >> 8};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        metric_observe(histogram, values[i]);
    }
    expect_line(&out, "# TYPE fanfare_flush_bytes histogram");
    expect_line(&out, "fanfare_flush_bytes_bucket{le=\"1\"} 2");
    expect_line(&out, "fanfare_flush_bytes_bucket{le=\"7\"} 4");
    expect_line(&out, "fanfare_flush_bytes_bucket{le=\"31\"} 6");
    expect_line(&out, "fanfare_flush_bytes_bucket{le=\"127\"} 7");
    expect_line(&out, "fanfare_flush_bytes_bucket{le=\"2097151\"} 8");
    expect_line(&out, "fanfare_flush_bytes_bucket{le=\"+Inf\"} 9");
    expect_line(&out, "fanfare_flush_bytes_count 9");
    buf_fini(&out);
}

Test(base_metrics, a_histogram_in_seconds_observes_nanoseconds)
{
    struct buf out = {0};
    metrics_thread_init();
    metric_observe(METRIC_HISTOGRAM_loop_turn_seconds, 1500000000);
    expect_line(&out, "fanfare_loop_turn_seconds_sum 1.5");
    expect_line(&out, "fanfare_loop_turn_seconds_bucket{le=\"0.536870911\"} 0");
    expect_line(&out, "fanfare_loop_turn_seconds_bucket{le=\"2.14748365\"} 1");
    buf_fini(&out);
}

Test(base_metrics, a_family_prints_the_labels_that_have_counted)
{
    struct buf out = {0};
    static const char *const labels[] = {"get", "set", "del"};
    metrics_thread_init();
    metrics_family_labels(family, labels, COUNT_OF(labels));
    metric_family_add(family, 0, 3);
    metric_family_add(family, 2, 4);
    expect_line(&out, "redis_commands_total{cmd=\"get\"} 3\nredis_commands_total{cmd=\"del\"} 4");
    cr_assert_null(strstr(out.data, "\"set\""));
    buf_fini(&out);
}
