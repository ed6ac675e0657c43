/* process_stat: the allocator and /proc/self/statm. */
#include "base/process_stat.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/heap.h"
#include "base/metrics.h"

struct process_memory process_memory(void)
{
    struct process_memory memory = {0};
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        unsigned long long size, resident, shared;
        if (sscanf(text, "%llu %llu %llu", &size, &resident, &shared) == 3) {
            memory.virtual_bytes = size * page_bytes;
            memory.resident_bytes = resident * page_bytes;
            memory.mapped_bytes = shared * page_bytes;
            memory.used_bytes = (resident - shared) * page_bytes;
        }
    }
    uint64_t used_bytes = heap_used_bytes();
    uint64_t reserved_bytes = metric_sum(METRIC_store_reserved_bytes);
    if (used_bytes > reserved_bytes) { memory.used_bytes = used_bytes - reserved_bytes; }
    memory.system_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * page_bytes;
    return memory;
}
