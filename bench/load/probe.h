/* probe: what the kernel knows about the server's processes, all together.
 * An empty list means that nobody asked: all answers are 0. Errors: an unreadable process is fatal. */
#ifndef LOAD_PROBE_H
#define LOAD_PROBE_H

#include <stdint.h>

#include "opts.h"

struct probe_memory {
    uint64_t rss_kib;
    uint64_t pss_kib;
    uint64_t peak_kib; /* highest RSS since each process began */
};

/* CPU time of all their threads, ended ones included, user and kernel. */
uint64_t probe_cpu_ns(const struct list *pids);

void probe_memory(const struct list *pids, struct probe_memory *memory);

/* CPU time of this process, the generator. */
uint64_t probe_own_cpu_ns(void);

/* Monotonic time. */
uint64_t probe_now_ns(void);

#endif
