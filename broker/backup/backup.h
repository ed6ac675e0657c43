/* backup: `fanfare backup` and `fanfare restore`: the data of a running cluster into one file, and of that file into a running
 * cluster of whatever layout. Client programs: they serve nobody. Thread: main. */
#ifndef FANFARE_BACKUP_BACKUP_H
#define FANFARE_BACKUP_BACKUP_H

/* Exit codes. */
enum backup_exit {
    BACKUP_DONE = 0,
    BACKUP_FAILED = 1, /* the server cannot be reached, or refuses; of a backup: the file is none */
    BACKUP_BAD_FILE = 2, /* the file cannot be read, or is damaged: nothing was restored */
    BACKUP_LEFT_OUT = 3, /* something cannot be restored and --skip was not given: nothing was */
    BACKUP_USAGE = 64,
};

/* fanfare backup ... and fanfare restore ...: argv as main has it. Give: an exit code. */
int backup_main(int argc, char **argv);
int restore_main(int argc, char **argv);

#endif
