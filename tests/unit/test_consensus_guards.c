/* Each guard of consensus/guards.h by itself: one replica, whose peers are played by the test. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "consensus/engine.h"
#include "consensus/engine_int.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"
#include "consensus/group/read.h"
#include "consensus/link/beats.h"
#include "sim/sim_disk.h"

enum { GROUP = 9, SENT_MAX = 64 };

struct sent {
    char to[16];
    struct message message; /* without what it borrowed */
    unsigned entry_count;
    int last_type;
};

struct fixture {
    struct sim_disk sd;
    struct engine *e;
    uint64_t now_ms;
    uint64_t applied;
    struct sent sent[SENT_MAX];
    size_t sent_count;
    size_t frame_count;
    const char *decoding_to;
};

static uint64_t world_now(void *arg)
{
    return ((struct fixture *)arg)->now_ms;
}

static void on_message(void *arg, const struct message *m)
{
    struct fixture *f = arg;
    if (f->sent_count == SENT_MAX) { f->sent_count = 0; } /* the oldest are of no interest */
    struct sent *sent = &f->sent[f->sent_count++];
    snprintf(sent->to, sizeof sent->to, "%s", f->decoding_to);
    sent->message = *m;
    sent->entry_count = 0;
    if (m->raft.type == RAFT_APPEND_ENTRIES && m->raft.append_entries.n_entries > 0) {
        sent->entry_count = m->raft.append_entries.n_entries;
        sent->last_type = m->raft.append_entries.entries[sent->entry_count - 1].type;
    }
}

static void world_send(void *arg, const char *to, struct slice frame, bool is_bulk)
{
    static const struct message_handler handler = {NULL, on_message, NULL};
    struct fixture *f = arg;
    (void)is_bulk;
    f->frame_count++;
    f->decoding_to = to;
    cr_assert_eq(message_decode(frame, &handler, f), ERR_OK);
}

static void world_fatal(void *arg, const char *what)
{
    (void)arg;
    cr_assert_fail("%s", what);
}

static enum fsm_answer apply(void *arg, const struct fsm_batch *batch)
{
    ((struct fixture *)arg)->applied = batch->last_index;
    return FSM_DONE;
}

static uint64_t applied_index(void *arg)
{
    return ((struct fixture *)arg)->applied;
}

static void on_leader(void *arg, bool is_leader, uint64_t term)
{
    (void)arg;
    (void)is_leader;
    (void)term;
}

static const struct fsm_ops ops = {
    .apply = apply, .applied_index = applied_index, .on_leader = on_leader};

static void open_engine(struct fixture *f)
{
    struct engine_opts opts = engine_opts_default();
    struct wal_report report;
    opts.node_name = "n1";
    opts.node_id = 1;
    opts.random_seed = 7;
    opts.segment_bytes = 1 << 20;
    opts.free_bytes_min = 0;
    struct engine_world world = {f, &f->sd.disk, world_now, world_send, world_fatal};
    cr_assert_eq(engine_open(&f->e, &opts, &world, &report), ERR_OK);
}

static struct group *group(struct fixture *f)
{
    return groups_find(&f->e->groups, GROUP);
}

static void turn(struct fixture *f)
{
    engine_turn(f->e);
}

/* Turn until nothing is left to be flushed. */
static void settle(struct fixture *f)
{
    for (int i = 0; i < 4; i++) {
        engine_turn(f->e);
        sim_disk_drain(&f->sd);
    }
    engine_turn(f->e);
}

/* A replica 1 of the group with `count` first voters 1, 2, 3; with 0 it waits to be added. */
static struct fixture *fixture_new(size_t count)
{
    static const struct engine_server servers[] = {{1, "n1"}, {2, "n2"}, {3, "n3"}};
    struct fixture *f = mem_new0(sizeof *f);
    f->now_ms = 50000;
    sim_disk_init(&f->sd, 3);
    open_engine(f);
    cr_assert_eq(engine_group_create(f->e, GROUP, 1, &ops, f, servers, count), ERR_OK);
    settle(f);
    return f;
}

static void fixture_free(struct fixture *f)
{
    engine_free(f->e);
    sim_disk_fini(&f->sd);
    mem_free(f);
}

static void receive(struct fixture *f, uint64_t from, struct message *m)
{
    char name[16];
    struct buf frame = {0};
    snprintf(name, sizeof name, "n%lu", (unsigned long)from);
    m->group = GROUP;
    m->from = from;
    m->to = 1;
    m->kind = MESSAGE_RAFT;
    message_encode(&frame, m);
    cr_assert_eq(engine_receive(f->e, name, buf_slice(&frame)), ERR_OK);
    buf_fini(&frame);
}

static void receive_append(struct fixture *f, uint64_t from, uint64_t term, uint64_t prev,
                           uint64_t prev_term, uint64_t commit, unsigned count)
{
    struct raft_entry entries[8] = {{0}};
    struct message m = {.stamp_ms = f->now_ms};
    for (unsigned i = 0; i < count; i++) {
        entries[i] = (struct raft_entry){.term = term, .type = RAFT_BARRIER};
    }
    m.raft.type = RAFT_APPEND_ENTRIES;
    m.raft.append_entries = (struct raft_append_entries){.term = term,
                                                         .prev_log_index = prev,
                                                         .prev_log_term = prev_term,
                                                         .leader_commit = commit,
                                                         .entries = entries,
                                                         .n_entries = count};
    receive(f, from, &m);
}

static void receive_append_reply(struct fixture *f, uint64_t from, uint64_t last, uint64_t stamp_ms)
{
    struct message m = {.stamp_ms = stamp_ms};
    m.raft.type = RAFT_APPEND_ENTRIES_RESULT;
    m.raft.append_entries_result = (struct raft_append_entries_result){
        .term = raft_current_term(&group(f)->raft), .last_log_index = last};
    receive(f, from, &m);
}

static void receive_vote(struct fixture *f, uint64_t from, uint64_t term, bool pre_vote)
{
    struct message m = {0};
    m.raft.type = RAFT_REQUEST_VOTE;
    m.raft.request_vote = (struct raft_request_vote){
        .term = term, .last_log_index = 1, .last_log_term = 1, .pre_vote = pre_vote};
    receive(f, from, &m);
}

static void receive_vote_reply(struct fixture *f, uint64_t from, uint64_t term, bool granted,
                               bool pre_vote)
{
    struct message m = {0};
    m.raft.type = RAFT_REQUEST_VOTE_RESULT;
    m.raft.request_vote_result = (struct raft_request_vote_result){
        .term = term, .vote_granted = granted, .pre_vote = pre_vote};
    receive(f, from, &m);
}

static void pass(struct fixture *f, uint64_t ms)
{
    f->now_ms += ms;
    engine_tick(f->e);
}

static const struct sent *last_sent(const struct fixture *f, const char *to,
                                    enum raft_message_type type)
{
    for (size_t i = f->sent_count; i > 0; i--) {
        const struct sent *sent = &f->sent[i - 1];
        if (strcmp(sent->to, to) == 0 && sent->message.raft.type == type) { return sent; }
    }
    return NULL;
}

/* Elect replica 1, in term 2, with entry 2 of its own that nobody has acknowledged. */
static void become_leader(struct fixture *f)
{
    pass(f, 3000);
    settle(f);
    receive_vote_reply(f, 2, 2, true, true);
    settle(f);
    receive_vote_reply(f, 2, 2, true, false);
    settle(f);
    cr_assert(group_is_leader(group(f)));
    f->sent_count = 0;
}

Test(consensus_guards, a_message_of_an_old_term_is_answered_with_a_rejection_and_not_stepped)
{
    struct fixture *f = fixture_new(3);
    receive_append(f, 2, 5, 1, 1, 1, 0);
    settle(f);
    f->sent_count = 0;
    receive_append(f, 3, 3, 0, 0, 0, 0);
    settle(f);
    const struct sent *reply = last_sent(f, "n3", RAFT_APPEND_ENTRIES_RESULT);
    cr_assert_not_null(reply);
    cr_assert_eq(reply->message.raft.append_entries_result.term, 5);
    cr_assert_eq(reply->message.raft.append_entries_result.rejected, 1);
    cr_assert_eq(reply->message.raft.append_entries_result.last_log_index, 0);
    fixture_free(f);
}

Test(consensus_guards, a_sole_voter_leads_in_a_new_term_each_time_it_starts)
{
    struct fixture *f = fixture_new(1);
    cr_assert(group_is_leader(group(f)));
    uint64_t first = raft_current_term(&group(f)->raft);
    cr_assert_gt(first, 1, "term 1 is the creation's");
    engine_free(f->e);
    sim_disk_crash(&f->sd);
    f->applied = 0;
    open_engine(f);
    cr_assert_eq(engine_group_open(f->e, GROUP, &ops, f), ERR_OK);
    cr_assert_not(group_is_leader(group(f)), "the new term must be durable first");
    settle(f);
    cr_assert(group_is_leader(group(f)));
    cr_assert_gt(raft_current_term(&group(f)->raft), first);
    fixture_free(f);
}

Test(consensus_guards, committed_entries_are_cut_off_what_a_leader_sends_again)
{
    struct fixture *f = fixture_new(3);
    receive_append(f, 2, 2, 1, 1, 3, 3);
    settle(f);
    cr_assert_eq(group_commit_index(group(f)), 3);
    struct raft_entry entries[4] = {{.term = 1}, {.term = 2}, {.term = 2}, {.term = 2}};
    struct guard_piece piece = {0, 0, entries, 4};
    cr_assert(guard_trim_committed(group(f), &piece));
    cr_assert_eq(piece.prev_index, 3);
    cr_assert_eq(piece.prev_term, 2);
    cr_assert_eq(piece.count, 1);
    struct raft_entry wrong[3] = {{.term = 1}, {.term = 1}, {.term = 1}};
    struct guard_piece bad = {0, 0, wrong, 3};
    cr_assert_not(guard_trim_committed(group(f), &bad), "it contradicts what is committed");
    fixture_free(f);
}

Test(consensus_guards, what_comes_late_while_a_snapshot_is_installed_takes_no_commit_back)
{
    struct fixture *f = fixture_new(3);
    receive_append(f, 2, 2, 1, 1, 3, 3);
    settle(f);
    cr_assert_eq(group_commit_index(group(f)), 3);
    group(f)->is_installing = true;
    group(f)->raft.snapshot.installing = true;
    receive_append(f, 2, 2, 0, 0, 5, 0);
    cr_assert_eq(group_commit_index(group(f)), 3);
    cr_assert_neq(group(f)->state, GROUP_STOPPED);
    fixture_free(f);
}

Test(consensus_guards, a_vote_is_durable_before_it_is_told)
{
    struct fixture *f = fixture_new(3);
    pass(f, 1000);
    f->sent_count = 0;
    receive_vote(f, 2, 4, false);
    turn(f);
    cr_assert_null(last_sent(f, "n2", RAFT_REQUEST_VOTE_RESULT));
    sim_disk_drain(&f->sd);
    turn(f);
    const struct sent *reply = last_sent(f, "n2", RAFT_REQUEST_VOTE_RESULT);
    cr_assert_not_null(reply);
    cr_assert(reply->message.raft.request_vote_result.vote_granted);
    fixture_free(f);
}

Test(consensus_guards, a_change_comes_first_in_its_step_behind_an_empty_one)
{
    struct fixture *f = fixture_new(3);
    struct raft_entry entries[3] = {{.term = 2, .type = RAFT_COMMAND},
                                    {.term = 2, .type = RAFT_CHANGE},
                                    {.term = 2, .type = RAFT_COMMAND}};
    struct guard_piece piece = {1, 1, entries, 3};
    bool needs_empty;
    cr_assert_eq(guard_split_change(group(f), &piece, &needs_empty), 1);
    cr_assert_not(needs_empty);
    struct guard_piece rest = {2, 2, entries + 1, 2};
    cr_assert_eq(guard_split_change(group(f), &rest, &needs_empty), 2);
    cr_assert(needs_empty);
    fixture_free(f);
}

Test(consensus_guards, no_membership_change_before_the_leaders_term_has_committed)
{
    struct fixture *f = fixture_new(3);
    become_leader(f);
    cr_assert_eq(wal_log_term(group(f)->log, wal_log_last_index(group(f)->log)), 2,
                 "an entry of its own");
    cr_assert_eq(engine_change(f->e, GROUP, ENGINE_ADD_STANDBY, 4, "n4"), ERR_SLOW);
    receive_append_reply(f, 2, wal_log_last_index(group(f)->log), 0);
    settle(f);
    cr_assert_eq(engine_change(f->e, GROUP, ENGINE_ADD_STANDBY, 2, "n4"), ERR_INVALID,
                 "the id is taken");
    cr_assert_eq(engine_change(f->e, GROUP, ENGINE_REMOVE, 1, NULL), ERR_INVALID, "a leader stays");
    cr_assert_eq(engine_change(f->e, GROUP, ENGINE_PROMOTE, 2, NULL), ERR_INVALID,
                 "it votes already");
    cr_assert_eq(engine_change(f->e, GROUP, ENGINE_ADD_STANDBY, 4, "n4"), ERR_OK);
    cr_assert_eq(engine_change(f->e, GROUP, ENGINE_REMOVE, 2, NULL), ERR_SLOW, "one at a time");
    fixture_free(f);
}

Test(consensus_guards, a_rejection_of_what_is_known_to_match_is_stale)
{
    struct fixture *f = fixture_new(3);
    become_leader(f);
    receive_append_reply(f, 2, 2, 0);
    struct raft_append_entries_result old = {.term = 2, .rejected = 2, .last_log_index = 1};
    guard_old_rejection(group(f), 2, &old);
    cr_assert_eq(old.rejected, 0);
    struct raft_append_entries_result fresh = {.term = 2, .rejected = 4, .last_log_index = 1};
    guard_old_rejection(group(f), 2, &fresh);
    cr_assert_eq(fresh.rejected, 4);
    cr_assert_eq(fresh.last_log_index, 2, "it holds more than it held when it rejected");
    fixture_free(f);
}

Test(consensus_guards, a_replica_that_does_not_know_that_it_votes_grants_one_vote_per_term)
{
    struct fixture *f = fixture_new(0);
    pass(f, 1000);
    receive_vote(f, 2, 4, false);
    settle(f);
    const struct sent *reply = last_sent(f, "n2", RAFT_REQUEST_VOTE_RESULT);
    cr_assert_not_null(reply);
    cr_assert(reply->message.raft.request_vote_result.vote_granted);
    cr_assert_eq(wal_log_ballot(group(f)->log).term, 4);
    cr_assert_eq(wal_log_ballot(group(f)->log).vote, 2);
    receive_vote(f, 3, 4, false);
    settle(f);
    reply = last_sent(f, "n3", RAFT_REQUEST_VOTE_RESULT);
    cr_assert(reply == NULL || !reply->message.raft.request_vote_result.vote_granted);
    fixture_free(f);
}

Test(consensus_guards, a_denied_pre_vote_tells_the_own_higher_term)
{
    struct fixture *f = fixture_new(3);
    receive_append(f, 2, 9, 1, 1, 1, 0);
    settle(f);
    f->now_ms += 1000;
    receive_vote(f, 3, 4, true);
    settle(f);
    const struct sent *reply = last_sent(f, "n3", RAFT_REQUEST_VOTE_RESULT);
    cr_assert_not_null(reply);
    cr_assert_not(reply->message.raft.request_vote_result.vote_granted);
    cr_assert_eq(reply->message.raft.request_vote_result.term, 9);
    fixture_free(f);
}

Test(consensus_guards, the_answer_to_a_pre_vote_is_dropped_by_a_follower)
{
    struct fixture *f = fixture_new(3);
    receive_vote_reply(f, 2, 40, true, true);
    settle(f);
    cr_assert_eq(raft_current_term(&group(f)->raft), 1, "nobody is in term 40 yet");
    fixture_free(f);
}

Test(consensus_guards, who_restarted_votes_only_after_an_election_timeout)
{
    struct fixture *f = fixture_new(3);
    receive_vote(f, 2, 4, false);
    settle(f);
    cr_assert_null(last_sent(f, "n2", RAFT_REQUEST_VOTE_RESULT));
    f->now_ms += 1000;
    receive_vote(f, 2, 4, false);
    settle(f);
    cr_assert_not_null(last_sent(f, "n2", RAFT_REQUEST_VOTE_RESULT));
    fixture_free(f);
}

Test(consensus_guards, a_leader_that_hands_over_has_no_lease)
{
    struct fixture *f = fixture_new(3);
    become_leader(f);
    cr_assert_leq(read_lease_until_ms(group(f)), f->now_ms, "nobody has acknowledged anything");
    receive_append_reply(f, 2, 2, f->now_ms);
    settle(f);
    cr_assert_eq(read_lease_until_ms(group(f)), f->now_ms + 800,
                 "an election timeout less the margin");
    cr_assert_eq(engine_transfer(f->e, GROUP, 2), ERR_OK);
    settle(f);
    cr_assert_not_null(last_sent(f, "n2", RAFT_TIMEOUT_NOW));
    cr_assert_eq(read_lease_until_ms(group(f)), 0);
    fixture_free(f);
}

Test(consensus_guards, a_change_is_on_the_leaders_disk_before_it_leaves_and_a_command_need_not_be)
{
    struct fixture *f = fixture_new(3);
    become_leader(f);
    receive_append_reply(f, 2, 2, 0);
    receive_append_reply(f, 3, 2, 0);
    settle(f);
    f->sent_count = 0;
    cr_assert_eq(group_submit(group(f), RAFT_COMMAND, SLICE("")), ERR_OK);
    turn(f);
    const struct sent *append = last_sent(f, "n2", RAFT_APPEND_ENTRIES);
    cr_assert(append != NULL && append->entry_count == 1, "the flush has not ended");
    sim_disk_drain(&f->sd);
    f->sent_count = 0;
    cr_assert_eq(engine_change(f->e, GROUP, ENGINE_ADD_STANDBY, 4, "n4"), ERR_OK);
    turn(f);
    append = last_sent(f, "n2", RAFT_APPEND_ENTRIES);
    cr_assert(append == NULL || append->last_type != RAFT_CHANGE);
    settle(f);
    append = last_sent(f, "n2", RAFT_APPEND_ENTRIES);
    cr_assert(append != NULL && append->last_type == RAFT_CHANGE);
    fixture_free(f);
}

Test(consensus_guards, what_is_committed_elsewhere_is_applied_when_it_is_durable_here)
{
    struct fixture *f = fixture_new(3);
    become_leader(f);
    receive_append_reply(f, 2, 2, 0);
    settle(f);
    cr_assert_eq(group_submit(group(f), RAFT_COMMAND, SLICE("")), ERR_OK);
    turn(f);
    receive_append_reply(f, 2, 3, 0);
    receive_append_reply(f, 3, 3, 0);
    turn(f);
    cr_assert_eq(group_commit_index(group(f)), 3);
    cr_assert_eq(f->applied, 2);
    settle(f);
    cr_assert_eq(f->applied, 3);
    fixture_free(f);
}

Test(consensus_guards,
     what_waits_for_a_stuck_flush_is_bounded_by_group_and_node_and_the_rest_is_lost)
{
    struct fixture *f = fixture_new(3);
    pass(f, 1000);
    for (unsigned i = 0; i < 1100; i++) {
        receive_vote(f, 2, 4, false);
        turn(f);
    }
    cr_assert_eq(group(f)->awaiting_flush_count, 1024);
    settle(f);
    cr_assert_eq(group(f)->awaiting_flush_count, 0);
    cr_assert_eq(f->e->groups.awaiting_flush_bytes, 0);
    f->e->groups.opts.awaiting_flush_bytes_max = 500;
    for (unsigned i = 0; i < 100; i++) {
        receive_vote(f, 3, 5, false);
        turn(f);
    }
    cr_assert_leq(f->e->groups.awaiting_flush_bytes, 500 + 100, "a message more");
    cr_assert_lt(group(f)->awaiting_flush_count, 100);
    f->sent_count = 0;
    settle(f);
    cr_assert(last_sent(f, "n3", RAFT_REQUEST_VOTE_RESULT)
                  ->message.raft.request_vote_result.vote_granted);
    receive_vote(f, 3, 6, false);
    settle(f);
    cr_assert_eq(
        last_sent(f, "n3", RAFT_REQUEST_VOTE_RESULT)->message.raft.request_vote_result.term, 6);
    fixture_free(f);
}

Test(consensus_guards, what_the_state_machine_holds_is_known_to_be_committed_after_a_restart)
{
    struct fixture *f = fixture_new(3);
    receive_append(f, 2, 2, 1, 1, 4, 4);
    settle(f);
    cr_assert_eq(f->applied, 4);
    engine_free(f->e);
    sim_disk_kill(&f->sd);
    open_engine(f);
    cr_assert_eq(engine_group_open(f->e, GROUP, &ops, f), ERR_OK);
    settle(f);
    cr_assert_eq(group(f)->raft.last_stored, 5);
    cr_assert_eq(group_commit_index(group(f)), 4);
    fixture_free(f);
}

/* ---- heartbeats (group/beat.h) ---- */

/* A follower of replica 2 in term 2, who has heard it. */
static struct fixture *fixture_of_follower(void)
{
    struct fixture *f = fixture_new(3);
    receive_append(f, 2, 2, 1, 1, 1, 0);
    settle(f);
    f->sent_count = 0;
    return f;
}

Test(consensus_beat,
     a_heartbeat_that_says_nothing_new_is_answered_and_starts_the_election_timer_anew)
{
    struct fixture *f = fixture_of_follower();
    pass(f, 900);
    receive_append(f, 2, 2, 1, 1, 1, 0);
    turn(f);
    const struct sent *sent = last_sent(f, "n2", RAFT_APPEND_ENTRIES_RESULT);
    cr_assert_not_null(sent);
    cr_assert_eq(sent->message.raft.append_entries_result.term, 2);
    cr_assert_eq(sent->message.raft.append_entries_result.rejected, 0);
    cr_assert_eq(sent->message.raft.append_entries_result.last_log_index, 1);
    cr_assert_eq(sent->message.stamp_ms, f->now_ms);
    cr_assert_lt(group(f)->raft.now, f->now_ms, "the library was asked");
    pass(f, 990);
    cr_assert_eq(group(f)->raft.state, RAFT_FOLLOWER);
    cr_assert_geq(raft_timeout(&group(f)->raft), f->now_ms);
    fixture_free(f);
}

Test(consensus_beat, a_heartbeat_that_says_something_new_is_the_librarys)
{
    struct fixture *f = fixture_of_follower();
    receive_append(f, 2, 2, 1, 1, 1, 1);
    settle(f);
    cr_assert_eq(group_commit_index(group(f)), 1);
    receive_append(f, 2, 2, 2, 2, 2, 0);
    turn(f);
    cr_assert_eq(group_commit_index(group(f)), 2, "a higher commit index");
    f->sent_count = 0;
    receive_append(f, 2, 2, 3, 2, 3, 0);
    turn(f);
    const struct sent *sent = last_sent(f, "n2", RAFT_APPEND_ENTRIES_RESULT);
    cr_assert_eq(sent->message.raft.append_entries_result.rejected, 3, "entries that are missing");
    receive_append(f, 3, 3, 2, 2, 2, 0);
    settle(f);
    cr_assert_eq(group(f)->raft.follower_state.current_leader.id, 3, "another leader");
    fixture_free(f);
}

Test(consensus_beat,
     an_idle_leader_asks_its_library_now_and_then_and_steps_down_when_nobody_answers)
{
    struct fixture *f = fixture_new(3);
    become_leader(f);
    unsigned asked_count = 0;
    for (unsigned i = 0; i < 30; i++) {
        for (uint64_t from = 2; from <= 3; from++) {
            receive_append_reply(f, from, 2, f->now_ms);
        }
        settle(f);
        f->sent_count = 0;
        pass(f, 100);
        turn(f);
        cr_assert(group_is_leader(group(f)));
        cr_assert_not_null(last_sent(f, "n2", RAFT_APPEND_ENTRIES));
        cr_assert_not_null(last_sent(f, "n3", RAFT_APPEND_ENTRIES));
        asked_count += group(f)->asked_ms == f->now_ms;
    }
    cr_assert_leq(asked_count, 8);
    for (unsigned i = 0; i < 12; i++) {
        pass(f, 100);
        settle(f);
        f->sent_count = 0;
    }
    cr_assert(!group_is_leader(group(f)));
    fixture_free(f);
}

/* The heartbeat of replica 2 for each of `count` groups from GROUP on, as one frame. */
static void receive_beats(struct fixture *f, size_t count, uint64_t stamp_ms)
{
    struct beats beats = {.stamp_ms = stamp_ms, .count = count};
    struct buf frame = {0};
    for (size_t i = 0; i < count; i++) {
        beats.list[i] = (struct beat){GROUP + i, 2, 1, 2, 1, 1, 0};
    }
    beats_encode(&frame, &beats);
    cr_assert_eq(engine_receive(f->e, "n2", buf_slice(&frame)), ERR_OK);
    buf_fini(&frame);
}

Test(consensus_beat, heartbeats_of_a_frame_are_answered_by_a_frame_and_each_stamp_by_its_own)
{
    static const struct engine_server servers[] = {{1, "n1"}, {2, "n2"}, {3, "n3"}};
    struct fixture *f = fixture_new(3);
    struct fixture machine = {0};
    cr_assert_eq(engine_group_create(f->e, GROUP + 1, 1, &ops, &machine, servers, 3), ERR_OK);
    settle(f);
    receive_beats(f, 2, f->now_ms);
    settle(f);
    f->sent_count = f->frame_count = 0;
    receive_beats(f, 2, f->now_ms + 1);
    turn(f);
    cr_assert_eq(f->frame_count, 1);
    cr_assert_eq(f->sent_count, 2);
    f->sent_count = f->frame_count = 0;
    receive_beats(f, 2, f->now_ms + 2);
    receive_beats(f, 1, f->now_ms + 3);
    turn(f);
    cr_assert_eq(f->frame_count, 1);
    cr_assert_eq(f->sent_count, 3);
    cr_assert_eq(f->sent[1].message.stamp_ms, f->now_ms + 2);
    cr_assert_eq(f->sent[2].message.stamp_ms, f->now_ms + 3);
    f->sent_count = 0;
    receive_beats(f, 1, f->now_ms + 1);
    turn(f);
    cr_assert_eq(f->sent[0].message.stamp_ms, f->now_ms + 3, "an older one is no news");
    fixture_free(f);
}
