/* clock: the kernel's clocks as 64-bit numbers. Thread: any.
 * Replicated state machines never read a clock: their time comes with the log entry. */
#ifndef FANFARE_BASE_CLOCK_H
#define FANFARE_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_MS 1000000ULL
#define NS_PER_S 1000000000ULL

/* Never goes back; stops while the machine is suspended. For durations and deadlines. */
uint64_t clock_mono_ns(void);

/* Never goes back; goes on while the machine is suspended. For leases. */
uint64_t clock_boot_ns(void);

/* Processor time that the calling thread has used. For telling work from waiting. */
uint64_t clock_thread_ns(void);

/* Unix time; may jump. For people and for wire fields that name a moment. */
uint64_t clock_wall_us(void);

#endif
