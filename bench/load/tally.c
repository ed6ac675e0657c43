/* tally: the printing of violations. */
#include "tally.h"

#include <stdarg.h>
#include <stdio.h>

void tally_violation(struct tally *tally, const char *format, ...)
{
    tally->violation_count++;
    if (tally->is_quiet || tally->violation_count > TALLY_VIOLATIONS_SHOWN) { return; }
    va_list args;
    va_start(args, format);
    fputs("load: VIOLATION: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}
