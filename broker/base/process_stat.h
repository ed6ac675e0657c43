/* process_stat: what the kernel says about this process. Cheap enough to be asked often. Thread:
 * any. */
#ifndef FANFARE_BASE_PROCESS_STAT_H
#define FANFARE_BASE_PROCESS_STAT_H

#include <stdint.h>

struct process_memory {
    uint64_t
        used_bytes; /* allocated, but for METRIC_store_reserved_bytes; where that is not known: resident and its own */
    uint64_t virtual_bytes;  /* address space */
    uint64_t resident_bytes; /* that, and mapped files */
    uint64_t mapped_bytes;   /* of it, files: the kernel takes them back when it needs the memory */
    uint64_t system_bytes;   /* of the machine */
};

struct process_memory process_memory(void);

#endif
