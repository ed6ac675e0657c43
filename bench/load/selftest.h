/* selftest: proves that the checks see what they are there to see. */
#ifndef LOAD_SELFTEST_H
#define LOAD_SELFTEST_H

#include <stdbool.h>

/* Feed the checks clean traffic and traffic with planted faults, for every protocol, kind of
 * subscription, payload size and way of splitting. Prints what is not as it should be; true if
 * nothing. */
bool self_test(void);

#endif
