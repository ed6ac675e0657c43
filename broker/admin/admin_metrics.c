/* admin_metrics: the page that a Prometheus server scrapes: the broker's counters, the process as
 * the kernel sees it, and what dashboards made for Redis look for. */
#include "admin/admin_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/process_stat.h"

#define PAGE_FRESH_NS (100 * NS_PER_MS)

static void print_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_number(struct buf *out, const char *name, const char *type, const char *help,
                         double value)
{
    print_head(out, name, type, help);
    buf_appendf(out, "%s %.15g\n", name, value);
}

void admin_print_gauge(struct buf *out, const char *name, const char *help, uint64_t value)
{
    print_number(out, name, "gauge", help, (double)value);
}

/* ---- the process ---- */

/* The start of a file of /proc as text; empty if it cannot be read. */
static void read_proc(const char *path, char *out, size_t cap)
{
    ssize_t len = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, out, cap - 1);
        close(fd);
    }
    out[len > 0 ? len : 0] = '\0';
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void print_cpu(struct buf *out)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    print_number(out, "process_cpu_seconds_total", "counter",
                 "user and system time spent, in seconds",
                 seconds(usage.ru_utime) + seconds(usage.ru_stime));
    print_number(out, "redis_cpu_user_seconds_total", "counter", "user time spent, in seconds",
                 seconds(usage.ru_utime));
    print_number(out, "redis_cpu_sys_seconds_total", "counter", "system time spent, in seconds",
                 seconds(usage.ru_stime));
}

/* Unix time at which the process started: now, less its age on the clock that the kernel stamps it
 * with. 0 if /proc does not tell. */
static double process_start_s(void)
{
    enum { FIELDS_AFTER_NAME = 20 }; /* state is the third field, the start time the 22nd */
    char text[1024];
    read_proc("/proc/self/stat", text, sizeof text);
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    for (int i = 0; at != NULL && i < FIELDS_AFTER_NAME; i++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) { return 0; }
    double started_s = (double)strtoull(at, NULL, 10) / (double)sysconf(_SC_CLK_TCK);
    return (double)clock_wall_us() / 1e6 - ((double)clock_boot_ns() / 1e9 - started_s);
}

static uint64_t process_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) { return 0; }
    uint64_t count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count - 1; /* the directory's own */
}

static uint64_t process_max_fds(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    return limit.rlim_cur;
}

static void print_process(struct buf *out, const struct process_memory *memory, double start_s)
{
    print_cpu(out);
    admin_print_gauge(out, "process_resident_memory_bytes", "memory in RAM",
                      memory->resident_bytes);
    admin_print_gauge(out, "redis_memory_used_rss_bytes", "memory in RAM", memory->resident_bytes);
    admin_print_gauge(out, "fanfare_memory_mapped_bytes",
                      "of the memory in RAM, files: the kernel takes it back when it needs it",
                      memory->mapped_bytes);
    admin_print_gauge(out, "process_virtual_memory_bytes", "address space in use",
                      memory->virtual_bytes);
    admin_print_gauge(out, "process_open_fds", "open file descriptors", process_open_fds());
    admin_print_gauge(out, "process_max_fds", "the limit of open file descriptors",
                      process_max_fds());
    print_number(out, "process_start_time_seconds", "gauge", "Unix time of the process's start",
                 start_s);
}

/* ---- the page ---- */

static void print_redis(struct buf *out, const struct admin_opts *opts,
                        const struct process_memory *memory, double start_s)
{
    admin_print_gauge(out, "redis_up", "the broker answers", 1);
    print_number(out, "redis_start_time_seconds", "gauge", "Unix time of the start", start_s);
    admin_print_gauge(out, "redis_uptime_in_seconds", "seconds since the start",
                      (uint64_t)((double)clock_wall_us() / 1e6 - start_s));
    admin_print_gauge(out, "redis_memory_used_bytes", "memory allocated", memory->used_bytes);
    print_head(out, "redis_instance_info", "gauge", "what runs here");
    buf_appendf(
        out,
        "redis_instance_info{role=\"master\",redis_version=\"%s\",redis_mode=\"standalone\"}"
        " 1\n",
        opts->redis_version);
    print_head(out, "fanfare_build_info", "gauge", "the version that runs");
    buf_appendf(out, "fanfare_build_info{version=\"%s\"} 1\n", FANFARE_VERSION);
    admin_print_gauge(out, "fanfare_ready", "what /readyz says, 1 for yes",
                      health_unready_because(opts) == NULL);
}

static void print_http(struct buf *out, const struct http_counts *counts)
{
    print_number(out, "fanfare_http_requests_total", "counter", "HTTP requests answered",
                 (double)counts->requests_total);
    print_number(out, "fanfare_http_connections_shed_total", "counter",
                 "HTTP connections closed because they were slow, idle or one too many",
                 (double)counts->shed_total);
    admin_print_gauge(out, "fanfare_http_connections", "HTTP connections open",
                      counts->connections);
}

void metrics_page_refresh(struct metrics_page *page, const struct admin_opts *opts,
                          const struct http_counts *counts)
{
    uint64_t now_ns = clock_mono_ns();
    if (page->text.len > 0 && now_ns - page->printed_ns < PAGE_FRESH_NS) { return; }
    if (page->text.len == 0) { page->start_s = process_start_s(); }
    struct process_memory memory = process_memory();
    page->text.len = 0;
    print_redis(&page->text, opts, &memory, page->start_s);
    metrics_print(&page->text);
    if (opts->extra_metrics != NULL) { opts->extra_metrics(opts->arg, &page->text); }
    print_http(&page->text, counts);
    print_process(&page->text, &memory, page->start_s);
    page->printed_ns = clock_mono_ns(); /* printing itself may take a while */
}

void metrics_page_fini(struct metrics_page *page)
{
    buf_fini(&page->text);
}
