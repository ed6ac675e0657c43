/* report: one table of figures for both forms; the line for people shows those that have a format. */
#include "report.h"

#include <stdio.h>

struct figure {
    const char *name;
    double value;
    /* For people: the text before it, its decimals and the text after it; NULL: JSON only. */
    const char *before;
    int decimals;
    const char *after;
};

static double ratio(double value, double by)
{
    return by > 0 ? value / by : 0;
}

static double growth_kib(uint64_t now_kib, uint64_t before_kib)
{
    return (double)now_kib - (double)before_kib;
}

static void print_json(const struct figure *figures, size_t count, const struct opts *opts)
{
    printf("{\"label\":\"%s\",\"proto\":\"%s\"", opts->label, opts_proto_name(opts->proto));
    for (size_t i = 0; i < count; i++) {
        printf(",\"%s\":%.10g", figures[i].name, figures[i].value);
    }
    puts("}");
}

static void print_line(const struct figure *figures, size_t count, const struct opts *opts)
{
    printf("%s:", opts->label);
    for (size_t i = 0; i < count; i++) {
        const struct figure *figure = &figures[i];
        if (figure->before == NULL || figure->value == 0) { continue; }
        printf(" %s%.*f%s", figure->before, figure->decimals, figure->value, figure->after);
    }
    putchar('\n');
}

void report_print(const struct report *re, const struct opts *opts, const struct tally *tally)
{
    double published = (double)re->published;
    double delivered = (double)re->delivered;
    double server_us = (double)re->server_cpu_ns / 1e3;
    double own_us = (double)re->own_cpu_ns / 1e3;
    const struct hist *latency = &tally->latency;
    double rss_growth_kib = growth_kib(re->after.rss_kib, re->before.rss_kib);
    double pss_growth_kib = growth_kib(re->after.pss_kib, re->before.pss_kib);
    const struct figure figures[] = {
        {"seconds", re->seconds, "", 2, " s,"},
        {"deliveries_per_s", ratio(delivered, re->seconds), "", 0, " deliveries/s,"},
        {"publishes_per_s", ratio(published, re->seconds), "", 0, " publishes/s,"},
        {"cpu_us_per_delivery", ratio(server_us, delivered), "server ", 4, " us/delivery"},
        {"cpu_us_per_publish", ratio(server_us, published), "", 3, " us/publish"},
        {"server_cores", ratio(server_us, re->seconds * 1e6), "(", 2, " cores),"},
        {"load_us_per_delivery", ratio(own_us, delivered), "load ", 4, " us/delivery"},
        {"load_cores", ratio(own_us, re->seconds * 1e6), "(", 2, " cores),"},
        {"latency_count", (double)latency->count, NULL, 0, NULL},
        {"p50_us", (double)hist_quantile_ns(latency, 0.50) / 1e3, "p50 ", 0, " us"},
        {"p99_us", (double)hist_quantile_ns(latency, 0.99) / 1e3, "p99 ", 0, " us"},
        {"p999_us", (double)hist_quantile_ns(latency, 0.999) / 1e3, "p99.9 ", 0, " us,"},
        {"max_us", (double)latency->max_ns / 1e3, NULL, 0, NULL},
        {"reply_p50_us", (double)hist_quantile_ns(&tally->reply_latency, 0.50) / 1e3, NULL, 0,
         NULL},
        {"reply_p99_us", (double)hist_quantile_ns(&tally->reply_latency, 0.99) / 1e3, NULL, 0,
         NULL},
        {"send_lag_p99_us", (double)re->lag_p99_ns / 1e3, "sent p99 ", 0, " us late,"},
        {"sustained", re->is_sustained, NULL, 0, NULL},
        {"conn_count", re->conn_count, "", 0, " idle connections"},
        {"bytes_per_conn", ratio(rss_growth_kib * 1024, re->conn_count), "", 0, " B each"},
        {"pss_bytes_per_conn", ratio(pss_growth_kib * 1024, re->conn_count), "(Pss ", 0, " B),"},
        {"settled_ms", re->settled_ms, "settled after ", 0, " ms,"},
        {"rss_kib", (double)re->after.rss_kib, "rss ", 0, " KiB"},
        {"pss_kib", (double)re->after.pss_kib, NULL, 0, NULL},
        {"peak_kib", (double)re->after.peak_kib, "peak ", 0, " KiB"},
        {"peak_growth_kib", growth_kib(re->after.peak_kib, re->before.rss_kib), "(+", 0, "),"},
        {"slow_closed", re->slow_closed, "", 0, " slow subscribers closed,"},
        {"checked", (double)re->total_checked, "", 0, " checked,"},
        {"total_published", (double)re->total_published, NULL, 0, NULL},
        {"violations", (double)tally->violation_count, "", 0, " VIOLATIONS"},
    };
    size_t count = sizeof figures / sizeof figures[0];
    if (opts->json) {
        print_json(figures, count, opts);
    } else {
        print_line(figures, count, opts);
        if (!re->is_sustained) { puts("  the rate was not sustained"); }
    }
}
