/* process_stat: the allocator, /proc/self/statm and getrusage. */
#include "base/process_stat.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/heap.h"

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
            memory.used_bytes = (resident - shared) * page_bytes;
        }
    }
    size_t used_bytes = heap_used_bytes();
    if (used_bytes > 0) { memory.used_bytes = used_bytes; }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    memory.peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    if (memory.peak_bytes < memory.resident_bytes) {
        memory.peak_bytes = memory.resident_bytes; /* the kernel counts the peak in batches */
    }
    if (memory.peak_bytes < memory.used_bytes) {
        memory.peak_bytes = memory.used_bytes; /* LMDB allocates what it may never touch */
    }
    memory.system_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * page_bytes;
    return memory;
}
