/* The promises of consensus/engine.h that one node can show. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/engine.h"
#include "consensus/engine_int.h"
#include "consensus/group/group_int.h"
#include "consensus/group/read.h"
#include "consensus/log/wal_int.h"
#include "sim/sim_disk.h"

enum { GROUP = 4 };

struct fixture {
    struct sim_disk sd;
    struct engine *e;
    uint64_t now_ms;
    uint64_t applied;
    uint64_t command_count;
    bool takes_batches;
    const struct fsm_batch *batch; /* taken */
    int closed_count;
};

struct request {
    struct proposal proposal;
    struct read_request read;
    enum err err;
    bool is_done;
};

static uint64_t world_now(void *arg)
{
    return ((struct fixture *)arg)->now_ms;
}

static void world_send(void *arg, const char *to, struct slice frame, bool is_bulk)
{
    (void)arg;
    (void)frame;
    (void)is_bulk;
    cr_assert_fail("a sole voter sends to %s", to);
}

static void world_fatal(void *arg, const char *what)
{
    (void)arg;
    cr_assert_fail("%s", what);
}

static enum fsm_answer apply(void *arg, const struct fsm_batch *batch)
{
    struct fixture *f = arg;
    if (f->takes_batches) {
        f->batch = batch;
        return FSM_TAKEN;
    }
    f->applied = batch->last_index;
    f->command_count += batch->count;
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

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed_count++;
}

static const struct fsm_ops ops = {
    .apply = apply, .applied_index = applied_index, .on_leader = on_leader, .on_closed = on_closed};

static void settle(struct fixture *f)
{
    for (int i = 0; i < 6; i++) {
        f->now_ms += 150;
        engine_tick(f->e);
        engine_turn(f->e);
        sim_disk_drain(&f->sd);
    }
    engine_turn(f->e);
}

static struct fixture *fixture_new(void)
{
    static const struct engine_server self = {1, "n1"};
    struct fixture *f = mem_new0(sizeof *f);
    struct engine_opts opts = engine_opts_default();
    struct wal_report report;
    f->now_ms = 5000;
    sim_disk_init(&f->sd, 11);
    opts.node_name = "n1";
    opts.node_id = 1;
    opts.segment_bytes = 4096;
    opts.free_bytes_min = 1000;
    opts.ballast_bytes = 20000;
    opts.queued_bytes_max = 1000;
    opts.snapshot_log_bytes = 1 << 30;
    opts.segments_max = 1000;
    struct engine_world world = {f, &f->sd.disk, world_now, world_send, world_fatal};
    cr_assert_eq(engine_open(&f->e, &opts, &world, &report), ERR_OK);
    cr_assert_eq(engine_group_create(f->e, GROUP, 1, &ops, f, &self, 1), ERR_OK);
    settle(f);
    return f;
}

static void fixture_free(struct fixture *f)
{
    engine_free(f->e);
    sim_disk_fini(&f->sd);
    mem_free(f);
}

static void on_proposed(struct proposal *p, enum err err)
{
    struct request *request = CONTAINER_OF(p, struct request, proposal);
    request->err = err;
    request->is_done = true;
}

static void on_read(struct read_request *read, enum err err)
{
    struct request *request = CONTAINER_OF(read, struct request, read);
    request->err = err;
    request->is_done = true;
}

static void propose(struct fixture *f, struct request *request, struct slice data)
{
    *request = (struct request){.proposal = {.group = GROUP, .data = data, .on_done = on_proposed}};
    engine_propose(f->e, &request->proposal);
}

Test(consensus_engine, proposals_of_a_turn_share_one_entry_and_each_is_answered)
{
    struct fixture *f = fixture_new();
    struct request requests[5];
    struct engine_status before;
    struct engine_status after;
    cr_assert(engine_status(f->e, GROUP, &before));
    for (int i = 0; i < 5; i++) {
        propose(f, &requests[i], SLICE("command"));
    }
    settle(f);
    cr_assert(engine_status(f->e, GROUP, &after));
    cr_assert_eq(after.last, before.last + 1);
    cr_assert_eq(f->command_count, 5);
    for (int i = 0; i < 5; i++) {
        cr_assert(requests[i].is_done && requests[i].err == ERR_OK);
        cr_assert_eq(requests[i].proposal.index, after.last);
    }
    fixture_free(f);
}

Test(consensus_engine, a_full_queue_refuses_clearly)
{
    struct fixture *f = fixture_new();
    struct request first;
    struct request second;
    char data[700];
    memset(data, 'd', sizeof data);
    propose(f, &first, slice_of(data, sizeof data));
    propose(f, &second, slice_of(data, sizeof data));
    cr_assert(second.is_done && second.err == ERR_SLOW);
    settle(f);
    cr_assert(first.is_done && first.err == ERR_OK);
    fixture_free(f);
}

Test(consensus_engine, a_group_that_is_not_here_or_closed_refuses)
{
    struct fixture *f = fixture_new();
    struct request request = {.proposal = {.group = 77, .on_done = on_proposed}};
    engine_propose(f->e, &request.proposal);
    cr_assert(request.is_done && request.err == ERR_NOT_LEADER);
    propose(f, &request, SLICE("waits"));
    engine_group_close(f->e, GROUP);
    cr_assert(request.is_done && request.err == ERR_NOT_LEADER, "it had no entry yet");
    cr_assert_eq(engine_group_open(f->e, GROUP, &ops, f), ERR_OK);
    settle(f);
    propose(f, &request, SLICE("goes on"));
    settle(f);
    cr_assert(request.is_done && request.err == ERR_OK);
    engine_group_delete(f->e, GROUP);
    settle(f);
    cr_assert_eq(engine_group_next(f->e, 0), 0);
    fixture_free(f);
}

Test(consensus_engine, a_sole_voters_read_needs_no_flush)
{
    struct fixture *f = fixture_new();
    struct request request = {.read = {.group = GROUP, .on_done = on_read}};
    uint64_t flushes = engine_flush_count(f->e);
    engine_read(f->e, &request.read);
    engine_turn(f->e);
    cr_assert(request.is_done && request.err == ERR_OK);
    cr_assert_eq(engine_flush_count(f->e), flushes);
    fixture_free(f);
}

Test(consensus_engine, a_full_disk_costs_the_ballast_and_refuses_until_there_is_space)
{
    struct fixture *f = fixture_new();
    struct request request;
    char data[500];
    memset(data, 'd', sizeof data);
    cr_assert_not_null(sim_disk_find(&f->sd, "ballast"));
    f->sd.capacity_bytes = sim_disk_used_bytes(&f->sd) + 1500; /* above the mark, below a segment */
    for (int i = 0; i < 12 && !engine_is_full(f->e); i++) {
        propose(f, &request, slice_of(data, sizeof data));
        engine_turn(f->e);
        sim_disk_drain(&f->sd);
        engine_turn(f->e);
        f->now_ms += 150;
        engine_tick(f->e);
    }
    cr_assert(engine_is_full(f->e));
    settle(f);
    cr_assert_null(sim_disk_find(&f->sd, "ballast"));
    cr_assert(request.is_done && request.err == ERR_OK,
              "what was accepted is finished with its help");
    f->sd.capacity_bytes = sim_disk_used_bytes(&f->sd);
    settle(f);
    propose(f, &request, SLICE("no"));
    cr_assert(request.is_done && request.err == ERR_FULL);
    f->sd.capacity_bytes = 1 << 30;
    settle(f);
    cr_assert_not_null(sim_disk_find(&f->sd, "ballast"));
    propose(f, &request, SLICE("yes"));
    settle(f);
    cr_assert(request.is_done && request.err == ERR_OK);
    fixture_free(f);
}

Test(consensus_engine, metrics_count_what_happens_and_gauges_go_back_to_nothing)
{
    metrics_thread_init();
    struct fixture *f = fixture_new();
    struct request requests[3];
    struct engine_status status;
    uint64_t flushes = engine_flush_count(f->e);
    cr_assert_eq(metric_sum(METRIC_raft_wal_flushes_total), flushes);
    uint64_t committed = metric_sum(METRIC_raft_entries_committed_total);
    char data[700];
    memset(data, 'd', sizeof data);
    for (int i = 0; i < 3; i++) { /* the second and the third do not fit */
        propose(f, &requests[i], slice_of(data, sizeof data));
    }
    settle(f);
    cr_assert_eq(metric_sum(METRIC_raft_commands_proposed_total), 1);
    cr_assert_eq(metric_sum(METRIC_raft_commands_refused_total), 2);
    cr_assert_eq(metric_sum(METRIC_raft_commands_applied_total), 1);
    cr_assert_eq(metric_sum(METRIC_raft_entries_committed_total), committed + 1);
    cr_assert_gt(metric_sum(METRIC_raft_wal_flushes_total), flushes);
    cr_assert_gt(metric_sum(METRIC_raft_wal_flushed_bytes_total), sizeof data);
    cr_assert_eq(metric_sum(METRIC_raft_leaders_won_total), 1);
    cr_assert(engine_status(f->e, GROUP, &status));
    cr_assert_eq(metric_sum(METRIC_raft_entries_applied_total), status.applied);
    cr_assert_eq(metric_sum(METRIC_raft_groups), 1);
    cr_assert_eq(metric_sum(METRIC_raft_groups_led), 1);
    cr_assert_eq(metric_sum(METRIC_raft_wal_segments), 1);
    cr_assert_gt(metric_sum(METRIC_raft_wal_live_bytes), sizeof data);
    f->sd.capacity_bytes = sim_disk_used_bytes(&f->sd);
    settle(f);
    cr_assert_eq(metric_sum(METRIC_raft_disk_full), 1);
    fixture_free(f);
    cr_assert_eq(metric_sum(METRIC_raft_disk_full), 0);
    cr_assert_eq(metric_sum(METRIC_raft_groups), 0);
    cr_assert_eq(metric_sum(METRIC_raft_wal_live_bytes), 0);
}

struct chain { /* its answer proposes `next` */
    struct request first;
    struct request next;
    struct fixture *f;
};

static void on_first(struct proposal *p, enum err err)
{
    struct chain *chain = CONTAINER_OF(p, struct chain, first.proposal);
    on_proposed(p, err);
    propose(chain->f, &chain->next, SLICE("next"));
}

Test(consensus_engine, a_proposal_made_by_a_callback_asks_for_a_turn_of_its_own)
{
    struct fixture *f = fixture_new();
    struct chain chain = {.f = f};
    propose(f, &chain.first, SLICE("first"));
    chain.first.proposal.on_done = on_first;
    for (int i = 0; i < 10 && !chain.first.is_done; i++) {
        engine_turn(f->e);
        if (!chain.first.is_done) { sim_disk_drain(&f->sd); }
    }
    cr_assert(chain.first.is_done && !chain.next.is_done);
    cr_assert_leq(engine_next_ms(f->e), f->now_ms);
    engine_turn(f->e);
    sim_disk_drain(&f->sd);
    engine_turn(f->e);
    cr_assert(chain.next.is_done && chain.next.err == ERR_OK);
    cr_assert_gt(engine_next_ms(f->e), f->now_ms, "there is nothing more to do");
    fixture_free(f);
}

Test(consensus_engine, proposals_without_data_fill_the_queue_too)
{
    struct fixture *f = fixture_new();
    static struct request requests[1000];
    size_t refused = 0;
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        propose(f, &requests[i], SLICE(""));
        refused += requests[i].is_done && requests[i].err == ERR_SLOW;
    }
    cr_assert_gt(refused, 0);
    cr_assert_lt(refused, COUNT_OF(requests));
    settle(f);
    cr_assert_eq(f->command_count, COUNT_OF(requests) - refused);
    fixture_free(f);
}

Test(consensus_engine, a_group_is_not_created_with_servers_beyond_the_bounds)
{
    struct fixture *f = fixture_new();
    struct engine_server servers[ENGINE_SERVERS_MAX + 1];
    char name[ENGINE_NAME_BYTES + 1];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    for (size_t i = 0; i < COUNT_OF(servers); i++) {
        servers[i] = (struct engine_server){i + 1, "n1"};
    }
    uint64_t group = GROUP + 1;
    struct fixture empty = {0};
    cr_assert_eq(engine_group_create(f->e, group, 1, &ops, &empty, servers, COUNT_OF(servers)),
                 ERR_INVALID);
    servers[0].node_name = name;
    cr_assert_eq(engine_group_create(f->e, group, 1, &ops, &empty, servers, 1), ERR_INVALID);
    cr_assert_eq(engine_group_next(f->e, GROUP), 0, "nothing is left of them");
    fixture_free(f);
}

Test(consensus_engine, who_is_no_member_takes_no_place_among_those_that_a_lease_counts)
{
    struct fixture *f = fixture_new();
    struct group *g = groups_find(&f->e->groups, GROUP);
    for (uint64_t id = 100; id < 100 + 2 * GROUP_SERVERS_MAX; id++) {
        read_note_reply(g, &(struct message){.from = id, .stamp_ms = 7});
    }
    cr_assert_eq(g->peer_count, 0);
    read_note_reply(g, &(struct message){.from = 1, .stamp_ms = 7});
    cr_assert_eq(g->peer_count, 1);
    fixture_free(f);
}

/* The machine is done with what it took: it answers, then the engine hears of it. */
static void finish_batch(struct fixture *f)
{
    const struct fsm_batch *batch = f->batch;
    f->batch = NULL;
    f->applied = batch->last_index;
    f->command_count += batch->count;
    for (size_t i = 0; i < batch->count; i++) {
        struct proposal *p = batch->commands[i].origin;
        if (p != NULL) { p->on_done(p, ERR_OK); }
    }
    engine_applied(f->e, GROUP, batch->last_index);
}

Test(consensus_engine, one_batch_is_in_flight_and_what_is_committed_meanwhile_is_the_next)
{
    struct fixture *f = fixture_new();
    struct request requests[3];
    struct engine_status status;
    f->takes_batches = true;
    for (int i = 0; i < 3; i++) {
        propose(f, &requests[i], SLICE("command"));
        engine_turn(f->e);
        sim_disk_drain(&f->sd);
        engine_turn(f->e);
    }
    cr_assert_not_null(f->batch);
    cr_assert_eq(f->batch->count, 1);
    cr_assert_eq(f->batch->commands[0].origin, &requests[0].proposal);
    cr_assert(engine_status(f->e, GROUP, &status));
    cr_assert_lt(status.applied, f->batch->last_index, "nobody said that it is applied");
    finish_batch(f);
    engine_turn(f->e);
    cr_assert_eq(f->batch->count, 2);
    cr_assert(requests[0].is_done && !requests[1].is_done);
    finish_batch(f);
    cr_assert(requests[2].is_done && requests[2].err == ERR_OK);
    cr_assert(engine_status(f->e, GROUP, &status));
    cr_assert_eq(status.applied, status.commit);
    fixture_free(f);
}

Test(consensus_engine, it_is_shown_whether_somebody_waits_for_a_batch)
{
    struct fixture *f = fixture_new();
    struct engine_view view = {0};
    struct request requests[2];
    struct request reader = {.read = {.group = GROUP, .on_done = on_read}};
    settle(f);
    f->takes_batches = true;
    engine_group_show(f->e, GROUP, &view);
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        propose(f, &requests[i], SLICE("command"));
        engine_turn(f->e);
        sim_disk_drain(&f->sd);
        engine_turn(f->e);
        cr_assert_eq(atomic_load(&view.is_awaited), i > 0, "there is another one behind it");
    }
    finish_batch(f);
    engine_turn(f->e);
    cr_assert(!atomic_load(&view.is_awaited), "the second is in hand");
    engine_read(f->e, &reader.read);
    cr_assert(atomic_load(&view.is_awaited));
    finish_batch(f);
    engine_turn(f->e);
    cr_assert(!atomic_load(&view.is_awaited));
    propose(f, &requests[0], SLICE("command"));
    engine_turn(f->e);
    sim_disk_drain(&f->sd);
    engine_turn(f->e);
    cr_assert(!atomic_load(&view.is_awaited));
    engine_group_close(f->e, GROUP);
    cr_assert(atomic_load(&view.is_awaited), "it closes when that has come back");
    finish_batch(f);
    fixture_free(f);
}

Test(consensus_engine, a_group_with_a_batch_in_flight_closes_when_it_comes_back_and_loses_nothing)
{
    struct fixture *f = fixture_new();
    struct request taken;
    struct request waits;
    f->takes_batches = true;
    propose(f, &taken, SLICE("taken"));
    engine_turn(f->e);
    sim_disk_drain(&f->sd);
    engine_turn(f->e);
    propose(f, &waits, SLICE("waits"));
    engine_turn(f->e);
    engine_group_close(f->e, GROUP);
    cr_assert(!taken.is_done, "it is committed, and in no doubt");
    cr_assert(waits.is_done && waits.err == ERR_INDOUBT);
    cr_assert_eq(f->closed_count, 0);
    cr_assert_not(engine_is_drained(f->e));
    cr_assert_eq(engine_group_open(f->e, GROUP, &ops, f), ERR_SLOW);
    finish_batch(f);
    cr_assert(taken.is_done && taken.err == ERR_OK);
    cr_assert_eq(f->closed_count, 1);
    cr_assert(engine_is_drained(f->e));
    f->takes_batches = false;
    cr_assert_eq(engine_group_open(f->e, GROUP, &ops, f), ERR_OK);
    settle(f);
    cr_assert_eq(f->command_count, 2);
    fixture_free(f);
}

Test(consensus_engine, a_deleted_groups_log_stays_until_its_batch_comes_back)
{
    struct fixture *f = fixture_new();
    struct request request;
    f->takes_batches = true;
    propose(f, &request, SLICE("last words"));
    engine_turn(f->e);
    sim_disk_drain(&f->sd);
    engine_turn(f->e);
    engine_group_delete(f->e, GROUP);
    cr_assert(slice_equal(f->batch->commands[0].data, SLICE("last words")));
    cr_assert_eq(engine_group_next(f->e, 0), GROUP);
    finish_batch(f);
    cr_assert_eq(engine_group_next(f->e, 0), 0);
    cr_assert_eq(f->closed_count, 1);
    fixture_free(f);
}

Test(consensus_engine, a_machine_that_lags_behind_refuses_more)
{
    struct fixture *f = fixture_new();
    struct request first;
    struct request next;
    f->takes_batches = true;
    propose(f, &first, SLICE("first"));
    engine_turn(f->e);
    sim_disk_drain(&f->sd);
    engine_turn(f->e);
    f->now_ms += engine_opts_default().unapplied_ms_max - 1;
    propose(f, &next, SLICE("still taken"));
    cr_assert_not(next.is_done);
    f->now_ms++;
    struct request late;
    propose(f, &late, SLICE("too much"));
    cr_assert(late.is_done && late.err == ERR_SLOW);
    finish_batch(f);
    propose(f, &late, SLICE("taken again"));
    cr_assert_not(late.is_done);
    f->takes_batches = false;
    settle(f);
    cr_assert(next.is_done && late.is_done && late.err == ERR_OK);
    fixture_free(f);
}

Test(consensus_engine, what_a_machine_lags_behind_is_on_the_disk_and_not_all_in_memory)
{
    struct fixture *f = fixture_new();
    static char data[500];
    struct request requests[40];
    uint64_t longest = 0;
    f->e->groups.opts.cache_bytes = f->e->groups.wal->opts.cache_bytes = 2000;
    f->takes_batches = true;
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        propose(f, &requests[i], slice_of(data, sizeof data));
        engine_turn(f->e);
        sim_disk_drain(&f->sd);
        engine_turn(f->e);
        longest = wal_cached_bytes(f->e->groups.wal) > longest ? wal_cached_bytes(f->e->groups.wal)
                                                               : longest;
    }
    cr_assert_leq(longest, 2 * 2000 + 2 * 510, "and those that were not flushed");
    cr_assert_eq(f->batch->count, 1);
    cr_assert_not_null(
        wal_log_entry(groups_find(&f->e->groups, GROUP)->log, f->batch->last_index)->data);
    for (int i = 0; i < 100 && !requests[COUNT_OF(requests) - 1].is_done; i++) {
        if (f->batch != NULL) {
            cr_assert_eq(f->batch->commands[0].data.len, sizeof data);
            finish_batch(f);
        }
        engine_turn(f->e);
        sim_disk_drain(&f->sd);
    }
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        cr_assert(requests[i].is_done && requests[i].err == ERR_OK);
    }
    f->takes_batches = false;
    settle(f);
    cr_assert_leq(wal_cached_bytes(f->e->groups.wal), 2000);
    fixture_free(f);
}

Test(consensus_engine, who_looks_sees_a_commit_index_under_a_lease_while_it_leads)
{
    struct fixture *f = fixture_new();
    struct engine_view view = {0};
    struct engine_status status;
    struct request request;
    engine_group_show(f->e, GROUP, &view);
    settle(f);
    cr_assert_gt(atomic_load(&view.lease_until_ms), f->now_ms);
    propose(f, &request, SLICE("command"));
    settle(f);
    cr_assert(engine_status(f->e, GROUP, &status));
    cr_assert_eq(atomic_load(&view.commit), status.commit);
    cr_assert_eq(atomic_load(&view.applied), status.commit);
    cr_assert_eq(atomic_load(&view.term), status.term);
    engine_group_close(f->e, GROUP);
    cr_assert_eq(atomic_load(&view.lease_until_ms), 0);
    cr_assert_eq(atomic_load(&view.term), 0);
    fixture_free(f);
}

Test(consensus_engine, a_forced_replica_goes_on_alone_with_all_it_holds)
{
    static const struct engine_server three[] = {{1, "n1"}, {2, "n2"}, {3, "n3"}};
    struct fixture *f = fixture_new();
    struct fixture other = {0};
    struct engine_status status;
    uint64_t group = GROUP + 1;
    cr_assert_eq(engine_group_force(f->e, group), ERR_INVALID, "there is none");
    cr_assert_eq(engine_group_create(f->e, group, 1, &ops, &other, three, 3), ERR_OK);
    engine_turn(f->e);
    sim_disk_drain(&f->sd);
    cr_assert_eq(engine_group_force(f->e, group), ERR_INVALID, "it is open");
    engine_group_close(f->e, group);
    cr_assert_eq(engine_group_force(f->e, group), ERR_OK);
    cr_assert_eq(engine_group_open(f->e, group, &ops, &other), ERR_OK);
    settle(f);
    cr_assert(engine_status(f->e, group, &status));
    cr_assert(status.owns_term);
    cr_assert_eq(status.server_count, 1);
    cr_assert_eq(status.applied, status.last);
    fixture_free(f);
}
