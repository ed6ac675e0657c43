/* sim_guards: for each guard whose absence takes one exact order of events to show, that order.
 * usage: sim_guards GUARD [-v]: the scenario must go well with the guard on, and fail as the table
 * says with it off. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "consensus/group/guards.h"
#include "sim/sim_script.h"

static bool is_vote(const struct message *m, bool pre_vote)
{
    return m->kind == MESSAGE_RAFT && m->raft.type == RAFT_REQUEST_VOTE &&
           m->raft.request_vote.pre_vote == pre_vote;
}

static bool is_vote_result(const struct message *m)
{
    return m->kind == MESSAGE_RAFT && m->raft.type == RAFT_REQUEST_VOTE_RESULT;
}

static uint64_t term_of(struct script *s, int node)
{
    const struct group *g = script_group(s, node);
    return g != NULL ? raft_current_term(&g->raft) : 0;
}

/* ---- 5 ---- */

/* Does node 2 hold what leader 4 put in the place of the lost change? */
static bool has_taken_over(struct script *s, int node)
{
    uint64_t last = script_last(s, 4);
    const struct group *g = script_group(s, node);
    return script_last(s, node) == last && wal_log_term(g->log, last) == term_of(s, 4);
}

static bool has_all_of_one(struct script *s, int node)
{
    return script_last(s, node) == script_last(s, 1);
}

static bool has_seven_voters(struct script *s, int node)
{
    const struct raft_server *seventh = group_server(script_group(s, node), 7);
    return seventh != NULL && seventh->role == RAFT_VOTER && script_is_quiet(s, node);
}

/* Six voters. Node 2 gets a command and a change to five voters in one message; the command is
 * committed, the change is lost to a new leader. If node 2 has noted the command's index for the
 * change it keeps the five voters. Meanwhile a seventh joins: three of five elect node 2, four of
 * seven have committed without any of them. */
static void change_behind_a_command(struct script *s)
{
    script_begin(s, 6, 7, s->sim.guards_off, s->sim.is_verbose);
    script_elect(s, 1);
    script_commit(s, 1);
    script_add_standby(s, 1, 7);
    script_pass(s, 100);
    script_cut(s, NODES(1), NODES(2), true);
    s->candidate = SCRIPT_NOBODY;
    script_commit(s, 1);
    script_pass(s, 10);
    script_cut(s, NODES(1), NODES(3, 4, 5, 6, 7), true);
    script_change(s, 1, ENGINE_REMOVE, 6);
    script_pass(s, 10);
    script_cut(s, NODES(1), NODES(2), false);
    (void)script_wait(s, has_all_of_one, 2, "gets the command and the change");
    script_cut(s, NODES(1, 2), NODES(3, 4, 5, 6, 7), true);
    script_elect(s, 4);
    (void)script_wait(s, script_is_quiet, 4, "its first entry is committed");
    script_cut(s, NODES(2), NODES(4), false);
    (void)script_wait(s, has_taken_over, 2, "drops the lost change");
    (void)script_wait(s, has_taken_over, 3, "has the same");
    script_cut(s, NODES(1, 2, 3), NODES(4, 5, 6, 7), true);
    script_cut(s, NODES(1, 2), NODES(3), false);
    s->candidate = SCRIPT_NOBODY;
    script_change(s, 4, ENGINE_PROMOTE, 7);
    (void)script_wait(s, has_seven_voters, 4, "has seven voters");
    script_commit(s, 4);
    s->candidate = 2;
    script_pass(s, 3000);
    script_heal(s);
}

/* ---- 6 ---- */

static bool has_change_at_two(struct script *s, int node)
{
    return script_last(s, node) == script_last(s, 1) &&
           script_group(s, 1)->raft.configuration_uncommitted_index == script_last(s, 1);
}

/* Four voters and a standby. The leader appends the promotion of the fifth, which only the fifth
 * gets. A new leader of the same four removes the old one before an entry of its own is committed:
 * two of three is enough for it, three of five elect the old one, and nobody is in both. */
static void change_before_the_term_is_owned(struct script *s)
{
    script_begin(s, 4, 5, s->sim.guards_off, s->sim.is_verbose);
    script_elect(s, 1);
    script_commit(s, 1);
    script_add_standby(s, 1, 5);
    for (int i = 2; i <= 4; i++) {
        (void)script_wait(s, script_is_quiet, i, "has everything");
    }
    script_cut(s, NODES(1, 5), NODES(2, 3, 4), true);
    s->candidate = SCRIPT_NOBODY;
    script_change(s, 1, ENGINE_PROMOTE, 5);
    (void)script_wait(s, has_change_at_two, 5, "has its own promotion");
    script_elect(s, 2);
    script_cut(s, NODES(4), NODES(2, 3), true);
    if (script_try_change(s, 2, ENGINE_REMOVE, 1)) {
        (void)script_wait(s, script_is_quiet, 2, "the removal is committed");
        script_commit(s, 2);
    }
    script_cut(s, NODES(4), NODES(1, 5), false);
    s->candidate = 1;
    script_pass(s, 5000);
    script_heal(s);
}

/* ---- 8 ---- */

static bool has_two_voters(struct script *s, int node)
{
    const struct raft_server *second = group_server(script_group(s, node), 2);
    return second != NULL && second->role == RAFT_VOTER;
}

static bool has_stored_all(struct script *s, int node)
{
    return script_group(s, node)->raft.last_stored == script_last(s, node);
}

/* A sole voter promotes a standby and restarts before that hears of it: from then on it needs the
 * vote of one that does not know that it has any. */
static void promotion_unheard_of(struct script *s)
{
    script_begin(s, 1, 2, s->sim.guards_off, s->sim.is_verbose);
    script_elect(s, 1);
    script_commit(s, 1);
    script_add_standby(s, 1, 2);
    script_change(s, 1, ENGINE_PROMOTE, 2);
    s->sim.nodes[1].sd.delay_ms_max = 100; /* the change leaves when it is on the disk */
    (void)script_wait(s, has_two_voters, 1, "has two voters");
    script_cut(s, NODES(1), NODES(2), true);
    (void)script_wait(s, has_stored_all, 1, "has that on its disk");
    script_kill(s, 1, 5);
    (void)script_wait(s, script_runs, 1, "is back");
    script_heal(s);
}

/* ---- 9 ---- */

static uint64_t no_votes_for_two(struct script *s, int from, int to, const struct message *m)
{
    (void)s;
    (void)to;
    return from == 2 && is_vote(m, false) ? SIM_DROP : 1;
}

static bool is_terms_ahead(struct script *s, int node)
{
    return term_of(s, node) >= term_of(s, 1) + 3;
}

/* Node 1 has the longer log, node 2 the higher term, by elections that it did not win; the third is
 * dead. Node 2 cannot be elected; node 1 can, once it learns the term. */
static void unequal_terms(struct script *s)
{
    script_begin(s, 3, 3, s->sim.guards_off, s->sim.is_verbose);
    script_elect(s, 1);
    script_commit(s, 1);
    script_cut(s, NODES(1), NODES(2, 3), true);
    script_propose(s, 1);
    s->candidate = 2;
    s->rule = no_votes_for_two;
    (void)script_wait(s, is_terms_ahead, 2, "campaigns in vain");
    script_kill(s, 3, UINT64_MAX);
    script_kill(s, 2, 20); /* a candidate would go on with real votes, which tell its term */
    (void)script_wait(s, script_runs, 2, "is back");
    script_heal(s);
}

/* ---- 10 ---- */

static uint64_t late_denials(struct script *s, int from, int to, const struct message *m)
{
    if (!is_vote_result(m) || from != 2 || to != 3) { return 1; }
    s->noted++;
    return 60;
}

/* A follower loses its leader, asks for pre-votes and restarts; the answer reaches the new process.
 * The leader has had its majority all along and must stay. */
static void answer_after_a_restart(struct script *s)
{
    script_begin(s, 3, 3, s->sim.guards_off, s->sim.is_verbose);
    script_elect(s, 1);
    script_commit(s, 1);
    uint64_t term = term_of(s, 1);
    s->candidate = SCRIPT_ANYBODY;
    s->rule = late_denials;
    script_cut(s, NODES(1), NODES(3), true);
    (void)script_wait(s, script_has_noted, 3, "asks for pre-votes");
    script_kill(s, 3, 5);
    script_pass(s, 100);
    script_cut(s, NODES(1), NODES(3), false);
    script_pass(s, 2000);
    if (s->sim.failure == NULL && (term_of(s, 1) != term || !script_leads(s, 1))) {
        sim_fail(&s->sim, "a leader with a majority was deposed");
    }
    script_heal(s);
}

/* ---- 11 and 12 ---- */

/* Whoever leads now commits something; node 1, which is cut off, must not answer as if it had not. */
static void read_at_the_old_leader(struct script *s, int other)
{
    if (script_leads(s, other)) { script_commit(s, other); }
    if (s->sim.failure == NULL && !group_is_leader(script_group(s, 1))) {
        sim_fail(&s->sim, "the old leader knows that it was deposed: nothing is shown");
    }
    script_read(s, 1);
    script_pass(s, 1000);
    script_heal(s);
}

static uint64_t slow_pre_vote(struct script *s, int from, int to, const struct message *m)
{
    if (from != 3 || to != 2 || !is_vote(m, true) || s->noted > 0) { return 1; }
    s->noted++;
    return 30;
}

/* Node 3 has lost the leader and asks for votes. Node 2 acknowledges a heartbeat, which extends the
 * leader's lease, restarts, and is asked. */
static void vote_after_a_restart(struct script *s)
{
    script_begin(s, 3, 3, s->sim.guards_off, s->sim.is_verbose);
    script_elect(s, 1);
    script_commit(s, 1);
    script_cut(s, NODES(1), NODES(3), true);
    s->candidate = 3;
    s->rule = slow_pre_vote;
    (void)script_wait(s, script_has_noted, 3, "asks for pre-votes");
    script_cut(s, NODES(1), NODES(2), true);
    script_kill(s, 2, 5);
    script_pass(s, 60);
    read_at_the_old_leader(s, 3);
}

static uint64_t no_votes_to_one(struct script *s, int from, int to, const struct message *m)
{
    (void)from;
    s->noted += to == 2 && m->kind == MESSAGE_RAFT && m->raft.type == RAFT_TIMEOUT_NOW;
    return to == 1 && is_vote(m, false) ? SIM_DROP : 1;
}

/* A leader hands over to node 2, which is elected at once, lease or not, and is cut off. */
static void read_after_a_transfer(struct script *s)
{
    script_begin(s, 3, 3, s->sim.guards_off, s->sim.is_verbose);
    script_elect(s, 1);
    script_commit(s, 1);
    s->rule = no_votes_to_one;
    s->candidate = 2;
    if (engine_transfer(s->sim.nodes[1].e, SCRIPT_GROUP, 2) != ERR_OK) {
        sim_fail(&s->sim, "no transfer is possible");
    }
    sim_settle(&s->sim.nodes[1]);
    (void)script_wait(s, script_has_noted, 1, "hands over");
    script_pass(s, 2);
    script_cut(s, NODES(1), NODES(2, 3), true);
    (void)script_wait(s, script_leads, 2, "is elected");
    read_at_the_old_leader(s, 2);
}

/* ---- running them ---- */

static const struct scenario {
    enum guard guard;
    void (*play)(struct script *s);
    const char *failure; /* without the guard */
} scenarios[] = {
    {GUARD_SPLIT_CHANGE, change_behind_a_command, "lacks committed entry"},
    {GUARD_CHANGE, change_before_the_term_is_owned, "lacks committed entry"},
    {GUARD_UNAWARE_VOTER, promotion_unheard_of, "makes no progress"},
    {GUARD_PREVOTE_DENIAL, unequal_terms, "makes no progress"},
    {GUARD_PREVOTE_STALE, answer_after_a_restart, "was deposed"},
    {GUARD_RESTART_HOLD, vote_after_a_restart, "has a lease of term"},
    {GUARD_TRANSFER_LEASE, read_after_a_transfer, "has a lease of term"},
};

/* True: it went well, or, with the guard off, it failed as it should. */
static bool play(const struct scenario *scenario, bool is_on, bool is_verbose)
{
    struct script *s = mem_new0(sizeof *s);
    s->sim.guards_off = is_on ? 0 : 1U << scenario->guard;
    s->sim.is_verbose = is_verbose;
    scenario->play(s);
    bool is_well = script_end(s);
    printf("guard %d %s: %s\n", (int)scenario->guard, is_on ? "on" : "off",
           is_well ? "all is well" : s->sim.failure_text);
    bool is_right = is_on ? is_well : !is_well && strstr(s->sim.failure_text, scenario->failure);
    mem_free(s);
    return is_right;
}

int main(int argc, char **argv)
{
    int guard = argc > 1 ? atoi(argv[1]) : 0;
    bool is_verbose = argc > 2 && strcmp(argv[2], "-v") == 0;
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    for (size_t i = 0; i < COUNT_OF(scenarios); i++) {
        if ((int)scenarios[i].guard == guard) {
            bool holds = play(&scenarios[i], true, is_verbose);
            bool is_needed = play(&scenarios[i], false, is_verbose);
            return holds && is_needed ? 0 : 1;
        }
    }
    fprintf(stderr, "usage: sim_guards GUARD [-v], for a guard with a scenario\n");
    return 64;
}
