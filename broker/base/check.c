/* check: what happens when an assertion fails. */
#include "base/check.h"

#include <stdlib.h>

#include "base/log.h"

void check_failed(const char *file, int line, const char *what)
{
    LOG_ERROR("check failed", LOG_STR("what", what), LOG_STR("file", file), LOG_INT("line", line));
    abort();
}
