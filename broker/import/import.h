/* import: `fanfare import`: the keys of an RDB file, or of a Redis that is read as its replicas read it, into a running fanfare.
 * A client program: it serves nobody. Thread: main. */
#ifndef FANFARE_IMPORT_IMPORT_H
#define FANFARE_IMPORT_IMPORT_H

/* fanfare import ...: argv as main has it. Gives: an exit code of enum import_exit. */
int import_main(int argc, char **argv);

#endif
