/* backup_options: what `fanfare backup` and `fanfare restore` were told. Thread: main. */
#ifndef FANFARE_BACKUP_BACKUP_OPTIONS_H
#define FANFARE_BACKUP_BACKUP_OPTIONS_H

#include "import/import_options.h"

struct backup_options {
    struct import_server server; /* that is read, or written to */
    const char *file;            /* NULL: standard output, or input */
    const char *spool_dir;       /* restore: where standard input is kept meanwhile */
    uint64_t bytes_per_s;        /* backup: at most; 0: as fast as it goes */
    bool replaces;               /* restore: the target need not be empty */
    bool skips;                  /* restore: go on without what cannot be restored */
    bool with_users;             /* restore: the users, too */
    bool is_dry;                 /* restore: look at the file, and write nothing */
};

/* False: the arguments are no good, and stderr says so. `argv` as main has it: fanfare backup ..., fanfare restore ... */
MUST_USE bool backup_options_read(struct backup_options *options, int argc, char **argv);
MUST_USE bool restore_options_read(struct backup_options *options, int argc, char **argv);

#endif
