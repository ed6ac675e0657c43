/* import_source: a Redis that is read as its replicas read it: all keys as an RDB file, then the commands that it executes.
 * Both go into files first, so that it never waits for the target.
 * Owns: the connection and the files. Thread: main. */
#ifndef FANFARE_IMPORT_IMPORT_SOURCE_H
#define FANFARE_IMPORT_IMPORT_SOURCE_H

#include "import/import_options.h"
#include "import/import_spool.h"

enum { SOURCE_RETRY_S = 60 }; /* so long its connection may be lost */

struct import_source {
    struct import_server server;
    int fd; /* -1: none */
    struct import_spool keys;
    struct import_spool commands;
    char id[41];          /* of its history */
    uint64_t began_at;    /* the history's offset of the keys */
    uint64_t spooled_at;  /* of the first byte in `commands` */
    uint64_t received_at; /* up to which commands are here */
    uint64_t applied_at;  /* what it is told that we have */
    uint64_t acked_ns;
    uint64_t lost_ns; /* since when there is no connection; 0: there is one */
    uint64_t tried_ns;
    struct buf in;
    char why[256];
};

/* Connect, and ask for all keys. False: `why`. */
MUST_USE bool import_source_open(struct import_source *source, const struct import_server *server,
                                 const char *spool_dir);
void import_source_close(struct import_source *source);

/* Have all keys in source->keys. `on_progress` gives false: end. False: `why`. */
MUST_USE bool import_source_take_keys(struct import_source *source,
                                      bool (*on_progress)(void *arg, uint64_t bytes), void *arg);

/* Take what has come of commands, tell the source each second how far we are, connect anew if need be. Waits for nothing else.
 * False: `why`: it cannot go on. */
MUST_USE bool import_source_turn(struct import_source *source);

/* Commands before this offset are not needed again. */
MUST_USE bool import_source_forget(struct import_source *source, uint64_t at);

/* Where the source's own history ends now; asked over a connection of its own. False: it does not say. */
MUST_USE bool import_source_end(struct import_source *source, uint64_t *at);

#endif
