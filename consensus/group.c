/* group: drives one struct raft; what the library decides is written, sent and applied from here.
 * Owns: the struct raft, the messages and proposals that wait. Not: the log's bytes, the state machine.
 * Thread: the raft thread.
 * Always, after each step and in this order: term and vote to the log, entries to the log, a snapshot begun, messages
 * made (to leave once what they tell is durable), committed configurations given back. The library's contract is checked
 * after each step; a group that breaks it stops. */
#include "consensus/group.h"

#include "base/log.h"
#include "base/mem.h"
#include "consensus/group_int.h"
#include "consensus/guards.h"
#include "consensus/read.h"
#include "consensus/snapshot.h"

enum {
    INSTALL_TIMEOUT_FACTOR = 20, /* election timeouts until the library offers a snapshot again */
    CATCH_UP_FACTOR = 30,        /* election timeouts for one round of catching up */
    IN_FLIGHT_MAX = 64,          /* entries on their way to one follower */
    READING_MAX = 64,            /* messages that wait for entries from the disk */
    FAKE_CANDIDATE = 0x7fffffff, /* an id no server has */
};

uint64_t group_now_ms(const struct group *g)
{
    return g->engine->world.now_ms(g->engine->world.arg);
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

void group_conf_encode(const struct raft_configuration *conf, struct buf *out)
{
    struct raft_buffer bytes;
    CHECK(raft_configuration_encode(conf, &bytes) == 0);
    buf_append(out, slice_of(bytes.base, bytes.len));
    raft_free(bytes.base);
}

bool group_conf_decode(struct slice bytes, struct raft_configuration *conf)
{
    char *copy = mem_copy(bytes.data, bytes.len);
    struct raft_buffer in = {copy, bytes.len};
    bool ok = raft_configuration_decode(&in, conf) == 0;
    mem_free(copy);
    return ok;
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

/* ---- proposals ---- */

static void proposal_end(struct proposal *p, enum err err)
{
    list_remove(&p->link);
    p->on_done(p, err);
}

static void end_queued(struct group *g, enum err err)
{
    while (!list_is_empty(&g->queued)) {
        proposal_end(CONTAINER_OF(g->queued.next, struct proposal, link), err);
    }
    g->queued_count = 0;
    g->queued_bytes = 0;
}

/* End proposals in entries from `index` on. */
static void end_proposed(struct group *g, uint64_t index, enum err err)
{
    LIST_EACH (at, &g->proposed) {
        struct proposal *p = CONTAINER_OF(at, struct proposal, link);
        if (p->index >= index) { proposal_end(p, err); }
    }
}

void group_stop(struct group *g, const char *reason)
{
    if (g->state == GROUP_STOPPED) { return; }
    LOG_ERROR("a raft group stopped", LOG_UINT("group", g->id), LOG_STR("reason", reason),
              LOG_UINT("term", raft_current_term(&g->raft)),
              LOG_UINT("commit", group_commit_index(g)));
    g->state = GROUP_STOPPED;
    g->stop_reason = reason;
    end_queued(g, ERR_NOT_LEADER);
    end_proposed(g, 0, ERR_INDOUBT);
    read_end(g, ERR_NOT_LEADER);
}

/* ---- messages out ---- */

static void out_free(struct group_out *out)
{
    buf_fini(&out->frame);
    mem_free(out->to_name);
    mem_free(out);
}

static struct group_out *out_new(struct group *g, const char *to_name, uint64_t gate)
{
    struct group_out *out = mem_new0(sizeof *out);
    out->to_name = mem_copy(to_name, strlen(to_name) + 1);
    out->gate = gate;
    const struct list *last = g->out.prev;
    if (last != &g->out) { /* gates never fall: order is kept */
        uint64_t before = CONTAINER_OF(g->out.prev, struct group_out, link)->gate;
        out->gate = gate > before ? gate : before;
    }
    return out;
}

void group_send(struct group *g, uint64_t to, const char *to_name, struct message *message,
                uint64_t gate)
{
    struct group_out *out = out_new(g, to_name, gate);
    message->group = g->id;
    message->from = g->self;
    message->to = to;
    message_encode(&out->frame, message);
    list_push_back(&g->out, &out->link);
}

/* Encode an AppendEntries from the log. False: an entry is not in memory, *missing is its index. */
static bool append_fill(struct group *g, struct group_out *out, uint64_t *missing)
{
    struct raft_append_entries *a = &out->append;
    struct raft_entry *entries = a->n_entries > 0 ? mem_new0(a->n_entries * sizeof *entries) : NULL;
    for (unsigned i = 0; i < a->n_entries; i++) {
        *missing = a->prev_log_index + 1 + i;
        const struct wal_entry *entry = wal_log_entry(g->log, *missing);
        if (entry == NULL || entry->data == NULL) {
            mem_free(entries);
            return false;
        }
        entries[i] = (struct raft_entry){
            .term = entry->term, .type = entry->type, .buf = {entry->data, entry->len}};
    }
    uint64_t gate = guard_change_gate(g, entries, a->n_entries, a->prev_log_index + 1);
    out->gate = gate > out->gate ? gate : out->gate;
    struct message message = {.group = g->id, .from = g->self, .to = out->to, .kind = MESSAGE_RAFT};
    message.raft.type = RAFT_APPEND_ENTRIES;
    message.raft.append_entries = *a;
    message.raft.append_entries.entries = entries;
    message.stamp_ms = group_now_ms(g);
    message_encode(&out->frame, &message);
    mem_free(entries);
    return true;
}

/* Put aside a message whose entries are on the disk only, and fetch them. */
static void append_park(struct group *g, struct group_out *out, uint64_t missing)
{
    if (wal_log_entry(g->log, missing) == NULL || g->reading_count >= READING_MAX) {
        out_free(out); /* as if lost on the way: the library asks again */
        return;
    }
    list_push_back(&g->reading, &out->link);
    g->reading_count++;
    if (!wal_is_reading(g->log)) {
        wal_read(g->engine->wal, g->log, missing, g->engine->opts.append_bytes_max, group_on_read,
                 g);
    }
}

void group_on_read(void *arg, enum err err)
{
    struct group *g = arg;
    if (err != ERR_OK) {
        group_stop(g, "an entry of the log cannot be read back");
        return;
    }
    struct list parked;
    list_init(&parked);
    while (!list_is_empty(&g->reading)) {
        list_push_back(&parked, list_pop_front(&g->reading));
    }
    g->reading_count = 0;
    while (!list_is_empty(&parked)) {
        struct group_out *out = CONTAINER_OF(list_pop_front(&parked), struct group_out, link);
        uint64_t missing = 0;
        if (!group_is_leader(g) || out->append.term != raft_current_term(&g->raft)) {
            out_free(out);
        } else if (append_fill(g, out, &missing)) {
            list_push_back(&g->out, &out->link);
        } else {
            append_park(g, out, missing);
        }
    }
    fsm_apply(g);
    group_send_out(g);
}

/* How many of the entries from `first` on go into one message. */
static unsigned append_count(const struct group *g, uint64_t first, unsigned count)
{
    size_t bytes = 0;
    unsigned fit = 0;
    for (; fit < count && fit < MESSAGE_ENTRIES_MAX; fit++) {
        const struct wal_entry *entry = wal_log_entry(g->log, first + fit);
        bytes += entry != NULL ? entry->len : 0;
        if (fit > 0 && bytes > g->engine->opts.append_bytes_max) { break; }
    }
    return fit;
}

/* An AppendEntries as the library wants it carries no entries: fill them in, in as many messages as the size asks for. */
static void take_append(struct group *g, const struct raft_message *message)
{
    struct raft_append_entries rest = message->append_entries;
    do {
        struct group_out *out = out_new(g, message->server_address, guard_term_gate(g));
        out->to = message->server_id;
        out->append = rest;
        out->append.entries = NULL;
        out->append.n_entries = append_count(g, rest.prev_log_index + 1, rest.n_entries);
        unsigned taken = out->append.n_entries;
        uint64_t missing = 0;
        if (append_fill(g, out, &missing)) {
            list_push_back(&g->out, &out->link);
        } else {
            append_park(g, out, missing);
        }
        rest.n_entries -= taken;
        rest.prev_log_index += taken;
        if (taken > 0) { rest.prev_log_term = wal_log_term(g->log, rest.prev_log_index); }
    } while (rest.n_entries > 0);
}

static void take_message(struct group *g, const struct raft_message *from)
{
    if (from->server_id == FAKE_CANDIDATE) { return; }
    if (from->type == RAFT_APPEND_ENTRIES) {
        take_append(g, from);
        return;
    }
    if (from->type == RAFT_INSTALL_SNAPSHOT) {
        snapshot_offer(g, from->server_id, from->server_address);
        return;
    }
    struct message message = {.kind = MESSAGE_RAFT, .raft = *from};
    guard_prevote_denial(g, &message.raft);
    bool is_reply = from->type == RAFT_APPEND_ENTRIES_RESULT;
    if (is_reply && g->heard_term == from->append_entries_result.term &&
        g->heard_from == from->server_id) {
        message.stamp_ms = g->heard_stamp_ms;
    }
    if (from->type == RAFT_TIMEOUT_NOW) { g->lease_is_void = true; }
    group_send(g, from->server_id, from->server_address, &message, guard_term_gate(g));
}

void group_send_out(struct group *g)
{
    uint64_t flushed = wal_batch_flushed(g->engine->wal);
    while (!list_is_empty(&g->out)) {
        struct group_out *out = CONTAINER_OF(g->out.next, struct group_out, link);
        if (out->gate > flushed) { return; }
        list_remove(&out->link);
        g->engine->world.send(g->engine->world.arg, out->to_name, buf_slice(&out->frame), false);
        out_free(out);
    }
}

/* ---- updates ---- */

void group_put_hard(struct group *g)
{
    struct wal_hard hard = {raft_current_term(&g->raft), raft_voted_for(&g->raft)};
    wal_put_hard(g->engine->wal, g->log, hard);
    g->hard_batch = wal_batch(g->engine->wal);
}

/* Entries from `index` on were replaced; the newest is now `last`. */
static void note_write(struct group *g, uint64_t index, uint64_t last)
{
    for (size_t i = 0; i < COUNT_OF(g->writes); i++) {
        if (g->writes[i].last_index >= index) { g->writes[i].last_index = index - 1; }
    }
    uint64_t batch = wal_batch(g->engine->wal);
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
    end_proposed(g, index, ERR_INDOUBT);
    for (unsigned i = 0; i < update->entries.n; i++) {
        const struct raft_entry *entry = &update->entries.batch[i];
        wal_put_entry(g->engine->wal, g->log, index + i, entry->term, (uint8_t)entry->type,
                      slice_of(entry->buf.base, entry->buf.len));
    }
    note_write(g, index, index + update->entries.n - 1);
}

static void take_snapshot(struct group *g, struct raft_update *update)
{
    raft_configuration_close(&update->snapshot.metadata.configuration);
    raft_free(update->snapshot.chunk.base);
    memset(g->writes, 0, sizeof g->writes);
    end_proposed(g, 0, ERR_INDOUBT);
    g->conf_scanned = update->snapshot.metadata.index;
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
        if (entry->type != RAFT_CHANGE) { continue; }
        struct raft_event event = {.type = RAFT_CONFIGURATION, .configuration.index = index};
        if (!group_conf_decode(slice_of(entry->data, entry->len), &event.configuration.conf)) {
            group_stop(g, "a committed configuration cannot be read");
            return false;
        }
        if (!group_step(g, &event, NULL)) { return false; }
    }
    return g->state != GROUP_STOPPED;
}

static void on_state(struct group *g, int before)
{
    bool was_leader = before == RAFT_LEADER;
    bool is_leader = g->raft.state == RAFT_LEADER;
    if (was_leader == is_leader) { return; }
    LOG_INFO(is_leader ? "leader of a raft group" : "not the leader of a raft group any more",
             LOG_UINT("group", g->id), LOG_UINT("term", raft_current_term(&g->raft)));
    g->needs_barrier = is_leader;
    g->promotee = 0;
    g->transferee = 0;
    g->peer_count = 0;
    g->lease_is_void = false;
    g->orphaned_until_ms = 0;
    if (was_leader) {
        end_queued(g, ERR_NOT_LEADER);
        read_end(g, ERR_NOT_LEADER);
        g->orphaned_until_ms = group_now_ms(g) + 2 * (uint64_t)g->engine->opts.election_ms;
    }
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
    event->time = group_now_ms(g);
    int rv = raft_step(&g->raft, event, &update);
    if (rv_out != NULL) { *rv_out = rv; }
    if (rv != 0) {
        if (type != RAFT_SUBMIT && type != RAFT_TRANSFER) {
            group_stop(g, "the library refused an event");
        }
        return false;
    }
    if (update.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) { group_put_hard(g); }
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
            take_message(g, &update.messages.batch[i]);
        }
    }
    on_state(g, before.state);
    return (update.flags & (RAFT_UPDATE_COMMIT_INDEX)) == 0 || scan_configurations(g);
}

enum err group_submit(struct group *g, int type, struct slice data)
{
    struct raft_entry entry = {.term = raft_current_term(&g->raft),
                               .type = (enum raft_entry_type)type};
    entry.batch = raft_malloc(data.len > 0 ? data.len : 1);
    CHECK(entry.batch != NULL);
    entry.buf = (struct raft_buffer){entry.batch, data.len};
    if (data.len > 0) { memcpy(entry.batch, data.data, data.len); }
    struct raft_event event = {.type = RAFT_SUBMIT, .submit = {&entry, 1}};
    int rv;
    if (group_step(g, &event, &rv)) { return ERR_OK; }
    if (rv != 0) { raft_free(entry.batch); }
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

/* The latest configuration in the log or the snapshot, as of `upto`; empty: none. */
static struct slice latest_conf(const struct group *g, uint64_t upto, uint64_t *index)
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
    struct slice bytes = latest_conf(g, wal_log_last_index(g->log), &index);
    struct raft_configuration conf;
    if (bytes.len == 0 || !guard_is_on(g, GUARD_SOLE_VOTER) || !group_conf_decode(bytes, &conf)) {
        return;
    }
    if (guard_sole_voter_in(&conf, g->self)) {
        wal_put_hard(g->engine->wal, g->log, (struct wal_hard){wal_log_hard(g->log).term + 1, 0});
    }
    raft_configuration_close(&conf);
}

bool group_try_start(struct group *g)
{
    bool is_durable = g->start_batch <= wal_batch_flushed(g->engine->wal);
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
    event.start.term = wal_log_hard(g->log).term;
    event.start.voted_for = wal_log_hard(g->log).vote;
    event.start.start_index = wal_log_first_index(g->log);
    event.start.entries = start_entries(g, &event.start.n_entries);
    struct raft_entry *entries = event.start.entries;
    g->conf_scanned = snapshot != NULL ? snapshot->index : 0;
    g->started_ms = group_now_ms(g);
    g->tick_ms = g->started_ms;
    g->state = GROUP_RUNNING;
    g->raft_is_started = true;
    bool ok = group_step(g, &event, NULL);
    mem_free(entries);
    return ok;
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
    renew_term(g);
    g->start_batch = wal_batch_last(g->engine->wal);
    if (g->applied < base) {
        g->restore_is_due = true;
        g->install_batch = g->start_batch;
    } else {
        buf_append(&g->applied_conf, latest_conf(g, g->applied, &g->applied_conf_index));
    }
    group_flushed(g, wal_batch_flushed(g->engine->wal));
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
        (void)group_try_start(g);
        return;
    }
    g->is_installing = false;
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
    if (g->state == GROUP_STARTING) { (void)group_try_start(g); }
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
        .type = RAFT_REQUEST_VOTE, .server_id = FAKE_CANDIDATE, .server_address = "-"};
    message.request_vote = (struct raft_request_vote){
        .version = 2,
        .term = term,
        .candidate_id = FAKE_CANDIDATE,
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

uint64_t group_next_ms(const struct group *g)
{
    if (g->state != GROUP_RUNNING) { return UINT64_MAX; }
    uint64_t spaced = g->tick_ms + 1 + g->engine->opts.heartbeat_ms / 10;
    uint64_t due = raft_timeout(&g->raft);
    if (g->orphaned_until_ms != 0 && g->orphaned_until_ms < due) { due = g->orphaned_until_ms; }
    return due > spaced ? due : spaced;
}

void group_tick(struct group *g, uint64_t now_ms)
{
    if (group_next_ms(g) > now_ms) { return; }
    g->tick_ms = now_ms;
    if (g->orphaned_until_ms != 0 && now_ms >= g->orphaned_until_ms) {
        g->orphaned_until_ms = 0;
        end_proposed(g, 0, ERR_INDOUBT);
    }
    if (now_ms < raft_timeout(&g->raft)) { return; }
    bool is_stored = g->raft.last_stored == wal_log_last_index(g->log);
    if (g->raft.state == RAFT_FOLLOWER && guard_sole_voter(g) && !g->is_installing && is_stored) {
        (void)group_bump_term(g, raft_current_term(&g->raft) + 1);
    }
    struct raft_event event = {.type = RAFT_TIMEOUT};
    if (g->state == GROUP_RUNNING) { (void)group_step(g, &event, NULL); }
}

/* ---- the leader's work ---- */

void group_propose(struct group *g, struct proposal *p)
{
    const struct engine_opts *opts = &g->engine->opts;
    if (!group_is_leader(g) || g->transferee != 0) {
        p->on_done(p, ERR_NOT_LEADER);
        return;
    }
    if (g->engine->is_full) {
        p->on_done(p, ERR_FULL);
        return;
    }
    if (g->queued_bytes + p->data.len > opts->queued_bytes_max ||
        p->data.len > opts->entry_bytes_max) {
        p->on_done(p, ERR_SLOW);
        return;
    }
    p->index = 0;
    list_push_back(&g->queued, &p->link);
    g->queued_count++;
    g->queued_bytes += p->data.len;
}

/* Everything that waits, up to a size, becomes one entry. */
static void submit_queued(struct group *g)
{
    struct buf *data = &g->engine->scratch;
    struct list taken;
    data->len = 0;
    list_init(&taken);
    while (!list_is_empty(&g->queued)) {
        struct proposal *p = CONTAINER_OF(g->queued.next, struct proposal, link);
        if (data->len > 0 && data->len + p->data.len > g->engine->opts.entry_bytes_max) { break; }
        fsm_command_encode(data, p->data);
        list_remove(&p->link);
        list_push_back(&taken, &p->link);
        g->queued_count--;
        g->queued_bytes -= p->data.len;
        p->term = raft_current_term(&g->raft);
        p->index = wal_log_last_index(g->log) + 1;
    }
    enum err err = group_submit(g, RAFT_COMMAND, buf_slice(data));
    while (!list_is_empty(&taken)) {
        struct list *link = list_pop_front(&taken);
        if (err == ERR_OK) {
            list_push_back(&g->proposed, link);
        } else {
            CONTAINER_OF(link, struct proposal, link)
                ->on_done(CONTAINER_OF(link, struct proposal, link), err);
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

/* The present configuration but for one server: `id` gets `role`, or goes if role is -1; `added` is new. */
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
           entries_in_flight(g) < g->engine->opts.entries_in_flight_max) {
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
    g->transferee = id;
    g->transfer_until_ms = group_now_ms(g) + g->engine->opts.election_ms;
    return ERR_OK;
}

/* ---- life ---- */

struct group *group_new(struct engine *e, struct wal_log *log, const struct fsm_ops *ops, void *fsm)
{
    struct group *g = mem_new0(sizeof *g);
    g->engine = e;
    g->id = wal_log_group(log);
    g->self = wal_log_self(log);
    g->log = log;
    g->fsm_ops = ops;
    g->fsm = fsm;
    g->guards_off = e->guards_off;
    list_init(&g->out);
    list_init(&g->reading);
    list_init(&g->queued);
    list_init(&g->proposed);
    list_init(&g->reads);
    CHECK(raft_init(&g->raft, NULL, NULL, g->self, e->opts.node_name) == 0);
    g->raft.tracer = NULL;
    e->random = e->random * 6364136223846793005ULL + 1442695040888963407ULL;
    raft_seed(&g->raft, (unsigned)(e->random >> 33));
    raft_set_election_timeout(&g->raft, e->opts.election_ms);
    raft_set_heartbeat_timeout(&g->raft, e->opts.heartbeat_ms);
    raft_set_install_snapshot_timeout(&g->raft, e->opts.election_ms * INSTALL_TIMEOUT_FACTOR);
    raft_set_max_catch_up_round_duration(&g->raft, e->opts.election_ms * CATCH_UP_FACTOR);
    raft_set_max_inflight_entries(&g->raft, IN_FLIGHT_MAX);
    raft_set_pre_vote(&g->raft, true);
    return g;
}

void group_free(struct group *g)
{
    g->state = GROUP_STOPPED;
    end_queued(g, ERR_NOT_LEADER);
    end_proposed(g, 0, ERR_INDOUBT);
    read_end(g, ERR_NOT_LEADER);
    snapshot_cancel(g);
    wal_read_cancel(g->log);
    while (!list_is_empty(&g->out)) {
        out_free(CONTAINER_OF(list_pop_front(&g->out), struct group_out, link));
    }
    while (!list_is_empty(&g->reading)) {
        out_free(CONTAINER_OF(list_pop_front(&g->reading), struct group_out, link));
    }
    raft_close(&g->raft, NULL);
    buf_fini(&g->applied_conf);
    mem_free(g);
}
