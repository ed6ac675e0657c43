/* probe: process clocks (nanoseconds, where /proc/PID/stat has ticks of 10 ms) and /proc for memory. */
#include "probe.h"

#include <time.h>

#include "fatal.h"

static uint64_t read_clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) { fatal("clock: %s", strerror(errno)); }
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

uint64_t probe_now_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

uint64_t probe_own_cpu_ns(void)
{
    return read_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t probe_cpu_ns(const struct list *pids)
{
    uint64_t sum_ns = 0;
    for (uint32_t i = 0; i < pids->count; i++) {
        clockid_t clock;
        int err = clock_getcpuclockid((pid_t)pids->number[i], &clock);
        if (err != 0) { fatal("process %u: %s", pids->number[i], strerror(err)); }
        sum_ns += read_clock_ns(clock);
    }
    return sum_ns;
}

/* The number after `name` in a file of "name: number kB" lines. */
static uint64_t read_field_kib(uint32_t pid, const char *file, const char *name)
{
    char path[64];
    char line[256];
    unsigned long long kib = 0;
    size_t name_length = strlen(name);
    snprintf(path, sizeof path, "/proc/%u/%s", pid, file);
    FILE *stream = fopen(path, "re");
    if (stream == NULL) { fatal("%s: %s", path, strerror(errno)); }
    while (fgets(line, sizeof line, stream) != NULL) {
        if (strncmp(line, name, name_length) == 0 && line[name_length] == ':') {
            kib = strtoull(line + name_length + 1, NULL, 10);
            break;
        }
    }
    fclose(stream);
    return kib;
}

void probe_memory(const struct list *pids, struct probe_memory *memory)
{
    memset(memory, 0, sizeof *memory);
    for (uint32_t i = 0; i < pids->count; i++) {
        memory->rss_kib += read_field_kib(pids->number[i], "smaps_rollup", "Rss");
        memory->pss_kib += read_field_kib(pids->number[i], "smaps_rollup", "Pss");
        memory->peak_kib += read_field_kib(pids->number[i], "status", "VmHWM");
    }
}
