/* wait_until: wait for what another thread does: a deadline instead of a sleep. */
#ifndef FANFARE_TESTS_WAIT_UNTIL_H
#define FANFARE_TESTS_WAIT_UNTIL_H

#include <criterion/criterion.h>
#include <poll.h>

#include "base/clock.h"

enum { WAIT_MS = 20000 };

#define WAIT_UNTIL(condition)                                               \
    do {                                                                    \
        uint64_t wait_until_ns = clock_mono_ns() + WAIT_MS * NS_PER_MS;     \
        while (!(condition)) {                                              \
            cr_assert_lt(clock_mono_ns(), wait_until_ns, "%s", #condition); \
            poll(NULL, 0, 1);                                               \
        }                                                                   \
    } while (0)

#endif
