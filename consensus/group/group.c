/* group: drives one struct raft; what the library decides is written, sent and applied from here.
 * Owns: the struct raft. Not: messages that wait (group_out.c), proposals (group_lead.c), the log.
 * Thread: the raft thread.
 * Always, after each step and in this order: term and vote to the log, entries to the log, a
 * snapshot begun, messages made (to leave once what they tell is durable), committed configurations
 * given back. The library's contract is checked after each step; a group that breaks it stops. */
#include "consensus/group/group.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/unconst.h"
#include "consensus/group/apply.h"
#include "consensus/group/beat.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"
#include "consensus/group/read.h"
#include "consensus/group/yield.h"
#include "consensus/group/snapshot/snapshot.h"

enum {
    INSTALL_TIMEOUT_FACTOR = 20, /* election timeouts until the library offers a snapshot again */
    CATCH_UP_FACTOR = 30,        /* election timeouts for one round of catching up */
    IN_FLIGHT_MAX = 64,          /* entries on their way to one follower */
};

uint64_t group_now_ms(const struct group *g)
{
    return g->all->world.now_ms(g->all->world.arg);
}

bool group_is_leader(const struct group *g)
{
    return g->state == GROUP_RUNNING && g->raft.state == RAFT_LEADER;
}

uint64_t group_commit_index(const struct group *g)
{
    return raft_commit_index(&g->raft);
}

bool group_owns_term(const struct group *g)
{
    return group_is_leader(g) &&
           wal_log_term(g->log, group_commit_index(g)) == raft_current_term(&g->raft);
}

const struct raft_server *group_server(const struct group *g, uint64_t id)
{
    for (unsigned i = 0; i < g->raft.configuration.n; i++) {
        if (g->raft.configuration.servers[i].id == id) { return &g->raft.configuration.servers[i]; }
    }
    return NULL;
}

bool group_is_host(const struct group *g, uint64_t id, const char *node_name)
{
    const struct raft_server *server = group_server(g, id);
    return server == NULL || strcmp(server->address, node_name) == 0;
}

void group_conf_encode(const struct raft_configuration *conf, struct buf *out)
{
    struct raft_buffer bytes;
    CHECK(raft_configuration_encode(conf, &bytes) == 0);
    buf_append(out, slice_of(bytes.base, bytes.len));
    raft_free(bytes.base);
}

struct raft_buffer group_borrow(struct slice bytes)
{
    return (struct raft_buffer){unconst(bytes.data), bytes.len};
}

bool group_conf_decode(struct slice bytes, struct raft_configuration *conf)
{
    struct raft_buffer in = group_borrow(bytes);
    return raft_configuration_decode(&in, conf) == 0;
}

bool group_metadata(struct raft_snapshot_metadata *meta, const struct manifest *manifest)
{
    *meta = (struct raft_snapshot_metadata){
        .index = manifest->index,
        .term = manifest->term,
        .configuration_index = manifest->conf_index,
    };
    return group_conf_decode(buf_slice(&manifest->conf), &meta->configuration);
}

void group_stop(struct group *g, const char *reason)
{
    if (g->state == GROUP_STOPPED) { return; }
    LOG_ERROR("a raft group stopped", LOG_UINT("group", g->id), LOG_STR("reason", reason),
              LOG_UINT("term", raft_current_term(&g->raft)),
              LOG_UINT("commit", group_commit_index(g)));
    g->state = GROUP_STOPPED;
    g->stop_reason = reason;
    group_end_queued(g, ERR_NOT_LEADER);
    group_end_proposed(g, 0, ERR_INDOUBT);
    read_end(g, ERR_NOT_LEADER);
}

void group_touch(struct group *g)
{
    if (!list_is_linked(&g->busy)) { list_push_back(&g->all->busy, &g->busy); }
}

bool group_is_waiting(const struct group *g)
{
    return g->state == GROUP_STARTING || g->restore_is_due || !list_is_empty(&g->awaiting_flush) ||
           !list_is_empty(&g->queued) || g->writes[0].batch != 0 || g->writes[1].batch != 0 ||
           g->promotee != 0 || g->transferee != 0 || g->drain_until_ms != 0;
}

/* ---- updates ---- */

void group_put_ballot(struct group *g)
{
    struct wal_ballot ballot = {raft_current_term(&g->raft), raft_voted_for(&g->raft)};
    wal_put_ballot(g->all->wal, g->log, ballot);
    g->ballot_batch = wal_batch(g->all->wal);
}

/* Entries from `index` on were replaced; the newest is now `last`. */
static void note_write(struct group *g, uint64_t index, uint64_t last)
{
    for (size_t i = 0; i < COUNT_OF(g->writes); i++) {
        if (g->writes[i].last_index >= index) { g->writes[i].last_index = index - 1; }
    }
    uint64_t batch = wal_batch(g->all->wal);
    if (g->writes[1].batch != batch) {
        g->writes[0] = g->writes[1];
        g->writes[1].batch = batch;
    }
    g->writes[1].last_index = last;
}

static void take_entries(struct group *g, const struct raft_update *update)
{
    uint64_t index = update->entries.index;
    if (index <= g->conf_scanned) {
        group_stop(g, "committed entries would be replaced");
        return;
    }
    if (index > wal_log_last_index(g->log) + 1 || index < wal_log_first_index(g->log)) {
        group_stop(g, "entries would leave a gap");
        return;
    }
    group_end_proposed(g, index, ERR_INDOUBT);
    for (unsigned i = 0; i < update->entries.n; i++) {
        const struct raft_entry *entry = &update->entries.batch[i];
        wal_put_entry(g->all->wal, g->log, index + i, entry->term, (uint8_t)entry->type,
                      slice_of(entry->buf.base, entry->buf.len));
    }
    note_write(g, index, index + update->entries.n - 1);
}

static void take_snapshot(struct group *g, struct raft_update *update)
{
    raft_configuration_close(&update->snapshot.metadata.configuration);
    raft_free(update->snapshot.chunk.base);
    memset(g->writes, 0, sizeof g->writes);
    group_end_proposed(g, 0, ERR_INDOUBT);
    g->conf_scanned = update->snapshot.metadata.index;
    g->unapplied_bytes = 0;
    g->is_installing = true;
    snapshot_install(g);
}

/* Tell the library each configuration that became committed. */
static bool scan_configurations(struct group *g)
{
    while (g->state != GROUP_STOPPED && g->conf_scanned < group_commit_index(g)) {
        uint64_t index = g->conf_scanned + 1;
        const struct wal_entry *entry = wal_log_entry(g->log, index);
        if (entry == NULL) {
            group_stop(g, "a committed entry is not in the log");
            return false;
        }
        g->conf_scanned = index;
        if (index > g->applied) { g->unapplied_bytes += entry->len; }
        if (entry->type != RAFT_CHANGE) { continue; }
        struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration.index = index};
        if (!group_conf_decode(slice_of(entry->data, entry->len), &event.configuration.conf)) {
            group_stop(g, "a committed configuration cannot be read");
            return false;
        }
        if (!group_step(g, &event, NULL)) { return false; }
    }
    if (g->state == GROUP_RUNNING) { apply_forget(g); }
    return g->state != GROUP_STOPPED;
}

static void on_state(struct group *g, int before)
{
    bool was_leader = before == RAFT_LEADER;
    bool is_leader = g->raft.state == RAFT_LEADER;
    bool campaigns = g->raft.state == RAFT_CANDIDATE && before != RAFT_CANDIDATE;
    metric_add(METRIC_raft_campaigns_total, campaigns);
    if (was_leader == is_leader) { return; }
    LOG_INFO(is_leader ? "leader of a raft group" : "not the leader of a raft group any more",
             LOG_UINT("group", g->id), LOG_UINT("term", raft_current_term(&g->raft)));
    metric_add(is_leader ? METRIC_raft_leaders_won_total : METRIC_raft_leaders_lost_total, 1);
    g->needs_barrier = is_leader;
    g->promotee = 0;
    g->transferee = 0;
    g->peer_count = 0;
    g->lease_is_void = false;
    g->yielded_to = 0;
    g->orphaned_until_ms = 0;
    g->beat_ms = 0;
    g->asked_ms = 0;
    if (was_leader) {
        group_end_queued(g, ERR_NOT_LEADER);
        read_end(g, ERR_NOT_LEADER);
        g->orphaned_until_ms = group_now_ms(g) + 2 * (uint64_t)g->all->opts.election_ms;
    }
    read_show(g);
    g->fsm_ops->on_leader(g->fsm, is_leader, raft_current_term(&g->raft));
}

/* What was before a step. */
struct before {
    uint64_t term;
    uint64_t commit;
    int state;
};

/* The library's contract, as far as it can be seen from here. NULL: kept. */
static const char *broken_contract(const struct group *g, const struct before *before, int type)
{
    uint64_t term = raft_current_term(&g->raft);
    uint64_t commit = group_commit_index(g);
    if (term < before->term) { return "the term went back"; }
    if (commit < before->commit) { return "the commit index went back"; }
    if (!g->is_installing && commit > wal_log_last_index(g->log)) {
        return "committed past the end of the log";
    }
    bool counts =
        g->raft.state == RAFT_LEADER && before->state == RAFT_LEADER && type != RAFT_START;
    if (counts && commit > before->commit && wal_log_term(g->log, commit) != term) {
        return "an entry of an older term was committed by counting";
    }
    if (!g->is_installing && g->raft.last_stored > wal_log_last_index(g->log)) {
        return "more is called durable than was written";
    }
    return NULL;
}

bool group_step(struct group *g, struct raft_event *event, int *rv_out)
{
    struct raft_update update = {0};
    struct before before = {raft_current_term(&g->raft), group_commit_index(g), g->raft.state};
    int type = event->type;
    group_touch(g);
    event->time = group_now_ms(g);
    int rv = raft_step(&g->raft, event, &update);
    if (rv_out != NULL) { *rv_out = rv; }
    if (rv != 0) {
        if (type != RAFT_SUBMIT && type != RAFT_TRANSFER) {
            group_stop(g, "the library refused an event");
        }
        return false;
    }
    if (update.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) { group_put_ballot(g); }
    if (update.flags & (RAFT_UPDATE_ENTRIES)) {
        take_entries(g, &update);
        raft_free(update.entries.batch[0].batch);
    }
    if (update.flags & (RAFT_UPDATE_SNAPSHOT)) { take_snapshot(g, &update); }
    const char *broken = broken_contract(g, &before, type);
    if (broken != NULL) { group_stop(g, broken); }
    if (g->state == GROUP_STOPPED) { return false; }
    if (update.flags & (RAFT_UPDATE_MESSAGES)) {
        for (unsigned i = 0; i < update.messages.n; i++) {
            group_take_message(g, &update.messages.batch[i]);
        }
    }
    on_state(g, before.state);
    if (type != RAFT_START &&
        type != RAFT_PERSISTED_SNAPSHOT) { /* those bring what was committed */
        metric_add(METRIC_raft_entries_committed_total, group_commit_index(g) - before.commit);
    }
    return (update.flags & (RAFT_UPDATE_COMMIT_INDEX)) == 0 || scan_configurations(g);
}

enum err group_submit(struct group *g, int type, struct slice data)
{
    struct raft_entry entry = {.term = raft_current_term(&g->raft),
                               .type = (enum raft_entry_type)type};
    entry.batch =
        raft_malloc(1); /* what the library frees; it looks at the data in its step only */
    entry.buf = group_borrow(data);
    struct raft_event event = {.type = RAFT_SUBMIT, .submit = {&entry, 1}};
    int rv;
    if (group_step(g, &event, &rv)) {
        metric_add(METRIC_raft_entries_proposed_total, 1);
        return ERR_OK;
    }
    if (rv == 0) { return ERR_INDOUBT; } /* it was taken, and then the group stopped */
    raft_free(entry.batch);
    return rv == RAFT_CANTCHANGE ? ERR_SLOW : ERR_NOT_LEADER;
}

/* ---- start ---- */

static struct raft_entry *start_entries(const struct group *g, unsigned *count)
{
    uint64_t first = wal_log_first_index(g->log);
    *count = (unsigned)(wal_log_last_index(g->log) + 1 - first);
    struct raft_entry *entries = mem_new0((*count + 1) * sizeof *entries);
    for (unsigned i = 0; i < *count; i++) {
        const struct wal_entry *entry = wal_log_entry(g->log, first + i);
        entries[i].term = entry->term;
        entries[i].type = entry->type;
        entries[i].buf = (struct raft_buffer){entry->data, entry->len};
    }
    return entries;
}

struct slice group_conf_at(const struct group *g, uint64_t upto, uint64_t *index)
{
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    for (uint64_t i = upto; i >= wal_log_first_index(g->log) && i > 0; i--) {
        const struct wal_entry *entry = wal_log_entry(g->log, i);
        if (entry != NULL && entry->type == RAFT_CHANGE &&
            (snapshot == NULL || i > snapshot->conf_index)) {
            *index = i;
            return slice_of(entry->data, entry->len);
        }
    }
    *index = snapshot != NULL ? snapshot->conf_index : 0;
    return snapshot != NULL ? buf_slice(&snapshot->conf) : slice_of(NULL, 0);
}

/* Before START: a sole voter must not be elected in the term it has. */
static void renew_term(struct group *g)
{
    uint64_t index;
    struct slice bytes = group_conf_at(g, wal_log_last_index(g->log), &index);
    struct raft_configuration conf;
    if (bytes.len == 0 || !guard_is_on(g, GUARD_SOLE_VOTER) || !group_conf_decode(bytes, &conf)) {
        return;
    }
    if (guard_sole_voter_in(&conf, g->self)) {
        wal_put_ballot(g->all->wal, g->log,
                       (struct wal_ballot){wal_log_ballot(g->log).term + 1, 0});
    }
    raft_configuration_close(&conf);
}

/* What the state machine holds was committed, though the library begins with its snapshot and has no event
 * for more. Without it a leader that has no image of what precedes, and makes none of what it does not know to be
 * committed, waits for a follower that waits for that image. */
static bool recall_commit(struct group *g)
{
    uint64_t known = g->applied < g->raft.last_stored ? g->applied : g->raft.last_stored;
    if (known <= group_commit_index(g)) { return true; }
    g->raft.commit_index = known;
    return scan_configurations(g);
}

static bool try_start(struct group *g)
{
    bool is_durable = g->start_batch <= wal_batch_flushed(g->all->wal);
    if (g->state != GROUP_STARTING || !is_durable || g->restore != NULL || g->restore_is_due) {
        return false;
    }
    struct raft_event event = {.type = RAFT_START};
    struct raft_snapshot_metadata meta;
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    if (snapshot != NULL) {
        if (!group_metadata(&meta, snapshot)) {
            group_stop(g, "the snapshot's configuration cannot be read");
            return false;
        }
        event.start.metadata = &meta;
    }
    event.start.term = wal_log_ballot(g->log).term;
    event.start.voted_for = wal_log_ballot(g->log).vote;
    event.start.start_index = wal_log_first_index(g->log);
    event.start.entries = start_entries(g, &event.start.n_entries);
    struct raft_entry *entries = event.start.entries;
    g->conf_scanned = snapshot != NULL ? snapshot->index : 0;
    g->started_ms = group_now_ms(g);
    g->tick_ms = g->started_ms;
    g->state = GROUP_RUNNING;
    bool ok = group_step(g, &event, NULL);
    mem_free(entries);
    return ok && recall_commit(g);
}

enum err group_open(struct group *g)
{
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    uint64_t base = snapshot != NULL ? snapshot->index : 0;
    g->applied = g->fsm_ops->applied_index(g->fsm);
    if (g->applied > wal_log_last_index(g->log)) {
        LOG_ERROR("a state machine is ahead of its log", LOG_UINT("group", g->id),
                  LOG_UINT("applied", g->applied));
        return ERR_CORRUPT;
    }
    if (g->applied < base && snapshot->file == 0) {
        LOG_ERROR("a state machine has lost what it had called durable", LOG_UINT("group", g->id),
                  LOG_UINT("applied", g->applied), LOG_UINT("durable", base));
        return ERR_CORRUPT;
    }
    group_touch(g);
    renew_term(g);
    g->start_batch = wal_batch_last(g->all->wal);
    if (g->applied < base) {
        g->restore_is_due = true;
        g->install_batch = g->start_batch;
    } else {
        buf_append(&g->applied_conf, group_conf_at(g, g->applied, &g->applied_conf_index));
    }
    group_flushed(g, wal_batch_flushed(g->all->wal));
    return ERR_OK;
}

void group_restored(struct group *g)
{
    const struct manifest *snapshot = wal_log_snapshot(g->log);
    g->applied = snapshot->index;
    g->applied_conf_index = snapshot->conf_index;
    g->applied_conf.len = 0;
    buf_append(&g->applied_conf, buf_slice(&snapshot->conf));
    if (!g->is_installing) {
        (void)try_start(g);
        return;
    }
    g->is_installing = false;
    metric_add(METRIC_raft_snapshots_installed_total, 1);
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT, .persisted_snapshot.last = true};
    if (!group_metadata(&event.persisted_snapshot.metadata, snapshot)) {
        group_stop(g, "the snapshot's configuration cannot be read");
        return;
    }
    (void)group_step(g, &event, NULL);
}

void group_flushed(struct group *g, uint64_t batch)
{
    if (g->restore_is_due && g->install_batch <= batch) {
        g->restore_is_due = false;
        snapshot_restore_start(g);
    }
    if (g->state == GROUP_STARTING) { (void)try_start(g); }
    uint64_t last = 0;
    for (size_t i = 0; i < COUNT_OF(g->writes); i++) {
        if (g->writes[i].batch != 0 && g->writes[i].batch <= batch) {
            last = g->writes[i].last_index > last ? g->writes[i].last_index : last;
            g->writes[i] = (struct group_write){0};
        }
    }
    if (g->state == GROUP_RUNNING && last > g->raft.last_stored && !g->is_installing) {
        struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES, .persisted_entries.index = last};
        (void)group_step(g, &event, NULL);
    }
}

/* ---- time ---- */

/* By a vote that nobody asks for, with a log too old for it to be granted. */
bool group_bump_term(struct group *g, uint64_t term)
{
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE, .server_id = GROUP_NOBODY, .server_address = "-"};
    message.request_vote = (struct raft_request_vote){
        .version = 2,
        .term = term,
        .candidate_id = GROUP_NOBODY,
        .disrupt_leader = true,
    };
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message};
    if (!group_step(g, &event, NULL)) { return false; }
    const struct raft_server *self = group_server(g, g->self);
    bool is_voter = self != NULL && self->role == RAFT_VOTER;
    if (raft_current_term(&g->raft) != term || (is_voter && raft_voted_for(&g->raft) != 0)) {
        group_stop(g, "a term could not be taken");
        return false;
    }
    return true;
}

/* The heartbeats of all leaders of a node leave together, and each to all of its followers: at a
 * multiple of the interval. The library takes a follower for lost that did not answer between two of
 * its leader's ticks, so that ticks with a phase for each follower would give up snapshots. */
static uint64_t on_grid(const struct groups *all, uint64_t due_ms)
{
    uint64_t grid_ms = all->opts.heartbeat_ms;
    return due_ms > UINT64_MAX - grid_ms ? due_ms : (due_ms + grid_ms - 1) / grid_ms * grid_ms;
}

uint64_t group_next_ms(const struct group *g)
{
    if (g->state != GROUP_RUNNING) { return UINT64_MAX; }
    uint64_t spaced = g->tick_ms + 1 + g->all->opts.heartbeat_ms / 10;
    uint64_t due = raft_timeout(&g->raft);
    if (g->raft.state == RAFT_LEADER) {
        due = on_grid(g->all, due > g->tick_ms ? due : g->tick_ms + 1);
    }
    if (g->orphaned_until_ms != 0 && g->orphaned_until_ms < due) { due = g->orphaned_until_ms; }
    return due > spaced ? due : spaced;
}

void group_tick(struct group *g, uint64_t now_ms)
{
    if (group_next_ms(g) > now_ms) { return; }
    g->tick_ms = now_ms;
    if (g->orphaned_until_ms != 0 && now_ms >= g->orphaned_until_ms) {
        g->orphaned_until_ms = 0;
        group_end_proposed(g, 0, ERR_INDOUBT);
    }
    if (now_ms < raft_timeout(&g->raft)) { return; }
    bool is_stored = g->raft.last_stored == wal_log_last_index(g->log);
    if (g->raft.state == RAFT_FOLLOWER && guard_sole_voter(g) && !g->is_installing && is_stored) {
        (void)group_bump_term(g, raft_current_term(&g->raft) + 1);
    }
    struct raft_event event = {.type = RAFT_TIMEOUT};
    if (g->state == GROUP_RUNNING && !beat_tick(g, now_ms)) { (void)group_step(g, &event, NULL); }
    if (group_is_leader(g)) { yield_leader(g, now_ms); }
}

/* ---- life ---- */

struct group *group_new(struct groups *all, struct wal_log *log, const struct fsm_ops *ops,
                        void *fsm)
{
    struct group *g = mem_new0(sizeof *g);
    g->all = all;
    g->id = wal_log_group(log);
    g->self = wal_log_self(log);
    g->log = log;
    g->fsm_ops = ops;
    g->fsm = fsm;
    g->guards_off = all->guards_off;
    list_init(&g->busy);
    list_init(&g->reader);
    list_init(&g->awaiting_flush);
    list_init(&g->awaiting_read);
    list_init(&g->pins);
    list_init(&g->queued);
    list_init(&g->proposed);
    list_init(&g->reads);
    CHECK(raft_init(&g->raft, NULL, NULL, g->self, all->opts.node_name) == 0);
    g->raft.tracer = NULL;
    all->random = all->random * 6364136223846793005ULL + 1442695040888963407ULL;
    raft_seed(&g->raft, (unsigned)(all->random >> 33));
    raft_set_election_timeout(&g->raft, all->opts.election_ms);
    raft_set_heartbeat_timeout(&g->raft, 1); /* the grid says when: on_grid */
    raft_set_install_snapshot_timeout(&g->raft, all->opts.election_ms * INSTALL_TIMEOUT_FACTOR);
    raft_set_max_catch_up_round_duration(&g->raft, all->opts.election_ms * CATCH_UP_FACTOR);
    raft_set_max_inflight_entries(&g->raft, IN_FLIGHT_MAX);
    raft_set_pre_vote(&g->raft, true);
    return g;
}

void group_end(struct group *g)
{
    g->state = GROUP_STOPPED;
    read_show(g);
    apply_show_awaited(g);
    group_end_queued(g, ERR_NOT_LEADER);
    group_end_proposed(g, 0, ERR_INDOUBT);
    read_end(g, ERR_NOT_LEADER);
    snapshot_cancel(g);
    wal_read_cancel(g->log);
    group_out_end(g);
    list_remove(&g->busy);
}

void group_free(struct group *g)
{
    if (g == NULL) { return; }
    group_end(g);
    if (apply_is_busy(g)) { apply_done(g, g->batch.last_index); }
    snapshot_restore_drop(g);
    raft_close(&g->raft, NULL);
    buf_fini(&g->applied_conf);
    mem_free(g);
}
