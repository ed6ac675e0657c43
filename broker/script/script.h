/* script: Lua scripts, compiled and run. It knows Lua, replies and nothing of data: what a script calls goes through a seam.
 *
 * Every replica runs a script by itself and has to come to the same end. So a script sees no clock but the entry's, no
 * chance but what it seeds itself, no address, no order of a table that depends on one, and leaves nothing behind for the
 * next: tables of the sandbox cannot be written. Its work is counted in instructions (script_charge.c), and ends at
 * `instructions_max` with an error that it cannot catch.
 *
 * Memory. What a state holds depends on the scripts that ran in it before, so a script that needs more than
 * SCRIPT_SHARED_BYTES there has no verdict yet: SCRIPT_AGAIN. In a state of its own everything is the same on all
 * replicas, and what does not fit into SCRIPT_ALONE_BYTES there, far more, is an error. Whoever ran it undoes what it has
 * written and runs it again alone.
 *
 * Owns: states, each with the scripts compiled in it. Bound: SCRIPTS_COMPILED_MAX of them, or SCRIPT_BASE_BYTES; then the state
 * is made anew. Thread: whoever owns the struct scripts. A script may be run from inside another one's call: it has another
 * state. */
#ifndef FANFARE_SCRIPT_SCRIPT_H
#define FANFARE_SCRIPT_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sha1.h"
#include "base/slice.h"
#include "resp/resp_write.h"

enum {
    SCRIPT_SHARED_BYTES = 32 << 20,
    SCRIPT_ALONE_BYTES = 128 << 20,
    SCRIPT_BASE_BYTES = 8 << 20,
    SCRIPTS_COMPILED_MAX = 500,
    SCRIPT_TEXT_BYTES_MAX = 1 << 20,
    SCRIPT_REPLY_BYTES_MAX = 64 << 20,
};
#define SCRIPT_INSTRUCTIONS_DEFAULT UINT64_C(100000000)

/* What the first line of a script says (#!lua flags=...). */
enum script_flag {
    SCRIPT_NO_WRITES = 1 << 0,
    SCRIPT_ALLOW_OOM = 1 << 1,
    SCRIPT_ALLOW_STALE = 1 << 2,
    SCRIPT_NO_CLUSTER = 1 << 3,
    SCRIPT_CROSS_SLOT = 1 << 4,
    SCRIPT_COMPAT = 1 << 5, /* there is no such line */
};

/* What a script calls. */
struct script_ops {
    /* One command: one reply, or one error, behind what is in reply->out, in reply->version. argv is good for the call. */
    void (*call)(void *arg, uint32_t argc, const struct slice *argv, struct reply *reply);
    /* Is there such a command? */
    bool (*knows)(void *arg, uint32_t argc, const struct slice *argv);
    /* It is known: may it be called? */
    bool (*may)(void *arg, uint32_t argc, const struct slice *argv);
    /* Some 10 us of work were done. */
    void (*work)(void *arg);
};

struct script_run {
    const struct script_ops *ops;
    void *arg;
    const struct slice *keys;
    uint32_t key_count;
    const struct slice *args;
    uint32_t arg_count;
    uint64_t now_ms;           /* the entry's */
    uint64_t seed;             /* of math.random */
    uint64_t instructions_max; /* 0: SCRIPT_INSTRUCTIONS_DEFAULT */
    bool may_log;              /* what redis.log says goes to the log */
};

enum script_end {
    SCRIPT_DONE,  /* there is a reply, which may be an error */
    SCRIPT_AGAIN, /* the state was too small; nothing is in the reply: run it in one of its own */
};

struct scripts;
struct script_state;
struct script;

MUST_USE struct scripts *scripts_new(void);
void scripts_free(struct scripts *scripts); /* no state is in use; NULL is allowed */

/* A state for one run: one that is kept, or a new one that only this run has. Until scripts_leave. */
MUST_USE struct script_state *scripts_enter(struct scripts *scripts, bool is_alone);
void scripts_leave(struct scripts *scripts, struct script_state *state);

/* The script of this sha, if it is compiled in the state; else NULL. */
struct script *script_find(const struct script_state *state, const unsigned char sha[SHA1_BYTES]);
/* Compile it. NULL: it is no good, and the reply says why, if *end is SCRIPT_DONE. */
struct script *script_compile(struct script_state *state, const unsigned char sha[SHA1_BYTES],
                              struct slice text, struct reply *reply, enum script_end *end);
uint32_t script_flags(const struct script *script); /* enum script_flag, or-ed */

/* Run it: one reply behind what is in reply->out. */
MUST_USE enum script_end script_run(struct script_state *state, const struct script *script,
                                    const struct script_run *run, struct reply *reply);

#endif
