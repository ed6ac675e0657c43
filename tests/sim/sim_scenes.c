/* sim_scenes: what a group must do in situations that have one exact order of events.
 * usage: sim_scenes NAME [-v]; without a name all of them. */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "sim/sim_script.h"

enum { ELECTIONS_MS = 300 * 8 };

static bool somebody_else_leads(struct script *s, int node)
{
    struct sim_node *leader = oracle_leader(&s->sim, SCRIPT_GROUP);
    return leader != NULL && leader != &s->sim.nodes[node] &&
           group_owns_term(sim_group(leader, SCRIPT_GROUP));
}

static int leader_of(struct script *s)
{
    return (int)(oracle_leader(&s->sim, SCRIPT_GROUP) - s->sim.nodes);
}

static void begin_with_leader_one(struct script *s)
{
    script_begin(s, 3, 3, 0, s->sim.is_verbose);
    script_elect(s, 1);
    script_commit(s, 1);
    script_pass(s, 200);
    s->candidate = SCRIPT_ANYBODY;
}

static void stick(struct script *s, int node)
{
    s->sim.nodes[node].sd.delay_ms_max = 100000000;
}

static void fill(struct script *s, int node)
{
    struct sim_disk *sd = &s->sim.nodes[node].sd;
    sd->capacity_bytes = sim_disk_used_bytes(sd) + 100;
    s->sim.nodes[node].e->groups.space.opts.reserve_bytes = 1000;
}

/* Its heartbeats go on; what it is asked to do never gets done. */
static void a_leader_whose_disk_is_stuck_hands_over(struct script *s)
{
    begin_with_leader_one(s);
    stick(s, 1);
    script_propose(s, 1);
    (void)script_wait(s, somebody_else_leads, 1, "another one leads");
    if (s->sim.failure == NULL) { script_commit(s, leader_of(s)); }
}

static void a_leader_whose_disk_is_full_hands_over(struct script *s)
{
    begin_with_leader_one(s);
    fill(s, 1);
    (void)script_wait(s, somebody_else_leads, 1, "another one leads");
    if (s->sim.failure == NULL) { script_commit(s, leader_of(s)); }
}

static void all_disks_are_full_and_nobody_hands_over(struct script *s)
{
    begin_with_leader_one(s);
    for (int i = 1; i <= 3; i++) {
        fill(s, i);
    }
    uint64_t elections = s->sim.stats.elections;
    script_pass(s, ELECTIONS_MS);
    if (!script_leads(s, 1) || s->sim.stats.elections != elections) {
        sim_fail(&s->sim, "leadership moved among full disks");
    }
}

static void the_one_that_is_asked_has_a_disk_that_works(struct script *s)
{
    begin_with_leader_one(s);
    fill(s, 2);
    script_pass(s, 400);
    stick(s, 1);
    script_propose(s, 1);
    (void)script_wait(s, script_leads, 3, "leads");
    if (s->sim.failure == NULL) { script_commit(s, 3); }
}

static uint64_t no_timeout_now(struct script *s, int from, int to, const struct message *m)
{
    (void)from;
    (void)to;
    bool is_it = m->kind == MESSAGE_RAFT && m->raft.type == RAFT_TIMEOUT_NOW;
    s->noted += is_it;
    return is_it ? SIM_DROP : 1;
}

static bool has_a_lease_again(struct script *s, int node)
{
    struct sim_node *leader = oracle_leader(&s->sim, SCRIPT_GROUP);
    const struct group *g = leader != NULL ? sim_group(leader, SCRIPT_GROUP) : NULL;
    (void)node;
    return g != NULL && group_owns_term(g) && !g->lease_is_void;
}

/* The word was lost, but may still come: this term has no lease any more. */
static void a_transfer_that_comes_to_nothing_ends_in_a_new_term_with_a_lease(struct script *s)
{
    begin_with_leader_one(s);
    s->rule = no_timeout_now;
    if (engine_transfer(s->sim.nodes[1].e, SCRIPT_GROUP, 2) != ERR_OK) {
        sim_fail(&s->sim, "no transfer is possible");
    }
    sim_settle(&s->sim.nodes[1]);
    (void)script_wait(s, script_has_noted, 1, "hands over");
    (void)script_wait(s, has_a_lease_again, 1, "a leader has a lease");
    script_heal(s);
}

/* One of three is dead; without another the leader would be alone with it. */
static void no_voter_goes_without_whom_those_that_answer_are_no_majority(struct script *s)
{
    begin_with_leader_one(s);
    script_kill(s, 3, UINT64_MAX);
    script_pass(s, 400); /* longer than an election timeout */
    if (script_try_change(s, 1, ENGINE_REMOVE, 2)) {
        sim_fail(&s->sim, "a voter that is needed was removed");
    }
    script_commit(s, 1);
    s->sim.nodes[3].up_at_ms = s->sim.now_ms;
    (void)script_wait(s, script_is_quiet, 3, "has everything");
    script_pass(s, 100);
    script_change(s, 1, ENGINE_REMOVE, 2);
    (void)script_wait(s, script_is_quiet, 1, "the removal is committed");
    script_commit(s, 1);
}

static void receive_from(struct script *s, const char *node_name, const struct message *m)
{
    struct buf frame = {0};
    message_encode(&frame, m);
    CHECK(engine_receive(s->sim.nodes[1].e, node_name, buf_slice(&frame)) == ERR_OK);
    buf_fini(&frame);
    sim_settle(&s->sim.nodes[1]);
}

/* Node 1 is cut off and has no lease; who says that the others' terms, and their acknowledgements, are
 * as they were is not the one that hosts them. */
static void the_word_of_who_hosts_no_replica_proves_nothing(struct script *s)
{
    static const uint64_t group = SCRIPT_GROUP;
    static const uint64_t replica = 2;
    begin_with_leader_one(s);
    s->candidate = SCRIPT_NOBODY;
    script_cut(s, NODES(1), NODES(2, 3), true);
    script_pass(s, 290); /* it leads still, its lease has ended */
    struct group *g = script_group(s, 1);
    uint64_t term = raft_current_term(&g->raft);
    uint64_t reads = s->sim.stats.reads;
    script_read(s, 1);
    struct message terms = {.kind = MESSAGE_TERM_REPLY,
                            .round = g->all->round.number,
                            .group_count = 1,
                            .groups = &group,
                            .terms = &term,
                            .replicas = &replica};
    receive_from(s, "n3", &terms);
    struct message stamp = {.kind = MESSAGE_RAFT,
                            .group = SCRIPT_GROUP,
                            .from = replica,
                            .to = 1,
                            .stamp_ms = group_now_ms(g)};
    stamp.raft.type = RAFT_APPEND_ENTRIES_RESULT;
    stamp.raft.append_entries_result = (struct raft_append_entries_result){
        .version = 1, .term = term, .last_log_index = script_last(s, 1)};
    receive_from(s, "n3", &stamp);
    if (s->sim.stats.reads != reads) { sim_fail(&s->sim, "a stranger's word was believed"); }
    receive_from(s, "n2", &terms);
    if (s->sim.stats.reads != reads + 1) { sim_fail(&s->sim, "the host's word was not"); }
}

static const struct scene {
    const char *name;
    void (*play)(struct script *s);
} scenes[] = {
    {"stuck", a_leader_whose_disk_is_stuck_hands_over},
    {"full", a_leader_whose_disk_is_full_hands_over},
    {"all_full", all_disks_are_full_and_nobody_hands_over},
    {"fit", the_one_that_is_asked_has_a_disk_that_works},
    {"impostor", the_word_of_who_hosts_no_replica_proves_nothing},
    {"removal", no_voter_goes_without_whom_those_that_answer_are_no_majority},
    {"void_lease", a_transfer_that_comes_to_nothing_ends_in_a_new_term_with_a_lease},
};

static bool play(const struct scene *scene, bool is_verbose)
{
    struct script *s = mem_new0(sizeof *s);
    s->sim.is_verbose = is_verbose;
    scene->play(s);
    bool is_well = script_end(s);
    printf("%s: %s\n", scene->name, is_well ? "all is well" : s->sim.failure_text);
    mem_free(s);
    return is_well;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    bool is_verbose = argc > 2 && strcmp(argv[2], "-v") == 0;
    size_t failed = 0;
    size_t played = 0;
    log_configure(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    for (size_t i = 0; i < COUNT_OF(scenes); i++) {
        if (name != NULL && strcmp(name, scenes[i].name) != 0) { continue; }
        played++;
        failed += !play(&scenes[i], is_verbose);
    }
    return played > 0 && failed == 0 ? 0 : 1;
}
