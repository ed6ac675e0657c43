/* process_stat: /proc/self/statm, getrusage and mallinfo2. */
#include "base/process_stat.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* What is handed out, small and large; 0 where another allocator (a sanitizer's) has taken over. */
static uint64_t allocated_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

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
    uint64_t allocated = allocated_bytes();
    if (allocated > 0) { memory.used_bytes = allocated; }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    memory.peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    if (memory.peak_bytes < memory.resident_bytes) {
        memory.peak_bytes = memory.resident_bytes; /* the kernel counts the peak in batches */
    }
    if (memory.peak_bytes < memory.used_bytes) { memory.peak_bytes = memory.used_bytes; }
    memory.system_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * page_bytes;
    return memory;
}
