/* import_follow: what the source executes after its keys were taken, executed by the target, too.
 *
 * Commands of one database go over as one MULTI that also sets a key, `fanfare:import:ID`, to how far the source's history is in
 * there. So what was executed is known after a lost connection, and nothing is executed twice. The key is removed at the end.
 * What stood in one MULTI at the source stands in one here, but for databases that differ.
 *
 * Owns: the commands at hand. Thread: main. */
#ifndef FANFARE_IMPORT_IMPORT_FOLLOW_H
#define FANFARE_IMPORT_IMPORT_FOLLOW_H

#include "import/import_source.h"
#include "import/import_target.h"
#include "resp/resp_parse.h"

enum { FOLLOW_DATABASES = 16, FOLLOW_COMMANDS_MAX = 2048, FOLLOW_BYTES_MAX = 2 << 20 };

/* A place in the source's history, between two commands. */
struct follow_place {
    uint64_t at;
    uint32_t db;
    bool is_in_transaction;
};

struct import_follow {
    struct import_source *source;
    struct import_target *target;
    int only_db;
    bool skips; /* commands for databases that are not there */
    struct resp_parser *parser;
    struct buf known; /* the target's commands: a reply */
    struct buf in;    /* the source's bytes from `here` on */
    struct follow_place here;
    struct follow_place applied; /* all before it is executed at the target */
    struct buf batch;            /* commands for one database */
    uint32_t batch_count;
    uint32_t batch_db;
    struct { /* where the transaction at hand begins */
        struct follow_place place;
        size_t bytes;
        uint32_t count;
    } transaction;
    uint64_t executed
        [FOLLOW_DATABASES]; /* after a lost connection: up to where each database already is */
    bool is_marked[FOLLOW_DATABASES]; /* its key was set */
    char marker[64];
    uint64_t commands;
    uint32_t rewinds; /* how often the target was lost, and `here` went back to `applied` */
    struct buf why;   /* of FOLLOW_STOPPED */
};

enum follow_state {
    FOLLOW_IDLE,    /* all that has come is executed */
    FOLLOW_BUSY,    /* something was done, and there is more */
    FOLLOW_STOPPED, /* a command cannot be executed: `why` */
    FOLLOW_LOST,    /* the target is gone for good: target->why */
};

/* Begin behind the source's keys. False: the target does not answer. */
MUST_USE bool import_follow_begin(struct import_follow *follow, struct import_source *source,
                                  struct import_target *target, int only_db);
/* Execute what has come, some of it. */
enum follow_state import_follow_turn(struct import_follow *follow);
/* The keys that said how far it is go. */
void import_follow_end(struct import_follow *follow);
void import_follow_fini(struct import_follow *follow);

#endif
