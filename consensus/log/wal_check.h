/* wal_check: what `fanfare wal-check DIR` does. */
#ifndef FANFARE_CONSENSUS_WAL_CHECK_H
#define FANFARE_CONSENSUS_WAL_CHECK_H

#include <stdio.h>

/* Read the write-ahead log in `dir`, change nothing, and print to `out` what it holds: a line per
 * group and a summary.
 * Returns the exit code: 0 the log is whole (a torn tail is), 1 it is damaged, 2 it cannot be read.
 * The broker must not run on `dir`. Thread: any; blocks. */
int wal_check_print(const char *dir, FILE *out);

#endif
