/* group_receive: a message from another replica, past the guards, into the library.
 * Owns: nothing. Thread: the raft thread. Always: what reaches the library is what its code
 * expects, not what a peer happened to send. */
#include "consensus/group/group.h"

#include "base/log.h"
#include "consensus/group/beat.h"
#include "consensus/group/group_int.h"
#include "consensus/group/guards.h"
#include "consensus/group/read.h"
#include "consensus/group/snapshot/snapshot.h"

/* Step a message that the library takes as it is. */
static bool step_message(struct group *g, const char *from_name, const struct message *m)
{
    struct raft_message message = m->raft;
    message.server_id = m->from;
    message.server_address = from_name;
    struct raft_event event = {.type = RAFT_RECEIVE, .receive.message = &message};
    return group_step(g, &event, NULL);
}

/* Step a part of an AppendEntries. The library frees or gives back the block that its entries are
 * said to be in; it looks at their data, which stays where it was received, in its step only. */
static bool step_append(struct group *g, const char *from_name, const struct message *m,
                        const struct guard_piece *piece)
{
    struct message copy = *m;
    struct raft_append_entries *a = &copy.raft.append_entries;
    a->prev_log_index = piece->prev_index;
    a->prev_log_term = piece->prev_term;
    a->n_entries = piece->count;
    a->leader_commit = guard_kept_commit(g, a->leader_commit, piece);
    a->entries = NULL;
    if (piece->count == 0) { return step_message(g, from_name, &copy); }
    CHECK(piece->count <= MESSAGE_ENTRIES_MAX);
    void *batch = raft_malloc(1);
    a->entries = g->all->entries_in;
    for (unsigned i = 0; i < piece->count; i++) {
        a->entries[i] = piece->entries[i];
        a->entries[i].batch = batch;
    }
    return step_message(g, from_name, &copy);
}

/* Did the library take what precedes, so that the rest may follow? */
static bool may_go_on(const struct group *g, const struct guard_piece *rest, uint64_t term)
{
    return g->state == GROUP_RUNNING && !g->is_installing && raft_current_term(&g->raft) == term &&
           (rest->prev_index == 0 || wal_log_term(g->log, rest->prev_index) == rest->prev_term);
}

static void note_leader(struct group *g, const struct message *m)
{
    uint64_t term = m->raft.append_entries.term;
    if (g->heard_term != term || g->heard_from != m->from) {
        g->heard_term = term;
        g->heard_from = m->from;
        g->heard_stamp_ms = 0;
    }
    if (m->stamp_ms > g->heard_stamp_ms) { g->heard_stamp_ms = m->stamp_ms; }
    g->heard_ms = group_now_ms(g);
}

static void receive_append(struct group *g, const char *from_name, const struct message *m)
{
    const struct raft_append_entries *a = &m->raft.append_entries;
    struct message reply;
    if (beat_receive(g, from_name, m)) { return; }
    if (guard_stale_term(g, a->term, &reply)) {
        group_send(g, m->from, from_name, &reply, guard_term_gate(g));
        return;
    }
    if (a->term == raft_current_term(&g->raft) && g->raft.state == RAFT_LEADER) {
        group_stop(g, "another leader in the same term");
        return;
    }
    note_leader(g, m);
    struct guard_piece rest = {a->prev_log_index, a->prev_log_term, a->entries, a->n_entries};
    if (!guard_trim_committed(g, &rest)) {
        group_stop(g, "the leader contradicts what is committed here");
        return;
    }
    do {
        bool needs_empty;
        unsigned count = guard_split_change(g, &rest, &needs_empty);
        struct guard_piece piece = {rest.prev_index, rest.prev_term, rest.entries, 0};
        if (needs_empty &&
            (!step_append(g, from_name, m, &piece) || !may_go_on(g, &rest, a->term))) {
            return;
        }
        piece.count = count;
        if (!step_append(g, from_name, m, &piece) || count == 0) { return; }
        rest.prev_term = rest.entries[count - 1].term;
        rest.prev_index += count;
        rest.entries += count;
        rest.count -= count;
    } while (rest.count > 0 && may_go_on(g, &rest, a->term));
}

/* The library offers a snapshot once and then waits long for it to be installed, also where it was
 * lost, or replaced by another one. A follower to whom the log has nothing to say gets it offered
 * whenever it says so. */
static void offer_what_it_lacks(struct group *g, const char *from_name, const struct message *m)
{
    const struct raft_append_entries_result *result = &m->raft.append_entries_result;
    bool is_answer = group_is_leader(g) && result->term == raft_current_term(&g->raft);
    bool lacks = result->rejected != 0 && result->last_log_index + 1 < wal_log_first_index(g->log);
    if (is_answer && lacks && wal_log_snapshot(g->log) != NULL) {
        snapshot_offer(g, m->from, from_name);
    }
}

static void receive_append_reply(struct group *g, const char *from_name, const struct message *m)
{
    if (beat_receive_reply(g, m)) { return; }
    struct message copy = *m;
    struct raft_append_entries_result *result = &copy.raft.append_entries_result;
    if (g->raft.state == RAFT_LEADER && result->term == raft_current_term(&g->raft)) {
        struct group_peer *peer = read_note_reply(g, m);
        if (peer != NULL) { peer->told_ms = peer->heard_ms; }
    }
    guard_old_rejection(g, m->from, result);
    (void)step_message(g, from_name, &copy);
    offer_what_it_lacks(g, from_name, &copy);
}

/* The vote that the library would deny: by Raft's rules, durable before it is told. */
static void grant_vote(struct group *g, const char *from_name, const struct message *m)
{
    const struct raft_request_vote *vote = &m->raft.request_vote;
    if (!vote->pre_vote) {
        if (vote->term > raft_current_term(&g->raft) && !group_bump_term(g, vote->term)) { return; }
        g->raft.voted_for = vote->candidate_id; /* the library has no event for it */
        group_put_ballot(g);
    }
    struct message reply = {.kind = MESSAGE_RAFT};
    reply.raft.type = RAFT_REQUEST_VOTE_RESULT;
    reply.raft.request_vote_result = (struct raft_request_vote_result){
        .version = 2, .term = vote->term, .vote_granted = true, .pre_vote = vote->pre_vote};
    group_send(g, m->from, from_name, &reply, guard_term_gate(g));
}

static void receive_vote(struct group *g, const char *from_name, const struct message *m)
{
    if (guard_restart_hold(g, &m->raft.request_vote)) { return; }
    if (guard_unaware_voter(g, &m->raft.request_vote)) {
        grant_vote(g, from_name, m);
        return;
    }
    (void)step_message(g, from_name, m);
}

static void receive_raft(struct group *g, const char *from_name, const struct message *m)
{
    switch (m->raft.type) {
    case RAFT_APPEND_ENTRIES: receive_append(g, from_name, m); return;
    case RAFT_APPEND_ENTRIES_RESULT: receive_append_reply(g, from_name, m); return;
    case RAFT_REQUEST_VOTE: receive_vote(g, from_name, m); return;
    case RAFT_REQUEST_VOTE_RESULT:
        if (!guard_prevote_stale(g, &m->raft)) { (void)step_message(g, from_name, m); }
        return;
    case RAFT_TIMEOUT_NOW:
        if (!guard_sole_voter(g)) { (void)step_message(g, from_name, m); }
        return;
    case RAFT_INSTALL_SNAPSHOT: break; /* arrives as an offer */
    }
}

void group_receive(struct group *g, const char *from_name, const struct message *m)
{
    if (g->state != GROUP_RUNNING || m->to != g->self || m->from == g->self) { return; }
    if (!group_is_host(g, m->from, from_name)) {
        LOG_LIMITED(LOG_LEVEL_WARN, "a node speaks for a replica that it does not host",
                    LOG_STR("node", from_name), LOG_UINT("group", g->id),
                    LOG_UINT("replica", m->from));
        return;
    }
    switch (m->kind) {
    case MESSAGE_RAFT: receive_raft(g, from_name, m); return;
    case MESSAGE_SNAPSHOT_OFFER: snapshot_on_offer(g, from_name, m); return;
    case MESSAGE_SNAPSHOT_PULL: snapshot_on_pull(g, from_name, m); return;
    case MESSAGE_SNAPSHOT_CHUNK: snapshot_on_chunk(g, m); return;
    case MESSAGE_SNAPSHOT_DAMAGED: snapshot_on_damaged(g, m); return;
    case MESSAGE_TERM_QUERY:
    case MESSAGE_TERM_REPLY:
    case MESSAGE_NONE: return;
    }
}
