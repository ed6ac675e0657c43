/* data_script: what scripts need of who runs them: EVAL and its kin run where there is a struct data_scripting. */
#ifndef FANFARE_DATA_DATA_SCRIPT_H
#define FANFARE_DATA_DATA_SCRIPT_H

#include "data/data_call.h"

struct data_rights;
struct scripts;

/* Where a command goes. */
struct data_script_place {
    bool is_any; /* it does not matter: it will be refused */
    uint32_t partition;
    uint32_t slot; /* in a database that is whole it means nothing */
};

/* Of a command that is called with this database: its place. False: it has none, *why says so, as an error's text. */
typedef bool data_script_find(void *arg, uint16_t db, const struct slice *argv, uint32_t argc,
                              struct data_script_place *place, struct buf *why);

enum {
    DATA_PUBLISHES_BYTES_MAX = 16 << 20, /* of one script */
    DATA_PUBLISHES_MARK = 1, /* the last byte of a reply that has some: no reply ends so */
};

struct data_scripting {
    struct scripts *scripts;
    uint64_t sharded_databases; /* bits */
    uint64_t instructions_max;  /* of a script; 0: the default */
    data_script_find *find;     /* NULL: all is in one place */
    void *find_arg;
    struct data_rights *rights; /* NULL: scripts are everybody's */
    bool knows_rights;          /* by its level the entry may have some */
    bool may_log;
    bool is_alone; /* run them in states of their own (script.h) */
    bool
        again; /* one has to be: all that the call has done is to be undone, and there is no reply */
    struct buf publishes; /* of the call; data_publishes_seal */
};

/* Does the command run scripts, or keep them? */
bool data_runs_scripts(const struct data_command *command);
bool data_is_script(struct slice name); /* the same by its name */

/* A script of a user who may not do everything: DATA_SCRIPT_AS, the user's rights, and then EVAL or its kin. */
#define DATA_SCRIPT_AS "script_as"
enum { DATA_SCRIPT_AS_WORDS = 2 };
bool data_is_script_as(struct slice name);

/* What a script has published goes with its reply to the node of the client that asked, which publishes it: behind the
 * reply, and marked by the last byte. Empties scripting->publishes. */
void data_publishes_seal(struct data_scripting *scripting, struct buf *reply);

struct data_publish {
    bool is_shard;
    struct slice channel;
    struct slice message;
};
/* One more. False: it is too much for one script. */
MUST_USE bool data_publishes_add(struct data_scripting *scripting,
                                 const struct data_publish *publish);
/* Take what is behind a reply off. Gives: what data_publishes_take takes apart; empty: nothing was published. */
struct slice data_publishes_split(struct slice *reply);
/* The next of them. False: there is none. */
MUST_USE bool data_publishes_take(struct slice *publishes, struct data_publish *out);

#endif
