/* import_options: what `fanfare import` was told. Owns: the texts that it cut out of URLs. Thread: main. */
#ifndef FANFARE_IMPORT_IMPORT_OPTIONS_H
#define FANFARE_IMPORT_IMPORT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

/* Exit codes. */
enum import_exit {
    IMPORT_DONE = 0,
    IMPORT_FAILED = 1, /* the target cannot be reached, or refuses; run it again with --replace */
    IMPORT_BAD_SOURCE = 2, /* file or source cannot be read, or is damaged */
    IMPORT_LEFT_OUT =
        3, /* something cannot come over and --skip was not given: nothing was written */
    IMPORT_STOPPED = 4, /* following: a command that cannot be executed; what was before it is in */
    IMPORT_USAGE = 64,
};

struct import_server {
    char host[256];
    uint16_t port;
    char user[128]; /* "": none */
    char password[512];
    int db; /* -1: all */
};

/* host:port, or redis:// or fanfare://[[user]:password@]host[:port][/db]. Gives: NULL, or what is wrong with it (static). */
MUST_USE const char *import_server_read(struct import_server *server, const char *text);

struct import_options {
    const char *file; /* NULL: from a source */
    bool has_source;
    struct import_server source;
    struct import_server target;
    const char *spool_dir;
    bool replaces;        /* the target need not be empty */
    bool skips;           /* go on without what cannot come over */
    bool is_dry;          /* list, and write nothing */
    bool follows;         /* until a signal */
    bool until_caught_up; /* or until the source is quiet */
};

/* False: the arguments are no good, and stderr says so. `argv` as main has it: fanfare import ... */
MUST_USE bool import_options_read(struct import_options *options, int argc, char **argv);

#endif
