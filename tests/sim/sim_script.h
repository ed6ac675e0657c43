/* sim_script: a simulated cluster that does what a scenario says, and nothing by chance: who may be
 * elected, which message takes how long, who is cut off, when a node dies. For failures that need
 * one exact order of events, which the storm would meet once in months.
 * All of it concerns group 1; replica ids are node numbers. A step that does not come true is a
 * failure of the simulation like any other; after one, nothing happens any more. */
#ifndef FANFARE_TESTS_SIM_SCRIPT_H
#define FANFARE_TESTS_SIM_SCRIPT_H

#include "sim/sim.h"

enum { SCRIPT_GROUP = 1, SCRIPT_NOBODY = -1, SCRIPT_ANYBODY = 0 };

struct script {
    struct sim sim;
    int candidate; /* the only node whose requests for votes arrive; SCRIPT_NOBODY, SCRIPT_ANYBODY */
    /* Of the first rule that fits; otherwise 1 ms. NULL: none. */
    uint64_t (*rule)(struct script *s, int from, int to, const struct message *m);
    uint64_t noted; /* the rule's: how often it saw what it looks for */
};

/* Nodes 1 to `voters` with a replica each that votes, and as many more nodes as there are. */
void script_begin(struct script *s, int voters, int nodes, uint32_t guards_off, bool is_verbose);
/* All is well again: everything that went wrong ends, and 20 entries must be committed. */
void script_heal(struct script *s);
bool script_end(struct script *s); /* false: it failed; s->sim.failure_text says why */

/* Let `ms` pass, or as much as it takes until `is_true`; false, and a failure that tells `what`, if
 * it does not become true. */
void script_pass(struct script *s, uint64_t ms);
bool script_wait(struct script *s, bool (*is_true)(struct script *s, int node), int node,
                 const char *what);

struct group *script_group(struct script *s, int node);
uint64_t script_last(struct script *s, int node); /* index of the last entry in its log */

/* Cut or restore both ways between every node of `a` and every one of `b`, both ended by 0. */
void script_cut(struct script *s, const int *a, const int *b, bool is_cut);
#define NODES(...) ((const int[]){__VA_ARGS__, 0})

void script_elect(struct script *s, int node); /* nobody else campaigns from then on */
/* Propose one command; it is committed and acknowledged before it goes on. */
void script_commit(struct script *s, int node);
void script_propose(struct script *s, int node); /* without waiting */
void script_read(struct script *s, int node);    /* the oracle judges the answer */
/* A standby on `node`, which has none, that has all the leader has. */
void script_add_standby(struct script *s, int leader, int node);
/* Begin a change of replica `id`; try: false if that is refused. */
void script_change(struct script *s, int leader, enum engine_change change, int id);
bool script_try_change(struct script *s, int leader, enum engine_change change, int id);
void script_kill(struct script *s, int node, uint64_t down_ms); /* SIGKILL; UINT64_MAX: for good */

/* Conditions for script_wait. */
bool script_leads(struct script *s, int node);
bool script_has_noted(struct script *s, int node);
bool script_runs(struct script *s, int node);
bool script_is_quiet(struct script *s, int node); /* all that it has is committed and applied */
bool script_is_acked(struct script *s, int node); /* no request is open */

#endif
