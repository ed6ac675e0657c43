/* error_stats: how many error replies were sent, by their code: the first word of the text. Counted
 * in base/metrics, so any thread may read. */
#ifndef FANFARE_SESSION_ERROR_STATS_H
#define FANFARE_SESSION_ERROR_STATS_H

#include <stdint.h>

#include "base/slice.h"

/* The codes that have a counter of their own; any other one counts under the last. */
enum { ERROR_CODES = 9 };
extern const char *const error_code_words[ERROR_CODES];

/* Once, before threads start. */
void error_stats_begin(void);

/* `count` (> 0) errors were written; `reply` begins with the first: "-CODE text". Thread: a
 * worker. */
void error_stats_add(struct slice reply, uint32_t count);

/* Error replies of code number `code`. Any thread. */
uint64_t error_stats_count(uint32_t code);

#endif
