/* data_layout: a file beside the partitions that says how keys are divided among them: what was chosen at the first start
 * holds for good, because keys are where it put them. Thread: main. */
#ifndef FANFARE_DATA_LAYOUT_H
#define FANFARE_DATA_LAYOUT_H

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

/* Write the file if `dir` has none, else compare. Errors: ERR_INVALID (it differs), ERR_SYSTEM: logged. */
MUST_USE enum err data_layout_check(const char *dir, uint32_t partition_count,
                                    uint64_t sharded_databases);

#endif
