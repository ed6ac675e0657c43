/* group_lead: what a leader does of its own: proposals, membership, handing over.
 * Owns: the proposals of a group. Thread: the raft thread.
 * Always: a proposal is answered once; everything that waits becomes one entry, and few entries are
 * under way. */
#include "base/mem.h"
#include "base/metrics.h"
#include "consensus/group/apply.h"
#include "consensus/group/group.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"

/* ---- proposals ---- */

static void proposal_end(struct proposal *p, enum err err)
{
    list_remove(&p->link);
    p->on_done(p, err);
}

void group_end_queued(struct group *g, enum err err)
{
    while (!list_is_empty(&g->queued)) {
        proposal_end(CONTAINER_OF(g->queued.next, struct proposal, link), err);
    }
    g->queued_bytes = 0;
}

/* End proposals in entries from `index` on. */
void group_end_proposed(struct group *g, uint64_t index, enum err err)
{
    LIST_EACH (at, &g->proposed) {
        struct proposal *p = CONTAINER_OF(at, struct proposal, link);
        if (p->index >= index) { proposal_end(p, err); }
    }
}

/* ---- the leader's work ---- */

/* What it takes of an entry. */
static size_t packed_bytes(const struct proposal *p)
{
    return FSM_COMMAND_HEAD_BYTES + p->data.len;
}

/* May the group take this command? */
static enum err judge(const struct group *g, const struct proposal *p)
{
    const struct engine_opts *opts = &g->all->opts;
    if (!group_is_leader(g) || g->transferee != 0) { return ERR_NOT_LEADER; }
    if (g->all->space.is_low) { return ERR_FULL; }
    bool is_too_much = p->data.len > opts->command_bytes_max || apply_lags(g) ||
                       g->queued_bytes + packed_bytes(p) > opts->queued_bytes_max;
    return is_too_much ? ERR_SLOW : ERR_OK;
}

void group_propose(struct group *g, struct proposal *p)
{
    enum err err = judge(g, p);
    if (err != ERR_OK) {
        metric_add(METRIC_raft_commands_refused_total, 1);
        p->on_done(p, err);
        return;
    }
    metric_add(METRIC_raft_commands_proposed_total, 1);
    p->index = 0;
    group_touch(g);
    g->all->turn_is_due = true;
    list_push_back(&g->queued, &p->link);
    g->queued_bytes += packed_bytes(p);
}

/* Everything that waits, up to a size, becomes one entry. */
static void submit_queued(struct group *g)
{
    struct buf *data = &g->all->entry_data;
    struct list taken;
    data->len = 0;
    list_init(&taken);
    while (!list_is_empty(&g->queued)) {
        struct proposal *p = CONTAINER_OF(g->queued.next, struct proposal, link);
        if (data->len > 0 && data->len + packed_bytes(p) > g->all->opts.entry_bytes_max) { break; }
        fsm_command_encode(data, p->data);
        list_remove(&p->link);
        list_push_back(&taken, &p->link);
        g->queued_bytes -= packed_bytes(p);
        p->term = raft_current_term(&g->raft);
        p->index = wal_log_last_index(g->log) + 1;
    }
    enum err err = group_submit(g, RAFT_COMMAND, buf_slice(data));
    while (!list_is_empty(&taken)) {
        struct proposal *p = CONTAINER_OF(list_pop_front(&taken), struct proposal, link);
        if (err == ERR_OK) {
            list_push_back(&g->proposed, &p->link);
        } else {
            p->on_done(p, err);
        }
    }
}

static void service_transfer(struct group *g)
{
    raft_index match;
    if (group_now_ms(g) > g->transfer_until_ms ||
        raft_match_index(&g->raft, g->transferee, &match) != 0) {
        g->transferee = 0;
        return;
    }
    if (match == wal_log_last_index(g->log)) {
        struct raft_event event = {.type = RAFT_TRANSFER, .transfer.server_id = g->transferee};
        g->transferee = 0;
        (void)group_step(g, &event, NULL);
    }
}

static enum err submit_conf(struct group *g, struct raft_configuration *conf)
{
    struct buf bytes = {0};
    group_conf_encode(conf, &bytes);
    enum err err = group_submit(g, RAFT_CHANGE, buf_slice(&bytes));
    buf_fini(&bytes);
    return err;
}

/* The present configuration but for one server: `id` gets `role`, or goes if role is -1; `added` is
 * new. */
static enum err submit_change(struct group *g, uint64_t id, int role, const char *added)
{
    const struct raft_configuration *now = &g->raft.configuration;
    struct raft_configuration next;
    raft_configuration_init(&next);
    for (unsigned i = 0; i < now->n; i++) {
        const struct raft_server *s = &now->servers[i];
        if (s->id != id || role != -1) {
            CHECK(raft_configuration_add(&next, s->id, s->address, s->id == id ? role : s->role) ==
                  0);
        }
    }
    if (added != NULL) { CHECK(raft_configuration_add(&next, id, added, role) == 0); }
    enum err err = submit_conf(g, &next);
    raft_configuration_close(&next);
    return err;
}

static void service_promotion(struct group *g)
{
    int status;
    if (raft_catch_up(&g->raft, g->promotee, &status) != 0 || status == RAFT_CATCH_UP_ABORTED ||
        status == RAFT_CATCH_UP_NONE) {
        g->promotee = 0;
        return;
    }
    if (status == RAFT_CATCH_UP_FINISHED) {
        uint64_t id = g->promotee;
        g->promotee = 0;
        if (guard_change(g, ENGINE_PROMOTE, id, NULL) == ERR_OK) {
            (void)submit_change(g, id, RAFT_VOTER, NULL);
        }
    }
}

static size_t entries_in_flight(const struct group *g)
{
    uint64_t last = wal_log_last_index(g->log);
    uint64_t commit = group_commit_index(g);
    return last > commit ? last - commit : 0;
}

void group_service(struct group *g)
{
    if (!group_is_leader(g)) { return; }
    if (g->needs_barrier) {
        g->needs_barrier = false;
        if (guard_needs_barrier(g)) { (void)group_submit(g, RAFT_BARRIER, slice_of("", 0)); }
    }
    if (g->promotee != 0) { service_promotion(g); }
    if (g->transferee != 0 && group_is_leader(g)) { service_transfer(g); }
    bool may_submit = g->transferee == 0 && raft_transferee(&g->raft) == 0;
    while (group_is_leader(g) && may_submit && !list_is_empty(&g->queued) &&
           entries_in_flight(g) < g->all->opts.entries_in_flight_max) {
        submit_queued(g);
    }
}

enum err group_change(struct group *g, enum engine_change change, uint64_t id,
                      const char *node_name)
{
    enum err err = guard_change(g, change, id, node_name);
    if (err != ERR_OK) { return err; }
    if (change == ENGINE_ADD_STANDBY) { return submit_change(g, id, RAFT_STANDBY, node_name); }
    if (change == ENGINE_REMOVE) { return submit_change(g, id, -1, NULL); }
    g->promotee = id;
    struct raft_event event = {.type = RAFT_CATCH_UP, .catch_up.server_id = id};
    if (!group_step(g, &event, NULL)) { return ERR_NOT_LEADER; }
    return group_submit(g, RAFT_BARRIER,
                        slice_of("", 0)); /* one that is up to date would never finish without */
}

enum err group_transfer(struct group *g, uint64_t id)
{
    if (!group_is_leader(g)) { return ERR_NOT_LEADER; }
    const struct raft_server *server = group_server(g, id);
    if (server == NULL || server->role != RAFT_VOTER || id == g->self) { return ERR_INVALID; }
    if (g->transferee != 0 || g->promotee != 0 || raft_transferee(&g->raft) != 0) {
        return ERR_SLOW;
    }
    group_touch(g);
    g->transferee = id;
    g->transfer_until_ms = group_now_ms(g) + g->all->opts.election_ms;
    return ERR_OK;
}
