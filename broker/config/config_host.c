/* config_host: defaults that depend on the machine: its name, and the cores that this process may
 * use. */
#include "config/config_int.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

/* The cgroup's CPU quota in whole cores, rounded up; 0 if there is none. */
static uint32_t quota_core_count(void)
{
    struct buf text = {0};
    unsigned long long quota_us, period_us;
    uint32_t cores = 0;
    if (file_read("/sys/fs/cgroup/cpu.max", &text)) {
        buf_append(&text, slice_of("", 1)); /* sscanf wants a NUL */
        if (sscanf(text.data, "%llu %llu", &quota_us, &period_us) == 2 && period_us > 0) {
            cores = (uint32_t)((quota_us + period_us - 1) / period_us);
        }
    }
    buf_fini(&text);
    return cores;
}

uint32_t host_core_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    uint32_t cores = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    uint32_t quota = quota_core_count();
    return quota > 0 && quota < cores ? quota : cores;
}

void host_name(struct buf *out)
{
    char name[64] = "";
    if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') {
        buf_append_str(out, "localhost");
        return;
    }
    buf_append_str(out, name);
}
