/* probe: what the kernel knows about the server's process.
 * A pid of 0 means that nobody asked: all answers are 0. Errors: an unreadable process is fatal. */
#ifndef LOAD_PROBE_H
#define LOAD_PROBE_H

#include <stdint.h>

struct probe_memory {
    uint64_t rss_kib;
    uint64_t pss_kib;
    uint64_t peak_kib; /* highest RSS since the process began */
};

/* CPU time of all its threads, ended ones included, user and kernel. */
uint64_t probe_cpu_ns(uint32_t pid);

void probe_memory(uint32_t pid, struct probe_memory *memory);

/* CPU time of this process, the generator. */
uint64_t probe_own_cpu_ns(void);

/* Monotonic time. */
uint64_t probe_now_ns(void);

#endif
